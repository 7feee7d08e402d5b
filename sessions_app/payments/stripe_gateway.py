"""Stripe behind the gateway protocol: the only file that imports ``stripe``."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

import stripe
from django.conf import settings

from hygate import clock, clock_witness
from sessions_app.payments import gateway as g
from sessions_app.payments import keyring

T = TypeVar("T")
SIGNATURE_TOLERANCE_S = 300
BRANDS = {
    "amex": "American Express",
    "diners": "Diners Club",
    "discover": "Discover",
    "eftpos_au": "Eftpos",
    "jcb": "JCB",
    "mastercard": "Mastercard",
    "unionpay": "UnionPay",
    "visa": "Visa",
    "unknown": "Card",
    "ideal": "iDEAL",
    "paypal": "PayPal",
    "sepa_debit": "SEPA debit",
}
"""Names that capital letters alone do not make."""
_client: stripe.StripeClient | None = None
_client_for: tuple[str, str] | None = None
_http: stripe.RequestsClient | None = None
_lock = threading.Lock()


class DatedClient(stripe.RequestsClient):
    """The SDK's client, which also notes what time it is at Stripe."""

    def request(self, *args: Any, **kwargs: Any) -> Any:
        content, status, headers = super().request(*args, **kwargs)
        clock_witness.saw("stripe", headers.get("Date"))
        return content, status, headers


class ForgedWebhook(Exception):
    """A webhook whose signature, age or body is not Stripe's."""


def client() -> stripe.StripeClient:
    """One client per process, made anew when the key or the address changes."""
    global _client, _client_for, _http
    wanted = (keyring.in_force().key, settings.STRIPE_API_BASE)
    with _lock:
        if _client is None or _client_for != wanted:
            if _http is not None:
                _http.close()  # type: ignore[no-untyped-call]
            _client, _http = _client_with(wanted[0])
            _client_for = wanted
        return _client


def _client_with(key: str) -> tuple[stripe.StripeClient, DatedClient]:
    http = DatedClient(timeout=(settings.NUMBERS.stripe_connect_s, settings.NUMBERS.stripe_timeout_s))
    addresses: Any = {"api": settings.STRIPE_API_BASE} if settings.STRIPE_API_BASE else {}
    return stripe.StripeClient(key, base_addresses=addresses, max_network_retries=0, http_client=http), http


def _named(work: Callable[[], T]) -> T:
    """Run ``work`` and turn the SDK's errors into ours; bodies are kept out, codes are enough."""
    try:
        return work()
    except stripe.AuthenticationError as error:
        raise g.KeyRefused(f"Stripe refused the key ({error.http_status})") from error
    except stripe.PermissionError as error:
        raise g.RightMissing("The Stripe key lacks a right that Hygate needs") from error
    except stripe.RateLimitError as error:
        raise g.ProviderBusy("Stripe asks for fewer requests") from error
    except (stripe.InvalidRequestError, stripe.CardError, stripe.IdempotencyError) as error:
        raise _refused(error) from error
    except stripe.APIConnectionError as error:
        raise g.ProviderDown("Stripe does not answer") from error
    except stripe.StripeError as error:
        raise g.ProviderFailed(f"Stripe failed ({error.http_status})") from error


def _refused(error: stripe.StripeError) -> g.PaymentError:
    code = str(error.code or "")
    if error.http_status == 409:
        return g.ProviderBusy("The same request is still under way")
    if code == "amount_too_small":
        return g.AmountTooSmall("Stripe calls the amount too small", code)
    if code in ("payment_intent_unexpected_state", "charge_already_refunded", "charge_already_captured"):
        return g.WrongState(f"Stripe: {code}", code)
    if "not in a expireable state" in str(error) or "not open" in str(error).lower() or "status of" in str(error):
        return g.WrongState("The checkout is not open any more", code)
    return g.RequestRefused(f"Stripe: {code or 'invalid request'}", code)


