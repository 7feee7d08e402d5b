"""What relays draw while they are on: a row for each fresh reading, for thirty days.

Both writes follow the transaction that they belong to, each by itself: whatever becomes of them, what a reading proved
about a relay stands already, and no row stays locked for them. A write that fails is logged, and costs a curve a point.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import transaction

from devices.models import PowerSample

KEPT_DAYS = 30
MOST_FORGOTTEN = 5000
"""Rows in one go. At a sync every ten minutes: as many as 250 relays that never rest write meanwhile."""
LOOKS_EVERY = timedelta(hours=1)
_looked: dict[int, datetime] = {}


def keep(samples: Sequence[PowerSample]) -> None:
    """Write the samples of one answer, in one statement."""

    def write() -> None:
        PowerSample.objects.bulk_create(samples)

    if samples:
        transaction.on_commit(write, robust=True)


def forget_old(account_id: int, now: datetime) -> None:
    """Away with the account's samples that are older than thirty days; what is too much for once is left to the next.

    Called with every sync, so that each account bears its own share of it.
    """

    def delete() -> None:
        old = PowerSample.objects.filter(device__account=account_id, at__lt=now - timedelta(days=KEPT_DAYS))
        PowerSample.objects.filter(pk__in=old.order_by().values("pk")[:MOST_FORGOTTEN]).delete()

    transaction.on_commit(delete, robust=True)


def forget_unsynced(account_id: int, now: datetime) -> None:
    """The same once an hour and process, with every status that was asked for, answered or not: an account whose syncs
    all fail keeps nothing for longer either.
    """
    last = _looked.get(account_id)
    if last is None or abs(now - last) >= LOOKS_EVERY:
        _looked[account_id] = now
        forget_old(account_id, now)
