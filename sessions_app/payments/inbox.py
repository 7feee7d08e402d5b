"""The webhook inbox: one row for each event. What an event means is found by reading Stripe again.

A purchase tells of itself in four events or more, all at once. Those about an order that waits for its money have it
read right away, once for all of them; the rows are followed a moment later and find it done.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import structlog
from django.db import IntegrityError, transaction
from django.db.models import Q

from hygate import audit, clock
from hygate.due import Claim, released, still_mine, wake
from hygate.trying_again import made_again
from sessions_app.models import Payment, WebhookEvent
from sessions_app.payments import alerts, importing, keyring, lost_orders, settling
from sessions_app.payments.gateway import PaymentError
from sessions_app.payments.rules import back_off
from sessions_app.states import PaymentStatus

SOON_S = 2
"""Until the events of an order on its way are followed: mostly nothing is left to do then."""
OPEN = (PaymentStatus.PENDING, PaymentStatus.AUTHORIZED)
log = structlog.get_logger(__name__)


def receive(event: dict[str, Any]) -> None:
    """One row for each event id; a second delivery changes nothing."""
    thing = _object_of(event)
    metadata = thing.get("metadata")
    row = WebhookEvent(
        event_id=event["id"][:120],
        kind=event["type"].removeprefix("v1.")[:80],
        livemode=bool(event.get("livemode")),
        object_id=_text(thing, "id"),
        intent_id=_text(thing, "payment_intent") or (_text(thing, "id") if _text(thing, "id")[:3] == "pi_" else ""),
        payment_ref=str(metadata.get("order", ""))[:40] if isinstance(metadata, dict) else "",
    )

    def transact() -> None:
        order = _open_order(row)
        row.due_at = clock.now() + timedelta(seconds=0 if order is None else SOON_S)
        with transaction.atomic():
            row.save(force_insert=True)
            if order is None:
                wake(row)
            elif order.status == PaymentStatus.PENDING and order.checkout_id is not None:
                settling.look_now(order, by="webhook")

    try:
        made_again(transact)
    except IntegrityError:
        log.info("webhook.repeated", event_id=row.event_id)


def _object_of(event: dict[str, Any]) -> dict[str, Any]:
    """The object of a snapshot event, or the related object of a thin one."""
    data = event.get("data")
    thing = data.get("object") if isinstance(data, dict) else event.get("related_object")
    return thing if isinstance(thing, dict) else {}


def _text(thing: dict[str, Any], name: str) -> str:
    value = thing.get(name)
    return value[:120] if isinstance(value, str) else ""


def advance(claims: Sequence[Claim]) -> None:
    """The engine's entry for received events."""
    for event in WebhookEvent.objects.filter(still_mine(claims)):
        try:
            effect = _follow(event)
        except PaymentError as error:
            at = clock.now() + timedelta(seconds=back_off(event.attempts))
            WebhookEvent.objects.filter(pk=event.pk).update(
                attempts=event.attempts + 1, last_error=error.name, **released(at)
            )
            continue
        WebhookEvent.objects.filter(pk=event.pk).update(
            handled_at=clock.now(), effect=effect, last_error="", **released(None)
        )


def _is_of_our_mode(event: WebhookEvent) -> bool:
    return event.livemode == keyring.in_force().is_live


def _tells_of_refund(event: WebhookEvent) -> bool:
    return event.kind.startswith("refund.") or event.kind == "charge.refunded"


def _open_order(event: WebhookEvent) -> Payment | None:
    """The order on its way that the event is about; null for events about refunds, which are followed at once."""
    if not _is_of_our_mode(event) or _tells_of_refund(event):
        return None
    payment = _payment_of(event)
    return payment if payment is not None and payment.status in OPEN else None


def _follow(event: WebhookEvent) -> str:
    """Look the named order up and settle it; what cannot be matched is recorded and leaves it at that."""
    if not _is_of_our_mode(event):
        return "other mode"
    payment = _payment_of(event)
    if payment is None:
        if event.payment_ref and event.intent_id:
            lost_orders.look_up(event.intent_id)
        return "unknown order"
    if _tells_of_refund(event):
        return f"{importing.import_refunds(payment.pk)} refunds imported"
    if event.kind == "charge.dispute.created":
        return _disputed(payment)
    if payment.status not in OPEN:
        return "nothing to do"
    if payment.checked_at is not None and payment.checked_at >= event.received_at:
        return "read since"
    said = settling.settle(payment, by="webhook")
    return said.value if said else "no checkout yet"


def _payment_of(event: WebhookEvent) -> Payment | None:
    wanted = Q(pk__in=[])
    if event.payment_ref:
        wanted |= Q(ref=event.payment_ref)
    if event.object_id:
        wanted |= Q(checkout_id=event.object_id) | Q(refunds__stripe_id=event.object_id)
    if event.intent_id:
        wanted |= Q(intent_id=event.intent_id)
    return Payment.objects.filter(wanted).first()


def _disputed(payment: Payment) -> str:
    with transaction.atomic():
        first = Payment.objects.filter(pk=payment.pk, disputed_at__isnull=True).update(disputed_at=clock.now())
        if first:
            audit.write("payment_disputed", session=payment.session_id, payment=payment.pk)
            alerts.disputed(payment)
    return "disputed"
