"""Joining a line and leaving it, and what the engine does with it: offer the device, let an offer lapse, forget."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction

from devices.models import Device
from hygate import audit, clock
from hygate.due import Claim, released, still_mine
from hygate.trying_again import made_again
from sessions_app import selling
from sessions_app.mail import services as mail
from sessions_app.queue import line, rules
from sessions_app.queue.models import Place, QueueEntry
from sessions_app.queue.rules import Facts, Step

WAITED_FOR = ("busy", "kept")
"""What keeps a device from being sold that waiting in line helps against."""
SELLABLE = ("free", "kept")


class CannotJoin(Exception):
    """There is nothing to wait for (``free``, or another kind of ``selling.availability``), or the line is ``full``."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


# -- what a guest does


def join(device: Device) -> QueueEntry:
    """A new place at the end of the line; the entry's ``token`` is its link. Raises ``CannotJoin``."""

    def transact() -> QueueEntry:
        with transaction.atomic():
            return _join(_locked(device.pk), clock.now())

    return made_again(transact)


def _join(device: Device, now: datetime) -> QueueEntry:
    found = selling.availability(device, now)
    if found.kind not in WAITED_FOR:
        raise CannotJoin(found.kind)
    waiting = line.length(device.pk)
    if waiting >= rules.MOST_IN_LINE:
        raise CannotJoin("full")
    token = secrets.token_urlsafe(32)
    entry = QueueEntry.objects.create(
        device=device,
        token=token,
        token_hash=hashlib.sha256(token.encode()).hexdigest(),
        joined_at=now,
        seen_at=now,
        due_at=None if waiting else now,
    )
    audit.write("queue_joined", actor="guest", device=device.pk, before=waiting)
    return entry


def leave(entry: QueueEntry) -> bool:
    """Out of the line; false where the entry was over already."""

    def move(fresh: QueueEntry, now: datetime) -> bool:
        if not fresh.is_in_line:
            return False
        QueueEntry.objects.filter(pk=fresh.pk).update(**line.closed(Place.LEFT, now))
        mail.never_mind(fresh.pk, now)
        audit.write("queue_left", actor="guest", device=fresh.device_id)
        line.hurry_first(fresh.device_id, now)
        return True

    return _moved(entry, move)


def prolong(entry: QueueEntry) -> bool:
    """The offer stands once as long again; false where there is none any more, or it was prolonged before."""

    def move(fresh: QueueEntry, now: datetime) -> bool:
        if fresh.place != Place.OFFERED or fresh.prolonged or fresh.offer_ends_at is None or fresh.offer_ends_at <= now:
            return False
        ends_at = fresh.offer_ends_at + timedelta(seconds=settings.NUMBERS.queue_offer_s)
        columns = {"prolonged": True, "offer_ends_at": ends_at, "due_at": ends_at, **line.by_an_outsider()}
        QueueEntry.objects.filter(pk=fresh.pk).update(**columns)
        audit.write("queue_prolonged", actor="guest", device=fresh.device_id)
        return True

    return _moved(entry, move)


def _moved(entry: QueueEntry, move: Callable[[QueueEntry, datetime], bool]) -> bool:
    def transact() -> bool:
        with transaction.atomic():
            _locked(entry.device_id)
            return move(QueueEntry.objects.select_for_update().get(pk=entry.pk), clock.now())

    return made_again(transact)


def _locked(device_id: int) -> Device:
    """The device's row: who holds it alone sells the device, offers it, or changes its line."""
    rows = Device.objects.select_for_update(of=("self",)).select_related("location", "account")
    return rows.get(pk=device_id)


# -- what time does


def advance(claims: Sequence[Claim]) -> None:
    """The engine's entry. Each in a transaction of its own: no two devices are ever locked at once."""
    for one in claims:
        _advance(one)


def _advance(claim: Claim) -> None:
    entry = QueueEntry.objects.select_related("device__location", "device__account").filter(still_mine([claim])).first()
    if entry is None:
        return
    now = clock.now()
    facts = _facts(entry, entry.device, now)
    if rules.decide(entry, facts, now) is None:
        # the usual look, while the device is in use: no lock, and a session's end that comes meanwhile wins
        due_at = rules.due_at(entry, facts, now, settings.NUMBERS)
        QueueEntry.objects.filter(still_mine([claim])).update(**released(due_at))
        return
    with transaction.atomic():
        device = _locked(entry.device_id)
        fresh = QueueEntry.objects.select_for_update().filter(still_mine([claim])).first()
        if fresh is not None:
            _step(fresh, _facts(fresh, device, now), now)


def _facts(entry: QueueEntry, device: Device, now: datetime) -> Facts:
    if not entry.is_in_line:
        return Facts(first=False, sellable=False)
    ahead = line.first(device.pk)
    is_first = ahead is not None and ahead.pk == entry.pk
    return Facts(is_first, is_first and selling.availability(device, now).kind in SELLABLE)


def _step(entry: QueueEntry, facts: Facts, now: datetime) -> None:
    """Carry out what is due; the device's row and the entry's are held."""
    step = rules.decide(entry, facts, now)
    if step is None:
        _update(entry, **released(rules.due_at(entry, facts, now, settings.NUMBERS)))
    elif step == Step.OFFER:
        offer(entry, now)
    elif step == Step.LAPSE:
        _update(entry, **line.closed(Place.LAPSED, now))
        mail.never_mind(entry.pk, now)
        audit.write("queue_lapsed", device=entry.device_id)
        line.hurry_first(entry.device_id, now)
    elif step == Step.PUT_BACK:
        look_at = now + timedelta(seconds=settings.NUMBERS.queue_look_s)
        _update(entry, place=Place.WAITING, offered_at=None, offer_ends_at=None, **released(look_at))
        mail.not_yet(entry.pk)
        audit.write("queue_put_back", device=entry.device_id)
    else:
        QueueEntry.objects.filter(pk=entry.pk).delete()


def offer(entry: QueueEntry, now: datetime) -> None:
    """Keep the device for the first in line, until ``queue_offer_s`` from now; the caller holds the device's row."""
    ends_at = now + timedelta(seconds=settings.NUMBERS.queue_offer_s)
    _update(entry, place=Place.OFFERED, offered_at=now, offer_ends_at=ends_at, **released(ends_at))
    mail.due_for_turn(entry.pk, now)
    audit.write("queue_offered", device=entry.device_id, until=ends_at.isoformat())


def _update(entry: QueueEntry, **columns: Any) -> None:
    QueueEntry.objects.filter(pk=entry.pk).update(**columns)
