"""Events: the snapshot that API v1 sends, and the thin notification that only points at the object."""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any

from hygate.simulators.stripe.books import Json, new_id, public
from hygate.simulators.stripe.errors import invalid_parameter

API_VERSION = "2026-10-28.endive"
KEPT_S = 30 * 24 * 3600
URLS = {
    "checkout.session": "/v1/checkout/sessions/", "payment_intent": "/v1/payment_intents/", "charge": "/v1/charges/",
    "refund": "/v1/refunds/", "dispute": "/v1/disputes/",
}  # fmt: skip


def event_object(kind: str, thing: Json, *, now: int, request: Json) -> Json:
    return {
        "id": new_id("evt"),
        "object": "event",
        "account": None,
        "api_version": API_VERSION,
        "created": now,
        "data": {"object": public(thing)},
        "livemode": False,
        "pending_webhooks": 0,
        "request": request,
        "type": kind,
    }


def thin_event_object(event: Json) -> Json:
    """The v2 notification of the same event: an id of its own, and the object's address only."""
    thing = event["data"]["object"]
    created = datetime.fromtimestamp(event["created"], UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    return {
        "id": new_id("evt_test"),
        "object": "v2.core.event",
        "type": f"v1.{event['type']}",
        "context": None,
        "created": created,
        "livemode": False,
        "reason": None,
        "related_object": {"id": thing["id"], "type": thing["object"], "url": URLS[thing["object"]] + thing["id"]},
        "snapshot_event": event["id"],
    }


def signature(payload: bytes, secrets: list[str], timestamp: int) -> str:
    """``t=…,v1=…`` with one ``v1`` per secret in force, newest first."""
    signed = str(timestamp).encode() + b"." + payload
    digests = [hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest() for secret in secrets]
    return ",".join([f"t={timestamp}", *(f"v1={digest}" for digest in digests)])


def selected(events: list[Json], params: Json) -> list[Json]:
    """The events that a list request asks for."""
    if "type" in params and "types" in params:
        raise invalid_parameter("You may pass either `type` or `types`, but not both.", "types")
    wanted = params.get("types") or ([params["type"]] if "type" in params else ["*"])
    return [
        event
        for event in events
        if any(fnmatchcase(event["type"], pattern) for pattern in wanted)
        and created_within(event["created"], params.get("created"))
        and params.get("delivery_success") in (None, event["pending_webhooks"] == 0)
    ]


def created_within(created: int, limits: Any) -> bool:
    if limits is None:
        return True
    if isinstance(limits, int):
        return created == limits
    tests = {"gt": created.__gt__, "gte": created.__ge__, "lt": created.__lt__, "lte": created.__le__}
    return all(tests[name](int(limit)) for name, limit in limits.items())
