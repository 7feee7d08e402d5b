"""Revenue as bars: an SVG in whole units of its view box, with one sentence that says the same. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from sessions_app import money
from sessions_app.dashboard import charts
from sessions_app.dashboard.charts import LINES, Box, Mark
from sessions_app.dashboard.spelling import amount
from sessions_app.reports.periods import Step
from sessions_app.reports.sums import Money

BOX = Box(width=7200, height=2200, left=720, right=7140, top=140, bottom=1880)
LABELS = 8
FIRST_K = 10_000
GAP = 0.25
"""Of a bar's place, left empty."""


@dataclass(frozen=True)
class Bar:
    x: int
    y: int
    width: int
    height: int
    says: str


@dataclass(frozen=True, kw_only=True)
class Chart(charts.Chart):
    bars: tuple[Bar, ...]


def named(day: date, step: Step) -> str:
    """How a day, week or month is called: 3 Nov, week of 3 Nov, Nov 2026."""
    if step == "month":
        return f"{day:%b %Y}"
    return f"{'week of ' if step == 'week' else ''}{day.day} {day:%b}"


def drawn(steps: Mapping[date, Money], step: Step, currency: str) -> Chart:
    """What was kept in each step. ``steps`` is not empty, and in order."""
    high = max(1, *(one.kept_minor for one in steps.values()))
    every = charts.nice(max(high / LINES, _whole(currency)))
    top = math.ceil(high / every) * every
    place = (BOX.right - BOX.left) / len(steps)
    return Chart(
        box=BOX,
        bars=tuple(
            _bar(BOX.left + number * place, place, one, top, f"{named(day, step)}: {amount(one.kept_minor, currency)}")
            for number, (day, one) in enumerate(steps.items())
        ),
        levels=tuple(Mark(BOX.y(level, 0, top), _short(level, currency)) for level in range(0, top + 1, every)),
        times=_times(list(steps), step),
        summary=_summary(steps, step, currency),
    )


def _bar(x: float, place: float, one: Money, top: int, says: str) -> Bar:
    y = BOX.y(one.kept_minor, 0, top)
    return Bar(round(x + place * GAP / 2), y, max(1, round(place * (1 - GAP))), BOX.bottom - y, says)


def _whole(currency: str) -> int:
    """Minor units of a whole one."""
    return 1 if currency.lower() in money.ZERO_DECIMAL else 100


def _short(minor: int, currency: str) -> str:
    """The number alone, for the levels are whole and the currency stands above: 1,200; 20k. Fits beside a phone's."""
    whole = minor // _whole(currency)
    return f"{whole // 1000:,}k" if whole >= FIRST_K else f"{whole:,}"


def _times(days: Sequence[date], step: Step) -> tuple[Mark, ...]:
    every = math.ceil(len(days) / LABELS)
    chosen = list(enumerate(days))[::every]
    return tuple(
        Mark(
            BOX.x((number + 0.5) / len(days)),
            f"{day:%b}" if step == "month" else f"{day.day} {day:%b}",
            is_spare=nth % 2 == 1,
        )
        for nth, (number, day) in enumerate(chosen)
    )


def _summary(steps: Mapping[date, Money], step: Step, currency: str) -> str:
    """What a screen reader says in place of the picture."""
    total = sum(one.kept_minor for one in steps.values())
    best = max(steps, key=lambda day: steps[day].kept_minor)
    said = f"{amount(total, currency)} were kept in {len(steps)} {step}{'' if len(steps) == 1 else 's'}"
    if len(steps) == 1 or not total:
        return f"{said}."
    return f"{said}; the best: {named(best, step)} with {amount(steps[best].kept_minor, currency)}."
