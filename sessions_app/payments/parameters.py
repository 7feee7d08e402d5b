"""What Stripe's Checkout is asked for: built once, stored with the order before the first call."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.utils.crypto import salted_hmac
from django.utils.translation import get_language

from sessions_app.models import Payment

MARK_LENGTH = 16
STRIPE_SPEAKS = ("en", "de", "fr", "it", "es", "nl")


def site_mark() -> str:
    """What tells this site's payments from those of others on the same Stripe account, a copy of this site included."""
    return salted_hmac("stripe-site", settings.BASE_URL, secret=settings.SECRET_KEY).hexdigest()[:MARK_LENGTH]


def checkout_parameters(payment: Payment, reference: str, *, token: str, label: str, now: datetime) -> dict[str, Any]:
    """Checkout's parameters for an order: cards are held, other methods taken at once."""
    link = f"{settings.BASE_URL}/session/{token}"
    metadata = {"order": payment.ref, "session": reference, "site": site_mark()}
    return {
        "mode": "payment",
        "ui_mode": "hosted_page",
        "submit_type": "pay",
        "locale": _locale(),
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
        "expires_at": _expires_at(now),
    }


def with_fresh_expiry(params: dict[str, Any], now: datetime) -> dict[str, Any]:
    """The same purchase for a call under a new key: only its expiry is counted anew."""
    return params | {"expires_at": _expires_at(now)}


def _locale() -> str:
    """The payment page goes on in the language of the page that led to it."""
    language = get_language() or ""
    return language if language in STRIPE_SPEAKS else "auto"


def _expires_at(now: datetime) -> int:
    return int((now + timedelta(seconds=settings.NUMBERS.checkout_expiry_s)).timestamp())
