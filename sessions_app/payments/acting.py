"""What the money worker does with a due order: decide, call Stripe outside of any transaction, write the outcome."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import F, QuerySet

from hygate import audit, clock
from hygate.due import Claim, released, still_mine
from sessions_app.models import DeviceSession, Payment
from sessions_app.moves import transition
from sessions_app.payments import alerts, checkout, key_watch, settlement, settling
from sessions_app.payments.budget import reserve_read
from sessions_app.payments.gateway import (
    AmountTooSmall,
    Intent,
    PaymentError,
    ProviderFailed,
    RequestRefused,
    WrongState,
)
from sessions_app.payments.providers import gateway
from sessions_app.payments.rules import Act, back_off, next_act
from sessions_app.rules import Move
from sessions_app.states import PaymentStatus, Reason, State

log = structlog.get_logger(__name__)


def advance(claims: Sequence[Claim]) -> None:
    """The engine's entry for due orders."""
    for payment in Payment.objects.select_related("session").filter(still_mine(claims)):
        _advance_one(payment)


def _advance_one(payment: Payment) -> None:
    now = clock.now()
    session = payment.session
    then = next_act(
        payment,
        session_state=session.state,
        hold_expires_at=session.hold_expires_at,
        now=now,
        n=settings.NUMBERS,
    )
    if then.act is None:
        _mine(payment).update(**released(then.at))
        return
    try:
        ACTS[then.act](payment)
    except WrongState:
        _read_again(payment)
    except RequestRefused as error:
        _refused(payment, then.act, error)
    except PaymentError as error:
        if isinstance(error, ProviderFailed):
            checkout.leave_key(payment)
        _later(payment, error, now)
        key_watch.note(error)


def _mine(payment: Payment) -> QuerySet[Payment]:
    """The row, as long as our claim on it holds."""
    return Payment.objects.filter(pk=payment.pk, claim_token=payment.claim_token)


def _create(payment: Payment) -> None:
    checkout.create(payment)
    _mine(payment).update(**released(clock.now()), attempts=0, last_error="")


def _read(payment: Payment) -> None:
    """Settle. A guest who waits on the page is read for at once; the reconciler keeps within its budget."""
    if not payment.settled_by:
        later = reserve_read()
        if later is not None:
            _mine(payment).update(**released(later))
            return
    settling.settle(payment, by=payment.settled_by or "reconciler")


def _expire(payment: Payment) -> None:
    """Never free a slot before Stripe says expired; "not open" means that the guest has just paid."""
    assert payment.checkout_id is not None
    asked_at = clock.now()
    expired = gateway().expire_checkout(payment.checkout_id, key=f"order:{payment.ref}:expire:{payment.key_number}")
    settling.apply(payment, expired, by="reconciler", asked_at=asked_at)


def _capture(payment: Payment) -> None:
    assert payment.intent_id is not None
    amount = payment.amount_minor if payment.charge_minor is None else payment.charge_minor
    key = f"order:{payment.ref}:capture:{amount}:{payment.key_number}"
    try:
        intent = gateway().capture(payment.intent_id, amount, key=key)
    except AmountTooSmall:
        _cancel(payment)
        return
    _captured(payment, intent)


def _captured(payment: Payment, intent: Intent) -> None:
    now = clock.now()
    with transaction.atomic():
        DeviceSession.objects.select_for_update().get(pk=payment.session_id)
        fresh = Payment.objects.select_for_update().get(pk=payment.pk)
        if fresh.status != PaymentStatus.AUTHORIZED:
            return
        fresh.status, fresh.captured_minor = PaymentStatus.SUCCEEDED, intent.received_minor
        Payment.objects.filter(pk=fresh.pk).update(
            status=fresh.status,
            captured_minor=fresh.captured_minor,
            captured_at=now,
            attempts=0,
            last_error="",
            **released(None),
        )
        audit.write(
            "payment_captured",
            session=fresh.session_id,
            payment=fresh.pk,
            amount_minor=fresh.captured_minor,
            currency=fresh.currency,
        )
        settlement.owe_back(fresh, now, reason="unused")


def _cancel(payment: Payment) -> None:
    assert payment.intent_id is not None
    intent = gateway().cancel(payment.intent_id, key=f"order:{payment.ref}:cancel:{payment.key_number}")
    _voided(payment, intent)


def _voided(payment: Payment, intent: Intent) -> None:
    now = clock.now()
    with transaction.atomic():
        moved = Payment.objects.filter(pk=payment.pk, status=PaymentStatus.AUTHORIZED).update(
            status=PaymentStatus.VOIDED, closed_at=now, attempts=0, last_error="", **released(None)
        )
        if moved:
            audit.write(
                "payment_voided",
                session=payment.session_id,
                payment=payment.pk,
                amount_minor=intent.amount_minor,
                currency=payment.currency,
            )


def _read_again(payment: Payment) -> None:
    """Stripe says that the object is in another state than we thought: look, and write what is true."""
    if payment.status == PaymentStatus.PENDING or payment.intent_id is None:
        settling.settle(payment, by="reconciler")
        return
    intent = gateway().read_intent(payment.intent_id)
    if intent.status == "succeeded":
        _captured(payment, intent)
    elif intent.status == "canceled" and payment.charge_minor == 0:
        _voided(payment, intent)
    elif intent.status == "canceled":
        _capture_lost(payment, "canceled")
    else:
        _mine(payment).update(**released(clock.now() + timedelta(seconds=settings.NUMBERS.recon_s)))


def _refused(payment: Payment, act: Act, error: RequestRefused) -> None:
    """A call that can never succeed: a create frees the slot, a capture ends the session, the rest is looked at."""
    log.error("payment.refused", payment=payment.pk, act=act.value, code=error.code)
    if act == Act.CREATE:
        settling.refuse(payment, error)
    elif act == Act.CAPTURE:
        _capture_lost(payment, error.code or error.name)
    else:
        _later(payment, error, clock.now())


def _capture_lost(payment: Payment, why: str) -> None:
    """Rule 5: the hold is gone. The session ends with OFF; nothing is charged again."""
    now = clock.now()
    with transaction.atomic():
        session = (
            DeviceSession.objects.select_for_update(of=("self",))
            .select_related("device__location")
            .get(pk=payment.session_id)
        )
        moved = Payment.objects.filter(pk=payment.pk, status=PaymentStatus.AUTHORIZED).update(
            status=PaymentStatus.FAILED, failure=why[:80], charge_minor=0, closed_at=now, **released(None)
        )
        if not moved:
            return
        audit.write("capture_failed", session=session.pk, payment=payment.pk, error=why)
        if session.state in (State.RUNNING, State.PAUSED):
            transition(session, Move(State.STOPPING, Reason.PAYMENT_FAILED), now=now)
        alerts.capture_lost(payment)


def _later(payment: Payment, error: PaymentError, now: datetime) -> None:
    wait_s = back_off(payment.attempts)
    _mine(payment).update(
        attempts=F("attempts") + 1, last_error=error.name, **released(now + timedelta(seconds=wait_s))
    )


ACTS: dict[Act, Callable[[Payment], None]] = {
    Act.CREATE: _create,
    Act.READ: _read,
    Act.EXPIRE: _expire,
    Act.CAPTURE: _capture,
    Act.CANCEL: _cancel,
}
