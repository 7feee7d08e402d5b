"""Stripe's API as a table: method, path, name, the SDK's parameter class, and what it does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from stripe.params import (
    AccountRetrieveCurrentParams,
    BalanceRetrieveParams,
    ChargeRetrieveParams,
    DisputeListParams,
    DisputeRetrieveParams,
    EventListParams,
    EventRetrieveParams,
    PaymentIntentCancelParams,
    PaymentIntentCaptureParams,
    PaymentIntentListParams,
    PaymentIntentRetrieveParams,
    RefundCreateParams,
    RefundListParams,
    RefundRetrieveParams,
)
from stripe.params.checkout import (
    SessionCreateParams,
    SessionExpireParams,
    SessionLineItemListParams,
    SessionListParams,
    SessionRetrieveParams,
)

from hygate.simulators.stripe import checkout, events, intents, refunds
from hygate.simulators.stripe.books import Books, Json, public, rendered, rendered_list


@dataclass
class Call:
    """One request: the id in its path, its checked parameters, and where the hosted page lives."""

    books: Books
    identifier: str
    params: Json
    page_base: str

    def answer(self, thing: Json) -> Json:
        return rendered(self.books, thing, self.params.get("expand", []))


@dataclass(frozen=True)
class Operation:
    method: str
    path: str
    name: str
    shape: Any
    run: Callable[[Call], Json]


def create_session(call: Call) -> Json:
    return call.answer(checkout.create(call.books, call.params, call.page_base))


def expire_session(call: Call) -> Json:
    return call.answer(checkout.expire(call.books, call.books.find("sessions", call.identifier, "session")))


def capture_intent(call: Call) -> Json:
    return call.answer(intents.capture(call.books, call.books.find("intents", call.identifier, "intent"), call.params))


def cancel_intent(call: Call) -> Json:
    return call.answer(intents.cancel(call.books, call.books.find("intents", call.identifier, "intent"), call.params))


def create_refund(call: Call) -> Json:
    return call.answer(refunds.create(call.books, call.params))


def retrieve(table: str) -> Callable[[Call], Json]:
    return lambda call: call.answer(call.books.find(table, call.identifier))


def listing(table: str, url: str, *fields: str) -> Callable[[Call], Json]:
    """A list filtered by equal ``fields`` and by the time of creation."""

    def run(call: Call) -> Json:
        things = [
            thing
            for thing in call.books.table(table).values()
            if all(call.params.get(name) in (None, thing[name]) for name in fields)
            and events.created_within(thing["created"], call.params.get("created"))
        ]
        return rendered_list(call.books, url, things, call.params)

    return run


def list_line_items(call: Call) -> Json:
    session = call.books.find("sessions", call.identifier, "session")
    return {**session["_line_items"], "data": [public(line) for line in session["_line_items"]["data"]]}


def list_events(call: Call) -> Json:
    chosen = events.selected(list(call.books.events.values()), call.params)
    return rendered_list(call.books, "/v1/events", chosen, call.params)


def account(_call: Call) -> Json:
    return {
        "id": "acct_simulated",
        "object": "account",
        "charges_enabled": True,
        "country": "DE",
        "created": 1_700_000_000,
        "default_currency": "eur",
        "details_submitted": True,
        "email": "merchant@example.com",
        "metadata": {},
        "payouts_enabled": True,
        "settings": {"dashboard": {"display_name": "Simulated merchant", "timezone": "Etc/UTC"}},
        "type": "standard",
    }


def balance(call: Call) -> Json:
    """What was captured and has not gone back, by currency."""
    sums: dict[str, int] = {}
    for charge in call.books.charges.values():
        if charge["captured"]:
            left = charge["amount_captured"] - charge["amount_refunded"]
            sums[charge["currency"]] = sums.get(charge["currency"], 0) + left
    rows = [
        {"amount": amount, "currency": currency, "source_types": {"card": amount}} for currency, amount in sums.items()
    ]
    return {"object": "balance", "available": rows, "livemode": False, "pending": []}


SESSIONS, INTENTS = "/v1/checkout/sessions", "/v1/payment_intents"
OPERATIONS = (
    Operation("POST", SESSIONS, "checkout.sessions.create", SessionCreateParams, create_session),
    Operation("GET", SESSIONS, "checkout.sessions.list", SessionListParams,
              listing("sessions", SESSIONS, "payment_intent", "status")),
    Operation("GET", SESSIONS + "/{id}", "checkout.sessions.retrieve", SessionRetrieveParams, retrieve("sessions")),
    Operation("POST", SESSIONS + "/{id}/expire", "checkout.sessions.expire", SessionExpireParams, expire_session),
    Operation("GET", SESSIONS + "/{id}/line_items", "checkout.sessions.line_items", SessionLineItemListParams,
              list_line_items),
    Operation("GET", INTENTS, "payment_intents.list", PaymentIntentListParams, listing("intents", INTENTS)),
    Operation("GET", INTENTS + "/{id}", "payment_intents.retrieve", PaymentIntentRetrieveParams, retrieve("intents")),
    Operation("POST", INTENTS + "/{id}/capture", "payment_intents.capture", PaymentIntentCaptureParams, capture_intent),
    Operation("POST", INTENTS + "/{id}/cancel", "payment_intents.cancel", PaymentIntentCancelParams, cancel_intent),
    Operation("GET", "/v1/charges/{id}", "charges.retrieve", ChargeRetrieveParams, retrieve("charges")),
    Operation("POST", "/v1/refunds", "refunds.create", RefundCreateParams, create_refund),
    Operation("GET", "/v1/refunds", "refunds.list", RefundListParams,
              listing("refunds", "/v1/refunds", "payment_intent", "charge")),
    Operation("GET", "/v1/refunds/{id}", "refunds.retrieve", RefundRetrieveParams, retrieve("refunds")),
    Operation("GET", "/v1/disputes", "disputes.list", DisputeListParams,
              listing("disputes", "/v1/disputes", "payment_intent", "charge")),
    Operation("GET", "/v1/disputes/{id}", "disputes.retrieve", DisputeRetrieveParams, retrieve("disputes")),
    Operation("GET", "/v1/events", "events.list", EventListParams, list_events),
    Operation("GET", "/v1/events/{id}", "events.retrieve", EventRetrieveParams, retrieve("events")),
    Operation("GET", "/v1/account", "account.retrieve", AccountRetrieveCurrentParams, account),
    Operation("GET", "/v1/balance", "balance.retrieve", BalanceRetrieveParams, balance),
    Operation("GET", "/v2/core/events/{id}", "v2.core.events.retrieve", EventRetrieveParams, retrieve("thin_events")),
)  # fmt: skip
