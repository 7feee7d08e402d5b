"""A contact that is welded: the relay reads off and the current flows on (D21)."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from devices.models import Device
from devices.relays.blocking import unblock
from hygate.models import Alert, Role, Severity, User
from sessions_app import selling
from sessions_app.models import DeviceSession
from sessions_app.states import State
from tests.world import PLUG, World


@pytest.fixture
def over(world: World) -> World:
    """One session that ran its twenty seconds on a contact that is welded from then on."""
    session = world.buy()
    world.tell(session)
    world.go(15)
    knob(world, welded=0)
    world.go(30)
    return world


def knob(world: World, **what: Any) -> None:
    world.ctl(world.shelly_server, "POST", f"/_ctl/devices/{PLUG}", what)


def device() -> Device:
    return Device.objects.get(shelly_id=PLUG)


def test_power_after_a_confirmed_off_takes_the_device_out_of_sale(over: World) -> None:
    session = DeviceSession.objects.get()
    assert (session.state, session.delivered_s) == (State.COMPLETED, 20)
    over.go(240)
    assert device().blocked_reason == "welded"
    assert over.availability() == "blocked"
    with pytest.raises(selling.CannotBuy) as refused:
        over.hold()
    assert refused.value.kind == "blocked"
    [alert] = Alert.objects.filter(closed_at=None, device=device().pk)
    assert (alert.kind, alert.severity) == ("blocked_welded", Severity.ERROR)
    assert alert.times == 1


def test_one_reading_is_not_enough(world: World) -> None:
    session = world.buy()
    world.tell(session)
    world.go(60)
    knob(world, welded=0)
    while not device().watts:
        world.go(1)
    knob(world, welded=None)
    world.go(200)
    assert device().blocked_since is None


def test_a_standby_current_below_ten_watts_blocks_nothing(over: World) -> None:
    knob(over, watts=[9.0])
    over.go(300)
    assert device().blocked_since is None
    assert over.availability() == "free"


def test_unblocking_a_contact_that_is_still_welded_blocks_it_again(over: World) -> None:
    over.go(240)
    assert unblock(device(), by="user:1")
    over.go(60)
    assert device().blocked_since is None
    over.go(180)
    assert device().blocked_reason == "welded"


def test_a_repaired_device_stays_unblocked(over: World) -> None:
    over.go(240)
    knob(over, welded=None)
    assert unblock(device(), by="user:1")
    over.go(300)
    assert over.availability() == "free"


def test_the_guest_reads_that_it_is_out_of_order(over: World, client: Client) -> None:
    over.go(240)
    page = client.get("/d/WASH1/").content.decode()
    assert "Out of order" in page
    assert "nothing can be charged" in page


def test_staff_sees_why_and_unblocks_it(over: World, client: Client) -> None:
    over.go(240)
    client.force_login(User.objects.create_user("op@example.com", "a long password", role=Role.OPERATOR))
    url = f"/dashboard/devices/{device().pk}/"
    page = client.get(url).content.decode()
    assert "draws power although its relay is off" in page
    knob(over, welded=None)
    assert client.post(f"{url}unblock/").status_code == 303
    over.go(60)
    assert over.availability() == "free"
    assert "draws power although" not in client.get(url).content.decode()
