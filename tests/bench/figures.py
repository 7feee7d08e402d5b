"""Figures from samples: percentiles by nearest rank, and the slope of a series."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeVar

SHOWN = (50, 90, 95, 99)
MOST_WINDOWS = 3
Window = TypeVar("Window")


def percentile(samples: Sequence[float], per_cent: float) -> float:
    """The smallest sample that is not exceeded by ``per_cent`` of all (nearest rank): a value that really occurred."""
    if not samples:
        raise ValueError("no samples, no percentile")
    ordered = sorted(samples)
    rank = max(1, math.ceil(per_cent / 100 * len(ordered)))
    return ordered[rank - 1]


def windows(measure: Callable[[], Window], keeps: Callable[[Window], bool]) -> list[Window]:
    """What ``measure`` finds until one keeps the promise, three times at most.

    Whatever else a machine does makes a page slower and never quicker, so that the quickest is the page's own.
    """
    found = [measure()]
    while not keeps(found[-1]) and len(found) < MOST_WINDOWS:
        found.append(measure())
    return found


def summary(samples: Sequence[float]) -> dict[str, float | int]:
    """``n``, ``p50`` … ``p99``, ``min`` and ``max`` in the samples' own unit; only ``n`` where there is none."""
    if not samples:
        return {"n": 0}
    shown: dict[str, float | int] = {f"p{one}": round(percentile(samples, one), 4) for one in SHOWN}
    return {"n": len(samples), **shown, "min": round(min(samples), 4), "max": round(max(samples), 4)}


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Least squares over (x, y): how much y grows for each x."""
    count = len(points)
    mean_x = sum(x for x, _ in points) / count
    mean_y = sum(y for _, y in points) / count
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    if spread == 0:
        raise ValueError("a slope needs two different x")
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread
