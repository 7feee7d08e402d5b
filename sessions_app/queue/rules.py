"""What becomes of a waiting guest next, as pure functions of the entry, the facts around it, and the time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from hygate.numbers import Numbers
from sessions_app.queue.models import Place, QueueEntry

MOST_IN_LINE = 20
KEPT_FOR = timedelta(days=30)
"""How long an entry that is over stays; its own due row deletes it then."""
ROUND_TO_S = 300
"""A guess that hangs on nothing fixed is spelled in full five minutes."""


class Step(StrEnum):
    """OFFER keeps the device for the first in line, PUT_BACK gives the offer up but not the place."""

    OFFER = "offer"
    LAPSE = "lapse"
    PUT_BACK = "put_back"
    FORGET = "forget"


@dataclass(frozen=True)
class Facts:
    """``first``: nobody in line came before. ``sellable``: nothing but the line keeps the device from being sold."""

    first: bool
    sellable: bool


def decide(entry: QueueEntry, facts: Facts, now: datetime) -> Step | None:
    """The step that is due at ``now``, or none.

    An offer that ends while the device cannot be sold was none: the guest keeps the place.
    """
    if entry.place == Place.WAITING:
        return Step.OFFER if facts.first and facts.sellable else None
    if entry.place == Place.OFFERED:
        if entry.offer_ends_at is None or entry.offer_ends_at > now:
            return None
        return Step.LAPSE if facts.sellable else Step.PUT_BACK
    return Step.FORGET if entry.closed_at is not None and entry.closed_at + KEPT_FOR <= now else None


def due_at(entry: QueueEntry, facts: Facts, now: datetime, numbers: Numbers) -> datetime | None:
    """When to look at the entry again: only the first of a line has a moment, the others wait for it to leave.

    Who frees the device sets that moment to now; the look every few seconds is for whatever tells nobody.
    """
    if entry.place == Place.WAITING:
        return now + timedelta(seconds=numbers.queue_look_s) if facts.first else None
    if entry.place == Place.OFFERED:
        return entry.offer_ends_at
    return entry.closed_at + KEPT_FOR if entry.closed_at is not None else None


def usual_s(spans_s: Sequence[int]) -> int | None:
    """How long a guest usually has the device: the middle one of its plans' lengths, grace included."""
    return sorted(spans_s)[len(spans_s) // 2] if spans_s else None


def turn_at(*, busy: bool, ends_at: datetime | None, before: int, each_s: int | None, now: datetime) -> datetime | None:
    """A guess of when the one with ``before`` others in front gets the device; None where nothing is known.

    ``ends_at`` is when the session that has it now ends. A device that nobody uses is being offered to the first.
    """
    if before and each_s is None:
        return None
    waits = timedelta(seconds=before * (each_s or 0))
    if busy:
        return None if ends_at is None else max(ends_at, now) + waits
    if not before:
        return None
    full = ROUND_TO_S * math.ceil((now + waits).timestamp() / ROUND_TO_S)
    return datetime.fromtimestamp(full, UTC)
