"""Periods of whole days in a time zone, and the days, weeks and months that they fall into. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

Step = Literal["day", "week", "month"]
STEPS: dict[Step, str] = {"day": "Day", "week": "Week", "month": "Month"}
PERIODS = {"today": "Today", "week": "This week", "month": "This month", "year": "This year"}
CUSTOM = "custom"
LONGEST_DAYS = 5 * 366
DAYS_SHOWN, WEEKS_SHOWN = 35, 190
"""Up to how many days a period is shown by days, and then by weeks."""


@dataclass(frozen=True)
class Period:
    """``first`` to ``last``, both included, as days of ``zone``; ``key`` is one of ``PERIODS`` or ``CUSTOM``."""

    key: str
    first: date
    last: date
    zone: ZoneInfo

    @property
    def since(self) -> datetime:
        return midnight(self.first, self.zone)

    @property
    def until(self) -> datetime:
        """The first moment that is not in it any more."""
        return midnight(self.last + timedelta(days=1), self.zone)

    @property
    def days(self) -> int:
        return (self.last - self.first).days + 1

    @property
    def fitting_step(self) -> Step:
        return "day" if self.days <= DAYS_SHOWN else "week" if self.days <= WEEKS_SHOWN else "month"

    def seconds_until(self, now: datetime) -> int:
        """How much of it has passed at ``now``."""
        return max(0, int((min(self.until, now) - self.since).total_seconds()))

    def starts(self, step: Step) -> Iterator[date]:
        """The first days of its days, weeks or months, in order; the first may lie before it."""
        day = start_of(self.first, step)
        while day <= self.last:
            yield day
            day = start_of(day + timedelta(days=32), step) if step == "month" else day + STEP_DAYS[step]


STEP_DAYS: dict[Step, timedelta] = {"day": timedelta(days=1), "week": timedelta(days=7)}


def midnight(day: date, zone: ZoneInfo) -> datetime:
    """When ``day`` begins in ``zone``, also where summer time begins or ends on it."""
    return datetime.combine(day, time(), zone).astimezone(UTC)


def start_of(day: date, step: Step) -> date:
    """The first day of the week (Monday) or month that ``day`` is in."""
    if step == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if step == "month" else day


def named(key: str, zone: ZoneInfo, now: datetime) -> Period:
    """Today, this week, month or year, whole; an unknown ``key`` is today."""
    today = now.astimezone(zone).date()
    if key == "week":
        first = start_of(today, "week")
        return Period(key, first, first + timedelta(days=6), zone)
    if key == "month":
        first = start_of(today, "month")
        return Period(key, first, start_of(first + timedelta(days=32), "month") - timedelta(days=1), zone)
    if key == "year":
        return Period(key, today.replace(month=1, day=1), today.replace(month=12, day=31), zone)
    return Period("today", today, today, zone)


def custom(first: date, last: date, zone: ZoneInfo) -> Period:
    """In the right order, and no longer than the database can be asked for."""
    first, last = min(first, last), max(first, last)
    return Period(CUSTOM, max(first, last - timedelta(days=LONGEST_DAYS)), last, zone)


def step_named(text: str, period: Period) -> Step:
    return text if text in STEPS else period.fitting_step


def offsets(zone: ZoneInfo, since: datetime, until: datetime) -> list[tuple[datetime, int]]:
    """From when on which offset from UTC counts, in seconds, between the two moments; the first at ``since``."""
    since, until = since.astimezone(UTC), until.astimezone(UTC)
    found = [(since, _offset(zone, since))]
    moment = since
    while moment < until:
        after = min(moment + timedelta(days=1), until)
        if _offset(zone, after) != found[-1][1]:
            found.append((_change(zone, moment, after), _offset(zone, after)))
        moment = after
    return found


def _offset(zone: ZoneInfo, moment: datetime) -> int:
    offset = moment.astimezone(zone).utcoffset()
    assert offset is not None
    return int(offset.total_seconds())


def _change(zone: ZoneInfo, before: datetime, after: datetime) -> datetime:
    """The moment between the two from which on the later one's offset counts, to the second."""
    late = _offset(zone, after)
    while after - before > timedelta(seconds=1):
        middle = before + timedelta(seconds=int((after - before).total_seconds()) // 2)
        before, after = (before, middle) if _offset(zone, middle) == late else (middle, after)
    return after
