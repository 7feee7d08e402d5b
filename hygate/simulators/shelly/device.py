"""A Shelly device: its relays or lights, and what the cloud was last told about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hygate.simulators.shelly.light import Light
from hygate.simulators.shelly.relay import GEN1_STATES, Relay

COVER_MODES = ("roller", "cover")


@dataclass(frozen=True)
class Push:
    """One status message from the device to the cloud; the cloud shows it from ``visible_at`` on."""

    visible_at: float
    status: dict[str, Any]


@dataclass
class Device:
    """``base_status`` and ``settings`` are the device's local answers; what moves is merged in at each push.

    ``gen`` is the true generation (1 to 4). ``sleeping``: a battery sensor, which pushes no heartbeat.
    """

    account: str
    id: str
    model: str
    gen: int
    name: str | None
    mode: str
    category: str
    relays: dict[int, Relay]
    base_status: dict[str, Any]
    settings: dict[str, Any]
    info: dict[str, Any] = field(default_factory=dict)
    lights: dict[int, Light] = field(default_factory=dict)
    sleeping: bool = False
    online: bool = True
    stale: bool = False
    enforced_off: bool = False
    status_lag_s: float = 0.0
    timer_drift_s: float = 0.0
    serial: float = 0.0
    booted_at: float = 0.0
    pushes: list[Push] = field(default_factory=list)

    @property
    def is_cover(self) -> bool:
        return self.mode in COVER_MODES and not self.relays

    @property
    def family(self) -> int:
        """The protocol family that the cloud shows as ``gen``: everything after Gen1 speaks Gen2."""
        return 1 if self.gen == 1 else 2

    @property
    def is_heard(self) -> bool:
        """Whether a push reaches the cloud now."""
        return self.online and not self.stale

    def visible_status(self, now: float) -> dict[str, Any]:
        """The last pushed status that the cloud shows by now; what came before it is forgotten."""
        shown = max((at for at, push in enumerate(self.pushes) if push.visible_at <= now), default=0)
        del self.pushes[:shown]
        return self.pushes[0].status if self.pushes else {}

    def shown_settings(self) -> dict[str, Any]:
        """The settings as the cloud shows them: with what each relay really does when power returns."""
        shown: dict[str, Any] = {**self.settings}
        for relay in self.relays.values():
            key = f"switch:{relay.channel}"
            if isinstance(shown.get(key), dict):
                shown[key] = shown[key] | {"initial_state": relay.initial_state}
        if isinstance(shown.get("relays"), list):
            shown["relays"] = [
                one | {"default_state": GEN1_STATES.get(self.relays[at].initial_state, self.relays[at].initial_state)}
                if at in self.relays
                else one
                for at, one in enumerate(shown["relays"])
            ]
        return shown

    def alias(self, channel: int) -> str:
        """The name that the app shows for a channel."""
        relay = self.relays.get(channel)
        if relay is not None and relay.name:
            return relay.name
        if not self.name:
            return "unnamed"
        return f"{self.name} {channel + 1}" if len(self.relays or self.lights) > 1 else self.name

    def dev_info(self) -> dict[str, Any]:
        return {"id": self.id, "gen": f"G{self.family}", "code": self.model, "online": self.online}
