"""The last 24 hours of a site as an SVG: paths and labels in whole units of its view box. Pure, but for one query.

Means of ten seconds are thinned to one a minute and averaged over five; where nothing was read for longer, the line
breaks. Import is above zero and export below it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from devices.energy.models import EnergySource, ReadingMean
from devices.energy.reading import Field

WIDTH, HEIGHT = 720, 300
LEFT, RIGHT, TOP, BOTTOM = 52, 8, 14, 34
SPAN = timedelta(hours=24)
STEP_S = 300
GAP_STEPS = 2
TIME_LABELS_H = 4
LINES = 4
SERIES = (
    ("pv", "PV", Field.PV),
    ("load", "Load", Field.LOAD),
    ("grid", "Grid, export below zero", Field.GRID_IMPORT),
    ("battery", "Battery, charging above zero", Field.BATTERY_CHARGE),
)


@dataclass(frozen=True)
class Series:
    """``name`` is the stylesheet's; ``d`` an SVG path, ``area`` the same closed to the zero line."""

    name: str
    title: str
    d: str
    area: str


@dataclass(frozen=True)
class Mark:
    """A label and its line: ``at`` in units of the view box; every second one may be left out on a phone."""

    at: int
    words: str
    is_spare: bool = False
    is_zero: bool = False


@dataclass(frozen=True)
class Chart:
    series: tuple[Series, ...]
    levels: tuple[Mark, ...]
    times: tuple[Mark, ...]
    summary: str
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    bottom: int = HEIGHT - BOTTOM


def chart_of(source: EnergySource, zone: str, now: datetime) -> Chart | None:
    """None where the source has not told anything in these hours."""
    rows = ReadingMean.objects.filter(source=source, span_s=10, at__gte=now - SPAN, at__second=0)
    return drawn(rows.values_list("at", "values"), zone, now)


def drawn(rows: Iterable[tuple[datetime, Mapping[str, Sequence[float]]]], zone: str, now: datetime) -> Chart | None:
    """``rows``: when, and ``{field: [mean, least, most]}`` in W."""
    since = now - SPAN
    means = _means(rows, since)
    known = [watts for steps in means.values() for watts in steps.values()]
    if not known:
        return None
    most_w, least_w = max(0, *known), min(0, *known)
    step_w = _nice(most_w - least_w)
    low, high = math.floor(least_w / step_w), max(1, math.ceil(most_w / step_w))
    scale = _Scale(low * step_w, high * step_w)
    return Chart(
        series=tuple(_series(name, title, means[name], scale) for name, title, _ in SERIES if means[name]),
        levels=tuple(
            Mark(scale.y(level * step_w), _kilowatts(level * step_w), is_zero=level == 0)
            for level in range(low, high + 1)
        ),
        times=_times(since, now, ZoneInfo(zone)),
        summary=_summary(means),
    )


@dataclass(frozen=True)
class _Scale:
    low_w: float
    high_w: float

    def y(self, watts: float) -> int:
        share = (self.high_w - watts) / (self.high_w - self.low_w)
        return round(TOP + share * (HEIGHT - TOP - BOTTOM))

    @staticmethod
    def x(seconds: float) -> int:
        return round(LEFT + seconds / SPAN.total_seconds() * (WIDTH - LEFT - RIGHT))


def _means(
    rows: Iterable[tuple[datetime, Mapping[str, Sequence[float]]]], since: datetime
) -> dict[str, dict[int, float]]:
    """By series and step of five minutes."""
    sums: dict[str, dict[int, list[float]]] = {name: {} for name, *_ in SERIES}
    for at, values in rows:
        step = int((at - since).total_seconds() // STEP_S)
        for name, _, field in SERIES:
            if field in values:
                sums[name].setdefault(step, []).append(values[field][0])
    return {
        name: {step: sum(watts) / len(watts) for step, watts in sorted(steps.items())} for name, steps in sums.items()
    }


def _series(name: str, title: str, steps: Mapping[int, float], scale: _Scale) -> Series:
    runs: list[list[int]] = []
    for step in steps:
        if runs and step - runs[-1][-1] <= GAP_STEPS:
            runs[-1].append(step)
        else:
            runs.append([step])
    lines = [[(scale.x((step + 0.5) * STEP_S), scale.y(steps[step])) for step in run] for run in runs]
    zero = scale.y(0)
    area = "".join(f"{_path(line)}V{zero}H{line[0][0]}Z" for line in lines)
    return Series(name, title, "".join(map(_path, lines)), area)


def _path(line: Sequence[tuple[int, int]]) -> str:
    (x, y), *rest = line
    return f"M{x} {y}" + "".join(f"L{one} {other}" for one, other in (rest or [(x + 1, y)]))


def _nice(span_w: float) -> int:
    """Watts between two lines: 1, 2 or 5 times a power of ten, so that about four lines fit."""
    rough = max(span_w, 400) / LINES
    power = 10 ** math.floor(math.log10(rough))
    return int(next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough))


def _times(since: datetime, now: datetime, zone: ZoneInfo) -> tuple[Mark, ...]:
    """Each fourth full hour of the site's own clock."""
    first = since.astimezone(zone).replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    hours = [first + timedelta(hours=number) for number in range(24)]
    chosen = [hour for hour in hours if hour.hour % TIME_LABELS_H == 0 and hour <= now]
    return tuple(
        Mark(_Scale.x((hour - since).total_seconds()), f"{hour:%H:%M}", is_spare=number % 2 == 1)
        for number, hour in enumerate(chosen)
    )


def _summary(means: Mapping[str, Mapping[int, float]]) -> str:
    """What a screen reader says in place of the picture."""
    said = [
        f"{title}: from {min(steps.values()):.0f} to {max(steps.values()):.0f} W"
        for name, title, _ in SERIES
        if (steps := means[name])
    ]
    return "The last 24 hours. " + "; ".join(said) + "."


def _kilowatts(watts: float) -> str:
    return f"{watts / 1000:g}".replace("-", "−")
