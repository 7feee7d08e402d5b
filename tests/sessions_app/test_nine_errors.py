"""The nine errors that everybody meets: each with its status, its sentence, and neither money nor relays moved."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from html import unescape
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from devices.models import ShellyAccount
from devices.shelly.errors import BadKey, RateLimited
from hygate.models import Role, User
from sessions_app.models import DeviceSession, WebhookEvent
from sessions_app.states import State
from tests.world import PLUG, World

NOWHERE = "http://127.0.0.1:9"
MAX_REQ = {"isok": False, "errors": {"max_req": "Request limit reached!"}}


@dataclass(frozen=True)
class Case:
    """``prepare`` sets the stage; ``act`` is the one request; ``money`` is all that may happen to money afterwards.

    ``sentence`` is read on the answer, or on the page that a redirect leads to.
    """

    prepare: Callable[[World], Any]
    act: Callable[[World, Any], Any]
    status: int
    sentence: str
    money: tuple[tuple[str, int], ...] = ()


def nothing(_world: World) -> None:
    return None


def sync(world: World, _stage: Any) -> Any:
    """An administrator presses *Sync from Shelly*, the connection test."""
    browser = Client()
    admin = User.objects.create(email="admin@example.com", role=Role.ADMINISTRATOR)
    browser.force_login(admin, backend="django.contrib.auth.backends.ModelBackend")
    return browser.post(reverse("dashboard:account_sync", args=[world.account.pk]), headers={"HX-Request": "true"})


def account(**columns: Any) -> Callable[[World], None]:
    def save(world: World) -> None:
        fresh = ShellyAccount.objects.get(pk=world.account.pk)
        for name, value in columns.items():
            setattr(fresh, name, value)
        fresh.save(update_fields=list(columns))

    return save


def limited(world: World) -> None:
    world.fault(world.shelly_server, on="/device/all_status", do="body", body=MAX_REQ, times=5)
    world.fault(world.shelly_server, on="/interface/device/list", do="body", body=MAX_REQ, times=5)


def unplugged(world: World) -> None:
    world.ctl(world.shelly_server, "POST", f"/_ctl/devices/{PLUG}", {"online": False})
    world.go(60)


def buy(world: World, _stage: Any) -> Any:
    return Client().post("/d/WASH1/", {"plan": world.plan.pk})


def over(world: World) -> DeviceSession:
    session = world.buy()
    world.tell(session)
    world.go(60)
    return session


def paid_and_held(world: World) -> DeviceSession:
    return world.buy()


def pay_again(_world: World, session: DeviceSession) -> Any:
    browser = Client()
    browser.post(f"/session/{session.token}/start/")
    return browser.post(f"/session/{session.token}/pay/")


def forge(_world: World, session: DeviceSession) -> Any:
    body = '{"id": "evt_1", "type": "checkout.session.completed", "data": {"object": {"payment_status": "paid"}}}'
    signature = {"Stripe-Signature": "t=1795262400,v1=00"}
    answer = Client().post("/api/stripe/webhook", body, content_type="application/json", headers=signature)
    assert not WebhookEvent.objects.exists()
    return answer


def somebody_elses(world: World) -> DeviceSession:
    """Another guest's session, running; whoever tries to stop it holds a link to one of his own that is over."""
    over(world)
    session = world.buy()
    world.tell(session)
    world.go(12)
    return session


def stop_by_reference(_world: World, session: DeviceSession) -> Any:
    own = DeviceSession.objects.exclude(pk=session.pk).get()
    browser = Client()
    browser.get(f"/session/{own.token}/paid/")
    answer = browser.post(f"/session/{session.reference}/stop/")
    session.refresh_from_db()
    assert session.state == State.RUNNING
    return answer


def tampered(world: World) -> DeviceSession:
    session = world.buy()
    intent = world.ledger(world.stripe_server, "authorized")[-1]["payment_intent"]
    world.ctl(world.stripe_server, "POST", f"/_ctl/payment_intents/{intent}/tamper", {"amount": 1})
    return session


def come_back(_world: World, session: DeviceSession) -> Any:
    return Client().get(f"/session/{session.token}/paid/")


CASES = {
    "wrong key": Case(account(auth_key="not-the-key"), sync, 200, BadKey.says),
    "cloud unreachable": Case(account(server_url=NOWHERE), sync, 200, "The server refuses the connection."),
    "rate limit": Case(limited, sync, 200, RateLimited.says),
    "offline device": Case(unplugged, buy, 409, "Washer 1 does not answer us right now."),
    "unknown code": Case(
        nothing, lambda _world, _stage: Client().post("/d/NOSUCH/", {"plan": 1}), 404, "We do not know this code"
    ),
    "used link": Case(over, pay_again, 303, "All of them were delivered."),
    "forged webhook": Case(paid_and_held, forge, 400, "signature"),
    "foreign session": Case(somebody_elses, stop_by_reference, 404, "We do not know this link"),
    "amount tampered": Case(tampered, come_back, 303, "You were not charged", money=(("voided", 1),)),
}

GOES_ITS_WAY = ("forged webhook", "foreign session")
"""Here a guest has paid: what follows is his session, error or not."""


@pytest.mark.parametrize("name", CASES)
def test_an_error_is_said_and_moves_neither_money_nor_relays(world: World, name: str) -> None:
    case = CASES[name]
    stage = case.prepare(world)
    money, relays, switched = world.money(), world.ledger(world.shelly_server, "relay"), world.switched()

    answer = case.act(world, stage)
    assert answer.status_code == case.status
    if name not in GOES_ITS_WAY:
        world.go(120)
    if answer.status_code == 303:
        answer = Client().get(answer["Location"])
    assert case.sentence in unescape(answer.content.decode())
    assert world.money() == [*money, *case.money]
    assert world.ledger(world.shelly_server, "relay") == relays
    assert world.switched() == switched
