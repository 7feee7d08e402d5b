"""Money rule 6: an order that is funded after its slot was released starts after all, if the device is free."""

from __future__ import annotations

import secrets
from datetime import datetime

from django.db import IntegrityError, transaction

from devices.energy.headroom import lock_sites, promise
from hygate import audit
from sessions_app import selling
from sessions_app.models import DeviceSession, Payment
from sessions_app.moves import transition
from sessions_app.rules import Move
from sessions_app.states import Purpose, Reason, State


def start_late(payment: Payment, old: DeviceSession, now: datetime) -> bool:
    """Go on with ``payment`` in a new session, linked from the old one; false when that cannot be.

    Only where the hold ran out by itself: who called it off wants the money back.
    """
    if payment.purpose != Purpose.START or (old.state, old.reason) != (State.CANCELLED, Reason.HOLD_EXPIRED):
        return False
    lock_sites([old.device])
    if selling.availability(old.device, now).kind != "free":
        return False
    try:
        with transaction.atomic():
            new = _successor(old, now)
            promise(old.device, old.plan, new.pk, now)
    except IntegrityError:
        return False
    Payment.objects.filter(pk=payment.pk).update(session=new, charge_minor=None)
    payment.session, payment.charge_minor = new, None
    audit.write("late_payment_starts", session=new.pk, payment=payment.pk, device=new.device_id, before=old.reference)
    return transition(new, Move(State.GRACE), now=now)


def _successor(old: DeviceSession, now: datetime) -> DeviceSession:
    token = secrets.token_urlsafe(32)
    return DeviceSession.objects.create(
        reference=selling.new_reference(),
        token_hash=selling.token_hash(token),
        token=token,
        continues=old,
        device=old.device,
        plan=old.plan,
        plan_name=old.plan_name,
        duration_s=old.duration_s,
        grace_s=old.grace_s,
        refund_unused=old.refund_unused,
        extendable=old.extendable,
        max_total_s=old.max_total_s,
        created_at=now,
        hold_expires_at=now,
    )
