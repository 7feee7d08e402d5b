"""``settle()``: bring an order into line with what Stripe says. Safe to call many times and at the same time.

The webhook inbox, the guest's success page and the reconciler all end here. Stripe is read outside of any lock; what
the reading means is decided by a pure function; the move is a compare-and-set.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import Case, F, Value, When

from hygate import audit, clock
from hygate.due import wake
from sessions_app.models import DeviceSession, Payment
from sessions_app.moves import transition
from sessions_app.payments import alerts, continuing, extensions, settlement
from sessions_app.payments.gateway import Checkout, Intent, RequestRefused
from sessions_app.payments.providers import gateway
from sessions_app.payments.rules import Verdict, verdict
from sessions_app.rules import Move
from sessions_app.states import PaymentStatus, Purpose, Reason, State

log = structlog.get_logger(__name__)


def nudge(session: DeviceSession) -> None:
    """The guest came back from Checkout: have the money worker look at the order now. A hint, never a proof."""
    with transaction.atomic():
        for payment in session.payments.filter(status=PaymentStatus.PENDING, checkout_id__isnull=False):
            look_now(payment, by="page")


def look_now(payment: Payment, *, by: str) -> None:
    """Have the money worker read a pending order. However many ask at once, one reading answers all of them: the row
    has one holder, and whoever asks while that one reads is answered by the next.

    That the guest has come back ("page") is remembered before all else: the page says so, and asks more often.
    A purchase tells of itself in four events at once: while the row waits for its reading, they add nothing to it.
    """
    if payment.settled_by in (by, "page") and _waits_to_be_read(payment):
        return
    first = Case(When(settled_by="", then=Value(by)), default=F("settled_by"))
    Payment.objects.filter(pk=payment.pk, status=PaymentStatus.PENDING).update(
        due_at=clock.now(), settled_by=by if by == "page" else first
    )
    if not _is_held(payment):  # nobody else could take it; mostly its holder reads what this one wanted to be read
        wake(payment)


def _waits_to_be_read(payment: Payment) -> bool:
    """Due and in nobody's hands when it was loaded: Stripe is read later than that."""
    return payment.due_at is not None and payment.due_at <= clock.now() and not _is_held(payment)


def _is_held(payment: Payment) -> bool:
    return payment.claimed_until is not None and payment.claimed_until >= clock.now()


def settle(order: Payment, *, by: str) -> Verdict | None:
    """Read the order's Checkout Session and act on it; answers the verdict, null when there is none to read.

    Of ``order`` only what never changes again is used. Raises the gateway's named errors; nothing has changed then.
    """
    if order.checkout_id is None:
        return None
    asked_at = clock.now()
    return apply(order, gateway().read_checkout(order.checkout_id), by=by, asked_at=asked_at)


def apply(order: Payment, checkout: Checkout, *, by: str, asked_at: datetime) -> Verdict:
    """Write what a reading of Stripe means for the order and its session, in one transaction.

    Who asked for a look after ``asked_at`` still gets it: a reading that was under way then may have missed the news.
    """
    now = clock.now()
    with transaction.atomic():
        session = (
            DeviceSession.objects.select_for_update(of=("self",))
            .select_related("device__location")
            .get(pk=order.session_id)
        )
        payment = Payment.objects.select_for_update().get(pk=order.pk)
        said = verdict(payment, checkout)
        Payment.objects.filter(pk=payment.pk).update(checked_at=asked_at, last_error="")
        if payment.status == PaymentStatus.PENDING:
            _settle_pending(payment, session, checkout, said, now, by=by, asked_at=asked_at)
        elif payment.status == PaymentStatus.AUTHORIZED and said == Verdict.CANCELED:
            _hold_lost(payment, session, now)
        elif payment.status == PaymentStatus.AUTHORIZED and not payment.is_decided:
            _look_again(payment, _next_look(now), asked_at)
    return said


def _settle_pending(
    payment: Payment,
    session: DeviceSession,
    checkout: Checkout,
    said: Verdict,
    now: datetime,
    *,
    by: str,
    asked_at: datetime,
) -> None:
    if said == Verdict.FUNDED and checkout.intent is not None:
        _funded(payment, session, checkout.intent, now, by=by)
    elif said == Verdict.MISMATCH and checkout.intent is not None:
        _mismatch(payment, session, checkout.intent, now, by=by)
    elif said in (Verdict.EXPIRED, Verdict.CANCELED, Verdict.FAILED):
        _unfunded(payment, session, said, now)
    else:
        _wait_for_money(payment, session, said, now, asked_at)


def _look_again(payment: Payment, at: datetime, asked_at: datetime) -> None:
    nudged = payment.due_at is not None and payment.due_at > asked_at
    Payment.objects.filter(pk=payment.pk).update(due_at=min(payment.due_at, at) if nudged and payment.due_at else at)


def _wait_for_money(payment: Payment, session: DeviceSession, said: Verdict, now: datetime, asked_at: datetime) -> None:
    """Nothing decided yet. A bank that takes longer than the hold does not keep the device for it."""
    ends_at = _hold_ends_at(payment, session)
    over = ends_at <= now
    due = _next_look(now) if over else min(_next_look(now), ends_at)
    if over and said == Verdict.PROCESSING and session.state == State.HELD:
        transition(session, Move(State.CANCELLED, Reason(session.reason or Reason.HOLD_EXPIRED)), now=now)
    _look_again(payment, due, asked_at)


def _hold_ends_at(payment: Payment, session: DeviceSession) -> datetime:
    """Until when an order may be paid, as long as nothing else ends it."""
    if payment.purpose == Purpose.START:
        return session.hold_expires_at
    return payment.created_at + timedelta(seconds=settings.NUMBERS.hold_s)


