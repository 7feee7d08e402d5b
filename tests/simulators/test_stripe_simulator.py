"""The fake Stripe, driven by the real SDK over a socket, with a real HTTP endpoint receiving its webhooks."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import stripe

from hygate.simulators.base import RunningSimulator
from hygate.simulators.stripe import StripeSimulator, build

KEY = "sk_test_simulated_key_0001"
SECRET = "whsec_first"


class Receiver:
    """A merchant's endpoint: keeps what it gets; ``answers`` are the statuses of the next deliveries, then 200."""

    def __init__(self) -> None:
        self.got: list[tuple[bytes, str]] = []
        self.answers: list[int] = []
        receiver = self

        class Endpoint(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = receiver.answers.pop(0) if receiver.answers else 200
                receiver.got.append((body, self.headers["Stripe-Signature"]))
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: object) -> None:
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def types(self) -> list[str]:
        return [json.loads(body)["type"] for body, _ in list(self.got)]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Rig:
    """One simulator, its SDK client and its control plane."""

    def __init__(self, receiver: Receiver | None = None, state_path: Path | None = None) -> None:
        url = receiver.url if receiver else None
        self.simulator = StripeSimulator(webhook_url=url, webhook_secrets=(SECRET,), state_path=state_path)
        self.running = RunningSimulator(self.simulator).start()
        self.url = self.running.url
        self.client = self.client_with(KEY)
        self.http = httpx.Client(base_url=self.url, trust_env=False)

    def client_with(self, key: str) -> stripe.StripeClient:
        return stripe.StripeClient(key, base_addresses={"api": self.url}, max_network_retries=0)

    def control(self, path: str, **body: Any) -> Any:
        answer = self.http.post(f"/_ctl/{path}", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def money(self) -> list[tuple[str, int]]:
        entries = self.http.get("/_ctl/ledger").json()
        return [(entry["kind"], entry["amount"]) for entry in entries if entry["kind"] != "request"]

    def held(self, **changes: Any) -> stripe.PaymentIntent:
        """A payment that is authorised and not captured."""
        session = self.client.v1.checkout.sessions.create(order(**changes))
        self.control(f"checkout/{session.id}/pay")
        return self.intent_of(session.id)

    def intent_of(self, session_id: str) -> stripe.PaymentIntent:
        session = self.client.v1.checkout.sessions.retrieve(session_id, {"expand": ["payment_intent.latest_charge"]})
        assert isinstance(session.payment_intent, stripe.PaymentIntent)
        return session.payment_intent

    def close(self) -> None:
        self.http.close()
        self.running.stop()


def order(amount: int = 250, *, hold: bool = True, currency: str = "eur", **changes: Any) -> Any:
    price = {
        "currency": currency,
        "unit_amount": amount,
        "product_data": {"name": "Washer <1>", "description": "60 min"},
    }
    parameters: dict[str, Any] = {
        "mode": "payment",
        "line_items": [{"quantity": 1, "price_data": price}],
        "success_url": "http://127.0.0.1:1/done?cs={CHECKOUT_SESSION_ID}",
        "cancel_url": "http://127.0.0.1:1/back",
        "client_reference_id": "order-7",
        "metadata": {"order": "order-7"},
        "payment_intent_data": {"metadata": {"order": "order-7"}},
        "expires_at": int(time.time()) + 35 * 60,
    }
    if hold:
        parameters["payment_method_options"] = {"card": {"capture_method": "manual"}}
    return {name: value for name, value in {**parameters, **changes}.items() if value is not None}


def eventually(check: Callable[[], bool], seconds: float = 4.0) -> None:
    end = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.01)


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig()
    yield made
    made.close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@pytest.fixture
def hooked(receiver: Receiver) -> Iterator[Rig]:
    made = Rig(receiver)
    yield made
    made.close()


# -- checkout


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


# -- idempotency and keys


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


# -- webhooks


