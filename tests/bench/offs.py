"""OFF requests and relay changes as the simulator's ledger has them: the witness of every lateness."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

TOO_EARLY_S = 0.001
"""The ledger rounds to milliseconds."""


@dataclass(frozen=True)
class Lateness:
    """Seconds after the promised end, by device; ``lost`` devices were never asked to go off."""

    late: dict[str, float]
    lost: int
    early: int

    @property
    def samples(self) -> list[float]:
        return list(self.late.values())


def requested(ledger: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """When each device was first asked to go off, by its id."""
    first: dict[str, float] = {}
    for entry in ledger:
        for device in _asked_off(entry):
            first.setdefault(device, entry["t"])
    return first


def _asked_off(entry: Mapping[str, Any]) -> list[str]:
    body = entry["body"]
    if entry["kind"] != "request" or "/set/" not in entry["path"] or not isinstance(body, dict):
        return []
    if "switch" in body:
        ids = body["switch"]["ids"] if body["switch"]["command"]["on"] is False else []
        return [one.rpartition("_")[0] for one in ids]
    return [body["id"]] if body.get("on") is False else []


def switched_off(ledger: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """When each relay went off because it was asked to."""
    found: dict[str, float] = {}
    for entry in ledger:
        if entry["kind"] == "relay" and not entry["on"] and entry["cause"] == "request":
            found.setdefault(entry["device"], entry["t"])
    return found


def lateness(happened: Mapping[str, float], ends: Mapping[str, float]) -> Lateness:
    """What happened to each device after the end that was promised for it."""
    late = {device: round(happened[device] - end, 4) for device, end in ends.items() if device in happened}
    early = sum(one < -TOO_EARLY_S for one in late.values())
    return Lateness(late, lost=len(ends) - len(late), early=early)
