"""The fake Stripe's keys: those that make a request happen once, and those that allow it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import stripe

from tests.simulators.stripe_rig import KEY, SECRET, Rig, order


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig()
    yield made
    made.close()


def test_same_key_replays_the_first_answer(rig: Rig) -> None:
    parameters = order()
    first = rig.client.v1.checkout.sessions.create(parameters, {"idempotency_key": "k1"})
    again = rig.client.v1.checkout.sessions.create(parameters, {"idempotency_key": "k1"})
    assert again.id == first.id and len(rig.client.v1.checkout.sessions.list().data) == 1
    assert again.last_response is not None
    assert again.last_response.headers["Idempotent-Replayed"] == "true"
    with pytest.raises(stripe.IdempotencyError):
        rig.client.v1.checkout.sessions.create(order(300), {"idempotency_key": "k1"})


def test_stored_500_is_replayed_until_the_key_is_pruned(rig: Rig) -> None:
    rig.control("stored_500", on="checkout.sessions.create", times=1)
    parameters = order(expires_at=None)
    for _ in range(2):
        with pytest.raises(stripe.APIError) as caught:
            rig.client.v1.checkout.sessions.create(parameters, {"idempotency_key": "k1"})
        assert caught.value.http_status == 500
    rig.control("clock", advance_s=24 * 3600 + 1)
    assert rig.client.v1.checkout.sessions.create(parameters, {"idempotency_key": "k1"}).status == "open"


def test_refused_parameters_do_not_use_up_the_key(rig: Rig) -> None:
    with pytest.raises(stripe.InvalidRequestError):
        rig.client.v1.checkout.sessions.create(order(success_url=None), {"idempotency_key": "k1"})
    assert rig.client.v1.checkout.sessions.create(order(), {"idempotency_key": "k1"}).status == "open"


def test_concurrent_requests_with_one_key_conflict(rig: Rig) -> None:
    rig.control("slow", on="checkout.sessions.create", seconds=0.4)
    parameters = order()

    def create() -> str:
        try:
            return rig.client.v1.checkout.sessions.create(parameters, {"idempotency_key": "k1"}).id
        except stripe.StripeError as error:
            body: Any = error.json_body
            return f"{error.http_status} {body['error']['code']}"

    with ThreadPoolExecutor(2) as pool:
        answers = sorted(future.result() for future in [pool.submit(create), pool.submit(create)])
    assert answers[0] == "409 idempotency_key_in_use" and answers[1].startswith("cs_test_")
    assert create() == answers[1]


def test_lost_answer_is_found_again_by_its_key(rig: Rig) -> None:
    rig.control("faults", on="checkout.sessions.create", do="act_then_drop")
    parameters = order()
    with pytest.raises(stripe.APIConnectionError):
        rig.client.v1.checkout.sessions.create(parameters, {"idempotency_key": "k1"})
    created = rig.client.v1.checkout.sessions.create(parameters, {"idempotency_key": "k1"})
    assert [session.id for session in rig.client.v1.checkout.sessions.list().data] == [created.id]


@pytest.mark.parametrize("key", ["sk_live_51abcdefghijklmnop", "rk_live_51abcdefghijklmnop", "nonsense"])
def test_live_and_odd_keys_are_refused(rig: Rig, key: str) -> None:
    with pytest.raises(stripe.AuthenticationError) as caught:
        rig.client_with(key).v1.balance.retrieve()
    assert key not in str(caught.value)


def test_revoked_key_and_missing_scope(rig: Rig) -> None:
    restricted = rig.client_with("rk_test_restricted_0002")
    assert restricted.v1.balance.retrieve().object == "balance"
    rig.control("keys", forbid="rk_test_restricted_0002", operations=["refunds.create"])
    with pytest.raises(stripe.PermissionError):
        restricted.v1.refunds.create({"payment_intent": "pi_x"})
    rig.control("keys", revoke=KEY)
    with pytest.raises(stripe.AuthenticationError):
        rig.client.v1.balance.retrieve()
    rig.control("keys", restore=KEY)
    assert rig.client.v1.accounts.retrieve_current().id == "acct_simulated"


def test_ledger_holds_requests_and_no_secret(rig: Rig) -> None:
    rig.held()
    text = rig.http.get("/_ctl/ledger").text
    entries = json.loads(text)
    assert KEY not in text and SECRET not in text
    assert entries[0].keys() >= {"t", "method", "path", "status", "idempotency_key"}
    authorized = next(entry for entry in entries if entry["kind"] == "authorized")
    assert (authorized["order"], authorized["currency"]) == ("order-7", "eur")