def test_events_are_signed_and_parse_with_the_sdk(hooked: Rig, receiver: Receiver) -> None:
    intent = hooked.held()
    wanted = {
        "payment_intent.created",
        "charge.succeeded",
        "payment_intent.amount_capturable_updated",
        "checkout.session.completed",
    }
    eventually(lambda: set(receiver.types()) == wanted)
    for body, header in receiver.got:
        event = hooked.client.construct_event(body, header, SECRET)
        assert event.livemode is False and event.api_version == "2026-10-28.endive"
        with pytest.raises(stripe.SignatureVerificationError):
            hooked.client.construct_event(body + b" ", header, SECRET)
    completed = next(json.loads(body) for body, _ in receiver.got if b"checkout.session.completed" in body)
    assert completed["data"]["object"]["payment_intent"] == intent.id
    assert not [name for name in completed["data"]["object"] if name.startswith("_")]


def test_refused_delivery_is_tried_again(hooked: Rig, receiver: Receiver) -> None:
    receiver.answers = [500]
    hooked.control("webhooks", only=["checkout.session.completed"])
    hooked.held()
    eventually(lambda: len(receiver.got) == 1)
    eventually(lambda: len(hooked.client.v1.events.list({"delivery_success": False}).data) == 1)
    hooked.control("clock", advance_s=1)
    eventually(lambda: len(receiver.got) == 2)
    eventually(lambda: hooked.client.v1.events.list({"delivery_success": False}).data == [])
    deliveries = hooked.http.get("/_ctl/webhooks").json()["deliveries"]
    assert [attempt["status"] for attempt in deliveries[0]["attempts"]] == [500, 200]


def test_dropped_event_is_found_in_the_list(hooked: Rig, receiver: Receiver) -> None:
    hooked.control("webhooks", drop=True)
    hooked.held()
    lost = hooked.client.v1.events.list({"delivery_success": False, "types": ["checkout.session.completed"]})
    assert [event.type for event in lost.data] == ["checkout.session.completed"]
    assert receiver.got == []
    hooked.control("webhooks", drop=False, create=False)
    hooked.held()
    assert len(hooked.client.v1.events.list({"type": "checkout.session.completed"}).data) == 1


def test_duplicates_delay_and_reorder(hooked: Rig, receiver: Receiver) -> None:
    hooked.control("webhooks", only=["checkout.session.completed"], duplicate=3, delay_s=60)
    hooked.held()
    time.sleep(0.3)
    assert receiver.got == []
    hooked.control("clock", advance_s=60)
    eventually(lambda: len(receiver.got) == 3)
    assert len({body for body, _ in receiver.got}) == 1
    receiver.got.clear()
    hooked.control("webhooks", only=None, duplicate=1, delay_s=0, reorder=True, reorder_window_s=0.3)
    hooked.held()
    eventually(lambda: len(receiver.got) == 4)
    assert receiver.types()[0] == "checkout.session.completed"
    assert receiver.types()[-1] == "payment_intent.created"


def test_rolled_secret_signs_with_both_then_with_the_new_one(hooked: Rig, receiver: Receiver) -> None:
    hooked.control("webhooks", only=["checkout.session.completed"], roll_secret="whsec_second")
    hooked.held()
    eventually(lambda: len(receiver.got) == 1)
    for secret in (SECRET, "whsec_second"):
        hooked.client.construct_event(*receiver.got[0], secret)
    hooked.control("webhooks", end_roll=True)
    hooked.held()
    eventually(lambda: len(receiver.got) == 2)
    hooked.client.construct_event(*receiver.got[1], "whsec_second")
    with pytest.raises(stripe.SignatureVerificationError):
        hooked.client.construct_event(*receiver.got[1], SECRET)


def test_thin_event_points_at_the_object(hooked: Rig, receiver: Receiver) -> None:
    hooked.control("webhooks", only=["checkout.session.completed"], both=True)
    session = hooked.client.v1.checkout.sessions.create(order())
    hooked.control(f"checkout/{session.id}/pay")
    eventually(lambda: len(receiver.got) == 2)
    body, header = next(entry for entry in receiver.got if b"v2.core.event" in entry[0])
    notification = hooked.client.parse_event_notification(body, header, SECRET)
    assert notification.type == "v1.checkout.session.completed"
    assert notification.related_object.id == session.id
    assert notification.fetch_related_object().status == "complete"
    assert hooked.client.v2.core.events.retrieve(notification.id).type == notification.type
    with pytest.raises(ValueError, match="thin"):
        hooked.client.construct_event(body, header, SECRET)


