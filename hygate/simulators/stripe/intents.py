"""PaymentIntents: authorise, capture once, void, let a hold run out."""

from __future__ import annotations

from hygate.simulators.stripe.books import Books, Json, public
from hygate.simulators.stripe.currencies import minimum_charge, money
from hygate.simulators.stripe.errors import StripeRefusal, invalid_parameter
from hygate.simulators.stripe.objects import charge_object, intent_object

CANCELABLE = ("requires_payment_method", "requires_capture", "requires_confirmation", "requires_action")


def order_of(books: Books, intent: Json) -> str | None:
    """The merchant's reference: metadata ``order`` of the intent or its session, else ``client_reference_id``."""
    session = books.sessions.get(intent["_session"], {})
    order: str | None = (
        intent["metadata"].get("order")
        or session.get("metadata", {}).get("order")
        or session.get("client_reference_id")
    )
    return order


def record_payment(books: Books, kind: str, intent: Json, amount: int, **more: str) -> None:
    books.record(kind, intent=intent, amount=amount, currency=intent["currency"], order=order_of(books, intent), **more)


def intent_for(books: Books, session: Json) -> Json:
    """The session's PaymentIntent, made at the guest's first attempt to pay."""
    if session["payment_intent"]:
        return books.intents[session["payment_intent"]]
    intent = intent_object(session, now=books.now())
    books.intents[intent["id"]] = intent
    session["payment_intent"] = intent["id"]
    books.emit("payment_intent.created", intent)
    return intent


def is_held_by_card(session: Json) -> bool:
    card = session["payment_method_options"].get("card", {})
    manual = card.get("capture_method") == "manual" or session["_intent_data"].get("capture_method") == "manual"
    return bool(manual)


def authorize(books: Books, intent: Json, *, hold: bool, card: bool = True) -> None:
    """The bank said yes: hold the money, or take it at once."""
    charge = charge_object(intent, now=books.now(), captured=not hold, card=card)
    books.charges[charge["id"]] = charge
    intent.update(latest_charge=charge["id"], payment_method=charge["payment_method"], last_payment_error=None)
    intent["payment_method_types"] = [charge["payment_method_details"]["type"]]
    if hold:
        intent.update(status="requires_capture", amount_capturable=intent["amount"])
        books.held_intents.add(intent["id"])
        record_payment(books, "authorized", intent, intent["amount"])
        books.emit("charge.succeeded", charge)
        books.emit("payment_intent.amount_capturable_updated", intent)
        return
    intent.update(status="succeeded", amount_received=intent["amount"])
    record_payment(books, "captured", intent, intent["amount"])
    books.emit("charge.succeeded", charge)
    books.emit("payment_intent.succeeded", intent)


def fail_payment(books: Books, intent: Json, *, code: str, message: str) -> None:
    intent["status"] = "requires_payment_method"
    intent["last_payment_error"] = {
        "type": "card_error",
        "code": code,
        "decline_code": "generic_decline",
        "message": message,
    }
    record_payment(books, "declined", intent, intent["amount"])
    books.emit("payment_intent.payment_failed", intent)


def capture(books: Books, intent: Json, params: Json) -> Json:
    """Take the money that is held, all or a part of it, once; what is left over is released."""
    if intent["status"] != "requires_capture":
        raise _not_capturable(intent)
    amount: int = params["amount_to_capture"] if "amount_to_capture" in params else intent["amount_capturable"]
    _check_capture_amount(intent, amount)
    charge = books.charges[intent["latest_charge"]]
    intent["metadata"].update(params.get("metadata") or {})
    intent.update(status="succeeded", amount_capturable=0, amount_received=amount)
    charge.update(captured=True, amount_captured=amount)
    charge["payment_method_details"].get("card", {}).pop("capture_before", None)
    books.held_intents.discard(intent["id"])
    session = books.sessions.get(intent["_session"])
    if session is not None:
        session["payment_status"] = "paid"
    record_payment(books, "captured", intent, amount)
    books.emit("charge.captured", charge)
    books.emit("payment_intent.succeeded", intent)
    return intent


def _check_capture_amount(intent: Json, amount: int) -> None:
    if amount < 1:
        message = "This value must be greater than or equal to 1."
        raise invalid_parameter(message, "amount_to_capture", "parameter_invalid_integer")
    if amount > intent["amount_capturable"]:
        raise StripeRefusal(
            "The amount to capture must be less than or equal to the capturable amount of the PaymentIntent:"
            f" {intent['amount_capturable']}.",
            code="amount_too_large",
            param="amount_to_capture",
        )
    least = minimum_charge(intent["currency"])
    if amount < least:
        raise StripeRefusal(
            f"Amount must be at least {money(least, intent['currency'])} {intent['currency']}",
            code="amount_too_small",
            param="amount_to_capture",
        )


def _not_capturable(intent: Json) -> StripeRefusal:
    if intent["status"] == "succeeded":
        message = "This PaymentIntent could not be captured because it has already been captured."
    else:
        message = (
            f"This PaymentIntent could not be captured because it has a status of {intent['status']}."
            " Only a PaymentIntent with one of the following statuses may be captured: requires_capture."
        )
    return _unexpected_state(message, intent)


def _unexpected_state(message: str, intent: Json) -> StripeRefusal:
    return StripeRefusal(message, code="payment_intent_unexpected_state", extra={"payment_intent": public(intent)})


def cancel(books: Books, intent: Json, params: Json) -> Json:
    """The API's cancel: not while its Checkout Session is open, which must be expired instead."""
    session = books.sessions.get(intent["_session"])
    if session is not None and session["status"] == "open":
        message = "You cannot cancel this PaymentIntent while its Checkout Session is open. Expire the Session instead."
        raise _unexpected_state(message, intent)
    if intent["status"] not in CANCELABLE:
        raise _unexpected_state(
            f"You cannot cancel this PaymentIntent because it has a status of {intent['status']}."
            f" Only a PaymentIntent with one of the following statuses may be canceled: {', '.join(CANCELABLE)}.",
            intent,
        )
    return void(books, intent, params.get("cancellation_reason"))


def void(books: Books, intent: Json, reason: str | None) -> Json:
    held = intent["amount_capturable"]
    intent.update(status="canceled", amount_capturable=0, canceled_at=books.now(), cancellation_reason=reason)
    books.held_intents.discard(intent["id"])
    if held:
        charge = books.charges[intent["latest_charge"]]
        charge.update(amount_refunded=charge["amount"], refunded=True)
        record_payment(books, "voided", intent, held)
    books.touch()
    books.emit("payment_intent.canceled", intent)
    return intent


def release_expired_holds(books: Books) -> None:
    """A hold nobody captured in seven days goes back to the guest."""
    for identifier in list(books.held_intents):
        intent = books.intents[identifier]
        charge = books.charges[intent["latest_charge"]]
        deadline = charge["payment_method_details"].get("card", {}).get("capture_before", charge["created"])
        if deadline <= books.now():
            void(books, intent, "automatic")
