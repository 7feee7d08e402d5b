"""Revenue as bars: an SVG in whole units of its view box, with one sentence that says the same. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from sessions_app import money
from sessions_app.dashboard.spelling import amount
from sessions_app.reports.periods import Step
from sessions_app.reports.sums import Money

WIDTH, HEIGHT = 7200, 2200
LEFT, RIGHT, TOP, BOTTOM = 720, 60, 140, 320
LINES, LABELS = 4, 8
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


@dataclass(frozen=True)
class Mark:
    """A label: ``at`` in units of the view box; every second one may be left out on a phone."""

    at: int
    words: str
    is_spare: bool = False


@dataclass(frozen=True)
class Chart:
    bars: tuple[Bar, ...]
    levels: tuple[Mark, ...]
    times: tuple[Mark, ...]
    summary: str
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    bottom: int = HEIGHT - BOTTOM
    words_at: int = HEIGHT - 60


def named(day: date, step: Step) -> str:
    """How a day, week or month is called: 3 Nov, week of 3 Nov, Nov 2026."""
    if step == "month":
        return f"{day:%b %Y}"
    return f"{'week of ' if step == 'week' else ''}{day.day} {day:%b}"


def drawn(steps: Mapping[date, Money], step: Step, currency: str) -> Chart:
    """What was kept in each step. ``steps`` is not empty, and in order."""
    high = max(1, *(one.kept_minor for one in steps.values()))
    every = _nice(high, currency)
    top = math.ceil(high / every) * every
    place = (WIDTH - LEFT - RIGHT) / len(steps)
    return Chart(
        bars=tuple(
            _bar(LEFT + number * place, place, one, top, f"{named(day, step)}: {amount(one.kept_minor, currency)}")
            for number, (day, one) in enumerate(steps.items())
        ),
        levels=tuple(Mark(_y(level, top), _short(level, currency)) for level in range(0, top + 1, every)),
        times=_times(list(steps), step, place),
        summary=_summary(steps, step, currency),
    )


def _bar(x: float, place: float, one: Money, top: int, says: str) -> Bar:
    y = _y(one.kept_minor, top)
    return Bar(round(x + place * GAP / 2), y, max(1, round(place * (1 - GAP))), HEIGHT - BOTTOM - y, says)


def _y(minor: int, top: int) -> int:
    return round(TOP + (1 - minor / top) * (HEIGHT - TOP - BOTTOM))


def _nice(high: int, currency: str) -> int:
    """Minor units between two lines: 1, 2 or 5 times a power of ten, whole units, so that about four lines fit."""
    whole = 1 if currency.lower() in money.ZERO_DECIMAL else 100
    rough = max(high / LINES, whole)
    power = 10 ** math.floor(math.log10(rough))
    return int(next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough))


def _short(minor: int, currency: str) -> str:
    """The number alone, for the levels are whole and the currency stands above: 1,200; 20k. Fits beside a phone's."""
    whole = minor // (1 if currency.lower() in money.ZERO_DECIMAL else 100)
    return f"{whole // 1000:,}k" if whole >= FIRST_K else f"{whole:,}"


def _times(days: Sequence[date], step: Step, place: float) -> tuple[Mark, ...]:
    every = math.ceil(len(days) / LABELS)
    chosen = list(enumerate(days))[::every]
    return tuple(
        Mark(
            round(LEFT + (number + 0.5) * place),
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
