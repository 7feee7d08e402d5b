"""What the headroom rule is asked with: a site's limits, its policy, and what was promised already. Pure data.

Watts throughout; ages and times as ``timedelta`` and aware UTC ``datetime``. What makes no sense is refused when it is
made, with a ValueError, and never bent into something that does.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta, tzinfo
from enum import StrEnum
from typing import Protocol

from devices.energy.reading import Field

PLAUSIBLE_W = 100_000.0
SEEN_TOO_MUCH = 2.0  # a device that measures more than twice what it is rated for measures nonsense

# What a source can tell that can only lower the headroom. Where it is known to tell one, its absence is a "no".
CAUTIONS = frozenset(
    {
        Field.GRID_SENSOR_OK,
        Field.METERS_LOST,
        Field.STORM_WATCH,
        Field.GRID_IMPORT_LIMIT,
        Field.INVERTER_AVAILABLE,
        Field.BATTERY_MAX_DISCHARGE,
        Field.BATTERY_DISCHARGE_LIMIT,
        Field.BACKUP_SOC,
        Field.DISCHARGE_CUT_OFF_SOC,
    }
)


class Phases(StrEnum):
    """Where a load hangs; the values are those of ``Device.phases``. UNKNOWN counts on whichever phase is worst."""

    L1 = "L1"
    L2 = "L2"
    L3 = "L3"
    ALL = "3"
    UNKNOWN = ""


class Supply(StrEnum):
    """What a load may be fed from: the grid up to its limit, the grid up to a cap of import, or only the sun."""

    GRID = "grid"
    CAPPED = "capped"
    SURPLUS = "surplus"


class SignCheck(Protocol):
    """The verdict on the sign of the grid's power: only a proven one admits."""

    @property
    def admits(self) -> bool: ...

    @property
    def sentence(self) -> str: ...


@dataclass(frozen=True)
class CloudData:
    """The administrator's explicit wish to admit on data of a cloud, which is minutes old and cannot show its age."""

    extra_margin_w: float
    max_age: timedelta = timedelta(minutes=10)

    def __post_init__(self) -> None:
        _refuse_unless(_is_power(self.extra_margin_w), "extra_margin_w")
        _refuse_unless(self.max_age > timedelta(0), "max_age")


@dataclass(frozen=True)
class Limits:
    """What a Location's wiring, contract and devices can carry.

    ``grid_import_w``: contract or main breaker. ``fuse_w``: each phase; empty = equal shares of ``grid_import_w``.
    ``phases``: 1 or 3 that feed the site. ``inverter_w``: AC power of the inverters, where the source tells none.
    ``margin_w`` is kept free of the whole and of each phase at admission, ``shed_margin_w`` while running: smaller, so
    that what was just admitted is not shed at once. ``max_age`` is for flows and states, ``max_age_slow`` for what
    a plant states about itself, ``max_age_seen`` for a device's own watts before the meter's reading.
    ``told``: which of CAUTIONS the source delivers; all, unless a source is known not to. ``stand_alone``: a site that
    has no grid at all.
    """

    grid_import_w: float | None = None
    fuse_w: tuple[float, ...] = ()
    phases: int = 3
    inverter_w: float | None = None
    reserve_soc_pct: float = 10.0
    margin_w: float = 500.0
    shed_margin_w: float = 0.0
    max_age: timedelta = timedelta(seconds=10)
    max_age_slow: timedelta = timedelta(seconds=90)
    max_age_seen: timedelta = timedelta(seconds=45)
    told: frozenset[Field] = CAUTIONS
    cloud: CloudData | None = None
    has_battery: bool = True
    stand_alone: bool = False
    plausible_w: float = PLAUSIBLE_W

    def __post_init__(self) -> None:
        _refuse_unless(self.phases in (1, 3), "phases")
        _refuse_unless(len(self.fuse_w) in (0, self.phases), "fuse_w")
        _refuse_unless(all(_is_power(watts) for watts in self.fuse_w), "fuse_w")
        for name in ("grid_import_w", "inverter_w"):
            watts = getattr(self, name)
            _refuse_unless(watts is None or _is_power(watts), name)
        _refuse_unless(_is_percent(self.reserve_soc_pct), "reserve_soc_pct")
        _refuse_unless(_is_power(self.plausible_w) and self.plausible_w > 0, "plausible_w")
        _refuse_unless(_is_power(self.margin_w) and _is_power(self.shed_margin_w), "margin_w")
        _refuse_unless(self.shed_margin_w <= self.margin_w, "shed_margin_w, larger than margin_w")
        _refuse_unless(min(self.max_age, self.max_age_slow, self.max_age_seen) >= timedelta(0), "an age")
        _refuse_unless(self.told <= CAUTIONS, "told")


@dataclass(frozen=True)
class Window:
    """A time of day in the site's own zone; ``end`` is not part of it, and one before ``start`` is the next morning.

    ``start`` equal to ``end`` is the whole day. ``weekdays``: 0 = Monday; of a window over midnight, the day it begins.
    """

    start: time
    end: time
    weekdays: frozenset[int] = frozenset(range(7))

    def holds(self, local: datetime) -> bool:
        today, clock = local.weekday(), local.time()
        if self.start < self.end:
            return today in self.weekdays and self.start <= clock < self.end
        began_today = today in self.weekdays and clock >= self.start
        return began_today or ((today - 1) % 7 in self.weekdays and clock < self.end)


