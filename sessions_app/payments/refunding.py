"""Paying back: each Refund row is asked for with its own stored key until Stripe says that it succeeded."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import F

from hygate import clock
from hygate.due import Claim, released, still_mine
from sessions_app.models import Payment, Refund
from sessions_app.payments import alerts, importing, key_watch, refunds
from sessions_app.payments.gateway import PaymentError, ProviderFailed, RefundFacts, RequestRefused
from sessions_app.payments.providers import gateway
from sessions_app.payments.rules import back_off
from sessions_app.states import RefundStatus

FAILURES_PER_KEY = 2


def advance(claims: Sequence[Claim]) -> None:
    """The engine's entry for due refunds."""
    for refund in Refund.objects.select_related("payment").filter(still_mine(claims)):
        try:
            _write(refund, _ask(refund))
        except RequestRefused as error:
            _refused(refund, error)
        except PaymentError as error:
            _later(refund, error)


def _ask(refund: Refund) -> RefundFacts:
    """Read a refund that Stripe knows; otherwise create it. A key is only left after a look-up found nothing.

    A key is left when it is older than a day's keeping, or when Stripe failed under it and may have stored that.
    """
    payment = refund.payment
    assert payment.intent_id is not None
    if refund.stripe_id:
        return gateway().read_refund(refund.stripe_id)
    now = clock.now()
    key_lives = timedelta(seconds=settings.NUMBERS.stripe_key_lives_s)
    stale = refund.requested_at is not None and now - refund.requested_at > key_lives
    if stale or (refund.last_error == ProviderFailed.name and refund.attempts % FAILURES_PER_KEY == 0):
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


def _refused(refund: Refund, error: RequestRefused) -> None:
    """Stripe will not pay this back: perhaps somebody did so in its dashboard. Look, and go on from what is true.

    What shrank by the look is asked for anew; only what stays refused is a person's business.
    """
    asked_minor = refund.amount_minor
    importing.import_refunds(refund.payment_id)
    refund.refresh_from_db()
    if refund.status not in (RefundStatus.OWED, RefundStatus.REQUESTED):
        return
    _later(refund, error)
    if refund.amount_minor == asked_minor:
        alerts.refund_failed(refund)


def _write(refund: Refund, facts: RefundFacts) -> None:
    now = clock.now()
    with transaction.atomic():
        payment = Payment.objects.select_for_update().get(pk=refund.payment_id)
        refunds.take_over(refund, facts, now)
        refunds.recount(payment, now)
        refunds.tell(refund)


def _later(refund: Refund, error: PaymentError) -> None:
    at: datetime = clock.now() + timedelta(seconds=back_off(refund.attempts))
    Refund.objects.filter(pk=refund.pk, claim_token=refund.claim_token).update(
        attempts=F("attempts") + 1, last_error=error.name, **released(at)
    )
    key_watch.note(error)
