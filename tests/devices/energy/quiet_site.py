"""A site at rest with all its limits, which the tests of the headroom rule change in one thing each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from devices.energy.reading import PHASES, Field, Measured, Reading
from devices.energy.rule import Headroom, Limits, Overload, Policy, Reservation, Supply, headroom, overload

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)


@dataclass(frozen=True)
class Verdict:
    admits: bool = True
    sentence: str = "Positive is import."


PROVEN = Verdict()
# A site that draws 3 kW evenly, its battery at rest, able to give 6 kW through inverters of 10 kW.
QUIET: dict[Field, float] = {
    Field.GRID_IMPORT: 3000,
    Field.GRID_IMPORT_L1: 1000,
    Field.GRID_IMPORT_L2: 1000,
    Field.GRID_IMPORT_L3: 1000,
    Field.BATTERY_CHARGE: 0,
    Field.PV: 0,
    Field.INVERTER_AC: 0,
    Field.SOC: 60,
    Field.ON_GRID: 1,
    Field.RUNNING: 1,
    Field.GRID_SENSOR_OK: 1,
    Field.METERS_LOST: 0,
    Field.STORM_WATCH: 0,
    Field.EMS_MODE: 0,
    Field.GRID_IMPORT_LIMIT: 20_000,
    Field.INVERTER_AVAILABLE: 10_000,
    Field.BATTERY_MAX_DISCHARGE: 36_007,
    Field.BATTERY_DISCHARGE_LIMIT: 6000,
    Field.BACKUP_SOC: 20,
    Field.DISCHARGE_CUT_OFF_SOC: 5,
}
LIMITS = Limits(grid_import_w=17_250, fuse_w=(5750, 5750, 5750), margin_w=300, reserve_soc_pct=10)
FREE = Policy()
CAPPED = Policy(Supply.CAPPED, import_cap_w=4000, battery_may_help=True)
SUN = Policy(Supply.SURPLUS, yielding_modes=frozenset({0}))
OUTAGE: dict[Field, float] = {Field.ON_GRID: 0, Field.INVERTER_AC: 2000}


def reading(changes: Mapping[Field, float | None] | None = None, *, age_s: float = 1, **ages_s: float) -> Reading:
    """QUIET with changes (None = absent), all ``age_s`` old, single fields as old as named."""
    values = {**QUIET, **(changes or {})}
    return Reading(
        {
            name: Measured(value, NOW - timedelta(seconds=ages_s.get(name.value, age_s)))
            for name, value in values.items()
            if value is not None
        }
    )


def grid(l1: float, l2: float, l3: float) -> dict[Field, float | None]:
    return {Field.GRID_IMPORT: l1 + l2 + l3, **dict(zip(PHASES, (l1, l2, l3), strict=True))}


def room(
    changes: Mapping[Field, float | None] | None = None,
    *reservations: Reservation,
    limits: Limits = LIMITS,
    policy: Policy = FREE,
    **more: Any,
) -> Headroom:
    return headroom(reading(changes), limits, policy, reservations, PROVEN, NOW, **more)


def lack(changes: Mapping[Field, float | None], policy: Policy = FREE, limits: Limits = LIMITS) -> Overload:
    return overload(reading(changes), limits, policy, PROVEN, NOW)
