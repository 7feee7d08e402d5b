"""One relay as a thing of metal: its contact, the appliance behind it, its energy counter and its own timer."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from hygate.simulators.base import ControlError

Cause = Literal["request", "timer", "button", "reboot", "enforced"]
InitialState = Literal["off", "on", "restore_last", "match_input"]
# Gen1 calls two of them differently (default_state).
INITIAL_STATES: dict[str, InitialState] = {
    "off": "off",
    "on": "on",
    "restore_last": "restore_last",
    "last": "restore_last",
    "match_input": "match_input",
    "switch": "match_input",
}
GEN1_STATES = {"restore_last": "last", "match_input": "switch"}
SECONDS_PER_HOUR = 3600.0


@dataclass
class Timer:
    """A one-shot flip: at ``fires_at`` the output becomes ``turns_on``. It lives on the device, not in the cloud."""

    started_at: float
    duration: float
    fires_at: float
    turns_on: bool


@dataclass
class Relay:
    """``load_w`` is what the appliance draws when it has power; ``source`` who moved the contact last."""

    channel: int
    name: str | None = None
    output: bool = False
    source: str = "init"
    load_w: float = 0.0
    welded: bool = False
    initial_state: InitialState = "off"
    wall_input: bool = False
    energy_wh: float = 0.0
    counted_at: float = 0.0
    moved_at: float = 0.0
    timer: Timer | None = None

    @property
    def watts(self) -> float:
        """A welded contact lets the current through whatever the output says."""
        return self.load_w if self.output or self.welded else 0.0

    def count(self, t: float) -> None:
        """Bring the energy counter up to ``t``; called before anything that changes the power."""
        if t > self.counted_at:
            self.energy_wh += max(self.watts, 0.0) * (t - self.counted_at) / SECONDS_PER_HOUR
            self.counted_at = t

    def output_after_boot(self) -> bool:
        if self.initial_state == "restore_last":
            return self.output
        if self.initial_state == "match_input":
            return self.wall_input
        return self.initial_state == "on"

    def state(self) -> dict[str, Any]:
        """Everything that survives a death of the simulator."""
        return asdict(self)

    def restore(self, state: dict[str, Any]) -> None:
        for key, value in state.items():
            if key in ("channel", "name") or not hasattr(self, key):
                continue
            setattr(self, key, Timer(**value) if key == "timer" and value else value)


def initial_state(name: str) -> InitialState:
    """The state after power-up, by the name that either generation uses."""
    if name not in INITIAL_STATES:
        raise ControlError(f"initial_state must be one of {', '.join(INITIAL_STATES)}, not {name!r}")
    return INITIAL_STATES[name]
