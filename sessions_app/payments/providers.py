"""Which gateway is in force."""

from __future__ import annotations

from functools import cache

from sessions_app.payments.gateway import Gateway


@cache
def gateway() -> Gateway:
    """Stripe. Its library takes 30 MB and half a second to load: a process that moves no money does without."""
    from sessions_app.payments.stripe_gateway import StripeGateway

    return StripeGateway()