def paid(rig: Rig, name: str) -> stripe.checkout.Session:
    """A payment for the merchant's order of that name."""
    named: dict[str, Any] = {"metadata": {"order": name}, "payment_intent_data": {"metadata": {"order": name}}}
    session = rig.client.v1.checkout.sessions.create(order(client_reference_id=name, **named))
    rig.control(f"checkout/{session.id}/pay")
    return session


def orders_of(receiver: Receiver) -> list[str]:
    return [json.loads(body)["data"]["object"]["metadata"]["order"] for body, _ in list(receiver.got)]


def test_habits_of_one_order_leave_the_others_alone(hooked: Rig, receiver: Receiver) -> None:
    hooked.control("webhooks", only=["checkout.session.completed"])
    hooked.control("webhooks", order="order-lost", drop=True)
    hooked.control("webhooks", order="order-twice", duplicate=2)
    for name in ("order-lost", "order-twice", "order-plain"):
        paid(hooked, name)
    eventually(lambda: sorted(orders_of(receiver)) == ["order-plain", "order-twice", "order-twice"])
    deliveries = hooked.http.get("/_ctl/webhooks").json()["deliveries"]
    assert sorted(one["state"] for one in deliveries) == ["delivered", "delivered", "delivered", "dropped"]


def test_habits_of_one_order_begin_as_those_of_all(hooked: Rig, receiver: Receiver) -> None:
    hooked.control("webhooks", only=["checkout.session.completed"])
    hooked.control("webhooks", order="order-slow", delay_s=60)
    hooked.control("webhooks", only=None)
    paid(hooked, "order-slow")
    hooked.control("clock", advance_s=60)
    eventually(lambda: receiver.types() == ["checkout.session.completed"])


def test_no_event_is_made_for_an_order_that_shall_have_none(hooked: Rig, receiver: Receiver) -> None:
    hooked.control("webhooks", order="order-silent", create=False)
    paid(hooked, "order-silent")
    paid(hooked, "order-plain")
    eventually(lambda: "checkout.session.completed" in receiver.types())
    events = hooked.client.v1.events.list({"limit": 100}).data
    assert {event.data.object["metadata"]["order"] for event in events} == {"order-plain"}


def test_an_unknown_habit_of_one_order_is_refused(hooked: Rig) -> None:
    answer = hooked.http.post("/_ctl/webhooks", json={"order": "order-7", "dropp": True})
    assert answer.status_code == 400
    assert "dropp" in answer.json()["error"]


# -- restart


def test_restart_keeps_payments_keys_and_undelivered_events(tmp_path: Path, receiver: Receiver) -> None:
    state = tmp_path / "stripe.json"
    first = Rig(receiver, state)
    parameters = order()
    first.control("webhooks", only=["checkout.session.completed"], delay_s=3600)
    session = first.client.v1.checkout.sessions.create(parameters, {"idempotency_key": "k1"})
    first.control(f"checkout/{session.id}/pay")
    ledger = first.http.get("/_ctl/ledger").json()
    first.close()
    second = Rig(receiver, state)
    try:
        assert second.http.get("/_ctl/ledger").json() == ledger
        assert second.client.v1.checkout.sessions.create(parameters, {"idempotency_key": "k1"}).id == session.id
        assert second.intent_of(session.id).status == "requires_capture"
        assert receiver.got == []
        second.control("clock", advance_s=3600)
        eventually(lambda: receiver.types() == ["checkout.session.completed"])
        assert KEY not in state.read_text() and SECRET not in state.read_text()
    finally:
        second.close()


def test_build_gives_the_demo_its_simulator(tmp_path: Path) -> None:
    assert build("http://127.0.0.1:1/hook", "whsec_demo", tmp_path / "s.json").webhooks.habits.secrets == ["whsec_demo"]
