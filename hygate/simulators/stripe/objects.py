"""The shapes of Stripe's objects (API 2026-10-28), with the fields a buyer of time needs filled and the rest null."""

from __future__ import annotations

from typing import Any

from hygate.simulators.stripe.books import Json, new_id

ADDRESS: Json = dict.fromkeys(("city", "country", "line1", "line2", "postal_code", "state"))
HOLD_S = 7 * 24 * 3600


def _nulls(names: str) -> Json:
    return dict.fromkeys(names.split())


def session_object(params: Json, *, now: int, amount: int, currency: str, expires_at: int, line_items: Json) -> Json:
    return {
        "id": "cs_test_" + new_id("a1").replace("_", ""),
        "object": "checkout.session",
        **_nulls(
            "adaptive_pricing after_expiration allow_promotion_codes automatic_tax client_secret collected_information"
            " consent consent_collection currency_conversion customer customer_account customer_details discounts"
            " invoice invoice_creation payment_intent payment_link payment_method_configuration_details"
            " presentment_details"
            " recovered_from return_url saved_payment_method_options setup_intent shipping_address_collection"
            " shipping_cost subscription wallet_options"
        ),
        "amount_subtotal": amount,
        "amount_total": amount,
        "billing_address_collection": params.get("billing_address_collection"),
        "cancel_url": params.get("cancel_url"),
        "client_reference_id": params.get("client_reference_id"),
        "created": now,
        "currency": currency,
        "custom_fields": [],
        "custom_text": {},
        "customer_creation": params.get("customer_creation", "if_required"),
        "customer_email": params.get("customer_email"),
        "expires_at": expires_at,
        "livemode": False,
        "locale": params.get("locale"),
        "metadata": params.get("metadata", {}),
        "mode": "payment",
        "payment_method_collection": "if_required",
        "payment_method_options": params.get("payment_method_options", {}),
        "payment_method_types": ["card"],
        "payment_status": "unpaid",
        "phone_number_collection": {"enabled": False},
        "shipping_options": [],
        "status": "open",
        "submit_type": params.get("submit_type"),
        "success_url": params.get("success_url"),
        "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
        "ui_mode": params.get("ui_mode", "hosted_page"),
        "url": None,
        "_line_items": line_items,
        "_intent_data": params.get("payment_intent_data", {}),
    }


def line_items_object(session_lines: list[Json]) -> Json:
    return {"object": "list", "has_more": False, "url": "/v1/checkout/sessions/line_items", "data": session_lines}


def line_item_object(line: Json, *, now: int) -> Json:
    data = line["price_data"]
    product = data.get("product_data", {})
    amount = data["unit_amount"] * line["quantity"]
    return {
        "id": new_id("li"),
        "object": "item",
        "amount_discount": 0,
        "amount_subtotal": amount,
        "amount_tax": 0,
        "amount_total": amount,
        "currency": data["currency"],
        "description": product.get("name", data.get("product", "")),
        "metadata": line.get("metadata", {}),
        "price": {
            "id": new_id("price"),
            "object": "price",
            "active": False,
            "created": now,
            "currency": data["currency"],
            "livemode": False,
            "metadata": {},
            "product": data.get("product") or new_id("prod"),
            "type": "one_time",
            "unit_amount": data["unit_amount"],
        },
        "quantity": line["quantity"],
        "_detail": product.get("description", ""),
    }