class StripeGateway:
    """``gateway.Gateway`` over Stripe's API."""

    def create_checkout(self, params: dict[str, Any], *, key: str) -> g.Checkout:
        made = _named(lambda: client().v1.checkout.sessions.create(params, {"idempotency_key": key}))  # type: ignore[arg-type]
        return _checkout(made)

    def read_checkout(self, checkout_id: str) -> g.Checkout:
        expand: Any = {"expand": ["payment_intent.latest_charge"]}
        return _checkout(_named(lambda: client().v1.checkout.sessions.retrieve(checkout_id, expand)))

    def expire_checkout(self, checkout_id: str, *, key: str) -> g.Checkout:
        return _checkout(
            _named(lambda: client().v1.checkout.sessions.expire(checkout_id, {}, {"idempotency_key": key}))
        )

    def read_intent(self, intent_id: str) -> g.Intent:
        return _intent(_named(lambda: client().v1.payment_intents.retrieve(intent_id, {"expand": ["latest_charge"]})))

    def capture(self, intent_id: str, amount_minor: int, *, key: str) -> g.Intent:
        params: Any = {"amount_to_capture": amount_minor, "expand": ["latest_charge"]}
        return _intent(_named(lambda: client().v1.payment_intents.capture(intent_id, params, {"idempotency_key": key})))

    def cancel(self, intent_id: str, *, key: str) -> g.Intent:
        return _intent(_named(lambda: client().v1.payment_intents.cancel(intent_id, {}, {"idempotency_key": key})))

    def refund(self, intent_id: str, amount_minor: int, *, ref: str, key: str) -> g.RefundFacts:
        params: Any = {"payment_intent": intent_id, "amount": amount_minor, "metadata": {"refund_id": ref}}
        return _refund(_named(lambda: client().v1.refunds.create(params, {"idempotency_key": key})))

    def read_refund(self, refund_id: str) -> g.RefundFacts:
        return _refund(_named(lambda: client().v1.refunds.retrieve(refund_id)))

    def refunds_of(self, intent_id: str) -> list[tuple[str, g.RefundFacts]]:
        """Every refund of the intent with its ``metadata.refund_id`` (empty for one made elsewhere)."""
        found = _named(lambda: client().v1.refunds.list({"payment_intent": intent_id, "limit": 100}))
        return [(_metadata(one, "refund_id"), _refund(one)) for one in found.data]

    def intents_since(self, since: datetime, *, after: str) -> g.IntentPage:
        """Up to 100 PaymentIntents made since then, newest first, going on after the id ``after``."""
        params: Any = {"created": {"gte": int(since.timestamp())}, "limit": 100, "expand": ["data.latest_charge"]}
        if after:
            params["starting_after"] = after
        found = _named(lambda: client().v1.payment_intents.list(params))
        return g.IntentPage(tuple(_intent(one) for one in found.data), bool(found.has_more))

    def events_after(self, cursor: str) -> list[dict[str, Any]]:
        """Up to 100 events that followed ``cursor`` (empty: the newest there are), oldest first, as plain data."""
        params: Any = {"limit": 100} | ({"ending_before": cursor} if cursor else {})
        found = _named(lambda: client().v1.events.list(params))
        return [one.to_dict() for one in reversed(found.data)]

    def unreadable(self, kinds: Iterable[g.Readable], *, key: str = "") -> tuple[g.Readable, ...]:
        if not key:
            return _unreadable(client(), kinds)
        tried, http = _client_with(key)
        try:
            return _unreadable(tried, kinds)
        finally:
            http.close()  # type: ignore[no-untyped-call]


def _unreadable(asked: stripe.StripeClient, kinds: Iterable[g.Readable]) -> tuple[g.Readable, ...]:
    v1 = asked.v1
    lists: dict[g.Readable, Callable[[Any], Any]] = {
        "checkout_sessions": v1.checkout.sessions.list,
        "payment_intents": v1.payment_intents.list,
        "refunds": v1.refunds.list,
        "events": v1.events.list,
        "disputes": v1.disputes.list,
    }
    refused = []
    for kind in kinds:
        try:
            _named(partial(lists[kind], {"limit": 1}))
        except g.RightMissing:
            refused.append(kind)
    return tuple(refused)


