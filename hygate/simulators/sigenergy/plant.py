"""The plant behind every Sigenergy simulator: sun, house, battery, car, inverter and grid, per phase.

A pure model stepped by its clock. ``truth()`` is what flows, ``flows()`` is what the plant says of it, which differs
when the meter is mounted the wrong way round, frozen or lost. Watts are whole numbers; the signs stand in the names,
as in Hygate's own Reading: ``grid_import_w`` is positive when the site buys.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

PHASE_COUNT = 3
LONGEST_STEP_S = 60.0
FIRMWARES = ("V1.8", "V2.4", "V2.5", "V2.6", "V2.7", "V2.8", "V2.9")
RUNNING_STATES = (0, 1, 2, 3, 7)  # standby, running, fault, shutdown, environmental abnormality
RUNNING = 1
Watts3 = tuple[int, int, int]


class PlantError(ValueError):
    """A knob that does not exist, or a value that it cannot take."""


@dataclass(frozen=True)
class Flows:
    """One moment of the plant. Powers in W, ``_pct`` from 0 to 100, flags 1 or 0; ``at`` in Unix seconds.

    ``load_w`` is all that the house takes without the DC car charger. ``pv_w`` is what the strings really give: less
    than the sun offers where neither house, battery nor grid can take it.
    """

    at: float
    grid_import_w: int
    grid_import_l1_w: int
    grid_import_l2_w: int
    grid_import_l3_w: int
    pv_w: int
    third_party_pv_w: int
    battery_charge_w: int
    load_w: int
    load_l1_w: int
    load_l2_w: int
    load_l3_w: int
    car_charge_w: int
    inverter_ac_w: int
    inverter_ac_l1_w: int
    inverter_ac_l2_w: int
    inverter_ac_l3_w: int
    soc_pct: float
    grid_sensor_ok: int
    on_grid: int
    running: int
    running_state: int
    meters_lost: int
    ems_mode: int
    storm_watch: int
    grid_import_limit_w: int
    grid_export_limit_w: int
    inverter_available_w: int
    inverter_max_w: int
    battery_max_charge_w: int
    battery_max_discharge_w: int
    battery_discharge_limit_w: int
    backup_soc_pct: float
    discharge_cut_off_soc_pct: float

    @property
    def grid_import_by_phase(self) -> Watts3:
        return (self.grid_import_l1_w, self.grid_import_l2_w, self.grid_import_l3_w)

    @property
    def inverter_ac_by_phase(self) -> Watts3:
        return (self.inverter_ac_l1_w, self.inverter_ac_l2_w, self.inverter_ac_l3_w)


@dataclass(frozen=True)
class Load:
    """A named consumer beside the base load, as the relay of a Shelly: ``phase`` 1, 2, 3, or 0 for all three."""

    watts: int
    phase: int
    on: bool = False

    def by_phase(self) -> Watts3:
        if not self.on:
            return (0, 0, 0)
        if self.phase == 0:
            return thirds(self.watts)
        one, two, three = (self.watts if phase == self.phase else 0 for phase in (1, 2, 3))
        return (one, two, three)


@dataclass
class Knobs:
    """What a person, the weather or a failing part sets; the names are those of ``POST /_ctl/plant``."""

    pv_w: int = 2800  # what the sun offers
    third_party_pv_w: int = 0
    load_w: Watts3 = (900, 150, 150)  # the house without the named loads
    car_charge_w: int = 0  # negative = the car feeds the plant
    battery_charge_w: int | None = None  # None = self-consumption decides
    soc_pct: float = 15.0
    capacity_wh: int = 16_000
    on_grid: bool = True
    running_state: int = RUNNING
    sensor: bool = True
    meters_lost: int = 0
    ems_mode: int = 0
    storm_watch: bool = False
    flip_sign: bool = False  # the grid meter tells import as export
    load_follows_meter: bool = False  # the plant computes its load from that meter, wrong sign and all
    freeze: bool = False  # what the plant says stands still
    balanced: bool = True  # the inverter feeds each phase a third; else it follows each phase's load
    firmware: str = "V2.9"
    grid_import_limit_w: int = 17_000
    grid_export_limit_w: int = 12_000
    inverter_max_w: int = 12_000
    battery_max_charge_w: int = 8_000
    battery_max_discharge_w: int = 12_800
    battery_discharge_limit_w: int = 9_600
    backup_soc_pct: float = 10.0
    discharge_cut_off_soc_pct: float = 5.0
    loads: dict[str, Load] = field(default_factory=dict)


@dataclass(frozen=True)
class _Powers:
    """The plant's powers before they are told: totals and phases in W."""

    pv: int
    battery_charge: int
    third_party: int
    car: int
    load: Watts3
    inverter: Watts3
    grid: Watts3


