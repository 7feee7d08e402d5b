"""Comparing one PaymentIntent with our order: what differs, as a pure function, and what mends it."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

from django.db import transaction

from hygate.due import wake
from sessions_app.models import Payment
from sessions_app.payments import alerts, importing, lost_orders
from sessions_app.payments.gateway import Intent
from sessions_app.states import PaymentStatus

RECENT_S = 120


class Difference(StrEnum):
    """``UNSETTLED`` and ``REFUNDED_MORE`` mend themselves; the others are a person's business."""

    UNSETTLED = "unsettled"
    REFUNDED_MORE = "refunded_more"
    CAPTURED = "captured"
    KEPT_AFTER_VOID = "kept_after_void"


def difference(payment: Payment, intent: Intent) -> Difference | None:
    """What Stripe and we say differently about one order; null when the books agree."""
    if payment.status == PaymentStatus.PENDING:
        return Difference.UNSETTLED if intent.funded or intent.status == "canceled" else None
    if payment.status == PaymentStatus.AUTHORIZED:
        return None if intent.status == "requires_capture" else Difference.UNSETTLED
    if payment.status in (PaymentStatus.VOIDED, PaymentStatus.FAILED):
        return Difference.KEPT_AFTER_VOID if intent.funded and intent.refunded_minor < intent.received_minor else None
    if intent.received_minor != payment.captured_minor:
        return Difference.CAPTURED
    return Difference.REFUNDED_MORE if intent.refunded_minor > payment.refunded_minor else None


def compare_intent(intent: Intent, now: datetime) -> None:
    """Compare and mend. Intents of other software on the same Stripe account name no order of ours."""
    if not intent.order:
        return
    payment = Payment.objects.select_related("session").filter(ref=intent.order).first()
    if payment is None:
        lost_orders.found(intent, now)
        return
    if payment.created_at > now - timedelta(seconds=RECENT_S):
        Payment.objects.filter(pk=payment.pk).update(compared_at=now)
        return
    _mend(payment, intent, difference(payment, intent), now)
    Payment.objects.filter(pk=payment.pk).update(compared_at=now)


def _mend(payment: Payment, intent: Intent, found: Difference | None, now: datetime) -> None:
    if found == Difference.REFUNDED_MORE:
        importing.import_refunds(payment.pk)
        return
    with transaction.atomic():
        if found is None:
            alerts.money_agrees(payment)
        elif found == Difference.UNSETTLED:
            Payment.objects.filter(pk=payment.pk).update(due_at=now)
            wake(payment)
        elif found == Difference.CAPTURED:
            alerts.money_differs(
                payment, f"Stripe took {intent.received_minor}, our books say {payment.captured_minor} (minor units)."
            )
        else:
            alerts.money_differs(payment, "Stripe holds or took money for an order that is closed here.")
