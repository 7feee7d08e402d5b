"""Orders of ours that Stripe knows and we do not: paid since the backup that this database was restored from.

Nobody can start or settle them any more, so their money goes back by itself, and one alert tells a person. Only where
it is certain that the order is ours and was lost: it bears this site's mark, it is younger than a day, and the database
knows an older order (an empty database has lost everything, not just a day). The rest is told, and left to a person.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import structlog
from django.db import transaction

from hygate import audit, clock
from sessions_app.models import Payment
from sessions_app.payments import alerts
from sessions_app.payments.gateway import Intent, RequestRefused
from sessions_app.payments.parameters import site_mark
from sessions_app.payments.providers import gateway

GIVEN_BACK_FOR = timedelta(days=1)
log = structlog.get_logger(__name__)


def look_up(intent_id: str) -> None:
    """An event names an order that we do not know: read its PaymentIntent and see. Raises the gateway's errors."""
    intent = gateway().read_intent(intent_id)
    if not Payment.objects.filter(ref=intent.order).exists():
        found(intent, clock.now())


def found(intent: Intent, now: datetime) -> None:
    """``intent`` names an order that we do not know. Foreign ones and those without money are nobody's business."""
    if intent.site != site_mark() or not _holds_money(intent):
        return
    log.error("stripe.unknown_order", order=intent.order)
    if not _was_lost(intent, now):
        with transaction.atomic():
            audit.write("unknown_order_at_stripe", order=intent.order, amount_minor=intent.amount_minor)
            alerts.unknown_order_kept()
        return
    with transaction.atomic():
        audit.write("unknown_order_goes_back", order=intent.order, amount_minor=intent.amount_minor)
        alerts.unknown_order_returned()
    _give_back(intent)


def _holds_money(intent: Intent) -> bool:
    return intent.status == "requires_capture" or intent.received_minor > intent.refunded_minor


def _was_lost(intent: Intent, now: datetime) -> bool:
    is_young = intent.created_at is not None and intent.created_at > now - GIVEN_BACK_FOR
    return is_young and Payment.objects.filter(created_at__lt=intent.created_at).exists()


def _give_back(intent: Intent) -> None:
    """Let the hold go, or pay back the rest. A repetition meets the same key, or finds nothing left to give back."""
    try:
        if intent.status == "requires_capture":
            gateway().cancel(intent.id, key=f"lost:{intent.order}:cancel")
        else:
            rest = intent.received_minor - intent.refunded_minor
            key = f"lost:{intent.order}:refund:{intent.refunded_minor}"
            gateway().refund(intent.id, rest, ref=f"lost:{intent.order}", key=key)
    except RequestRefused as error:
        log.error("stripe.unknown_order_refused", order=intent.order, code=error.code or error.name)
        alerts.unknown_order_kept()