DARK = _Powers(0, 0, 0, 0, (0, 0, 0), (0, 0, 0), (0, 0, 0))


class Plant:
    """One simulated plant: knobs, a battery that fills and empties with the clock, and what it says of itself."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._then = clock()
        self._frozen: Flows | None = None
        self.knobs = Knobs()

    # -- what it says
    def flows(self) -> Flows:
        """What the plant says now: the truth as its own meters see it."""
        if self._frozen is not None:
            return self._frozen
        return _as_told(self.truth(), self.knobs)

    def truth(self) -> Flows:
        """What really flows now, whatever the meters say."""
        self._advance()
        powers = _solve(self.knobs)
        return _flows(self._then, powers, self.knobs)

    # -- what is done to it
    def set(self, wanted: dict[str, Any]) -> Flows:
        """Turn knobs; all are checked before the first is turned. Raises ``PlantError``."""
        values = {name: _checked(name, value, self.knobs) for name, value in wanted.items()}
        before = self.flows()
        for name, value in values.items():
            setattr(self.knobs, name, value)
        if "freeze" in values:
            self._frozen = before if values["freeze"] else None
        return self.flows()

    def add_load(self, name: str, watts: int, phase: int = 0) -> None:
        """A consumer that ``set_load`` switches: ``phase`` 1..3, or 0 for a three-phase one."""
        self.set({"loads": {name: {"watts": watts, "phase": phase}}})

    def set_load(self, name: str, on: bool) -> None:
        """Switch a named consumer; raises ``PlantError`` where there is none of that name."""
        self.set({"loads": {name: on}})

    def _advance(self) -> None:
        """Fill or empty the battery for the time that has passed, in steps short enough to stop at its limits."""
        now = self._clock()
        while self._then < now:
            step = min(LONGEST_STEP_S, now - self._then)
            gained_wh = _solve(self.knobs).battery_charge * step / 3600
            soc = self.knobs.soc_pct + 100 * gained_wh / self.knobs.capacity_wh
            self.knobs.soc_pct = min(100.0, max(0.0, soc))
            self._then += step
        self._then = now


def thirds(watts: int) -> Watts3:
    """Three whole parts that add up to ``watts``."""
    one = round(watts / 3)
    two = round((watts - one) / 2)
    return (one, two, watts - one - two)


def plus(*parts: Watts3) -> Watts3:
    """Phase by phase."""
    one, two, three = (sum(part[phase] for part in parts) for phase in range(PHASE_COUNT))
    return (one, two, three)


def minus(parts: Watts3) -> Watts3:
    return (-parts[0], -parts[1], -parts[2])


# -- physics


def _solve(knobs: Knobs) -> _Powers:
    """The flows that these knobs lead to: self-consumption, the grid takes or gives the rest."""
    load = plus(knobs.load_w, *(one.by_phase() for one in knobs.loads.values()))
    if knobs.running_state != RUNNING:
        return _without_inverter(knobs, load)
    if not knobs.on_grid:
        return _island(knobs, load)
    battery = _battery(knobs, sum(load))
    pv = min(knobs.pv_w, knobs.inverter_max_w + battery + knobs.car_charge_w)
    pv = _curtailed(knobs, max(0, pv), battery, sum(load))
    return _powers(knobs, pv, battery, load)


def _battery(knobs: Knobs, load_w: int) -> int:
    """What the battery takes (positive) or gives, within its limits and the inverter's."""
    surplus = knobs.pv_w + knobs.third_party_pv_w - knobs.car_charge_w - load_w
    wish = surplus if knobs.battery_charge_w is None else knobs.battery_charge_w
    most_in = knobs.battery_max_charge_w if knobs.soc_pct < 100 else 0
    floor = knobs.discharge_cut_off_soc_pct if not knobs.on_grid else _reserve(knobs)
    most_out = min(knobs.battery_max_discharge_w, knobs.battery_discharge_limit_w) if knobs.soc_pct > floor else 0
    room = max(0, knobs.inverter_max_w - knobs.pv_w + knobs.car_charge_w)
    return max(-min(most_out, room), min(most_in, wish))


