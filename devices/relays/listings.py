"""The app's device lists, kept for the minute until the next status of their account completes a sync.

A sync is two requests a gap apart. As two entries of the account's queue, commands find their place between them. What
lies between is kept in this process only: where another one takes the account over, the list is asked for again.
"""

from __future__ import annotations

import threading
from datetime import datetime, timedelta

from devices.shelly.payload import ListedDevice
from hygate import clock

YOUNG = timedelta(seconds=60)
_lists: dict[int, tuple[datetime, tuple[ListedDevice, ...]]] = {}
_lock = threading.Lock()


def keep(account_id: int, listed: tuple[ListedDevice, ...]) -> None:
    with _lock:
        _lists[account_id] = (clock.now(), listed)


def take(account_id: int) -> tuple[ListedDevice, ...] | None:
    """The account's list, once; None when there is none that is young enough."""
    with _lock:
        kept = _lists.pop(account_id, None)
    if kept is None or abs(clock.now() - kept[0]) > YOUNG:
        return None
    return kept[1]
