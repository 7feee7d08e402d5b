"""The one Reading: what every energy source delivers, in one set of units and signs, each field with its own age.

Watts are whole numbers. The sign stands in the name: ``grid_import_w`` is positive when the site buys, negative when it
sells; ``battery_charge_w`` is positive while the battery charges. Whatever a source calls it is turned at its own edge
(devices/energy/sources), never later. A field that a source does not deliver is absent; absent is never zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Field(StrEnum):
    """The names of what can be measured. Powers in W, energies and limits likewise, ``_pct`` from 0 to 100."""

    # flows
    GRID_IMPORT = "grid_import_w"
    GRID_IMPORT_L1 = "grid_import_l1_w"
    GRID_IMPORT_L2 = "grid_import_l2_w"
    GRID_IMPORT_L3 = "grid_import_l3_w"
    PV = "pv_w"  # the source's own strings
    THIRD_PARTY_PV = "third_party_pv_w"  # other makers' inverters on the AC side
    BATTERY_CHARGE = "battery_charge_w"
    LOAD = "load_w"  # only where it is measured or reported, never computed from the other flows by us
    CAR_CHARGE = "car_charge_w"  # DC charger; negative when the car discharges
    INVERTER_AC = "inverter_ac_w"  # positive = feeds the AC side
    INVERTER_AC_L1 = "inverter_ac_l1_w"
    INVERTER_AC_L2 = "inverter_ac_l2_w"
    INVERTER_AC_L3 = "inverter_ac_l3_w"
    # state
    SOC = "soc_pct"
    GRID_SENSOR_OK = "grid_sensor_ok"  # 1 or 0
    ON_GRID = "on_grid"  # 1 or 0
    RUNNING = "running"  # 1, or 0 for fault, shutdown, standby, disconnected
    METERS_LOST = "meters_lost"  # bits, 0 = none
    EMS_MODE = "ems_mode"  # the source's own number
    STORM_WATCH = "storm_watch"  # 1 = the battery is being kept full
    # limits that the plant itself states
    GRID_IMPORT_LIMIT = "grid_import_limit_w"
    INVERTER_AVAILABLE = "inverter_available_w"  # what running inverters can feed at their AC terminals
    INVERTER_MAX = "inverter_max_w"
    BATTERY_MAX_DISCHARGE = "battery_max_discharge_w"  # what the battery says it could give
    BATTERY_DISCHARGE_LIMIT = "battery_discharge_limit_w"  # what the EMS lets it give
    BACKUP_SOC = "backup_soc_pct"
    DISCHARGE_CUT_OFF_SOC = "discharge_cut_off_soc_pct"


PHASES = (Field.GRID_IMPORT_L1, Field.GRID_IMPORT_L2, Field.GRID_IMPORT_L3)
INVERTER_PHASES = (Field.INVERTER_AC_L1, Field.INVERTER_AC_L2, Field.INVERTER_AC_L3)


@dataclass(frozen=True)
class Measured:
    """One value and when it was measured (aware, UTC): the source's own time where it tells one, else the answer's."""

    value: int | float
    at: datetime


Fields = Mapping[Field, Measured]


@dataclass(frozen=True)
class Reading:
    """Everything known of one site's energy at one moment; ``merged`` takes news over it."""

    fields: Fields

    def __getitem__(self, field: Field) -> Measured | None:
        return self.fields.get(field)

    def value(self, field: Field) -> int | float | None:
        measured = self.fields.get(field)
        return None if measured is None else measured.value

    def oldest(self, fields: Iterable[Field]) -> datetime | None:
        """When the oldest of ``fields`` was measured; None when one of them is missing."""
        times = [measured.at if (measured := self.fields.get(field)) else None for field in fields]
        known = [at for at in times if at is not None]
        return min(known) if len(known) == len(times) and known else None

    def merged(self, news: Fields) -> Reading:
        """A partial update laid over what was known: a field that is not in it keeps its value and its own age."""
        return Reading({**self.fields, **news})
