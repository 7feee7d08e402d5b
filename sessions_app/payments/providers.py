"""Which gateway is in force: Stripe, or what a test put in its place."""

from __future__ import annotations

from sessions_app.payments.gateway import Gateway
from sessions_app.payments.stripe_gateway import StripeGateway

_gateway: Gateway = StripeGateway()


def gateway() -> Gateway:
    return _gateway
