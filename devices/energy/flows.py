"""The five numbers that people and scripts are shown of a site. For the eye only: the headroom rule reads none."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from devices.energy.balance import TOGETHER
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
    """PV of all makers together; the load as inverters and grid feed it at this moment, else as the source tells it
    (a plant tells it each half minute), else what the other flows leave for it."""
    told = {name: one for name, one in reading.fields.items() if _is_number(one.value)}
    own, others = told.get(Field.PV), told.get(Field.THIRD_PARTY_PV)
    if own is not None and others is not None and not others.value:
        others = None  # a site that has none is told so each half minute, which makes the rest no older
    pv = _sum(own, others)
    battery, grid, car = (told.get(name) for name in (Field.BATTERY_CHARGE, Field.GRID_IMPORT, Field.CAR_CHARGE))
    fed = _fed(told.get(Field.INVERTER_AC), grid, others)
    load = fed or told.get(Field.LOAD) or _left_over(pv, battery, grid, car)
    return Flows(pv, told.get(Field.SOC), battery, grid, load)


def _is_number(value: object) -> bool:
    """A stored reading keeps what was none as null."""
    return isinstance(value, int | float) and math.isfinite(value)


def _sum(first: Measured | None, second: Measured | None) -> Measured | None:
    known = [one for one in (first, second) if one is not None]
    return _measured(known) if known else None


def _fed(inverter: Measured | None, grid: Measured | None, others: Measured | None) -> Measured | None:
    """What goes into the house's wires; None where its parts are not of one moment."""
    if inverter is None or grid is None or abs(inverter.at - grid.at) > TOGETHER:
        return None
    fed = _measured([one for one in (inverter, grid, others) if one is not None])
    return Measured(max(0, fed.value), fed.at)


def _left_over(
    pv: Measured | None, battery: Measured | None, grid: Measured | None, car: Measured | None
) -> Measured | None:
    if pv is None or grid is None:
        return None
    taken = [Measured(-one.value, one.at) for one in (battery, car) if one is not None]
    left = _measured([pv, grid, *taken])
    return Measured(max(0, left.value), left.at)


def _measured(parts: Sequence[Measured]) -> Measured:
    """Their sum, as old as the oldest."""
    return Measured(sum(one.value for one in parts), min(one.at for one in parts))
