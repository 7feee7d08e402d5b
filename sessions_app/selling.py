"""Selling: whether a device can be bought now, and keeping it for a guest who is about to pay."""

from __future__ import annotations

import hashlib
import json
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import OuterRef, Subquery

from devices.energy.headroom import headroom, lock_sites, promise
from devices.models import AWAY, Device, UsagePlan
from hygate import audit, clock
from hygate.trying_again import made_again
from sessions_app import gates, money
from sessions_app.gates import Gates
from sessions_app.models import DeviceSession, Payment
from sessions_app.payments.parameters import checkout_parameters
from sessions_app.queue import line
from sessions_app.queue.models import IN_LINE, QueueEntry
from sessions_app.states import LIVE, State

REFERENCE_ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"


class CannotBuy(Exception):
    """The device cannot be bought now; ``kind`` says why in one word, ``until`` when it may be again."""

    def __init__(self, kind: str, until: datetime | None = None) -> None:
        super().__init__(kind)
        self.kind, self.until = kind, until


@dataclass(frozen=True)
class Availability:
    """``free``, or why not: busy, maintenance, blocked, offline, clock, no_payment, no_power, not_for_sale, disabled,
    kept.

    ``until``: when it may be free, if known. ``kept``: people wait in line for it, and nothing else is in the way;
    ``kept_for`` is the entry that it is offered to until then (null: about to be offered to the first).
    """

    kind: str
    until: datetime | None = None
    kept_for: int | None = None

    def is_free_for(self, entry: QueueEntry | None) -> bool:
        """Whether it can be bought, by nobody in particular or by who has it kept."""
        return self.kind == "free" or (self.kind == "kept" and entry is not None and self.kept_for == entry.pk)


@dataclass(frozen=True)
class Standing:
    """Who has the device now, and who is first in the line in front of it: ids and ends, null where there is none.

    ``ends_at`` is left out of a session that stands still, for it moves; ``grace_ends_at`` and ``bought_s`` are those
    of one that is still to start.
    ``link_hash`` is that of the link which opens the live session; ``waiting`` how many stand in line.
    """

    live: int | None
    ends_at: datetime | None
    grace_ends_at: datetime | None
    bought_s: int | None
    link_hash: str | None
    first: int | None
    offer_ends_at: datetime | None
    waiting: int | None

    @property
    def free_at(self) -> datetime | None:
        """When the live session frees the device, where that is known."""
        if self.ends_at is not None or self.grace_ends_at is None or self.bought_s is None:
            return self.ends_at
        return self.grace_ends_at + timedelta(seconds=self.bought_s)


@dataclass(frozen=True)
class Known:
    """What a page has just read together with its other rows, to ask the database less often."""

    gates: Gates
    standing: Standing


def availability(device: Device, now: datetime, known: Known | None = None) -> Availability:
    """Whether ``device`` can be bought at ``now``; the page and the sale ask the same question.

    The sale leaves ``known`` out: what it decides by is read here, afresh, under the locks that it holds.
    """
    site, standing = (known.gates, known.standing) if known is not None else (gates.read(), _standing(device))
    if not site.settings.devices_enabled:
        return Availability("disabled")
    if standing.live is not None:
        return Availability("busy", standing.free_at)
    out = _out_of_service(device, now)
    if out is not None:
        return out
    if site.clock_is_wrong:
        return Availability("clock")
    if site.key_is_refused:
        return Availability("no_payment")
    if not headroom(device, now).ok:
        return Availability("no_power")
    return _free_or_kept(standing, now)


def _standing(device: Device) -> Standing:
    found: dict[str, Any] = dict(Device.objects.values(**standing_columns("pk")).get(pk=device.pk))
    return Standing(**found)


def standing_columns(device: str) -> dict[str, Subquery]:
    """The fields of ``Standing`` as columns of a query whose ``device`` is the device's id."""
    live = DeviceSession.objects.filter(device=OuterRef(device), state__in=LIVE).order_by()
    to_start = live.filter(state__in=(State.GRACE, State.STARTING))
    ahead = QueueEntry.objects.filter(device=OuterRef(device), place__in=IN_LINE).order_by("pk")
    return {
        "live": Subquery(live.values("pk")[:1]),
        "ends_at": Subquery(live.filter(paused_at__isnull=True).values("ends_at")[:1]),
        "grace_ends_at": Subquery(to_start.values("grace_ends_at")[:1]),
        "bought_s": Subquery(to_start.values("duration_s")[:1]),
        "link_hash": Subquery(live.values("token_hash")[:1]),
        "first": Subquery(ahead.values("pk")[:1]),
        "offer_ends_at": Subquery(ahead.values("offer_ends_at")[:1]),
        "waiting": line.length_of(device),
    }