@dataclass(frozen=True)
class Policy:
    """What the operator wants high-power devices to be fed from, and when.

    ``import_cap_w``: the X of "never above an import of X". ``yielding_modes``: the plant's modes in which charging of
    the battery is known to make way for a load. ``windows``: empty = always. ``min_surplus_w`` has to have lasted for
    ``surplus_for``. ``apart``: groups of device ids of which only one may run at a time. ``shed_slack_w``: how far
    import may go above a cap or below a surplus before anything is shed.
    """

    supply: Supply = Supply.GRID
    import_cap_w: float = 0.0
    battery_may_help: bool = False
    yielding_modes: frozenset[int] = frozenset()
    windows: tuple[Window, ...] = ()
    zone: tzinfo = UTC
    min_soc_pct: float | None = None
    min_surplus_w: float | None = None
    surplus_for: timedelta = timedelta(minutes=1)
    apart: tuple[frozenset[str], ...] = ()
    shed_slack_w: float = 300.0

    def __post_init__(self) -> None:
        _refuse_unless(_is_power(self.import_cap_w), "import_cap_w")
        _refuse_unless(_is_power(self.shed_slack_w), "shed_slack_w")
        _refuse_unless(self.min_soc_pct is None or _is_percent(self.min_soc_pct), "min_soc_pct")
        _refuse_unless(self.min_surplus_w is None or _is_power(self.min_surplus_w), "min_surplus_w")

    @property
    def cap_w(self) -> float | None:
        """The import that this policy allows; None = all that the limits allow."""
        return {Supply.GRID: None, Supply.CAPPED: self.import_cap_w, Supply.SURPLUS: 0.0}[self.supply]

    def is_open(self, now: datetime) -> bool:
        local = now.astimezone(self.zone)
        return not self.windows or any(window.holds(local) for window in self.windows)


@dataclass(frozen=True)
class Reservation:
    """Watts that an admitted session may draw until it ends (``promised_w``), and what its device measures itself.

    ``seen_w`` is None where the device measures nothing: then all of ``watts`` stays reserved.
    """

    phases: Phases
    watts: float
    seen_w: float | None = None
    seen_at: datetime | None = None
    device: str = ""

    def unseen_w(self, metered_at: datetime, max_age: timedelta) -> float:
        """What of it is not in the meter's reading yet.

        Own watts count as seen only when they were measured before the meter was read, and not long before: of a load
        that began after the reading the meter knows nothing.
        """
        if self.seen_w is None or self.seen_at is None:
            return self.watts
        is_of_that_moment = timedelta(0) <= metered_at - self.seen_at <= max_age
        is_plausible = math.isfinite(self.seen_w) and 0 <= self.seen_w <= SEEN_TOO_MUCH * self.watts
        return max(0.0, self.watts - self.seen_w) if is_of_that_moment and is_plausible else self.watts


def promised_w(
    rated_w: float,
    started_at: datetime | None,
    now: datetime,
    *,
    reserve_w: float | None = None,
    reserve_after: timedelta | None = None,
) -> float:
    """What a session keeps reserved: all its device is rated for, or its plan's lower ``reserve_w`` once
    ``reserve_after`` has passed since the relay was confirmed on."""
    if reserve_w is None or reserve_after is None or started_at is None or now - started_at < reserve_after:
        return rated_w
    return min(rated_w, reserve_w) if _is_power(reserve_w) else rated_w


@dataclass(frozen=True)
class Promised:
    """All reservations together: in all, by phase, and whose they are."""

    total_w: float
    phases_w: tuple[float, ...]
    devices: frozenset[str] = field(default_factory=frozenset)


def added_up(
    reservations: Iterable[Reservation],
    drawn_w: float,
    drawn_phases_w: Sequence[float],
    metered_at: datetime,
    max_age_seen: timedelta,
) -> Promised:
    """Thirds of a three-phase load on each phase; an unknown phase on every one, as it may be any.

    ``drawn_w``, ``drawn_phases_w``: what all of the site's loads draw by its own meters. Devices that say together that
    they draw more are believed only so far: one that has just gone off is not in the meter, whatever it said before.
    """
    phases = len(drawn_phases_w)
    total, each, devices = 0.0, [0.0] * phases, set()
    seen, seen_each = 0.0, [0.0] * phases
    for reservation in reservations:
        watts = reservation.unseen_w(metered_at, max_age_seen)
        total += watts
        for number, share in enumerate(shares_w(watts, reservation.phases, phases)):
            each[number] += share
        seen_w = reservation.watts - watts
        seen += seen_w
        if seen_w and reservation.phases is not Phases.UNKNOWN:
            for number, share in enumerate(shares_w(seen_w, reservation.phases, phases)):
                seen_each[number] += share
        devices.add(reservation.device)
    total += max(0.0, seen - drawn_w)
    beyond = (max(0.0, said - drawn) for said, drawn in zip(seen_each, drawn_phases_w, strict=True))
    return Promised(total, tuple(map(sum, zip(each, beyond, strict=True))), frozenset(devices - {""}))


def shares_w(watts: float, phases: Phases, of: int) -> tuple[float, ...]:
    """What a load puts on each of a site's phases (1 or 3), an unknown one as if it were on each of them."""
    if of == 1 or phases is Phases.UNKNOWN:
        return (watts,) * of
    if phases is Phases.ALL:
        return (watts / 3,) * 3
    return tuple(watts if phase is phases else 0.0 for phase in (Phases.L1, Phases.L2, Phases.L3))


def _is_power(watts: float) -> bool:
    return math.isfinite(watts) and watts >= 0


def _is_percent(value: float) -> bool:
    return math.isfinite(value) and 0 <= value <= 100


def _refuse_unless(holds: bool, name: str) -> None:
    if not holds:
        raise ValueError(f"This makes no sense as a limit of a site: {name}.")
