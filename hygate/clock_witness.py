"""What the outside world says the time is: the ``Date`` header of every answer, and the stamps of genuine webhooks.

Kept in memory only, so that no request ever waits or fails for it; ``hygate.clock_watch`` looks here every few seconds.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from hygate import clock

OFF_S = 30.0
"""A clock that is off by more than this sells nothing."""
TWICE = 2
"""One answer may come out of a cache; two in a row that are off do not."""
WEBHOOK = "webhook"
"""Only a hint: somebody may send an old webhook once more."""


@dataclass(frozen=True)
class Sighting:
    """``off_s``: the other side's clock minus ours. ``times``: how many in a row were off. ``is_new``: since asked."""

    off_s: float
    times: int
    is_new: bool = True

    @property
    def is_off(self) -> bool:
        return self.times >= TWICE


_sightings: dict[str, Sighting] = {}
_lock = threading.Lock()


def saw(source: str, date: str | None) -> float | None:
    """Note the ``Date`` header of an answer of ``source``; answers by how many seconds it is ahead of us.

    None where there is no header, or none that can be read.
    """
    if not date:
        return None
    try:
        theirs = parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError):
        return None
    off_s = round(theirs - clock.now().timestamp(), 1)
    _note(source, off_s, 1)
    return off_s


def saw_webhook(off_s: float) -> None:
    """Note a genuine webhook whose stamp lies outside of what is tolerated."""
    _note(WEBHOOK, round(off_s, 1), TWICE)


def _note(source: str, off_s: float, counts: int) -> None:
    with _lock:
        before = _sightings.get(source)
        times = counts + (before.times if before else 0)
        _sightings[source] = Sighting(off_s, min(times, TWICE) if abs(off_s) > OFF_S else 0)


def take() -> dict[str, Sighting]:
    """The latest sighting of each source that was made since the last call."""
    with _lock:
        fresh = {source: one for source, one in _sightings.items() if one.is_new}
        for source, one in fresh.items():
            _sightings[source] = Sighting(one.off_s, one.times, is_new=False)
    return fresh


def forget() -> None:
    """Our clock has changed: what was off may be right now."""
    with _lock:
        _sightings.clear()