def _free_or_kept(standing: Standing, now: datetime) -> Availability:
    """Nobody passes the line: while people wait, the device is sold to who has it offered, and to nobody else."""
    if standing.first is None:
        return Availability("free")
    if standing.offer_ends_at is None or standing.offer_ends_at <= now:
        return Availability("kept")
    return Availability("kept", standing.offer_ends_at, kept_for=standing.first)


def is_closed(device: Device, site: Gates, now: datetime) -> bool:
    """Whether nothing at all is sold on ``device`` now, be it free or in use.

    More minutes for a session that runs ask only this: nothing is sold that we could not switch or be paid for.
    """
    stopped = not site.settings.devices_enabled or site.clock_is_wrong or site.key_is_refused
    return stopped or _out_of_service(device, now) is not None


def _out_of_service(device: Device, now: datetime) -> Availability | None:
    """What the device itself has against being sold."""
    if device.maintenance_since is not None:
        return Availability("maintenance", device.maintenance_until)
    if device.blocked_since is not None:
        return Availability("blocked")
    if not device.active or device.vanished_at is not None:
        return Availability("not_for_sale")
    if not is_reachable(device, now) or device.must_be_off_since is not None:
        return Availability("offline")
    return None


def is_reachable(device: Device, now: datetime) -> bool:
    """Online by a reading that is young enough, on an account that answers."""
    if not device.online or device.account.status in AWAY:
        return False
    oldest = now - timedelta(seconds=settings.NUMBERS.offline_after_s)
    return device.seen_at is not None and device.seen_at >= oldest


def token_hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def hold_slot(*, device: Device, plan: UsagePlan, entry: QueueEntry | None = None) -> DeviceSession:
    """Keep ``device`` for a guest who is about to pay: a held session and its pending order, in one transaction.

    The order stores its idempotency key and Checkout's exact parameters, so that any process can repeat the call.
    ``entry`` is the place in line of a guest who waited: only who has the device offered buys it while people wait.
    Raises ``CannotBuy``; the database's constraint decides between two guests at once.
    """

    def transact() -> DeviceSession:
        with transaction.atomic():
            lock_sites([device])
            locked = Device.objects.select_for_update(of=("self",)).select_related("location", "account")
            return _hold(locked.get(pk=device.pk), plan, entry)

    try:
        return made_again(transact)
    except IntegrityError as error:
        raise CannotBuy("busy") from error


def _hold(device: Device, plan: UsagePlan, entry: QueueEntry | None) -> DeviceSession:
    now = clock.now()
    found = availability(device, now)
    if not found.is_free_for(entry):
        raise CannotBuy(found.kind, found.until)
    if (
        plan.device_id != device.pk
        or not plan.active
        or plan.price_minor < money.minimum_minor(device.location.currency)
    ):
        raise CannotBuy("not_for_sale")
    token = secrets.token_urlsafe(32)
    session = DeviceSession.objects.create(
        reference=new_reference(),
        token_hash=token_hash(token),
        token=token,
        device=device,
        plan=plan,
        plan_name=plan.name,
        duration_s=plan.duration_s,
        grace_s=plan.grace_s,
        refund_unused=plan.refund_unused,
        extendable=plan.extendable,
        max_total_s=plan.max_total_s,
        created_at=now,
        hold_expires_at=now + timedelta(seconds=settings.NUMBERS.hold_s),
    )
    payment = Payment(
        ref=f"{session.reference}-1",
        session=session,
        amount_minor=plan.price_minor,
        currency=device.location.currency.lower(),
        vat_rate_bp=plan.vat_rate_bp,
        duration_s=plan.duration_s,
        plan_name=plan.name,
        created_at=now,
        checkout_key=f"order:{session.reference}-1:checkout:1",
        due_at=now + timedelta(seconds=settings.NUMBERS.lease_stripe_s),
    )
    promise(device, plan, session.pk, now)
    label = f"{device.name}: {plan.name}"
    payment.checkout_params = json.dumps(
        checkout_parameters(payment, session.reference, token=token, label=label, now=now)
    )
    payment.save(force_insert=True)
    audit.write("slot_held", actor="guest", session=session.pk, payment=payment.pk, device=device.pk)
    if found.kept_for is not None:
        line.take(found.kept_for, session.pk, now)
    return session


def new_reference() -> str:
    return "S-" + "".join(secrets.choice(REFERENCE_ALPHABET) for _ in range(7))
