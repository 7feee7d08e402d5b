"""The fake Stripe's Checkout Sessions, and the page on which a guest pays."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
import stripe

from tests.simulators.stripe_rig import Rig, order


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig()
    yield made
    made.close()


# -- sessions


def test_created_session_is_open_and_has_a_page(rig: Rig) -> None:
    session = rig.client.v1.checkout.sessions.create(order())
    assert session.id.startswith("cs_test_")
    assert (session.status, session.payment_status, session.amount_total) == ("open", "unpaid", 250)
    assert session.payment_intent is None
    assert session.url == f"{rig.url}/c/pay/{session.id}"
    assert rig.client.v1.checkout.sessions.retrieve(session.id).metadata["order"] == "order-7"  # type: ignore[index]


def test_paid_card_is_held_until_captured(rig: Rig) -> None:
    intent = rig.held()
    assert (intent.status, intent.amount_capturable, intent.amount_received) == ("requires_capture", 250, 0)
    assert isinstance(intent.latest_charge, stripe.Charge)
    details = intent.latest_charge.payment_method_details
    assert details is not None and details.card is not None
    assert details.card.capture_before == intent.latest_charge.created + 7 * 86400
    captured = rig.client.v1.payment_intents.capture(intent.id)
    assert (captured.status, captured.amount_received) == ("succeeded", 250)
    assert rig.money() == [("authorized", 250), ("captured", 250)]


def test_without_hold_the_card_is_charged_at_once(rig: Rig) -> None:
    intent = rig.held(hold=False)
    assert (intent.status, intent.amount_received) == ("succeeded", 250)
    assert rig.money() == [("captured", 250)]


@pytest.mark.parametrize(
    ("changes", "code", "param"),
    [
        ({"sucess_url": "http://x.test"}, "parameter_unknown", "sucess_url"),
        ({"payment_intent_data": {"meta": "1"}}, "parameter_unknown", "payment_intent_data[meta]"),
        ({"success_url": None}, "parameter_missing", "success_url"),
        ({"mode": None}, "parameter_missing", "mode"),
        ({"line_items": None}, "parameter_missing", "line_items"),
        ({"success_url": "localhost/done"}, "url_invalid", "success_url"),
        ({"mode": "gift"}, None, "mode"),
        ({"expires_at": int(time.time()) + 29 * 60}, None, "expires_at"),
        ({"expires_at": int(time.time()) + 25 * 3600}, None, "expires_at"),
        ({"expires_at": "soon"}, "parameter_invalid_integer", "expires_at"),
        ({"payment_intent_data": {"statement_descriptor_suffix": "X" * 23}}, None,
         "payment_intent_data[statement_descriptor_suffix]"),
        ({"payment_intent_data": {"statement_descriptor": "X"}}, None, "payment_intent_data[statement_descriptor]"),
        ({"line_items": [{"quantity": 1, "price_data": {"currency": "eur", "unit_amount": 250}}]}, "parameter_missing",
         "line_items[0][price_data][product_data]"),
        ({"line_items": [{"quantity": 1, "price_data": {"unit_amount": 250, "product_data": {"name": "x"}}}]},
         "parameter_missing", "line_items[0][price_data][currency]"),
        ({"metadata": {"k" * 41: "x"}}, None, "metadata"),
    ],
)  # fmt: skip
def test_wrong_parameter_is_refused(rig: Rig, changes: dict[str, Any], code: str | None, param: str) -> None:
    with pytest.raises(stripe.InvalidRequestError) as caught:
        rig.client.v1.checkout.sessions.create(order(**changes))
    assert caught.value.http_status == 400
    assert (caught.value.code, str(caught.value.param).split("[k")[0]) == (code, param)


@pytest.mark.parametrize(("currency", "least"), [("eur", 50), ("gbp", 30), ("chf", 50), ("usd", 50), ("czk", 1500)])
def test_minimum_charge_by_currency(rig: Rig, currency: str, least: int) -> None:
    rig.client.v1.checkout.sessions.create(order(least, currency=currency))
    with pytest.raises(stripe.InvalidRequestError) as caught:
        rig.client.v1.checkout.sessions.create(order(least - 1, currency=currency))
    assert caught.value.code == "amount_too_small"


def test_currency_in_capitals_or_unknown_is_refused(rig: Rig) -> None:
    for currency in ("EUR", "xxq"):
        with pytest.raises(stripe.InvalidRequestError, match="Invalid currency"):
            rig.client.v1.checkout.sessions.create(order(currency=currency))


def test_expire_is_legal_only_while_open(rig: Rig) -> None:
    session = rig.client.v1.checkout.sessions.create(order())
    assert rig.client.v1.checkout.sessions.expire(session.id).status == "expired"
    with pytest.raises(stripe.InvalidRequestError, match="status of `expired`"):
        rig.client.v1.checkout.sessions.expire(session.id)
    paid = rig.client.v1.checkout.sessions.create(order())
    rig.control(f"checkout/{paid.id}/pay")
    with pytest.raises(stripe.InvalidRequestError, match="status of `complete`"):
        rig.client.v1.checkout.sessions.expire(paid.id)
    assert rig.money() == [("expired", 250), ("authorized", 250)]


def test_session_expires_by_itself(rig: Rig) -> None:
    session = rig.client.v1.checkout.sessions.create(order())
    rig.control("clock", advance_s=36 * 60)
    assert rig.client.v1.checkout.sessions.retrieve(session.id).status == "expired"
    assert "expired" in rig.http.get(f"/c/pay/{session.id}").text
    assert rig.http.post(f"/_ctl/checkout/{session.id}/pay").status_code == 400


def test_sessions_are_listed_by_payment_intent(rig: Rig) -> None:
    intent = rig.held()
    rig.held()
    found = rig.client.v1.checkout.sessions.list({"payment_intent": intent.id, "limit": 3})
    assert [session.payment_intent for session in found.data] == [intent.id]
    everything = rig.client.v1.checkout.sessions.list({"limit": 1})
    assert everything.has_more and len(list(everything.auto_paging_iter())) == 2


# -- the hosted page


def test_guest_pays_on_the_page_and_is_sent_back(rig: Rig) -> None:
    session = rig.client.v1.checkout.sessions.create(order())
    page = rig.http.get(str(session.url))
    assert "Washer &lt;1&gt;" in page.text and "€2.50" in page.text
    assert "no real money" in page.text and "<script" not in page.text
    paid = rig.http.post(f"/c/pay/{session.id}/pay")
    assert (paid.status_code, paid.headers["location"]) == (303, f"http://127.0.0.1:1/done?cs={session.id}")
    assert "all done" in rig.http.get(f"/c/pay/{session.id}").text
    assert "all done" in rig.http.post(f"/c/pay/{session.id}/pay").text
    assert rig.money() == [("authorized", 250)]


def test_declined_card_leaves_the_session_open_for_another(rig: Rig) -> None:
    session = rig.client.v1.checkout.sessions.create(order())
    assert "Your card was declined" in rig.http.post(f"/c/pay/{session.id}/decline").text
    assert rig.client.v1.checkout.sessions.retrieve(session.id).status == "open"
    assert rig.http.post(f"/c/pay/{session.id}/pay").status_code == 303
    assert rig.intent_of(session.id).status == "requires_capture"
    assert len(rig.client.v1.payment_intents.list().data) == 1


def test_abandon_goes_back_and_charges_nothing(rig: Rig) -> None:
    session = rig.client.v1.checkout.sessions.create(order())
    assert rig.http.post(f"/c/pay/{session.id}/abandon").headers["location"] == "http://127.0.0.1:1/back"
    assert (rig.client.v1.checkout.sessions.retrieve(session.id).status, rig.money()) == ("open", [])


def test_the_bank_may_ask_between_the_card_and_the_payment(rig: Rig) -> None:
    session = rig.client.v1.checkout.sessions.create(order())
    asked = rig.http.post(f"/c/pay/{session.id}/verify")
    assert asked.status_code == 200
    assert "is it you?" in asked.text
    assert "Your card was declined" in rig.http.post(f"/c/pay/{session.id}/decline").text
    assert rig.http.post(f"/c/pay/{session.id}/pay").status_code == 303
    assert "all done" in rig.http.post(f"/c/pay/{session.id}/verify").text


@pytest.mark.parametrize(
    ("succeed", "status", "paid"), [(True, "succeeded", "paid"), (False, "requires_payment_method", "unpaid")]
)
def test_pay_later_completes_unpaid_and_settles_afterwards(rig: Rig, succeed: bool, status: str, paid: str) -> None:
    session = rig.client.v1.checkout.sessions.create(order())
    rig.control(f"checkout/{session.id}/pay_later")
    now = rig.client.v1.checkout.sessions.retrieve(session.id)
    assert (now.status, now.payment_status, rig.intent_of(session.id).status) == ("complete", "unpaid", "processing")
    rig.control(f"checkout/{session.id}/async", succeed=succeed)
    assert rig.intent_of(session.id).status == status
    assert rig.client.v1.checkout.sessions.retrieve(session.id).payment_status == paid
