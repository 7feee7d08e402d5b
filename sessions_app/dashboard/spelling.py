"""Amounts, lengths, watts and ages in words, for the staff: the guest pages' spelling where there is one."""

from __future__ import annotations

import re
from datetime import datetime
from functools import lru_cache

from sessions_app.guest import words

at = words.at
countdown = words.countdown


def amount(minor: int | None, currency: str) -> str:
    return "" if minor is None else words.money(minor, currency)


def length(seconds: int | None) -> str:
    """As guests read it; an odd length from an hour on, which no plan has, counts its hours: 2 h 47 min 49 s."""
    if seconds is None:
        return ""
    if seconds < 3600 or not seconds % 60:
        return words.span(seconds)
    minutes, second = divmod(seconds, 60)
    return f"{minutes // 60} h {minutes % 60} min {second} s".replace(" ", words.NBSP)


def in_watts(value: float) -> str:
    """``11,340 W``, on every page; the sign, where there is one, is told in words beside it."""
    return f"{round(abs(value)):,}{words.NBSP}W"


def age(seconds: float) -> str:
    """How long ago, in the unit that fits: "34 s ago", "5 min ago"; the script counts on in the same words."""
    whole = max(0, int(seconds))
    if whole < 120:
        return f"{whole} s ago"
    if whole < 7200:
        return f"{whole // 60} min ago"
    return f"{whole // 3600} h ago" if whole < 172_800 else f"{whole // 86_400} days ago"


def milliseconds(moment: datetime | None) -> int | str:
    return "" if moment is None else int(moment.timestamp() * 1000)


@lru_cache(maxsize=10_000)
def natural(text: str) -> tuple[tuple[int, int | str], ...]:
    """A sorting key that puts Dryer 2 before Dryer 10. Kept: every list sorts the names of all devices."""
    parts = (part for part in re.split(r"(\d+)", text) if part)
    return tuple((0, int(part)) if part.isdecimal() else (1, part.casefold()) for part in parts)