def _reserve(knobs: Knobs) -> float:
    """The charge below which the battery is kept for an outage: all of it while a storm is expected."""
    return 100.0 if knobs.storm_watch else max(knobs.backup_soc_pct, knobs.discharge_cut_off_soc_pct)


def _curtailed(knobs: Knobs, pv: int, battery: int, load_w: int) -> int:
    """Less sun where the grid may not take the surplus."""
    export = pv - battery - knobs.car_charge_w + knobs.third_party_pv_w - load_w
    return max(0, pv - max(0, export - knobs.grid_export_limit_w))


def _island(knobs: Knobs, load: Watts3) -> _Powers:
    """Off grid the inverter carries the house alone, or it goes dark."""
    need = sum(load) - knobs.third_party_pv_w
    battery = _battery(knobs, sum(load))
    pv = min(knobs.pv_w, max(0, need + battery + knobs.car_charge_w))
    if pv - battery - knobs.car_charge_w < need or need > knobs.inverter_max_w:
        return DARK
    return _powers(knobs, pv, pv - knobs.car_charge_w - need, load)


def _without_inverter(knobs: Knobs, load: Watts3) -> _Powers:
    """Standby, fault or shutdown: the grid alone carries the house; without one it is dark."""
    if not knobs.on_grid:
        return DARK
    grid = plus(load, minus(thirds(knobs.third_party_pv_w)))
    return _Powers(0, 0, knobs.third_party_pv_w, 0, load, (0, 0, 0), grid)


def _powers(knobs: Knobs, pv: int, battery: int, load: Watts3) -> _Powers:
    total = pv - battery - knobs.car_charge_w
    third_party = thirds(knobs.third_party_pv_w)
    inverter = thirds(total) if knobs.balanced and knobs.on_grid else _along(load, third_party, total)
    grid = plus(load, minus(third_party), minus(inverter))
    return _Powers(pv, battery, knobs.third_party_pv_w, knobs.car_charge_w, load, inverter, grid)


def _along(load: Watts3, third_party: Watts3, total: int) -> Watts3:
    """``total`` spread as the phases need it; what is left over or missing is shared by thirds."""
    wish = plus(load, minus(third_party))
    return plus(wish, thirds(total - sum(wish)))


# -- what is told


def _flows(at: float, powers: _Powers, knobs: Knobs) -> Flows:
    return Flows(
        at=at,
        grid_import_w=sum(powers.grid),
        grid_import_l1_w=powers.grid[0],
        grid_import_l2_w=powers.grid[1],
        grid_import_l3_w=powers.grid[2],
        pv_w=powers.pv,
        third_party_pv_w=powers.third_party,
        battery_charge_w=powers.battery_charge,
        load_w=sum(powers.load),
        load_l1_w=powers.load[0],
        load_l2_w=powers.load[1],
        load_l3_w=powers.load[2],
        car_charge_w=powers.car,
        inverter_ac_w=sum(powers.inverter),
        inverter_ac_l1_w=powers.inverter[0],
        inverter_ac_l2_w=powers.inverter[1],
        inverter_ac_l3_w=powers.inverter[2],
        soc_pct=math.floor(knobs.soc_pct * 10 + 0.5) / 10,
        grid_sensor_ok=int(knobs.sensor),
        on_grid=int(knobs.on_grid),
        running=int(knobs.running_state == RUNNING),
        running_state=knobs.running_state,
        meters_lost=knobs.meters_lost,
        ems_mode=knobs.ems_mode,
        storm_watch=int(knobs.storm_watch),
        grid_import_limit_w=knobs.grid_import_limit_w,
        grid_export_limit_w=knobs.grid_export_limit_w,
        inverter_available_w=knobs.inverter_max_w if knobs.running_state == RUNNING else 0,
        inverter_max_w=knobs.inverter_max_w,
        battery_max_charge_w=knobs.battery_max_charge_w,
        battery_max_discharge_w=knobs.battery_max_discharge_w,
        battery_discharge_limit_w=knobs.battery_discharge_limit_w,
        backup_soc_pct=knobs.backup_soc_pct,
        discharge_cut_off_soc_pct=knobs.discharge_cut_off_soc_pct,
    )


