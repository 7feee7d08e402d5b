"""Checkout Sessions: what Stripe refuses to create, and what becomes of an open one."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from hygate.simulators.stripe.books import Books, Json
from hygate.simulators.stripe.currencies import (
    KNOWN,
    MAXIMUM_CHARGE,
    minimum_charge,
    money,
)
from hygate.simulators.stripe.errors import StripeRefusal, invalid_parameter
from hygate.simulators.stripe.intents import (
    authorize,
    fail_payment,
    intent_for,
    is_held_by_card,
    record_payment,
    void,
)
from hygate.simulators.stripe.objects import (
    line_item_object,
    line_items_object,
    session_object,
)

SHORTEST_S, LONGEST_S = 30 * 60, 24 * 3600
LONGEST_SUFFIX, LONGEST_REFERENCE, LONGEST_URL = 22, 200, 5000
SUFFIX_FORBIDS = re.compile(r"[<>\\'\"*]")
PLACEHOLDER = "{CHECKOUT_SESSION_ID}"


def create(books: Books, params: Json, page_base: str) -> Json:
    """A new open session; ``page_base`` is where the hosted page is served."""
    now = books.now()
    _check_mode(params)
    _check_texts(params)
    expires_at = _expiry(params, now)
    lines = [line_item_object(line, now=now) for line in _checked_lines(params)]
    currency = lines[0]["currency"]
    amount = sum(line["amount_total"] for line in lines)
    _check_total(amount, currency)
    session = session_object(
        params, now=now, amount=amount, currency=currency, expires_at=expires_at, line_items=line_items_object(lines)
    )
    session["url"] = f"{page_base}/c/pay/{session['id']}"
    books.sessions[session["id"]] = session
    books.open_sessions.add(session["id"])
    books.touch()
    return session


def _check_mode(params: Json) -> None:
    for name in ("mode", "line_items", "success_url"):
        if not params.get(name):
            raise invalid_parameter(f"Missing required param: {name}.", name, "parameter_missing")
    if params["mode"] != "payment":
        raise invalid_parameter("The simulator sells single payments only: mode must be payment", "mode")
    if params.get("ui_mode", "hosted_page") != "hosted_page":
        raise invalid_parameter("The simulator has the hosted page only: ui_mode must be hosted_page", "ui_mode")


def _check_texts(params: Json) -> None:
    for name in ("success_url", "cancel_url"):
        if name in params:
            _check_url(params[name], name)
    if len(params.get("client_reference_id", "")) > LONGEST_REFERENCE:
        message = f"Invalid string: client_reference_id must be at most {LONGEST_REFERENCE} characters"
        raise invalid_parameter(message, "client_reference_id")
    if "@" not in params.get("customer_email", "@"):
        raise invalid_parameter(f"Invalid email address: {params['customer_email']}", "customer_email", "email_invalid")
    _check_statement(params.get("payment_intent_data", {}))


def _check_url(url: str, name: str) -> None:
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise invalid_parameter("Not a valid URL", name, "url_invalid") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        message = "Invalid URL: An explicit scheme (such as https) must be provided."
        raise invalid_parameter(message, name, "url_invalid")
    if " " in url or len(url) > LONGEST_URL:
        raise invalid_parameter("Not a valid URL", name, "url_invalid")


def _check_statement(data: Json) -> None:
    if "statement_descriptor" in data:
        message = (
            "The `statement_descriptor` parameter is not supported for card charges."
            " Use `statement_descriptor_suffix` instead."
        )
        raise invalid_parameter(message, "payment_intent_data[statement_descriptor]")
    suffix = data.get("statement_descriptor_suffix", "")
    where = "payment_intent_data[statement_descriptor_suffix]"
    if len(suffix) > LONGEST_SUFFIX:
        message = f"The statement descriptor suffix must be at most {LONGEST_SUFFIX} characters."
        raise invalid_parameter(message, where)
    if suffix and (SUFFIX_FORBIDS.search(suffix) or not re.search("[A-Za-z]", suffix)):
        message = "The statement descriptor suffix needs a letter and must not contain <, >, \\, ', \" or *."
        raise invalid_parameter(message, where)


def _expiry(params: Json, now: int) -> int:
    expires_at: int = params.get("expires_at", now + LONGEST_S)
    where = "The `expires_at` timestamp must be"
    if expires_at < now + SHORTEST_S:
        raise invalid_parameter(f"{where} at least 30 minutes from Checkout Session creation.", "expires_at")
    if expires_at > now + LONGEST_S:
        raise invalid_parameter(f"{where} less than 24 hours from Checkout Session creation.", "expires_at")
    return expires_at


def _checked_lines(params: Json) -> list[Json]:
    lines: list[Json] = params["line_items"]
    for index, line in enumerate(lines):
        _check_line(line, f"line_items[{index}]")
    if len({line["price_data"]["currency"] for line in lines}) > 1:
        raise invalid_parameter("All line items must have the same currency.", "line_items")
    if params.get("currency", lines[0]["price_data"]["currency"]) != lines[0]["price_data"]["currency"]:
        raise invalid_parameter("The currency does not match that of the line items.", "currency")
    return lines


def _check_line(line: Json, where: str) -> None:
    if "price" in line:
        raise StripeRefusal(
            f"No such price: '{line['price']}'", code="resource_missing", param=f"{where}[price]", stored=False
        )
    data = line.get("price_data")
    if data is None:
        raise invalid_parameter(
            f"Missing required param: {where}[price_data].", f"{where}[price_data]", "parameter_missing"
        )
    if line.get("quantity", 0) < 1:
        raise invalid_parameter(
            "Quantity is required and must be at least 1.", f"{where}[quantity]", "parameter_missing"
        )
    _check_price(data, f"{where}[price_data]")


def _check_price(data: Json, where: str) -> None:
    if data["currency"] not in KNOWN:
        message = f"Invalid currency: {data['currency']}. Stripe takes three-letter ISO codes in lower case."
        raise invalid_parameter(message, f"{where}[currency]")
    if "product" not in data and "product_data" not in data:
        message = f"You must specify either `product` or `product_data` when creating a price: {where}."
        raise invalid_parameter(message, f"{where}[product_data]", "parameter_missing")
    if "unit_amount" not in data:
        message = "The simulator needs price_data[unit_amount], an integer in minor units"
        raise invalid_parameter(message, f"{where}[unit_amount]", "parameter_missing")
    if data["unit_amount"] < 0:
        message = "This value must be greater than or equal to 0."
        raise invalid_parameter(message, f"{where}[unit_amount]", "parameter_invalid_integer")
    if "recurring" in data:
        message = "You specified `payment` mode but passed a recurring price."
        raise invalid_parameter(message, f"{where}[recurring]")


def _check_total(amount: int, currency: str) -> None:
    least = minimum_charge(currency)
    if amount < least:
        message = f"The Checkout Session's total amount due must add up to at least {money(least, currency)} {currency}"
        raise invalid_parameter(message, "line_items", "amount_too_small")
    if amount > MAXIMUM_CHARGE:
        message = f"The Checkout Session's total amount due must be no more than {money(MAXIMUM_CHARGE, currency)}"
        raise invalid_parameter(message, "line_items", "amount_too_large")


# -- what the merchant does


def expire(books: Books, session: Json) -> Json:
    """Legal only while open: "not open" means that the guest has just paid, or that it had expired before."""
    if session["status"] != "open":
        message = (
            'Only Checkout Sessions with a status in ["open"] can be expired.'
            f" This Checkout Session has a status of `{session['status']}`."
        )
        raise StripeRefusal(message)
    session.update(status="expired", url=None)
    books.open_sessions.discard(session["id"])
    intent = books.intents.get(session["payment_intent"] or "")
    order = session["metadata"].get("order") or session["client_reference_id"]
    books.record(
        "expired",
        intent=intent,
        amount=session["amount_total"],
        currency=session["currency"],
        order=order,
        session=session["id"],
    )
    if intent is not None:
        void(books, intent, "expired")
    books.emit("checkout.session.expired", session)
    return session


def expire_overdue(books: Books) -> None:
    for identifier in list(books.open_sessions):
        if books.sessions[identifier]["expires_at"] <= books.now():
            expire(books, books.sessions[identifier])


# -- what the guest does


def pay(books: Books, session: Json) -> str:
    """The card is good; answers the address the guest is sent to."""
    _must_be_open(session)
    hold = is_held_by_card(session)
    authorize(books, intent_for(books, session), hold=hold)
    _complete(books, session, "unpaid" if hold else "paid")
    return success_address(session)


def decline(books: Books, session: Json) -> None:
    """The bank says no; the session stays open for another card."""
    _must_be_open(session)
    fail_payment(books, intent_for(books, session), code="card_declined", message="Your card was declined.")


def pay_later(books: Books, session: Json) -> str:
    """A delayed method: the session completes unpaid, and whether money comes is known only later."""
    _must_be_open(session)
    if not offers_pay_later(session):
        raise StripeRefusal("A delayed method cannot hold: payment_intent_data[capture_method] is manual.")
    intent = intent_for(books, session)
    intent.update(status="processing", payment_method_types=["sepa_debit"])
    record_payment(books, "paid_later", intent, intent["amount"])
    books.emit("payment_intent.processing", intent)
    _complete(books, session, "unpaid")
    return success_address(session)


def offers_pay_later(session: Json) -> bool:
    return bool(session["_intent_data"].get("capture_method") != "manual")


def settle_later(books: Books, session: Json, succeed: bool) -> None:
    """The bank's late word on a delayed method."""
    intent = books.intents.get(session["payment_intent"] or "")
    if intent is None or intent["status"] != "processing":
        raise StripeRefusal("This Checkout Session has no payment under way.")
    if succeed:
        authorize(books, intent, hold=False, card=False)
        session["payment_status"] = "paid"
        books.emit("checkout.session.async_payment_succeeded", session)
        return
    fail_payment(books, intent, code="payment_method_provider_decline", message="The bank refused the debit.")
    books.emit("checkout.session.async_payment_failed", session)


def success_address(session: Json) -> str:
    address: str = session["success_url"].replace(PLACEHOLDER, session["id"])
    return address


def cancel_address(session: Json) -> str | None:
    address: str | None = session["cancel_url"]
    return address.replace(PLACEHOLDER, session["id"]) if address else None


def _must_be_open(session: Json) -> None:
    if session["status"] != "open":
        raise StripeRefusal(f"This Checkout Session is {session['status']}: nothing can be paid any more.")


def _complete(books: Books, session: Json, payment_status: str) -> None:
    email = session["customer_email"] or "guest@example.com"
    session.update(status="complete", payment_status=payment_status, url=None)
    session["customer_details"] = {"address": None, "email": email, "name": "Test Guest", "phone": None, "tax_ids": []}
    books.open_sessions.discard(session["id"])
    books.touch()
    books.emit("checkout.session.completed", session)
