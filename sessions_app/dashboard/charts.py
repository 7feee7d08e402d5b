"""What all charts have in common: a box in whole units, labels on its two sides, and paths in it. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

LINES = 4
"""About so many levels are drawn across a chart."""
Point = tuple[int, int]


@dataclass(frozen=True)
class Box:
    """The view box, and where in it the picture stands: what is left around that is for the labels."""

    width: int
    height: int
    left: int
    right: int
    top: int
    bottom: int

    @property
    def depth(self) -> int:
        """From the top of the picture to its bottom."""
        return self.bottom - self.top

    def x(self, share: float) -> int:
        """Where ``share`` of the way from left to right is."""
        return round(self.left + share * (self.right - self.left))

    def y(self, value: float, low: float, high: float) -> int:
        """Where ``value`` stands when ``low`` is the bottom and ``high`` the top."""
        return round(self.top + (high - value) / (high - low) * self.depth)


@dataclass(frozen=True)
class Mark:
    """A label: ``at`` in units of the box; every second one may be left out on a phone."""

    at: int
    words: str
    is_spare: bool = False
    is_zero: bool = False


@dataclass(frozen=True, kw_only=True)
class Chart:
    """``levels`` are marked on the left, ``times`` below; ``summary`` says the same without a picture."""

    box: Box
    levels: tuple[Mark, ...]
    times: tuple[Mark, ...]
    summary: str


def nice(rough: float) -> int:
    """The next 1, 2 or 5 times a power of ten. ``rough`` is at least 1."""
    power = 10 ** math.floor(math.log10(rough))
    return int(next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough))


def path(lines: Iterable[Sequence[Point]]) -> str:
    """Each line as a part of one SVG path; a line of a single point is as wide as a unit."""
    return "".join(map(_part, lines))


def area(lines: Iterable[Sequence[Point]], zero: int) -> str:
    """The same, each part closed to the line at ``zero``."""
    return "".join(f"{_part(line)}V{zero}H{line[0][0]}Z" for line in lines)


def _part(line: Sequence[Point]) -> str:
    (x, y), *rest = line
    return f"M{x} {y}" + "".join(f"L{one} {other}" for one, other in (rest or [(x + 1, y)]))
