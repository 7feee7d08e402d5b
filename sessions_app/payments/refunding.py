"""Paying back: each Refund row is asked for with its own stored key until Stripe says that it succeeded."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import F

from hygate import audit, clock
from hygate.due import Claim, released, still_mine
from sessions_app.models import Payment, Refund
from sessions_app.payments.gateway import PaymentError, RefundFacts
from sessions_app.payments.providers import gateway
from sessions_app.payments.rules import back_off
from sessions_app.states import PaymentStatus, RefundStatus

KEY_LIVES_S = 23 * 3600
SETTLED = {"succeeded": RefundStatus.SUCCEEDED, "failed": RefundStatus.FAILED, "canceled": RefundStatus.FAILED}


def advance(claims: Sequence[Claim]) -> None:
    """The engine's entry for due refunds."""
    for refund in Refund.objects.select_related("payment").filter(still_mine(claims)):
        try:
            _write(refund, _ask(refund))
        except PaymentError as error:
            _later(refund, error)


def _ask(refund: Refund) -> RefundFacts:
    """Read a refund that Stripe knows; otherwise create it. An old key is only left after a look-up found nothing."""
    payment = refund.payment
    assert payment.intent_id is not None
    if refund.stripe_id:
        return gateway().read_refund(refund.stripe_id)
    now = clock.now()
    if refund.requested_at is not None and now - refund.requested_at > timedelta(seconds=KEY_LIVES_S):
        for ref, facts in gateway().refunds_of(payment.intent_id):
            if ref == str(refund.pk):
                return facts
        Refund.objects.filter(pk=refund.pk).update(key_number=F("key_number") + 1, requested_at=now)
        refund.refresh_from_db()
    Refund.objects.filter(pk=refund.pk, requested_at__isnull=True).update(
        requested_at=now, status=RefundStatus.REQUESTED
    )
    key = f"refund:{payment.ref}:{refund.pk}:{refund.key_number}"
    return gateway().refund(payment.intent_id, refund.amount_minor, ref=str(refund.pk), key=key)


def _write(refund: Refund, facts: RefundFacts) -> None:
    now = clock.now()
    status = SETTLED.get(facts.status, RefundStatus.PENDING)
    over = status in (RefundStatus.SUCCEEDED, RefundStatus.FAILED)
    again_at = None if over else now + timedelta(seconds=settings.NUMBERS.recon_s)
    with transaction.atomic():
        payment = Payment.objects.select_for_update().get(pk=refund.payment_id)
        moved = (
            Refund.objects.filter(pk=refund.pk)
            .exclude(status=RefundStatus.SUCCEEDED)
            .update(
                status=status,
                stripe_id=facts.id,
                closed_at=now if over else None,
                last_error="",
                attempts=0,
                **released(again_at),
            )
        )
        if moved and status == RefundStatus.SUCCEEDED:
            _paid_back(payment, refund)
        if moved and status != refund.status:
            audit.write(
                f"refund_{status}",
                session=payment.session_id,
                payment=payment.pk,
                amount_minor=refund.amount_minor,
                currency=payment.currency,
            )


def _paid_back(payment: Payment, refund: Refund) -> None:
    refunded = payment.refunded_minor + refund.amount_minor
    whole = refunded >= payment.captured_minor
    Payment.objects.filter(pk=payment.pk).update(
        refunded_minor=refunded, status=PaymentStatus.REFUNDED if whole else PaymentStatus.PARTIALLY_REFUNDED
    )


def _later(refund: Refund, error: PaymentError) -> None:
    at: datetime = clock.now() + timedelta(seconds=back_off(refund.attempts))
    Refund.objects.filter(pk=refund.pk, claim_token=refund.claim_token).update(
        attempts=F("attempts") + 1, last_error=error.name, **released(at)
    )
