"""The same questions to the fake Stripe and, where HYGATE_SANDBOX_STRIPE_KEY is set, to a real sandbox.

What both answer alike may be relied on in tests with the fake. The sandbox half leaves only expired checkouts.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import stripe

from hygate.simulators.base import RunningSimulator
from hygate.simulators.stripe import StripeSimulator

SANDBOX_KEY = os.environ.get("HYGATE_SANDBOX_STRIPE_KEY", "")


@pytest.fixture(params=["fake", "sandbox"])
def client(request: pytest.FixtureRequest) -> Iterator[stripe.StripeClient]:
    if request.param == "fake":
        server = RunningSimulator(StripeSimulator()).start()
        http = stripe.RequestsClient()
        yield stripe.StripeClient("sk_test_x", base_addresses={"api": server.url}, http_client=http)
        http.close()  # type: ignore[no-untyped-call]
        server.stop()
        return
    if not SANDBOX_KEY:
        pytest.skip("HYGATE_SANDBOX_STRIPE_KEY is not set")
    if "_test_" not in SANDBOX_KEY:
        pytest.fail("HYGATE_SANDBOX_STRIPE_KEY must be a test key")
    yield stripe.StripeClient(SANDBOX_KEY)


def wanted(**changes: Any) -> Any:
    price = {"currency": "eur", "unit_amount": 250, "product_data": {"name": "Washer 1"}}
    return {
        "mode": "payment",
        "ui_mode": "hosted_page",
        "success_url": "https://example.com/paid",
        "cancel_url": "https://example.com/back",
        "line_items": [{"quantity": 1, "price_data": price}],
        "payment_method_options": {"card": {"capture_method": "manual"}},
        "expires_at": int(time.time()) + 35 * 60,
        "metadata": {"order": "S-TEST-1"},
    } | changes


def key() -> Any:
    return {"idempotency_key": f"alike-{uuid.uuid4()}"}


def test_a_checkout_is_open_with_an_address_and_our_metadata(client: stripe.StripeClient) -> None:
    made = client.v1.checkout.sessions.create(wanted(), key())
    assert (made.status, made.amount_total, made.currency) == ("open", 250, "eur")
    assert made.url
    assert made.metadata is not None
    assert made.metadata["order"] == "S-TEST-1"
    client.v1.checkout.sessions.expire(made.id)


def test_an_expired_checkout_cannot_be_expired_again(client: stripe.StripeClient) -> None:
    made = client.v1.checkout.sessions.create(wanted(), key())
    assert client.v1.checkout.sessions.expire(made.id).status == "expired"
    with pytest.raises(stripe.InvalidRequestError):
        client.v1.checkout.sessions.expire(made.id)


def test_the_same_key_answers_the_same_checkout(client: stripe.StripeClient) -> None:
    params, same = wanted(), key()
    first = client.v1.checkout.sessions.create(params, same)
    assert client.v1.checkout.sessions.create(params, same).id == first.id
    client.v1.checkout.sessions.expire(first.id)


def test_the_same_key_with_other_parameters_is_refused(client: stripe.StripeClient) -> None:
    params, same = wanted(), key()
    first = client.v1.checkout.sessions.create(params, same)
    with pytest.raises(stripe.IdempotencyError):
        client.v1.checkout.sessions.create(wanted(client_reference_id="other"), same)
    client.v1.checkout.sessions.expire(first.id)


@pytest.mark.parametrize(
    "changes",
    [
        {"expires_at": int(time.time()) + 20 * 60},
        {"expires_at": int(time.time()) + 25 * 3600},
        {"no_such_parameter": "x"},
        {"success_url": "not a url"},
        {"line_items": [{"quantity": 1, "price_data": {"currency": "eur", "unit_amount": 250}}]},
    ],
    ids=["expires too soon", "expires too late", "unknown parameter", "no url", "no product"],
)
def test_what_stripe_refuses_the_fake_refuses(client: stripe.StripeClient, changes: dict[str, Any]) -> None:
    with pytest.raises(stripe.InvalidRequestError):
        client.v1.checkout.sessions.create(wanted(**changes), key())


def test_an_amount_below_the_minimum_is_too_small(client: stripe.StripeClient) -> None:
    price = {"currency": "eur", "unit_amount": 10, "product_data": {"name": "Washer 1"}}
    with pytest.raises(stripe.InvalidRequestError) as refused:
        client.v1.checkout.sessions.create(wanted(line_items=[{"quantity": 1, "price_data": price}]), key())
    assert refused.value.code == "amount_too_small"


def test_an_unknown_checkout_is_missing(client: stripe.StripeClient) -> None:
    with pytest.raises(stripe.InvalidRequestError) as refused:
        client.v1.checkout.sessions.retrieve("cs_test_nobody")
    assert refused.value.code == "resource_missing"
