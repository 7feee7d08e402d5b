"""The fake Stripe's events: signed, delivered, refused, lost, repeated and out of order."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
import stripe

from tests.simulators.stripe_rig import SECRET, Receiver, Rig, eventually, order


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
