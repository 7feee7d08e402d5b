"""Refunds made elsewhere (Stripe's own dashboard) become rows of ours, so that nothing is paid back twice."""

from __future__ import annotations

from django.db import transaction

from hygate import audit, clock
from sessions_app.models import Payment, Refund
from sessions_app.payments import refunds
from sessions_app.payments.gateway import RefundFacts
from sessions_app.payments.providers import gateway
from sessions_app.states import RefundStatus


def import_refunds(payment_id: int) -> int:
    """Read every refund of the order's PaymentIntent and write what is new; answers how many were unknown.

    Raises the gateway's named errors; nothing has changed then.
    """
    payment = Payment.objects.get(pk=payment_id)
    if payment.intent_id is None:
        return 0
    found = gateway().refunds_of(payment.intent_id)
    now, unknown, changed = clock.now(), 0, []
    with transaction.atomic():
        payment = Payment.objects.select_for_update().get(pk=payment_id)
        for ref, facts in found:
            row = _ours(payment, ref, facts)
            if row is None:
                row, unknown = _stranger(payment, facts), unknown + 1
            before = row.status
            if refunds.take_over(row, facts, now) != before:
                changed.append(row)
        refunds.recount(payment, now)
        for row in changed:
            refunds.tell(row)
    return unknown


def _ours(payment: Payment, ref: str, facts: RefundFacts) -> Refund | None:
    mine = Refund.objects.filter(payment=payment)
    known = mine.filter(stripe_id=facts.id).first()
    if known is None and ref.isdigit():
        known = mine.filter(pk=int(ref), stripe_id__isnull=True).first()
    return known


def _stranger(payment: Payment, facts: RefundFacts) -> Refund:
    audit.write(
        "refund_imported",
        session=payment.session_id,
        payment=payment.pk,
        amount_minor=facts.amount_minor,
        currency=payment.currency,
    )
    return Refund.objects.create(
        payment=payment,
        amount_minor=facts.amount_minor,
        reason="made at Stripe",
        made_by="stripe",
        status=RefundStatus.PENDING,
    )
