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
from sessions_app.dashboard import charts
from sessions_app.dashboard.charts import LINES, Box, Mark

BOX = Box(width=720, height=300, left=52, right=712, top=14, bottom=266)
SPAN = timedelta(hours=24)
STEP_S = 300
GAP_STEPS = 2
TIME_LABELS_H = 4
LEAST_SPAN_W = 400
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


@dataclass(frozen=True, kw_only=True)
class Chart(charts.Chart):
    series: tuple[Series, ...]


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
    step_w = charts.nice(max(most_w - least_w, LEAST_SPAN_W) / LINES)
    low, high = math.floor(least_w / step_w), max(1, math.ceil(most_w / step_w))
    scale = _Scale(low * step_w, high * step_w)
    return Chart(
        box=BOX,
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
        return BOX.y(watts, self.low_w, self.high_w)

    @staticmethod
    def x(seconds: float) -> int:
        return BOX.x(seconds / SPAN.total_seconds())


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
    return Series(name, title, charts.path(lines), charts.area(lines, scale.y(0)))


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
