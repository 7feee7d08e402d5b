"""The five numbers that people and scripts are shown of a site. For the eye only: the headroom rule reads none."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from devices.energy.reading import Field, Measured, Reading

SHOWN = (Field.PV, Field.THIRD_PARTY_PV, Field.SOC, Field.BATTERY_CHARGE, Field.GRID_IMPORT, Field.LOAD)


@dataclass(frozen=True)
class Flows:
    """Each with its own age; None where the source does not tell it. Signs as in ``Reading``."""

    pv_w: Measured | None
    soc_pct: Measured | None
    battery_charge_w: Measured | None
    grid_import_w: Measured | None
    load_w: Measured | None

    @property
    def measured_at(self) -> datetime | None:
        """When the oldest of what is shown was measured; None where nothing is."""
        known = (self.pv_w, self.soc_pct, self.battery_charge_w, self.grid_import_w, self.load_w)
        return min((one.at for one in known if one is not None), default=None)


def flows_of(reading: Reading) -> Flows:
    """PV of all makers together; a load that nobody measures is what the other flows leave for it."""
    pv = _sum(reading, Field.PV, Field.THIRD_PARTY_PV)
    battery, grid = reading[Field.BATTERY_CHARGE], reading[Field.GRID_IMPORT]
    load = reading[Field.LOAD] or _left_over(reading, pv, battery, grid)
    return Flows(pv, reading[Field.SOC], battery, grid, load)


def _sum(reading: Reading, first: Field, second: Field) -> Measured | None:
    known = [one for one in (reading[first], reading[second]) if one is not None]
    return _measured(sum(one.value for one in known), known) if known else None


def _left_over(
    reading: Reading, pv: Measured | None, battery: Measured | None, grid: Measured | None
) -> Measured | None:
    if pv is None or grid is None:
        return None
    car = reading[Field.CAR_CHARGE]
    known = [one for one in (pv, battery, grid, car) if one is not None]
    taken = (battery.value if battery else 0) + (car.value if car else 0)
    return _measured(max(0, pv.value + grid.value - taken), known)


def _measured(value: float, of: Iterable[Measured]) -> Measured:
    return Measured(value, min(one.at for one in of))
