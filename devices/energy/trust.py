"""Whether a reading may decide about kilowatts: fresh, complete and possible. Anything else is a "no" and says why."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from devices.energy.reading import PHASES, Field, Reading
from devices.energy.terms import Limits

AHEAD = timedelta(seconds=2)  # clocks of two machines; what is dated later than this is not believed
PHASES_APART_W = 300.0
PHASES_APART = 0.05

# Read every 30 s rather than every second.
SLOW = frozenset(
    {
        Field.METERS_LOST,
        Field.STORM_WATCH,
        Field.EMS_MODE,
        Field.THIRD_PARTY_PV,
        Field.GRID_IMPORT_LIMIT,
        Field.INVERTER_MAX,
        Field.BATTERY_DISCHARGE_LIMIT,
        Field.BACKUP_SOC,
        Field.DISCHARGE_CUT_OFF_SOC,
    }
)
FLAGS = frozenset({Field.GRID_SENSOR_OK, Field.ON_GRID, Field.RUNNING, Field.STORM_WATCH})
PERCENTS = frozenset({Field.SOC, Field.BACKUP_SOC, Field.DISCHARGE_CUT_OFF_SOC})
NEVER_NEGATIVE = frozenset(
    {
        Field.GRID_IMPORT_LIMIT,
        Field.INVERTER_AVAILABLE,
        Field.INVERTER_MAX,
        Field.BATTERY_MAX_DISCHARGE,
        Field.BATTERY_DISCHARGE_LIMIT,
        Field.METERS_LOST,
        Field.EMS_MODE,
    }
)
# a limit may be "none" in the form of a large number; only flows have to fit the site
UNBOUNDED = frozenset({Field.METERS_LOST, Field.EMS_MODE, *(NEVER_NEGATIVE - {Field.INVERTER_AVAILABLE})})
LARGEST = 2.0**32


class No(StrEnum):
    """Why there is no headroom. The names stand in the audit log and in docs/troubleshooting.md."""

    NOT_CONFIGURED = "not_configured"
    SHOWS_ONLY = "shows_only"
    MISSING = "missing"
    STALE = "stale"
    FUTURE = "from_the_future"
    IMPLAUSIBLE = "implausible"
    SIGN = "sign_not_proven"
    NO_GRID_SENSOR = "no_grid_sensor"
    METER_LOST = "meter_lost"
    NOT_RUNNING = "not_running"
    OUTSIDE_WINDOW = "outside_window"
    LOW_BATTERY = "low_battery"
    LITTLE_SURPLUS = "little_surplus"
    TOGETHER = "not_together"
    TOO_LITTLE = "too_little"


@dataclass(frozen=True)
class Refusal:
    no: No
    sentence: str


def impossible(reading: Reading, limits: Limits) -> Refusal | None:
    """The first thing that cannot be. A source that says one impossible thing is not believed in the rest."""
    for name, measured in reading.fields.items():
        if not is_possible(name, measured.value, limits.plausible_w):
            return Refusal(No.IMPLAUSIBLE, f"The energy source says {_words(name)} {measured.value}: that cannot be.")
    return None


def missing_or_old(reading: Reading, needed: Collection[Field], limits: Limits, now: datetime) -> Refusal | None:
    """The first thing that is wrong with the ``needed`` fields, in the order of their names: two processes that look at
    the same reading say the same."""
    for name in Field:
        if name not in needed:
            continue
        wrong = _missing_or_old(reading, name, limits, now)
        if wrong is not None:
            return wrong
    return None


def fresh(reading: Reading, limits: Limits, now: datetime) -> Reading:
    """What of it is neither old nor dated ahead."""
    known = reading.fields.items()
    return Reading({name: one for name, one in known if _missing_or_old(reading, name, limits, now) is None})


def _missing_or_old(reading: Reading, name: Field, limits: Limits, now: datetime) -> Refusal | None:
    measured = reading[name]
    if measured is None:
        return Refusal(No.MISSING, f"The energy source does not tell {_words(name)}.")
    age = now - measured.at
    if age < -AHEAD:
        return Refusal(No.FUTURE, f"{_words(name)} is dated {-age.total_seconds():.0f} s ahead: a clock is wrong.")
    if age > (limits.max_age_slow if name in SLOW else limits.max_age):
        return Refusal(No.STALE, f"The last word on {_words(name)} is {age.total_seconds():.0f} s old.")
    return None


def is_possible(name: Field, value: object, plausible_w: float) -> bool:
    """Whether a site could measure this; never cut to size, as a wrong number says nothing about the right one.

    ``value`` may be anything, as readings come out of stored JSON. NaN is in no range, so it needs no line of its own.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if name in FLAGS:
        return value in (0, 1)
    if name in PERCENTS:
        return 0 <= value <= 100
    if name in NEVER_NEGATIVE and value < 0:
        return False
    return abs(value) <= (LARGEST if name in UNBOUNDED else plausible_w)


def phases_disagree(reading: Reading) -> Refusal | None:
    """The three phases have to add up to the total; called once all four are known."""
    total = reading.value(Field.GRID_IMPORT) or 0
    each = [reading.value(phase) or 0 for phase in PHASES]
    tolerance = max(PHASES_APART_W, PHASES_APART * max(abs(total), *(abs(watts) for watts in each)))
    if abs(sum(each) - total) <= tolerance:
        return None
    return Refusal(No.IMPLAUSIBLE, f"The phases add up to {sum(each):.0f} W, but the meter says {total:.0f} W in all.")


def _words(name: Field) -> str:
    text = name.value.removesuffix("_w").removesuffix("_pct").replace("_", " ")
    return f"“{text}”"