def _metadata(thing: Any, name: str) -> str:
    metadata = getattr(thing, "metadata", None)
    return str(metadata[name]) if metadata and name in metadata else ""


def _checkout(made: Any) -> g.Checkout:
    intent = made.payment_intent
    return g.Checkout(
        id=made.id,
        url=made.url or "",
        status=made.status,
        amount_minor=int(made.amount_total or 0),
        currency=str(made.currency or ""),
        order=_metadata(made, "order"),
        intent=_intent(intent) if intent is not None and not isinstance(intent, str) else None,
    )


def _intent(found: Any) -> g.Intent:
    charge = found.latest_charge if not isinstance(found.latest_charge, str) else None
    details = getattr(charge, "payment_method_details", None) if charge is not None else None
    method = str(getattr(details, "type", "") or "")
    card = getattr(details, "card", None) if details is not None else None
    before = getattr(card, "capture_before", None) if card is not None else None
    return g.Intent(
        id=found.id,
        status=found.status,
        amount_minor=int(found.amount),
        currency=found.currency,
        capturable_minor=int(found.amount_capturable or 0),
        received_minor=int(found.amount_received or 0),
        refunded_minor=int(getattr(charge, "amount_refunded", 0) or 0) if charge is not None else 0,
        order=_metadata(found, "order"),
        method=method,
        capture_before=datetime.fromtimestamp(before, UTC) if before else None,
        site=_metadata(found, "site"),
        created_at=datetime.fromtimestamp(found.created, UTC),
        method_detail=_method_detail(method, details),
    )


def _method_detail(method: str, details: Any) -> str:
    """ "Visa ending 4242", or the method's own name where it has no number that a person would know."""
    kind = getattr(details, method, None) if method else None
    brand = str(getattr(kind, "brand", "") or "")
    last = str(getattr(kind, "last4", "") or "")
    name = BRANDS.get(brand or method) or method.replace("_", " ").title()
    return f"{name} ending {last}" if last else name


def _refund(found: Any) -> g.RefundFacts:
    return g.RefundFacts(id=found.id, status=str(found.status), amount_minor=int(found.amount))


def verify_webhook(body: bytes, signature: str) -> dict[str, Any]:
    """The event of a genuine webhook, as plain data; raises ``ForgedWebhook`` for anything else.

    Any of our secrets may match (one is being rolled). The SDK would compare the stamp with the machine's clock; we do
    with ours, in both directions. A genuine one that is too far off says something about our clock, so it is noted.
    """
    stamp = next((part[2:] for part in signature.split(",") if part.startswith("t=")), "")
    if not re.fullmatch("[0-9]{1,12}", stamp):
        raise ForgedWebhook("no time stamp")
    ours = keyring.in_force().webhook_secrets
    if not any(_is_signed(body, signature, secret) for secret in ours):
        raise ForgedWebhook("no secret of ours made this signature")
    off_s = int(stamp) - clock.now().timestamp()
    if abs(off_s) > SIGNATURE_TOLERANCE_S:
        clock_witness.saw_webhook(off_s)
        raise ForgedWebhook("its time stamp is too far from our time")
    return _parsed(body)


def _is_signed(body: bytes, signature: str, secret: str) -> bool:
    try:
        stripe.WebhookSignature.verify_header(body.decode(), signature, secret, tolerance=None)
    except (stripe.SignatureVerificationError, UnicodeDecodeError):
        return False
    return True


def _parsed(body: bytes) -> dict[str, Any]:
    import json

    try:
        event = json.loads(body)
    except ValueError as error:
        raise ForgedWebhook("the body is no JSON") from error
    if not isinstance(event, dict) or not isinstance(event.get("id"), str) or not isinstance(event.get("type"), str):
        raise ForgedWebhook("the body is no event")
    return event
