"""Opening Stripe's hosted Checkout for an order: the parameters are stored first, the call can be repeated."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction

from hygate import audit
from sessions_app.models import DeviceSession, Payment
from sessions_app.payments import settling
from sessions_app.payments.gateway import Checkout, PaymentError, RequestRefused
from sessions_app.payments.providers import gateway


class CheckoutUnavailable(Exception):
    """The payment page could not be opened; nothing was charged and the slot is still held."""


def parameters(session: DeviceSession, payment: Payment, *, token: str, label: str, now: datetime) -> dict[str, Any]:
    """Checkout's parameters for an order: cards are held, other methods taken at once."""
    link = f"{settings.BASE_URL}/session/{token}"
    metadata = {"order": payment.ref, "session": session.reference}
    return {
        "mode": "payment",
        "ui_mode": "hosted_page",
        "submit_type": "pay",
        "client_reference_id": payment.ref,
        "metadata": metadata,
        "payment_intent_data": {"metadata": metadata},
        "payment_method_options": {"card": {"capture_method": "manual"}},
        "line_items": [
            {
                "quantity": 1,
                "price_data": {
                    "currency": payment.currency,
                    "unit_amount": payment.amount_minor,
                    "product_data": {"name": label},
                },
            }
        ],
        "success_url": f"{link}/paid/",
        "cancel_url": f"{link}/back/",
        "expires_at": int((now + timedelta(seconds=settings.NUMBERS.checkout_expiry_s)).timestamp()),
    }


def open_checkout(payment: Payment) -> str:
    """The address of the order's hosted page, opened now if it was not yet. Raises ``CheckoutUnavailable``."""
    payment.refresh_from_db()
    if payment.checkout_id:
        return payment.checkout_url
    try:
        made = create(payment)
    except RequestRefused as error:
        settling.refuse(payment, error)
        raise CheckoutUnavailable(str(error)) from error
    except PaymentError as error:
        raise CheckoutUnavailable(str(error)) from error
    return made.url


def create(payment: Payment) -> Checkout:
    """Create the Checkout Session with the stored key and parameters, and remember it. May be repeated at will."""
    made = gateway().create_checkout(json.loads(payment.checkout_params), key=payment.checkout_key)
    with transaction.atomic():
        first = Payment.objects.filter(pk=payment.pk, checkout_id__isnull=True).update(
            checkout_id=made.id, checkout_url=made.url
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
