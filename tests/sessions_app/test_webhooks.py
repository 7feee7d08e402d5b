"""Stripe's webhook: genuine ones are believed once, everything else changes nothing."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from hygate import clock
from hygate.due.claims import claim
from hygate.due.registry import handler_for
from hygate.due.running import run
from sessions_app.models import WebhookEvent
from sessions_app.payments import inbox, lost_orders, settling
from sessions_app.payments.gateway import ProviderFailed
from sessions_app.payments.inbox import SOON_S
from sessions_app.states import PaymentStatus, State
from tests.world import World, kinds_of

URL = "/api/stripe/webhook"
SECRET = "whsec_demo"


def signed(body: bytes, *, secret: str = SECRET, at: float | None = None) -> str:
    stamp = int(clock.now().timestamp() if at is None else at)
    digest = hmac.new(secret.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={stamp},v1={digest}"


def event(order: str = "", kind: str = "checkout.session.completed", *, event_id: str = "", **thing: Any) -> bytes:
    what = {"id": "cs_x", "object": "checkout.session", "metadata": {"order": order}} | thing
    known = event_id or f"evt_{order or 'x'}"
    return json.dumps({"id": known, "type": kind, "livemode": False, "data": {"object": what}}).encode()


def post(body: bytes, signature: str | None) -> int:
    headers = {} if signature is None else {"Stripe-Signature": signature}
    return Client().post(URL, body, content_type="application/json", headers=headers).status_code


FORGED: dict[str, Callable[[bytes], str | None]] = {
    "wrong secret": lambda body: signed(body, secret="whsec_other"),
    "altered body": lambda body: signed(body + b" "),
    "five minutes old": lambda body: signed(body, at=time.time() - 301),
    "five minutes ahead": lambda body: signed(body, at=time.time() + 302),
    "no header": lambda _body: None,
    "nonsense": lambda _body: "t=x,v1=y",
}


@pytest.mark.django_db
@pytest.mark.parametrize("forgery", FORGED)
def test_a_forged_webhook_is_refused_and_leaves_no_row(forgery: str) -> None:
    body = event("S-ABCDEFG-1")
    assert post(body, FORGED[forgery](body)) == 400
    assert WebhookEvent.objects.count() == 0


@pytest.mark.django_db
@pytest.mark.parametrize("body", [b"[]", b"no json", b'{"id": 3, "type": "x"}'])
def test_a_signed_body_that_is_no_event_is_refused(body: bytes) -> None:
    assert post(body, signed(body)) == 400


def test_a_genuine_webhook_settles_the_order_it_names(world: World) -> None:
    session = world.buy()
    body = event(session.payments.get().ref)
    assert post(body, signed(body)) == 200
    world.go(0)
    session.refresh_from_db()
    assert session.state == State.GRACE
    assert session.payments.get().settled_by == "webhook"


def test_ten_deliveries_of_one_event_make_one_row_and_one_start(world: World) -> None:
    session = world.buy()
    body = event(session.payments.get().ref)
    assert [post(body, signed(body)) for _ in range(10)] == [200] * 10
    world.go(40)
    assert WebhookEvent.objects.count() == 1
    assert kinds_of(session).count("session_starting") == 1


def test_the_events_of_one_purchase_have_stripe_read_once(world: World) -> None:
    session = world.buy()
    for number in range(4):
        body = event(session.payments.get().ref, event_id=f"evt_{number}")
        assert post(body, signed(body)) == 200
    read_before = reads_of(world)
    world.go(0)
    session.refresh_from_db()
    assert session.state == State.GRACE
    world.go(SOON_S)
    assert reads_of(world) == read_before + 1
    assert set(WebhookEvent.objects.values_list("effect", flat=True)) == {"read since"}


def test_an_order_that_waits_to_be_read_is_not_asked_for_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    session = world.buy()
    woken: list[object] = []
    monkeypatch.setattr(settling, "wake", woken.append)
    for number in range(4):
        body = event(session.payments.get().ref, event_id=f"evt_{number}")
        assert post(body, signed(body)) == 200
    assert len(woken) == 1


def test_an_event_that_comes_while_its_order_is_being_read_has_it_read_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reading that is under way may have missed the news. Nobody is woken, who could not take the order anyway."""
    woken: list[object] = []
    monkeypatch.setattr(settling, "wake", woken.append)
    order = world.buy().payments.get()
    asked_at = world.now - timedelta(seconds=1)
    rows = type(order).objects.filter(pk=order.pk)
    rows.update(due_at=asked_at, settled_by="webhook", claimed_until=world.now + timedelta(seconds=20))
    body = event(order.ref)
    assert post(body, signed(body)) == 200
    order.refresh_from_db()
    assert order.due_at is not None
    assert order.due_at > asked_at
    assert woken == []


def test_an_event_does_not_hide_that_the_guest_has_come_back(world: World) -> None:
    """The page of more time tells by it whether the payment is being looked up, and asks more often meanwhile."""
    order = world.buy().payments.get()
    settling.look_now(order, by="webhook")
    settling.look_now(order, by="page")
    settling.look_now(order, by="webhook")
    order.refresh_from_db()
    assert order.settled_by == "page"


