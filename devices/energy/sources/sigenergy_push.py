"""What Sigenergy's MQTT push says: a list of partial updates, merged per connection into fields with their age.

Real traffic brings only what has changed, so an unchanged field is not an old one: while messages of the system keep
coming, every field that this connection has brought carries the time of the newest message. A field that it has not
brought yet is not passed on, whatever an earlier connection said. ``gridActivePowerW`` is positive when the site buys
(the vendor's own sample: at 0 W from the inverter phase C reads +33), ``storageChargeDischargePowerW`` when the battery
charges.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import structlog

from devices.energy.reading import Field, Fields, Measured
from devices.energy.sources.sigenergy_answers import number, unix_seconds, unwrapped

log = structlog.get_logger(__name__)
Value = int | float
Reader = Callable[[Any], Value | None]
SYSTEM = frozenset({"", "system", "station", "plant"})
RUNS = frozenset({"1", "running", "online", "normal"})
ON_GRID = frozenset({"0", "ongrid", "on-grid", "on grid", "on_grid", "grid-connected"})
CALM = frozenset({"0", "off", "false", "disabled", "disable", "inactive"})


def watts(value: Any) -> Value | None:
    """Whole watts out of "-2927.0"; None for what is no number."""
    found = number(value)
    return None if found is None else round(found)


def percent(value: Any) -> Value | None:
    found = number(value)
    return found if found is not None and 0 <= found <= 100 else None


def word(value: Any) -> str | None:
    """A status word in small letters; a code loses its decimals, as in "1.0"."""
    if value is None or value == "":
        return None
    found = number(value)
    return str(round(found)) if found is not None else str(value).strip().lower()


def whether(good: frozenset[str], *, then: int) -> Reader:
    """``then`` (1 or 0) for one of the ``good`` words, the other for every other, also for one nobody has met yet."""

    def read(value: Any) -> Value | None:
        said = word(value)
        return None if said is None else then if said in good else 1 - then

    return read


# the rated power stands in for what the EMS allows: batteryMaxDischargePowerW was seen at 36 kW on a 24 kW battery;
# onOffGridStatus as a number is taken as Modbus register 30009 has it, 0 = on the grid
KEYS: Mapping[str, tuple[Field, Reader]] = {
    "gridActivePowerW": (Field.GRID_IMPORT, watts),
    "gridPhaseAActivePowerW": (Field.GRID_IMPORT_L1, watts),
    "gridPhaseBActivePowerW": (Field.GRID_IMPORT_L2, watts),
    "gridPhaseCActivePowerW": (Field.GRID_IMPORT_L3, watts),
    "pvPowerW": (Field.PV, watts),
    "PV power": (Field.PV, watts),
    "storageChargeDischargePowerW": (Field.BATTERY_CHARGE, watts),
    "inverterActivePowerW": (Field.INVERTER_AC, watts),
    "inverterPhaseAActivePowerW": (Field.INVERTER_AC_L1, watts),
    "inverterPhaseBActivePowerW": (Field.INVERTER_AC_L2, watts),
    "inverterPhaseCActivePowerW": (Field.INVERTER_AC_L3, watts),
    "inverterMaxActivePowerW": (Field.INVERTER_MAX, watts),
    "inverterMaxFeedInActivePowerW": (Field.INVERTER_AVAILABLE, watts),
    "batteryMaxDischargePowerW": (Field.BATTERY_MAX_DISCHARGE, watts),
    "batteryRatedDischargePowerW": (Field.BATTERY_DISCHARGE_LIMIT, watts),
    "storageSOC%": (Field.SOC, percent),
    "backupCutOffSOC%": (Field.BACKUP_SOC, percent),
    "dischargeCutOffSOC%": (Field.DISCHARGE_CUT_OFF_SOC, percent),
    "operationalMode": (Field.EMS_MODE, watts),
    "systemStatus": (Field.RUNNING, whether(RUNS, then=1)),
    "onOffGridStatus": (Field.ON_GRID, whether(ON_GRID, then=1)),
    "stormWatchStatus": (Field.STORM_WATCH, whether(CALM, then=0)),
}


class Push:
    """What one connection has brought of one system; a new connection starts with an empty one."""

    def __init__(self, system_id: str) -> None:
        self._system_id = system_id
        self._seen: dict[Field, Measured] = {}
        self._newest: datetime | None = None

    @property
    def newest(self) -> datetime | None:
        """The time of the newest message; None before the first."""
        return self._newest

    def take(self, payload: bytes, now: datetime) -> bool:
        """Merge one message; whether it spoke of this system. One that makes no sense is left aside and logged."""
        updates = self._updates(payload)
        for update in updates:
            at = min(now, _told(update) or now)
            self._newest = max(at, self._newest or at)
            if "alarmCode" in update:
                log.warning("energy.alarm", alarm=str(update["alarmCode"]), status=str(update.get("status")))
            elif str(update.get("deviceType") or "").lower() in SYSTEM:
                self._merge(update.get("value"), at)
        return bool(updates)

    def fields(self) -> Fields:
        """Every field that this connection has brought, as fresh as its newest message."""
        if self._newest is None:
            return {}
        return {name: Measured(measured.value, self._newest) for name, measured in self._seen.items()}

    def _updates(self, payload: bytes) -> list[dict[str, Any]]:
        try:
            said = unwrapped(json.loads(payload))
        except ValueError:
            log.warning("energy.message_unreadable", length=len(payload))
            return []
        parts = said if isinstance(said, list) else [said]
        mine = [part for part in parts if isinstance(part, dict) and part.get("systemId") == self._system_id]
        if not mine:
            log.warning("energy.message_of_no_system", length=len(payload))
        return mine

    def _merge(self, values: Any, at: datetime) -> None:
        """Lay the values over what was seen; an update that was overtaken changes nothing.

        A value that cannot be read takes the old one away: that something else holds now is all that it says.
        """
        values = unwrapped(values)
        for key, value in values.items() if isinstance(values, dict) else ():
            if key not in KEYS:
                continue
            name, read = KEYS[key]
            found, known = read(value), self._seen.get(name)
            if known is not None and known.at > at:
                continue
            if found is not None:
                self._seen[name] = Measured(found, at)
            elif known is not None:
                del self._seen[name]


def _told(update: Mapping[str, Any]) -> datetime | None:
    """When the plant says that it measured (seconds), or that the alarm came (milliseconds)."""
    seconds = unix_seconds(update.get("statisticsTime") or update.get("changeTime"))
    return None if seconds is None or seconds > 1e10 else datetime.fromtimestamp(seconds, UTC)
