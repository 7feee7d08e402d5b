"""Opening Stripe's hosted Checkout for an order: the parameters are stored first, the call can be repeated."""

from __future__ import annotations

import json
import threading
from datetime import timedelta

from django.conf import settings
from django.db import transaction

from hygate import audit, clock
from sessions_app.models import Payment
from sessions_app.payments import key_watch, settling
from sessions_app.payments.gateway import Checkout, PaymentError, ProviderFailed, RequestRefused
from sessions_app.payments.parameters import with_fresh_expiry
from sessions_app.payments.providers import gateway

MOST_AT_ONCE = 4
"""Of a web process's eight threads, so many may wait for Stripe: the others go on showing pages when it is slow."""
_places = threading.BoundedSemaphore(MOST_AT_ONCE)


class CheckoutUnavailable(Exception):
    """The payment page could not be opened; nothing was charged and the slot is still held."""


def open_checkout(payment: Payment) -> str:
    """The address of the order's hosted page, opened now if it was not yet. Raises ``CheckoutUnavailable``."""
    payment.refresh_from_db()
    if payment.checkout_id:
        return payment.checkout_url
    if not _places.acquire(blocking=False):
        raise CheckoutUnavailable("too many guests wait for Stripe")
    try:
        made = create(payment)
    except RequestRefused as error:
        settling.refuse(payment, error)
        raise CheckoutUnavailable(str(error)) from error
    except PaymentError as error:
        if isinstance(error, ProviderFailed):
            leave_key(payment)
        Payment.objects.filter(pk=payment.pk, checkout_id__isnull=True).update(last_error=error.name)
        key_watch.note(error)
        raise CheckoutUnavailable(str(error)) from error
    finally:
        _places.release()
    return made.url


def leave_key(payment: Payment) -> None:
    """Stripe failed under this order's key and may answer that failure for a day: the next call takes a new one.

    Safe for a create, because nobody was ever given the address of what the failed call may have made; safe for a
    capture or cancel, because Stripe refuses a second one.
    """
    number = payment.key_number + 1
    fresh = Payment.objects.get(pk=payment.pk)
    fresh.key_number = number
    if fresh.checkout_id is None:
        fresh.checkout_key = f"order:{fresh.ref}:checkout:{number}"
        fresh.checkout_params = json.dumps(with_fresh_expiry(json.loads(fresh.checkout_params), clock.now()))
    fresh.save(update_fields=["key_number", "checkout_key", "checkout_params"])


def create(payment: Payment) -> Checkout:
    """Create the Checkout Session with the stored key and parameters, and remember it. May be repeated at will.

    From now on there is something to read: the reconciler's first look is one period away, not the lease of this call.
    """
    made = gateway().create_checkout(json.loads(payment.checkout_params), key=payment.checkout_key)
    first_look = clock.now() + timedelta(seconds=settings.NUMBERS.recon_s)
    with transaction.atomic():
        first = Payment.objects.filter(pk=payment.pk, checkout_id__isnull=True).update(
            checkout_id=made.id, checkout_url=made.url, due_at=first_look, last_error=""
        )
        if first:
            audit.write(
                "checkout_opened",
                session=payment.session_id,
                payment=payment.pk,
                amount_minor=payment.amount_minor,
                currency=payment.currency,
            )
    payment.checkout_id, payment.checkout_url = made.id, made.url
    return made
