"""What the fake Stripe does with held money: captures, cancels, refunds and disputes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import stripe

from tests.simulators.stripe_rig import Rig


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig()
    yield made
    made.close()


# -- capture and cancel


def test_partial_capture_releases_the_rest_without_a_refund(rig: Rig) -> None:
    intent = rig.held()
    captured = rig.client.v1.payment_intents.capture(intent.id, {"amount_to_capture": 124})
    assert (captured.amount_received, captured.amount_capturable) == (124, 0)
    assert rig.client.v1.refunds.list({"payment_intent": intent.id}).data == []
    assert rig.money()[-1] == ("captured", 124)


def test_second_capture_is_refused(rig: Rig) -> None:
    intent = rig.held()
    rig.client.v1.payment_intents.capture(intent.id)
    with pytest.raises(stripe.InvalidRequestError, match="already been captured") as caught:
        rig.client.v1.payment_intents.capture(intent.id)
    assert caught.value.code == "payment_intent_unexpected_state"
    assert rig.money().count(("captured", 250)) == 1


@pytest.mark.parametrize(
    ("amount", "code"), [(49, "amount_too_small"), (251, "amount_too_large"), (0, "parameter_invalid_integer")]
)
def test_capture_amount_has_limits(rig: Rig, amount: int, code: str) -> None:
    intent = rig.held()
    with pytest.raises(stripe.InvalidRequestError) as caught:
        rig.client.v1.payment_intents.capture(intent.id, {"amount_to_capture": amount})
    assert (caught.value.code, rig.money()) == (code, [("authorized", 250)])


def test_cancel_voids_a_hold_but_not_a_captured_payment(rig: Rig) -> None:
    first, second = rig.held(), rig.held()
    assert rig.client.v1.payment_intents.cancel(first.id).status == "canceled"
    rig.client.v1.payment_intents.capture(second.id)
    with pytest.raises(stripe.InvalidRequestError) as caught:
        rig.client.v1.payment_intents.cancel(second.id)
    assert caught.value.code == "payment_intent_unexpected_state"
    with pytest.raises(stripe.InvalidRequestError, match="status of canceled"):
        rig.client.v1.payment_intents.capture(first.id)
    assert rig.money() == [("authorized", 250), ("authorized", 250), ("voided", 250), ("captured", 250)]


def test_hold_ends_after_seven_days(rig: Rig) -> None:
    intent = rig.held()
    rig.control("clock", advance_s=7 * 86400 - 60)
    assert rig.client.v1.payment_intents.retrieve(intent.id).status == "requires_capture"
    rig.control("clock", advance_s=61)
    assert rig.client.v1.payment_intents.retrieve(intent.id).status == "canceled"
    assert rig.money()[-1] == ("voided", 250)


# -- refunds and disputes


def test_refunds_never_exceed_what_was_captured(rig: Rig) -> None:
    intent = rig.held()
    with pytest.raises(stripe.InvalidRequestError, match="successful charge"):
        rig.client.v1.refunds.create({"payment_intent": intent.id})
    rig.client.v1.payment_intents.capture(intent.id, {"amount_to_capture": 200})
    first = rig.client.v1.refunds.create({"payment_intent": intent.id, "amount": 150, "metadata": {"refund_id": "1"}})
    with pytest.raises(stripe.InvalidRequestError, match=r"\(€0\.51\) is greater than unrefunded amount on charge"):
        rig.client.v1.refunds.create({"payment_intent": intent.id, "amount": 51})
    rig.client.v1.refunds.create({"payment_intent": intent.id})
    with pytest.raises(stripe.InvalidRequestError) as caught:
        rig.client.v1.refunds.create({"payment_intent": intent.id, "amount": 1})
    assert caught.value.code == "charge_already_refunded"
    listed = rig.client.v1.refunds.list({"payment_intent": intent.id}).data
    assert [refund.amount for refund in listed] == [50, 150] and listed[1].id == first.id
    assert rig.money()[-2:] == [("refunded", 150), ("refunded", 50)]


def test_failed_refund_can_be_made_again(rig: Rig) -> None:
    intent = rig.held(hold=False)
    rig.control("refunds", mode="pending")
    refund = rig.client.v1.refunds.create({"payment_intent": intent.id})
    assert refund.status == "pending"
    rig.control(f"refunds/{refund.id}", status="failed")
    assert rig.client.v1.refunds.retrieve(refund.id).status == "failed"
    rig.control("refunds", mode="succeeded")
    assert rig.client.v1.refunds.create({"payment_intent": intent.id}).status == "succeeded"
    assert rig.money()[1:] == [("refund_pending", 250), ("refund_failed", 250), ("refunded", 250)]


def test_refund_in_the_dashboard_is_seen_by_the_api(rig: Rig) -> None:
    intent = rig.held(hold=False)
    rig.control(f"payment_intents/{intent.id}/refund", amount=100)
    assert [refund.amount for refund in rig.client.v1.refunds.list({"payment_intent": intent.id}).data] == [100]


def test_disputed_charge_cannot_be_refunded(rig: Rig) -> None:
    intent = rig.held(hold=False)
    dispute = rig.control("disputes", payment_intent=intent.id)
    assert rig.client.v1.disputes.retrieve(dispute["id"]).payment_intent == intent.id
    with pytest.raises(stripe.InvalidRequestError) as caught:
        rig.client.v1.refunds.create({"payment_intent": intent.id})
    assert caught.value.code == "charge_disputed"


def test_tampered_amount_is_what_the_api_answers(rig: Rig) -> None:
    intent = rig.held()
    rig.control(f"payment_intents/{intent.id}/tamper", amount=1, currency="usd")
    seen = rig.client.v1.payment_intents.retrieve(intent.id)
    assert (seen.amount, seen.amount_capturable, seen.currency) == (1, 1, "usd")
