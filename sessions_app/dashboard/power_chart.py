"""A session's power from ON to OFF as an SVG, in words, and as a table. Pure, but for the readings."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from zoneinfo import ZoneInfo

from devices.relays.power import KEPT_DAYS
from sessions_app.dashboard import charts, power_readings
from sessions_app.dashboard.charts import LINES, Box, Mark
from sessions_app.dashboard.power_readings import Pause, Power, Sample
from sessions_app.dashboard.spelling import in_watts
from sessions_app.models import DeviceSession

BOX = Box(width=720, height=280, left=72, right=708, top=34, bottom=244)
EDGE = 40
"""No time is written nearer than this to the right end, where its figures would be cut off."""
APART = 340
"""Nearer to each other, the words of ON and OFF do not both find room on a phone."""
STEPS_S = (5, 10, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 14_400, 21_600, 43_200, 86_400, 172_800)
LABELS, ROWS = 6, 24
LEAST_TOP_W = 40
KILO_FROM_W = 10_000
DAY_S = 86_400


@dataclass(frozen=True)
class Band:
    """Time without power, in units of the box."""

    x: int
    width: int
    says: str


@dataclass(frozen=True)
class Edge:
    """ON or OFF: ``anchor`` is the side of the line on which its words begin."""

    at: int
    words: str
    anchor: str


@dataclass(frozen=True)
class Row:
    """A line of the table: the readings of one step of time."""

    clock: str
    average: str
    peak: str


@dataclass(frozen=True, kw_only=True)
class Curve(charts.Chart):
    """``unit`` is the levels'; ``line`` and ``area`` are SVG paths; ``edges`` are ON and, once it is wanted, OFF."""

    unit: str
    line: str
    area: str
    bands: tuple[Band, ...]
    edges: tuple[Edge, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Told:
    """What the page says of a session's power; ``sentence`` says why there is no curve, or what it is made of."""

    curve: Curve | None
    facts: tuple[tuple[str, str], ...]
    sentence: str


def told(session: DeviceSession, used: str, now: datetime) -> Told | None:
    """None where power was never confirmed on. ``used``: the energy in words, empty where nobody knows."""
    if session.started_at is None:
        return None
    power, zone = power_readings.measured(session, now), ZoneInfo(session.device.location.timezone)
    if power is None or len(power.samples) < 2:
        return Told(None, (), _why_none(session, power, now))
    peak_at, peak_w = power.peak
    facts = [
        ("On average", in_watts(power.average_w)),
        ("At most", f"{in_watts(peak_w)} at {_Axis(power.since, power.until, zone).clock(peak_at)}"),
        ("Used", used),
    ]
    shown = tuple((name, said) for name, said in facts if said)
    return Told(drawn(power, zone), shown, f"Drawn from {len(power.samples):,} readings.")


def _why_none(session: DeviceSession, power: Power | None, now: datetime) -> str:
    if session.device.watts is None and power is None:
        return "This device does not measure its power, so there is no curve."
    if session.closed_at is None:
        return "The curve begins with the second reading, which takes about a minute."
    if power is not None:
        return f"Over too soon for a curve: a single reading, {in_watts(power.samples[0][1])}."
    if now - session.closed_at > timedelta(days=KEPT_DAYS):
        return f"Readings of power are kept for {KEPT_DAYS} days; those of this session are gone."
    return "No reading of its power was kept."


# -- drawing


def drawn(power: Power, zone: ZoneInfo) -> Curve:
    """Pure. Times are the site's."""
    axis = _Axis(power.since, power.until, zone)
    step_w = charts.nice(max(power.peak[1], LEAST_TOP_W) / LINES)
    high_w = max(1, math.ceil(power.peak[1] / step_w)) * step_w
    lines = [list(_points(run, axis, high_w)) for run in power.runs()]
    return Curve(
        box=BOX,
        levels=tuple(
            Mark(BOX.y(level, 0, high_w), _level(level, high_w), is_zero=level == 0)
            for level in range(0, high_w + 1, step_w)
        ),
        times=axis.labels(),
        summary=_summary(power, axis),
        unit="kW" if high_w >= KILO_FROM_W else "W",
        line=charts.path(lines),
        area=charts.area(lines, BOX.bottom),
        bands=tuple(_band(pause, axis) for pause in power.pauses),
        edges=tuple(_edges(power, axis)),
        rows=tuple(_table(power.samples, axis)),
    )


@dataclass(frozen=True)
class _Axis:
    """Time from left to right, in full steps of the site's own clock."""

    since: datetime
    until: datetime
    zone: ZoneInfo

    @property
    def span_s(self) -> float:
        return max(1.0, (self.until - self.since).total_seconds())

    def x(self, at: datetime) -> int:
        share = (at - self.since).total_seconds() / self.span_s
        return BOX.x(min(1.0, max(0.0, share)))

    def step_s(self, most: int) -> int:
        """The shortest step of which no more than ``most`` fit."""
        return next((step for step in STEPS_S if self.span_s <= most * step), STEPS_S[-1])

    def full(self, at: datetime, step_s: int) -> datetime:
        """The last full step before ``at``: 14:05 of 14:07, by the clock on the wall."""
        shift = at.astimezone(self.zone).utcoffset() or timedelta()
        return datetime.fromtimestamp((at + shift).timestamp() // step_s * step_s - shift.total_seconds(), tz=self.zone)

    def clock(self, at: datetime, step_s: int = 60) -> str:
        local = at.astimezone(self.zone)
        return f"{local:%H:%M:%S}" if step_s < 60 else f"{local:%a %H:%M}" if self.span_s > DAY_S else f"{local:%H:%M}"

    def labels(self) -> tuple[Mark, ...]:
        step_s = self.step_s(LABELS)
        first = self.full(self.since, step_s)
        moments = [first + timedelta(seconds=number * step_s) for number in range(int(self.span_s // step_s) + 2)]
        shown = [at for at in moments if self.since <= at <= self.until and self.x(at) <= BOX.right - EDGE]
        return tuple(
            Mark(self.x(at), self.clock(at, step_s), is_spare=number % 2 == 1) for number, at in enumerate(shown)
        )


def _points(run: Iterable[Sample], axis: _Axis, high_w: int) -> Iterator[charts.Point]:
    """Of samples that stand at one place, however many, the least and the most, as they came."""
    for x, group in groupby(run, key=lambda sample: axis.x(sample[0])):
        here = list(group)
        ends = {min(here, key=lambda sample: sample[1]), max(here, key=lambda sample: sample[1])}
        yield from ((x, BOX.y(watts, 0, high_w)) for _, watts in sorted(ends))


def _edges(power: Power, axis: _Axis) -> Iterator[Edge]:
    """The words of ON are left out where those of OFF would stand upon them: OFF was wanted soon, and came late."""
    on, off_at = f"ON {axis.clock(power.since)}", power.off_at
    if off_at is None:
        yield Edge(BOX.left, on, "start")
        return
    x = axis.x(off_at)
    is_close = x - BOX.left < APART
    yield Edge(BOX.left, "" if is_close else on, "start")
    yield Edge(x, f"OFF {axis.clock(off_at)}", "start" if is_close else "end")


def _band(pause: Pause, axis: _Axis) -> Band:
    x = axis.x(pause.since)
    says = f"Paused from {axis.clock(pause.since, 1)} to {axis.clock(pause.until, 1)}"
    return Band(x, max(1, axis.x(pause.until) - x), says)


def _table(samples: Iterable[Sample], axis: _Axis) -> Iterator[Row]:
    step_s = axis.step_s(ROWS)
    for at, group in groupby(samples, key=lambda sample: axis.full(sample[0], step_s)):
        here = [value for _, value in group]
        yield Row(axis.clock(at, step_s), in_watts(round(sum(here) / len(here))), in_watts(max(here)))


def _level(level_w: int, high_w: int) -> str:
    return f"{level_w / 1000:g}" if high_w >= KILO_FROM_W else f"{level_w:,}"


def _summary(power: Power, axis: _Axis) -> str:
    """What a screen reader says in place of the picture."""
    peak_at, peak_w = power.peak
    paused = f" Paused {len(power.pauses)} time{'s' if len(power.pauses) > 1 else ''}." if power.pauses else ""
    return (
        f"Power from {axis.clock(power.since)} to {axis.clock(power.until)}: {in_watts(power.average_w)} on average,"
        f" {in_watts(peak_w)} at most, at {axis.clock(peak_at)}.{paused}"
    )
