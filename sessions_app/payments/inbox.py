"""The webhook inbox: one row for each event. What an event means is found by reading Stripe again.

A purchase tells of itself in four events or more, all at once. Those about an order that waits for its money have it
read right away, once for all of them; the rows are followed a moment later and find it done.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import structlog
from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Q

from hygate import audit, clock
from hygate.due import Claim, released, still_mine, wake
from hygate.each import update_each
from hygate.trying_again import made_again
from sessions_app.models import Payment, Refund, WebhookEvent
from sessions_app.payments import alerts, importing, keyring, lost_orders, settling
from sessions_app.payments.gateway import PaymentError
from sessions_app.payments.rules import back_off
from sessions_app.states import PaymentStatus

SOON_S = 2
"""Until the events of an order on its way are followed: mostly nothing is left to do then."""
OPEN = (PaymentStatus.PENDING, PaymentStatus.AUTHORIZED)
DISPUTED = "charge.dispute.created"
UNKNOWN = "unknown order"
ASKED = (
    "ref",
    "checkout_id",
    "intent_id",
    "status",
    "checked_at",
    "settled_by",
    "due_at",
    "claimed_until",
    "session_id",
)
"""What is looked at of an order for most events: the whole row takes longer to ask for than to read."""
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
        [order] = _orders_of([row])
        row.effect = _known_effect(row, order) or ""
        awaited = order if order is not None and order.status in OPEN and not _tells_of_refund(row) else None
        now = clock.now()
        row.handled_at = now if row.effect else None
        row.due_at = None if row.effect else now + timedelta(seconds=SOON_S if awaited else 0)
        with transaction.atomic():
            row.save(force_insert=True)
            if row.effect:
                return
            if awaited is None:
                wake(row)
            elif awaited.status == PaymentStatus.PENDING and awaited.checkout_id is not None:
                settling.look_now(awaited, by="webhook")

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
    """The engine's entry for received events: at first all those that need no look at Stripe, together.

    The others one by one, as long as the lease allows for another call; what is left is due again at once.
    """
    events = list(WebhookEvent.objects.filter(still_mine(claims)))
    known = {event: _known_effect(event, order) for event, order in zip(events, _orders_of(events), strict=True)}
    _handled({event.pk: effect for event, effect in known.items() if effect is not None})
    last_call_at = clock.elapsed() + settings.NUMBERS.lease_stripe_s - settings.NUMBERS.stripe_timeout_s
    for event in (event for event, effect in known.items() if effect is None):
        if clock.elapsed() > last_call_at:
            return
        try:
            _handled({event.pk: _follow(event)})
        except PaymentError as error:
            at = clock.now() + timedelta(seconds=back_off(event.attempts))
            WebhookEvent.objects.filter(pk=event.pk).update(
                attempts=event.attempts + 1, last_error=error.name, **released(at)
            )


def _handled(effects: Mapping[int, str]) -> None:
    done = {"handled_at": clock.now(), "last_error": "", **released(None)}
    update_each(WebhookEvent, {pk: done | {"effect": effect} for pk, effect in effects.items()})


def _is_of_our_mode(event: WebhookEvent) -> bool:
    return event.livemode == keyring.in_force().is_live


def _tells_of_refund(event: WebhookEvent) -> bool:
    return event.kind.startswith("refund.") or event.kind == "charge.refunded"


def _known_effect(event: WebhookEvent, order: Payment | None) -> str | None:
    """What becomes of an event that changes nothing; null where Stripe is to be asked, or more is to be written."""
    if not _is_of_our_mode(event):
        return "other mode"
    if order is None:
        return None if event.payment_ref and event.intent_id else UNKNOWN
    if _tells_of_refund(event) or event.kind == DISPUTED:
        return None
    if order.status not in OPEN:
        return "nothing to do"
    if order.checked_at is not None and order.checked_at >= event.received_at:
        return "read since"
    return None


def _follow(event: WebhookEvent) -> str:
    """Look the named order up and settle it; what cannot be matched is recorded and leaves it at that.

    What the event before it has found counts already.
    """
    [order] = _orders_of([event])
    known = _known_effect(event, order)
    if known is not None:
        return known
    if order is None:
        lost_orders.look_up(event.intent_id)
        return UNKNOWN
    if _tells_of_refund(event):
        return f"{importing.import_refunds(order.pk)} refunds imported"
    if event.kind == DISPUTED:
        return _disputed(order)
    said = settling.settle(order, by="webhook")
    return said.value if said else "no checkout yet"


def _orders_of(events: Sequence[WebhookEvent]) -> list[Payment | None]:
    """The order that each event is about, by whatever the event names: no two names of different kinds are alike."""
    names = [[name for name in (one.payment_ref, one.object_id, one.intent_id) if name] for one in events]
    every = {name for mine in names for name in mine}
    named = Payment.objects.filter(Q(ref__in=every) | Q(checkout_id__in=every) | Q(intent_id__in=every))
    orders = named.order_by().only(*ASKED)
    known = {name: one for one in orders for name in (one.ref, one.checkout_id, one.intent_id)}
    if any(map(_tells_of_refund, events)):
        refunds = Refund.objects.filter(stripe_id__in=every).select_related("payment")
        known |= {one.stripe_id: one.payment for one in refunds}
    return [next((known[name] for name in mine if name in known), None) for mine in names]


def _disputed(payment: Payment) -> str:
    with transaction.atomic():
        first = Payment.objects.filter(pk=payment.pk, disputed_at__isnull=True).update(disputed_at=clock.now())
        if first:
            audit.write("payment_disputed", session=payment.session_id, payment=payment.pk)
            alerts.disputed(payment)
    return "disputed"
