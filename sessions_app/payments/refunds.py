"""The refund rows of an order, and what they add up to. Called inside a transaction that holds the order's row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from django.conf import settings

from hygate import audit
from hygate.due import released
from sessions_app.models import Payment, Refund
from sessions_app.payments import alerts
from sessions_app.payments.gateway import RefundFacts
from sessions_app.states import PaymentStatus, RefundStatus

SETTLED = {"succeeded": RefundStatus.SUCCEEDED, "failed": RefundStatus.FAILED, "canceled": RefundStatus.FAILED}
VOID = (RefundStatus.FAILED, RefundStatus.COVERED)
UNASKED = (RefundStatus.OWED, RefundStatus.REQUESTED)


def take_over(refund: Refund, facts: RefundFacts, now: datetime) -> RefundStatus:
    """Write what Stripe says of one refund. A refund that succeeded may still fail later: banks send money back."""
    status = SETTLED.get(facts.status, RefundStatus.PENDING)
    over = status in (RefundStatus.SUCCEEDED, RefundStatus.FAILED)
    again_at = None if over else now + timedelta(seconds=settings.NUMBERS.recon_s)
    before = Refund.objects.select_for_update().get(pk=refund.pk)
    Refund.objects.filter(pk=refund.pk).update(
        status=status,
        stripe_id=facts.id,
        closed_at=now if over else None,
        last_error="",
        attempts=0,
        **released(again_at),
    )
    if status != before.status:
        payment = before.payment
        audit.write(
            f"refund_{status}",
            session=payment.session_id,
            payment=payment.pk,
            amount_minor=before.amount_minor,
            currency=payment.currency,
        )
    refund.status, refund.stripe_id = status, facts.id
    return status


def tell(refund: Refund) -> None:
    """After ``recount``: a person hears of a refund that failed, and that one they heard of has gone through."""
    if refund.status == RefundStatus.FAILED:
        alerts.refund_failed(refund)
    elif refund.status == RefundStatus.SUCCEEDED:
        alerts.refund_made_good(refund)


def recount(payment: Payment, now: datetime) -> None:
    """The one place that sums up: what is promised, what has gone back, and the order's status that follows.

    A refund made in Stripe's own dashboard comes first: what is still only owed by us shrinks by what it covers.
    """
    rows = list(Refund.objects.select_for_update().filter(payment=payment).order_by("-id"))
    promised = sum(row.amount_minor for row in rows if row.status not in VOID)
    for row in rows:
        over = promised - payment.captured_minor
        if over <= 0:
            break
        if row.status in UNASKED and row.stripe_id is None:
            promised -= _shrink(row, over, now)
    refunded = sum(row.amount_minor for row in rows if row.status == RefundStatus.SUCCEEDED)
    payment.refund_promised_minor, payment.refunded_minor = promised, refunded
    payment.status = _status(payment)
    Payment.objects.filter(pk=payment.pk).update(
        refund_promised_minor=promised, refunded_minor=refunded, status=payment.status
    )
    for row in _made_good(rows):
        alerts.refund_made_good(row)


def _made_good(rows: Sequence[Refund]) -> Iterator[Refund]:
    """Failed refunds whose amount went back by later ones: nothing is left to do about them."""
    for failed in rows:
        if failed.status == RefundStatus.FAILED:
            later = (row for row in rows if row.pk > failed.pk and row.status == RefundStatus.SUCCEEDED)
            if sum(row.amount_minor for row in later) >= failed.amount_minor:
                yield failed


def _shrink(row: Refund, over: int, now: datetime) -> int:
    """Take up to ``over`` off a refund that was not asked for yet; answers how much."""
    if over >= row.amount_minor:
        row.status = RefundStatus.COVERED
        Refund.objects.filter(pk=row.pk).update(status=row.status, closed_at=now, **released(None))
        return row.amount_minor
    row.amount_minor -= over
    Refund.objects.filter(pk=row.pk).update(amount_minor=row.amount_minor, key_number=row.key_number + 1)
    return over


def _status(payment: Payment) -> str:
    if payment.status not in (PaymentStatus.SUCCEEDED, PaymentStatus.PARTIALLY_REFUNDED, PaymentStatus.REFUNDED):
        return payment.status
    if payment.captured_minor and payment.refunded_minor >= payment.captured_minor:
        return PaymentStatus.REFUNDED
    return PaymentStatus.PARTIALLY_REFUNDED if payment.refunded_minor else PaymentStatus.SUCCEEDED
