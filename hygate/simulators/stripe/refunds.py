"""Refunds and disputes: never more goes back than was captured; a refund may be pending and may fail."""

from __future__ import annotations

from hygate.simulators.stripe.books import Books, Json, public
from hygate.simulators.stripe.currencies import money
from hygate.simulators.stripe.errors import StripeRefusal, invalid_parameter
from hygate.simulators.stripe.intents import record_payment
from hygate.simulators.stripe.objects import dispute_object, refund_object

MODES = ("succeeded", "pending", "failed")
RECORDED_AS = {"succeeded": "refunded", "pending": "refund_pending", "failed": "refund_failed"}
COUNTED = ("succeeded", "pending", "requires_action")


def create(books: Books, params: Json) -> Json:
    """The refund as answered. In mode ``failed`` it is answered ``pending``, and failed when read again."""
    charge = _charge_to_refund(books, params)
    amount = params.get("amount", charge["amount_captured"] - charge["amount_refunded"])
    _check_refundable(charge, amount)
    refund = refund_object(
        charge,
        now=books.now(),
        amount=amount,
        status="succeeded" if books.refund_mode == "succeeded" else "pending",
        reason=params.get("reason"),
        metadata=dict(params.get("metadata") or {}),
    )
    books.refunds[refund["id"]] = refund
    _count(books, charge)
    _record(books, refund)
    books.emit("refund.created", refund)
    books.emit("charge.refunded", charge)
    answer = public(refund)
    if books.refund_mode == "failed":
        change_status(books, refund, "failed")
    return answer


def _charge_to_refund(books: Books, params: Json) -> Json:
    if "charge" in params:
        return books.find("charges", params["charge"], "charge")
    if "payment_intent" not in params:
        message = "One of the following params should be provided for this request: payment_intent or charge."
        raise invalid_parameter(message, "payment_intent", "parameter_missing")
    intent = books.find("intents", params["payment_intent"], "payment_intent")
    if intent["status"] != "succeeded":
        message = f"This PaymentIntent ({intent['id']}) does not have a successful charge to refund."
        raise StripeRefusal(message, param="payment_intent", code="payment_intent_unexpected_state")
    return books.charges[intent["latest_charge"]]


def _check_refundable(charge: Json, amount: int) -> None:
    left = charge["amount_captured"] - charge["amount_refunded"]
    if not charge["captured"]:
        raise StripeRefusal(f"Charge {charge['id']} has not been captured.", code="charge_not_refundable")
    if charge["disputed"]:
        message = f"Charge {charge['id']} has been charged back; cannot issue a refund."
        raise StripeRefusal(message, code="charge_disputed")
    if left <= 0:
        raise StripeRefusal(f"Charge {charge['id']} has already been refunded.", code="charge_already_refunded")
    if amount < 1:
        message = "This value must be greater than or equal to 1."
        raise invalid_parameter(message, "amount", "parameter_invalid_integer")
    if amount > left:
        limit = "unrefunded amount on charge" if charge["amount_refunded"] else "charge amount"
        wanted, there = money(amount, charge["currency"]), money(left, charge["currency"])
        raise StripeRefusal(f"Refund amount ({wanted}) is greater than {limit} ({there})", param="amount")


def _count(books: Books, charge: Json) -> None:
    charge["amount_refunded"] = sum(
        refund["amount"]
        for refund in books.refunds.values()
        if refund["charge"] == charge["id"] and refund["status"] in COUNTED
    )
    charge["refunded"] = charge["amount_refunded"] == charge["amount_captured"]


def _record(books: Books, refund: Json) -> None:
    intent = books.intents[refund["payment_intent"]]
    record_payment(books, RECORDED_AS[refund["status"]], intent, refund["amount"], refund=refund["id"])


def change_status(books: Books, refund: Json, status: str) -> None:
    """The bank's later word on a refund; a failed one gives its amount back to what may be refunded."""
    if status not in MODES or refund["status"] == "failed" or refund["status"] == status:
        raise StripeRefusal(f"A refund that is {refund['status']} does not become {status!r}.")
    refund["status"] = status
    if status == "failed":
        refund["failure_reason"] = "lost_or_stolen_card"
    charge = books.charges[refund["charge"]]
    _count(books, charge)
    _record(books, refund)
    books.emit("refund.updated", refund)
    if status == "failed":
        books.emit("refund.failed", refund)


def open_dispute(books: Books, intent: Json, *, amount: int | None, reason: str) -> Json:
    """The guest's bank takes the money back."""
    charge = books.charges.get(intent["latest_charge"] or "")
    if charge is None or not charge["captured"]:
        raise StripeRefusal("Only a captured payment can be disputed.")
    left = charge["amount_captured"] - charge["amount_refunded"]
    dispute = dispute_object(charge, now=books.now(), amount=left if amount is None else amount, reason=reason)
    books.disputes[dispute["id"]] = dispute
    charge["disputed"] = True
    record_payment(books, "disputed", intent, dispute["amount"], dispute=dispute["id"])
    books.emit("charge.dispute.created", dispute)
    return dispute


def close_dispute(books: Books, dispute: Json, status: str) -> None:
    if status not in ("won", "lost"):
        raise StripeRefusal("A dispute is closed as won or lost.")
    dispute["status"] = status
    books.touch()
    books.emit("charge.dispute.closed", dispute)
