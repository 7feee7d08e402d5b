"""Webhooks posted by hand: genuine, forged, late or about nothing, as Stripe or somebody else would send them."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Any

from hygate.simulators.stripe.books import new_id, public
from hygate.simulators.stripe.events import event_object, signature
from tests import loopback
from tests.faults.row import Row, Sale

SECRET = "whsec_demo"
COMPLETED = "checkout.session.completed"


def told(row: Row, sale: Sale, kind: str, *, created: float | None = None, **more: Any) -> bytes:
    """The body of an event about this sale's Checkout Session as it is at Stripe now."""
    session = row.stack.stripe_server.call(lambda: public(row.stack.stripe.books.sessions[sale.checkout]))
    return body_of(kind, session, created=created, **more)


def body_of(kind: str, thing: dict[str, Any], *, created: float | None = None, **more: Any) -> bytes:
    """An event of ``kind`` about ``thing``; ``more`` replaces fields of the event itself."""
    now = int(time.time() if created is None else created)
    event = event_object(kind, thing, now=now, request={"id": None, "idempotency_key": None})
    return json.dumps(event | more).encode()


def nobodys(**fields: Any) -> dict[str, Any]:
    """A Checkout Session that is not ours."""
    return {"id": new_id("cs_test"), "object": "checkout.session", "metadata": {}} | fields


def header_of(body: bytes, *secrets: str, at: float | None = None) -> str:
    """``Stripe-Signature`` over ``body``, one ``v1`` for each secret; ``at`` is the time stamp."""
    return signature(body, list(secrets) or [SECRET], int(time.time() if at is None else at))


def post(row: Row, body: bytes, header: str | None) -> int:
    """Deliver to the product's endpoint; answers the status."""
    headers = {"Content-Type": "application/json"} | ({} if header is None else {"Stripe-Signature": header})
    return loopback.post(
        f"{row.stack.base_url}/api/stripe/webhook", content=body, headers=headers, timeout=20
    ).status_code


def inbox(row: Row, sale: Sale) -> list[tuple[str, str, str]]:
    """What our inbox holds about this order: (event id, kind, effect)."""
    return [
        (str(event), str(kind), str(effect))
        for event, kind, effect in row.stack.sql(
            "SELECT event_id, kind, effect FROM sessions_app_webhookevent WHERE payment_ref = %s OR object_id = %s"
            " ORDER BY id",
            sale.ref,
            sale.checkout,
        )
    ]


def deliveries(row: Row, sale: Sale) -> list[dict[str, Any]]:
    """Every delivery of the simulator that was about this order, with its attempts."""

    def look() -> list[dict[str, Any]]:
        events = row.stack.stripe.books.events
        return [dict(one) for one in row.stack.stripe.webhooks.report()["deliveries"] if _is_about(events, one, sale)]

    return row.stack.stripe_server.call(look)


def _is_about(events: dict[str, Any], delivery: dict[str, Any], sale: Sale) -> bool:
    thing = events.get(delivery["event"], {}).get("data", {}).get("object", {})
    return bool((thing.get("metadata") or {}).get("order") == sale.ref)


def together(*acts: Callable[[], object]) -> None:
    """All of it at the same moment, each on a thread of its own; the first error is raised."""
    barrier, errors = threading.Barrier(len(acts)), []

    def run(act: Callable[[], object]) -> None:
        barrier.wait(10)
        try:
            act()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    if errors:
        raise errors[0]