def _as_told(truth: Flows, knobs: Knobs) -> Flows:
    """The truth as the plant's meter sees it: nothing without a sensor, the other sign when mounted wrongly."""
    sign = 0 if not knobs.sensor else -1 if knobs.flip_sign else 1
    seen = replace(
        truth,
        grid_import_w=sign * truth.grid_import_w,
        grid_import_l1_w=sign * truth.grid_import_l1_w,
        grid_import_l2_w=sign * truth.grid_import_l2_w,
        grid_import_l3_w=sign * truth.grid_import_l3_w,
    )
    if not knobs.load_follows_meter:
        return seen
    return replace(seen, load_w=seen.inverter_ac_w + seen.third_party_pv_w + seen.grid_import_w)


# -- knobs


def _checked(name: str, value: Any, knobs: Knobs) -> Any:
    """``value`` in the knob's own type; raises ``PlantError``."""
    if name == "load_w":
        return _three_watts(value)
    if name == "loads":
        return _loads(value, knobs.loads)
    if name == "firmware":
        return _one_of(name, value, FIRMWARES)
    if name == "running_state":
        return _one_of(name, value, RUNNING_STATES)
    if name == "battery_charge_w" and value is None:
        return None
    if name not in {one.name for one in fields(Knobs)}:
        raise PlantError(f"There is no knob {name!r}")
    return _like(name, value, getattr(knobs, name))


def _like(name: str, value: Any, present: Any) -> Any:
    if isinstance(present, bool):
        if not isinstance(value, bool):
            raise PlantError(f"{name} is true or false")
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise PlantError(f"{name} is a number")
    if name.endswith("_pct"):
        if not 0 <= value <= 100:
            raise PlantError(f"{name} lies between 0 and 100")
        return float(value)
    if value < 0 and name not in ("car_charge_w", "battery_charge_w"):
        raise PlantError(f"{name} is not negative")
    if name == "capacity_wh" and value == 0:
        raise PlantError("capacity_wh is more than nothing")
    return round(value)


def _one_of(name: str, value: Any, choices: Sequence[Any]) -> Any:
    if isinstance(value, bool) or value not in choices:
        raise PlantError(f"{name} is one of {', '.join(str(choice) for choice in choices)}")
    return value


def _three_watts(value: Any) -> Watts3:
    """Three phases, or one number that is shared by thirds."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return thirds(_like("load_w", value, 0))
    if not isinstance(value, (list, tuple)) or len(value) != PHASE_COUNT:
        raise PlantError("load_w is a number, or a list of three")
    one, two, three = (_like("load_w", part, 0) for part in value)
    return (one, two, three)


def _loads(value: Any, present: dict[str, Load]) -> dict[str, Load]:
    """The named loads after ``{name: true | false | {"watts", "phase", "on"} | null}``; null takes one away."""
    if not isinstance(value, dict):
        raise PlantError("loads is an object: name to true, false, null or {watts, phase, on}")
    after = dict(present)
    for name, wanted in value.items():
        if wanted is None:
            after.pop(name, None)
        else:
            after[name] = _load(name, wanted, present.get(name))
    return after


def _load(name: str, wanted: Any, before: Load | None) -> Load:
    if isinstance(wanted, bool):
        if before is None:
            raise PlantError(f"There is no load {name!r}: give its watts first")
        return replace(before, on=wanted)
    if not isinstance(wanted, dict) or set(wanted) - {"watts", "phase", "on"}:
        raise PlantError(f"The load {name!r} is true, false, null or {{watts, phase, on}}")
    known = before or Load(0, 0)
    watts = _like("watts", wanted.get("watts", known.watts), 0)
    phase = _one_of("phase", wanted.get("phase", known.phase), (0, 1, 2, 3))
    on = _like("on", wanted.get("on", known.on), False)
    return Load(watts, phase, on)
