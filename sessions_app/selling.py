"""Selling: whether a device can be bought now, and keeping it for a guest who is about to pay."""

from __future__ import annotations

import hashlib
import json
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import IntegrityError, transaction

from devices.energy.headroom import headroom, lock_sites, promise
from devices.models import AccountStatus, Device, UsagePlan
from hygate import audit, clock, clock_watch
from hygate.models import SiteSettings
from hygate.trying_again import made_again
from sessions_app import money
from sessions_app.models import DeviceSession, Payment
from sessions_app.payments import key_watch
from sessions_app.payments.parameters import checkout_parameters
from sessions_app.states import LIVE

REFERENCE_ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"


class CannotBuy(Exception):
    """The device cannot be bought now; ``kind`` says why in one word, ``until`` when it may be again."""

    def __init__(self, kind: str, until: datetime | None = None) -> None:
        super().__init__(kind)
        self.kind, self.until = kind, until


@dataclass(frozen=True)
class Availability:
    """``free``, or why not: busy, maintenance, blocked, offline, clock, no_payment, no_power, not_for_sale, disabled.

    ``until``: when it may be free, if known.
    """

    kind: str
    until: datetime | None = None


def availability(device: Device, now: datetime) -> Availability:
    """Whether ``device`` can be bought at ``now``; the page and the sale ask the same question."""
    if not SiteSettings.current().devices_enabled:
        return Availability("disabled")
    live = device.sessions.filter(state__in=LIVE).first()
    if live is not None:
        return Availability("busy", live.ends_at)
    if device.maintenance_since is not None:
        return Availability("maintenance", device.maintenance_until)
    if device.blocked_since is not None:
        return Availability("blocked")
    if not device.active or device.vanished_at is not None:
        return Availability("not_for_sale")
    if not _reachable(device, now) or device.must_be_off_since is not None:
        return Availability("offline")
    if clock_watch.stops_starts():
        return Availability("clock")
    if key_watch.closes_sales():
        return Availability("no_payment")
    if not headroom(device, now).ok:
        return Availability("no_power")
    return Availability("free")


def _reachable(device: Device, now: datetime) -> bool:
    """Online by a reading that is young enough, on an account that answers."""
    if not device.online or device.account.status in (AccountStatus.BAD_KEY, AccountStatus.UNREACHABLE):
        return False
    oldest = now - timedelta(seconds=settings.NUMBERS.offline_after_s)
    return device.seen_at is not None and device.seen_at >= oldest


def token_hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def hold_slot(*, device: Device, plan: UsagePlan) -> DeviceSession:
    """Keep ``device`` for a guest who is about to pay: a held session and its pending order, in one transaction.

    The order stores its idempotency key and Checkout's exact parameters, so that any process can repeat the call.
    Raises ``CannotBuy``; the database's constraint decides between two guests at once.
    """

    def transact() -> DeviceSession:
        with transaction.atomic():
            lock_sites([device])
            locked = Device.objects.select_for_update(of=("self",)).select_related("location", "account")
            return _hold(locked.get(pk=device.pk), plan)

    try:
        return made_again(transact)
    except IntegrityError as error:
        raise CannotBuy("busy") from error


def _hold(device: Device, plan: UsagePlan) -> DeviceSession:
    now = clock.now()
    found = availability(device, now)
    if found.kind != "free":
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
    return session


def new_reference() -> str:
    return "S-" + "".join(secrets.choice(REFERENCE_ALPHABET) for _ in range(7))