def test_an_event_after_the_last_reading_has_stripe_read_again(world: World) -> None:
    """The hold is cancelled at Stripe while the guest gets ready: an event about it must not be taken for known."""
    session = world.buy()
    world.tell(session)
    world.go(1)
    intent = session.payments.get().intent_id
    world.ctl(world.stripe_server, "POST", f"/_ctl/payment_intents/{intent}/cancel")
    body = event(session.payments.get().ref, kind="payment_intent.canceled")
    assert post(body, signed(body)) == 200
    world.go(SOON_S)
    session.refresh_from_db()
    assert (session.state, session.payments.get().status) == (State.CANCELLED, PaymentStatus.VOIDED)


def reads_of(world: World) -> int:
    reads = [one for one in world.ledger(world.stripe_server, "request") if one["method"] == "GET"]
    return len([one for one in reads if "/checkout/sessions/" in one["path"]])


def test_a_webhook_that_lies_about_payment_starts_nothing(world: World) -> None:
    """A signed event is a hint to look: Stripe itself says that nothing was paid."""
    from sessions_app.payments.checkout import open_checkout

    session = world.hold()
    open_checkout(session.payments.get())
    body = event(session.payments.get().ref, payment_status="paid", status="complete")
    assert post(body, signed(body)) == 200
    world.go(20)
    session.refresh_from_db()
    assert session.state == State.HELD
    assert world.switched() == []


def test_an_event_of_an_unknown_order_or_kind_is_answered_and_leaves_it_at_that(world: World) -> None:
    for body in (event("S-NOBODY0-1"), event("", kind="customer.created", id="cus_1")):
        assert post(body, signed(body)) == 200
    world.go(1)
    assert set(WebhookEvent.objects.values_list("effect", flat=True)) == {"unknown order"}


def test_a_late_event_switches_nothing(world: World) -> None:
    session = world.buy()
    world.tell(session)
    world.go(60)
    before = len(world.switched())
    body = event(session.payments.get().ref)
    assert post(body, signed(body)) == 200
    row = WebhookEvent.objects.get(event_id=f"evt_{session.payments.get().ref}")
    assert (row.effect, row.due_at, row.handled_at) == ("nothing to do", None, world.now)
    world.go(30)
    assert len(world.switched()) == before


def test_events_that_need_no_look_at_stripe_are_followed_together(world: World) -> None:
    session = world.buy()
    for number in range(8):
        body = event(session.payments.get().ref, event_id=f"evt_{number}")
        assert post(body, signed(body)) == 200
    world.go(0)
    world.manual.set(world.now + timedelta(seconds=SOON_S))
    handler = handler_for(WebhookEvent._meta.label_lower)
    claims = claim(handler, limit=handler.chunk)
    with CaptureQueriesContext(connection) as asked:
        inbox.advance(claims)
    assert list(WebhookEvent.objects.values_list("effect", "due_at")) == [("read since", None)] * 8
    assert len([one for one in asked.captured_queries if one["sql"].startswith("SELECT")]) == 2


def test_a_stripe_that_hangs_takes_no_event_past_its_lease(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another holder would follow them a second time, and hang as well."""
    for number in range(3):
        row = {"event_id": f"evt_{number}", "payment_ref": f"S-NOBODY{number}-1", "intent_id": f"pi_{number}"}
        WebhookEvent.objects.create(kind="x", due_at=world.now, **row)
    passed_s = 0.0

    def hang(_intent: str) -> None:
        nonlocal passed_s
        passed_s += world.settings.NUMBERS.stripe_timeout_s
        raise ProviderFailed

    monkeypatch.setattr(clock, "elapsed", lambda: passed_s)
    monkeypatch.setattr(lost_orders, "look_up", hang)
    handler = handler_for(WebhookEvent._meta.label_lower)
    run(handler, claim(handler, limit=handler.chunk))
    tried = WebhookEvent.objects.order_by("event_id").values_list("attempts", "claimed_until")
    assert sorted(tried) == [(0, None), (0, None), (1, None)]


def test_a_webhook_is_tried_again_when_stripe_does_not_answer(world: World) -> None:
    session = world.buy()
    world.fault(world.stripe_server, on="checkout.sessions.retrieve", do="drop", times=2)
    body = event(session.payments.get().ref)
    assert post(body, signed(body)) == 200
    world.go(12)
    session.refresh_from_db()
    assert session.state not in (State.HELD, State.CANCELLED)


@pytest.mark.parametrize("change", [{"amount": 251}, {"currency": "usd"}, {"metadata": {"order": "S-OTHER00-1"}}])
def test_a_payment_that_is_not_what_was_sold_never_starts_and_goes_back(world: World, change: dict[str, Any]) -> None:
    session = world.buy()
    intent = next(e for e in world.ledger(world.stripe_server, "authorized"))["payment_intent"]
    world.ctl(world.stripe_server, "POST", f"/_ctl/payment_intents/{intent}/tamper", change)
    world.tell(session)
    world.go(60)
    session.refresh_from_db()
    assert session.state == State.CANCELLED
    assert world.switched() == []
    assert world.money()[-1][0] == "voided"
