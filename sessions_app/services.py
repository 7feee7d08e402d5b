"""What guests and staff can do: each a transaction that checks the state, moves it, and says who did it.

Doing something when it is already over changes nothing and is no error: the answer says whether anything was done.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import IntegrityError, transaction

from devices.energy.headroom import headroom
from devices.models import AccountStatus, Device, UsagePlan
from devices.relays.commands import retry_now
from hygate import audit, clock
from hygate.due import wake
from hygate.models import SiteSettings
from sessions_app import money
from sessions_app.models import DeviceSession, Payment
from sessions_app.moves import POWERED, transition
from sessions_app.payments.checkout import parameters
from sessions_app.rules import Move
from sessions_app.states import LIVE, PaymentStatus, Reason, State

if TYPE_CHECKING:
    from hygate.models import User

REFERENCE_ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
BEFORE_POWER = (State.GRACE, State.WAITING_FOR_POWER, State.STARTING)


class CannotBuy(Exception):
    """The device cannot be bought now; ``kind`` says why in one word, ``until`` when it may be again."""

    def __init__(self, kind: str, until: datetime | None = None) -> None:
        super().__init__(kind)
        self.kind, self.until = kind, until


@dataclass(frozen=True)
class Availability:
    """``free``, or why not: busy, maintenance, offline, no_power, not_for_sale, disabled. ``until``: if known."""

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
    if not device.active or device.vanished_at is not None:
        return Availability("not_for_sale")
    if not _reachable(device, now) or device.must_be_off_since is not None:
        return Availability("offline")
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
    try:
        with transaction.atomic():
            locked = Device.objects.select_for_update(of=("self",)).select_related("location", "account")
            return _hold(locked.get(pk=device.pk), plan)
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
        reference=_reference(),
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
    label = f"{device.name}: {plan.name}"
    payment.checkout_params = json.dumps(parameters(session, payment, token=token, label=label, now=now))
    payment.save(force_insert=True)
    audit.write("slot_held", actor="guest", session=session.pk, payment=payment.pk, device=device.pk)
    return session


def _reference() -> str:
    return "S-" + "".join(secrets.choice(REFERENCE_ALPHABET) for _ in range(7))


def start_now(session: DeviceSession) -> bool:
    """The guest does not need the rest of the grace period."""

    def move(fresh: DeviceSession, now: datetime) -> bool:
        if fresh.state != State.GRACE:
            return False
        audit.write("start_now", actor="guest", session=fresh.pk, device=fresh.device_id)
        ok = headroom(fresh.device, now).ok
        return transition(fresh, Move(State.STARTING if ok else State.WAITING_FOR_POWER), now=now, by="guest")

    return _locked(session, move)


def cancel_by_guest(session: DeviceSession) -> bool:
    """Call the session off before power: nothing is charged. An ON on its way is followed by an OFF."""

    def move(fresh: DeviceSession, now: datetime) -> bool:
        if fresh.state == State.HELD:
            return _call_off_hold(fresh, now)
        if fresh.state not in BEFORE_POWER:
            return False
        return transition(fresh, Move(State.CANCELLED, Reason.STOPPED_BY_GUEST), now=now, by="guest")

    return _locked(session, move)


def _call_off_hold(session: DeviceSession, now: datetime) -> bool:
    """The hold ends now, but the slot is freed only when Stripe has confirmed that the checkout is expired."""
    if session.reason:
        return False
    DeviceSession.objects.filter(pk=session.pk, state=State.HELD).update(
        reason=Reason.STOPPED_BY_GUEST, hold_expires_at=now
    )
    audit.write("stop_requested", actor="guest", session=session.pk, device=session.device_id, reason="hold")
    for payment in session.payments.filter(status=PaymentStatus.PENDING):
        Payment.objects.filter(pk=payment.pk).update(due_at=now, claimed_until=None)
        wake(payment)
    return True


def stop_by_guest(session: DeviceSession) -> bool:
    """*Stop early*: OFF now, and back what the plan gives back."""

    def move(fresh: DeviceSession, now: datetime) -> bool:
        if fresh.state not in (State.RUNNING, State.PAUSED):
            return False
        audit.write("stop_requested", actor="guest", session=fresh.pk, device=fresh.device_id)
        return transition(fresh, Move(State.STOPPING, Reason.STOPPED_BY_GUEST), now=now, by="guest")

    return _locked(session, move) or cancel_by_guest(session)


def stop_by_staff(session: DeviceSession, user: User, reason: str) -> bool:
    """Staff ends a session: OFF and settlement; what was not delivered is given back."""

    def move(fresh: DeviceSession, now: datetime) -> bool:
        if fresh.state not in (*BEFORE_POWER, State.RUNNING, State.PAUSED):
            return False
        _staff_acted("stop_requested", fresh, user, reason)
        stops = fresh.state in (State.RUNNING, State.PAUSED)
        to = Move(State.STOPPING if stops else State.CANCELLED, Reason.STOPPED_BY_STAFF)
        return transition(fresh, to, now=now, by=actor(user))

    return _locked(session, move)


def force_end(session: DeviceSession, user: User, reason: str) -> bool:
    """Close the session whatever its relay says. The device's duty to be off goes on."""

    def move(fresh: DeviceSession, now: datetime) -> bool:
        if fresh.state not in LIVE or fresh.state == State.HELD:
            return False
        _staff_acted("force_end", fresh, user, reason)
        return transition(fresh, Move(State.CANCELLED, Reason.FORCE_ENDED), now=now, by=actor(user))

    return _locked(session, move)


def retry_activation(session: DeviceSession, user: User, reason: str) -> bool:
    """Send the ON again at once instead of waiting for its next round."""

    def move(fresh: DeviceSession, _now: datetime) -> bool:
        if fresh.state not in POWERED or not retry_now(fresh.device):
            return False
        _staff_acted("retry_activation", fresh, user, reason)
        return True

    return _locked(session, move)


def actor(user: User) -> str:
    """How the audit log names a person: no address, but traceable."""
    return f"user:{user.pk}"


def _staff_acted(kind: str, session: DeviceSession, user: User, reason: str) -> None:
    audit.write(kind, actor=actor(user), session=session.pk, device=session.device_id, reason=reason[:200])


def _locked(session: DeviceSession, move: Callable[[DeviceSession, datetime], bool]) -> bool:
    with transaction.atomic():
        fresh = (
            DeviceSession.objects.select_for_update(of=("self",))
            .select_related("device__location", "device__account")
            .get(pk=session.pk)
        )
        return move(fresh, clock.now())
