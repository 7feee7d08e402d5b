"""The operator's colour as a stylesheet of its own: the one value that ``guest.css`` takes from outside."""

from __future__ import annotations

TURNS_BLACK = 0.179
"""Relative luminance from which on black reads better than white; either way the contrast is 4.5 or more."""


def stylesheet(color: str) -> str:
    """For ``#rrggbb``."""
    return f":root {{ --brand: {color}; --brand-text: {text_on(color)}; }}\n"


def text_on(color: str) -> str:
    """Black or white, whichever reads better on ``color``."""
    return "#000" if luminance(color) > TURNS_BLACK else "#fff"


def contrast(one: str, other: str) -> float:
    """As WCAG defines it, 1 to 21, cut to one decimal."""
    darker, lighter = sorted((luminance(one), luminance(other)))
    return int((lighter + 0.05) / (darker + 0.05) * 10) / 10


def luminance(color: str) -> float:
    """Relative luminance of ``#rrggbb`` as WCAG defines it, 0 to 1."""
    channels = (int(color[start : start + 2], 16) / 255 for start in (1, 3, 5))
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
