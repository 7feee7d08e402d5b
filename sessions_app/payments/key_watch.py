"""Whether Stripe takes our key. While it does not, nothing is sold: no payment page could be opened."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet

from hygate import clock
from sessions_app.models import Payment, Refund, StripeWatch
from sessions_app.payments import alerts
from sessions_app.payments.gateway import KeyRefused, PaymentError, RightMissing

TROUBLES = (KeyRefused.name, RightMissing.name)


def closes_sales() -> bool:
    """Whether the key is known to be refused, or to lack a right. What runs goes on; OFFs never ask this."""
    return refusals().exists()


def refusals() -> QuerySet[StripeWatch]:
    """The one row, while Stripe refuses our key: for who asks in a query of its own."""
    return StripeWatch.objects.filter(pk=1).exclude(key_status="")


def note(error: PaymentError) -> None:
    """Wherever a call failed: for the key's sake, sales close, a person is told, and the watch looks again soon."""
    if not isinstance(error, KeyRefused):
        return
    with transaction.atomic():
        StripeWatch.objects.filter(pk=1, key_status="").update(due_at=look_again_at(clock.now()))
        StripeWatch.objects.filter(pk=1).update(key_status=error.name)
        alerts.stripe_key_refused(right_missing=isinstance(error, RightMissing))


def look_again_at(now: datetime) -> datetime:
    return now + timedelta(seconds=settings.NUMBERS.recon_s)


def note_answer() -> None:
    """Stripe took the key for a reading. Sales open again when no call is left that was refused for a right.

    A reading cannot prove that we may write; the refused calls are repeated by their own rows until they succeed.
    """
    refused = Q(due_at__isnull=False, last_error__in=TROUBLES)
    if Payment.objects.filter(refused).exists() or Refund.objects.filter(refused).exists():
        return
    with transaction.atomic():
        StripeWatch.objects.filter(pk=1).exclude(key_status="").update(key_status="")
        alerts.stripe_answers()