def intent_object(session: Json, *, now: int) -> Json:
    data = session["_intent_data"]
    identifier = new_id("pi")
    return {
        "id": identifier,
        "object": "payment_intent",
        **_nulls(
            "application application_fee_amount automatic_payment_methods canceled_at cancellation_reason customer"
            " customer_account last_payment_error latest_charge next_action on_behalf_of payment_method"
            " payment_method_configuration_details presentment_details processing review setup_future_usage shipping"
            " source statement_descriptor transfer_data transfer_group"
        ),
        "amount": session["amount_total"],
        "amount_capturable": 0,
        "amount_details": {"tip": {}},
        "amount_received": 0,
        "capture_method": data.get("capture_method", "automatic_async"),
        "client_secret": f"{identifier}_secret_simulated",
        "confirmation_method": "automatic",
        "created": now,
        "currency": session["currency"],
        "description": data.get("description"),
        "livemode": False,
        "metadata": dict(data.get("metadata", {})),
        "payment_method_options": session["payment_method_options"],
        "payment_method_types": ["card"],
        "receipt_email": data.get("receipt_email"),
        "statement_descriptor_suffix": data.get("statement_descriptor_suffix"),
        "status": "requires_payment_method",
        "_session": session["id"],
    }


def charge_object(intent: Json, *, now: int, captured: bool, card: bool) -> Json:
    identifier = new_id("ch")
    return {
        "id": identifier,
        "object": "charge",
        **_nulls(
            "application application_fee application_fee_amount balance_transaction customer failure_code"
            " failure_message on_behalf_of receipt_email receipt_number review shipping source source_transfer"
            " statement_descriptor transfer_data transfer_group"
        ),
        "amount": intent["amount"],
        "amount_captured": intent["amount"] if captured else 0,
        "amount_refunded": 0,
        "billing_details": {"address": ADDRESS, "email": "guest@example.com", "name": "Test Guest", "phone": None},
        "captured": captured,
        "created": now,
        "currency": intent["currency"],
        "description": intent["description"],
        "disputed": False,
        "fraud_details": {},
        "livemode": False,
        "metadata": dict(intent["metadata"]),
        "outcome": {"network_status": "approved_by_network", "risk_level": "normal", "type": "authorized"},
        "paid": True,
        "payment_intent": intent["id"],
        "payment_method": new_id("pm"),
        "payment_method_details": _card_details(now, captured, intent["amount"]) if card else _debit_details(),
        "receipt_url": None,
        "refunded": False,
        "statement_descriptor_suffix": intent["statement_descriptor_suffix"],
        "status": "succeeded",
    }


def _card_details(now: int, captured: bool, amount: int) -> Json:
    details: dict[str, Any] = {
        "amount_authorized": amount,
        "brand": "visa",
        "country": "US",
        "exp_month": 12,
        "exp_year": 2034,
        "funding": "credit",
        "last4": "4242",
        "network": "visa",
        "wallet": None,
    }
    if not captured:
        details["capture_before"] = now + HOLD_S
    return {"type": "card", "card": details}


def _debit_details() -> Json:
    return {"type": "sepa_debit", "sepa_debit": {"bank_code": "37040044", "country": "DE", "last4": "3000"}}


def refund_object(charge: Json, *, now: int, amount: int, status: str, reason: str | None, metadata: Json) -> Json:
    return {
        "id": new_id("re"),
        "object": "refund",
        **_nulls("balance_transaction receipt_number source_transfer_reversal transfer_reversal"),
        "amount": amount,
        "charge": charge["id"],
        "created": now,
        "currency": charge["currency"],
        "destination_details": {"type": "card", "card": {"reference_status": "pending", "type": "refund"}},
        "metadata": metadata,
        "payment_intent": charge["payment_intent"],
        "reason": reason,
        "status": status,
    }


def dispute_object(charge: Json, *, now: int, amount: int, reason: str) -> Json:
    return {
        "id": new_id("dp"),
        "object": "dispute",
        "amount": amount,
        "balance_transactions": [],
        "charge": charge["id"],
        "created": now,
        "currency": charge["currency"],
        "enhanced_eligibility_types": [],
        "evidence": {},
        "evidence_details": {
            "due_by": now + 7 * 86400,
            "has_evidence": False,
            "past_due": False,
            "submission_count": 0,
        },
        "is_charge_refundable": False,
        "livemode": False,
        "metadata": {},
        "payment_intent": charge["payment_intent"],
        "reason": reason,
        "status": "needs_response",
    }