def _next_look(now: datetime) -> datetime:
    return now + timedelta(seconds=settings.NUMBERS.recon_s)


def _funded(payment: Payment, session: DeviceSession, intent: Intent, now: datetime, *, by: str) -> None:
    """The money is held or taken. The slot that was kept for it starts its grace; a slot long gone gives it back.

    An extension makes its session longer, or it came too late and goes back whole.
    """
    _remember_money(payment, intent, now, by=by)
    if payment.purpose == Purpose.EXTENSION and extensions.apply(payment, session, now):
        return
    if session.state == State.HELD and payment.purpose == Purpose.START:
        wanted = not session.reason
        transition(session, Move(State.GRACE) if wanted else Move(State.CANCELLED, Reason(session.reason)), now=now)
        return
    if continuing.start_late(payment, session, now):
        return
    Payment.objects.filter(pk=payment.pk, status=PaymentStatus.AUTHORIZED).update(due_at=now)
    if payment.charge_minor is None:
        settlement.settle_order(payment, 0, now, session=session, by=by)
    else:
        settlement.owe_back(payment, now, reason="late_payment")


def _remember_money(payment: Payment, intent: Intent, now: datetime, *, by: str) -> None:
    taken = intent.status == "succeeded"
    payment.status = PaymentStatus.SUCCEEDED if taken else PaymentStatus.AUTHORIZED
    payment.captured_minor = intent.received_minor if taken else 0
    Payment.objects.filter(pk=payment.pk).update(
        status=payment.status,
        intent_id=intent.id,
        method=intent.method[:40],
        method_detail=intent.method_detail[:60],
        settled_by=by,
        authorized_at=now,
        capture_before=intent.capture_before,
        captured_minor=payment.captured_minor,
        captured_at=now if taken else None,
        due_at=None if taken else _next_look(now),
        last_error="",
        attempts=0,
    )
    audit.write(
        "payment_succeeded" if taken else "payment_authorized",
        session=payment.session_id,
        payment=payment.pk,
        amount_minor=intent.amount_minor,
        currency=intent.currency,
        by=by,
        method=intent.method,
    )


def _mismatch(payment: Payment, session: DeviceSession, intent: Intent, now: datetime, *, by: str) -> None:
    """Amount, currency or order are not what was sold: never a start; whatever was given goes back."""
    log.error("payment.mismatch", payment=payment.pk)
    alerts.mismatch(payment)
    Payment.objects.filter(pk=payment.pk).update(
        # what came in, even if more than was asked for: all of it must be able to go back
        amount_minor=max(payment.amount_minor, intent.received_minor),
        status=PaymentStatus.SUCCEEDED if intent.status == "succeeded" else PaymentStatus.AUTHORIZED,
        intent_id=intent.id,
        method=intent.method[:40],
        method_detail=intent.method_detail[:60],
        captured_minor=intent.received_minor,
        failure="mismatch",
        settled_by=by,
        authorized_at=now,
        due_at=now,
    )
    payment.refresh_from_db()
    audit.write("payment_mismatch", session=session.pk, payment=payment.pk, amount_minor=intent.amount_minor)
    if session.state == State.HELD:
        transition(session, Move(State.CANCELLED, Reason.PAYMENT_FAILED), now=now)
    else:
        settlement.settle_order(payment, 0, now, session=session, by=by)


def _unfunded(payment: Payment, session: DeviceSession, said: Verdict, now: datetime) -> None:
    """Stripe says that no money will come: only now the slot goes free."""
    called_off = session.state == State.CANCELLED or bool(session.reason) or payment.charge_minor == 0
    Payment.objects.filter(pk=payment.pk).update(
        status=PaymentStatus.VOIDED if called_off else PaymentStatus.FAILED,
        failure=said.value,
        due_at=None,
        closed_at=now,
        captured_minor=0,
    )
    audit.write("payment_failed", session=session.pk, payment=payment.pk, reason=said.value)
    if session.state == State.HELD:
        transition(session, Move(State.CANCELLED, Reason(session.reason or Reason.HOLD_EXPIRED)), now=now)


def _hold_lost(payment: Payment, session: DeviceSession, now: datetime) -> None:
    """The bank or someone at Stripe cancelled the hold before it was captured: the session ends, nothing is charged.

    What was already delivered is a loss, and a person is told of it.
    """
    lost = payment.capture_wanted_at is not None and payment.charge_minor != 0
    Payment.objects.filter(pk=payment.pk).update(
        status=PaymentStatus.VOIDED, failure="canceled", charge_minor=0, due_at=None, closed_at=now
    )
    audit.write("payment_voided", session=session.pk, payment=payment.pk, reason="canceled at the bank")
    if extensions.is_unwanted(payment):
        return  # our own cancel of what came too late, seen from Stripe's side
    if session.is_live and session.state not in (State.HELD, State.STOPPING):
        stops = session.state in (State.RUNNING, State.PAUSED)
        transition(session, Move(State.STOPPING if stops else State.CANCELLED, Reason.PAYMENT_FAILED), now=now)
    if lost:
        alerts.capture_lost(payment)


def refuse(payment: Payment, error: RequestRefused) -> None:
    """Stripe will never accept these parameters: nothing was taken, so the slot goes free at once."""
    now = clock.now()
    with transaction.atomic():
        session = DeviceSession.objects.select_for_update().get(pk=payment.session_id)
        Payment.objects.filter(pk=payment.pk, status=PaymentStatus.PENDING).update(
            status=PaymentStatus.FAILED, failure=error.code[:80] or error.name, due_at=None, closed_at=now
        )
        audit.write("payment_failed", session=session.pk, payment=payment.pk, error=error.code or error.name)
        if session.state == State.HELD:
            transition(session, Move(State.CANCELLED, Reason.PAYMENT_FAILED), now=now)
