"""The line in front of one device: who is first, what the end of a session tells it, what a sale does to it.

It knows nothing of selling: sales and moves stand on it. Whoever changes an entry's place holds the device's row; only
``freed`` does not, because the end of a session must wait for nothing. An entry is locked after everything else: after
device, command and account.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Count, OuterRef, QuerySet, Subquery

from hygate import audit
from hygate.due import wake
from sessions_app.mail import services as mail
from sessions_app.queue.models import IN_LINE, Place, QueueEntry
from sessions_app.queue.rules import KEPT_FOR


class NoOffer(Exception):
    """The device is not kept for this guest, or not any more."""


def in_line(device_id: int) -> QuerySet[QueueEntry]:
    """Everybody who waits for the device, first come first. By number, not by time: clocks can be turned back."""
    return QueueEntry.objects.filter(device_id=device_id, place__in=IN_LINE).order_by("pk")


def first(device_id: int) -> QueueEntry | None:
    return in_line(device_id).first()


def length(device_id: int) -> int:
    return in_line(device_id).count()


def length_of(device: str) -> Subquery:
    """How many wait, as a column of a query whose ``device`` is the device's id; null where nobody does."""
    rows = QueueEntry.objects.filter(device=OuterRef(device), place__in=IN_LINE).order_by()
    return Subquery(rows.values("device").annotate(number=Count("pk")).values("number"))


def before(entry: QueueEntry) -> int:
    """How many stand in front."""
    return in_line(entry.device_id).filter(pk__lt=entry.pk).count()


def with_token(token: str) -> QuerySet[QueueEntry]:
    """The token is never searched for, only its hash."""
    return QueueEntry.objects.filter(token_hash=hashlib.sha256(token.encode()).hexdigest())


def freed(devices: Collection[int], now: datetime) -> None:
    """The devices may be free: whoever is first is looked at now. One UPDATE, inside the move that freed them.

    Only the first in line has a ``due_at``. An offer that stands is left alone: it has an end of its own.
    """
    rows = QueueEntry.objects.filter(device__in=devices, place=Place.WAITING, due_at__isnull=False)
    rows.update(due_at=now, **by_an_outsider())


def hurry_first(device_id: int, at: datetime) -> None:
    """The first in line is looked at at ``at``; the caller holds the device's row and has just moved somebody."""
    one = first(device_id)
    if one is not None and one.place == Place.WAITING:
        QueueEntry.objects.filter(pk=one.pk, place=Place.WAITING).update(due_at=at, **by_an_outsider())
        wake(one)


def take(entry_id: int, session: int, now: datetime) -> None:
    """The offer became the hold ``session``; the next one waits for that to end. The caller holds the device's row.

    Raises ``NoOffer`` where the offer has ended meanwhile: nothing is sold past one.
    """
    offers = QueueEntry.objects.filter(pk=entry_id, place=Place.OFFERED, offer_ends_at__gt=now)
    if not offers.update(session_id=session, **closed(Place.TAKEN, now)):
        raise NoOffer
    mail.never_mind(entry_id, now)
    device_id = QueueEntry.objects.values_list("device_id", flat=True).get(pk=entry_id)
    audit.write("queue_taken", actor="guest", session=session, device=device_id)
    hurry_first(device_id, now + timedelta(seconds=settings.NUMBERS.queue_look_s))


def closed(place: Place, now: datetime) -> dict[str, Any]:
    """Column values of an entry that is over; what is left to do is to forget it one day."""
    return {"place": place, "closed_at": now, "due_at": now + KEPT_FOR, **by_an_outsider()}


def by_an_outsider() -> dict[str, Any]:
    """A holder that sleeps on the row must write nothing."""
    return {"claim_token": uuid.uuid4(), "claimed_until": None}
