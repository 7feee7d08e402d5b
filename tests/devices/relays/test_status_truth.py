"""What a status is worth: it lags, it stands still, it is pushed without a change, and it never lies to our harm."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from django.db import transaction

from devices.models import Device, RelayCommand
from devices.relays.commands import order_off, order_on
from devices.relays.models import CommandState
from sessions_app.models import DeviceSession
from sessions_app.states import State
from tests.world import PLUG, World

LONG_S = 300


def knob(world: World, **what: Any) -> None:
    world.ctl(world.shelly_server, "POST", f"/_ctl/devices/{PLUG}", what)


def bought(world: World, seconds: int = LONG_S) -> DeviceSession:
    world.plan.duration_s = seconds
    world.plan.save(update_fields=["duration_s"])
    session = world.buy()
    world.tell(session)
    return session


def on_seconds(world: World) -> float:
    changes = world.ledger(world.shelly_server, "relay")
    return float(sum(b["t"] - a["t"] for a, b in pairwise(changes) if a["on"]))


@pytest.mark.parametrize("lag_s", [0.0, 5.0, 20.0, 40.0, 60.0, 90.0])
def test_a_status_that_lags_costs_the_guest_no_minute_and_the_relay_goes_off(world: World, lag_s: float) -> None:
    """A late confirmation moves the end; the relay's timer is armed anew before it would cut the guest short."""
    knob(world, status_lag_s=lag_s)
    session = bought(world)
    world.go(LONG_S + 500)
    session.refresh_from_db()
    assert (session.state, session.delivered_s, session.re_ons) == (State.COMPLETED, LONG_S, 0)
    assert on_seconds(world) >= LONG_S
    assert world.relay()[-1] == (False, "request")
    assert session.started_at is not None and session.ends_at is not None
    assert session.ends_at - session.started_at == timedelta(seconds=LONG_S)


def test_a_late_confirmation_arms_the_timer_anew(world: World) -> None:
    """1.15: with a margin of thirty seconds, a confirmation after forty would let the timer end the minutes early."""
    knob(world, status_lag_s=40.0)
    session = bought(world)
    world.go(120)
    session.refresh_from_db()
    ons = [entry for entry in world.switched() if entry["body"]["on"]]
    assert session.state == State.RUNNING and session.ends_at is not None
    assert ons[-1]["t"] + ons[-1]["body"]["toggle_after"] >= session.ends_at.timestamp() + 5
    assert RelayCommand.objects.filter(reason="rearm").exists()


def test_a_start_that_the_status_hides_beyond_the_window_is_voided_and_ends_off(world: World) -> None:
    knob(world, status_lag_s=400.0)
    session = bought(world)
    world.go(900)
    session.refresh_from_db()
    assert (session.state, session.reason) == (State.CANCELLED, "start_failed")
    assert world.money() == [("authorized", 250), ("voided", 250)]
    assert world.relay()[-1][0] is False


def test_a_heartbeat_without_a_change_is_a_sign_of_life_and_nothing_else(world: World) -> None:
    session = bought(world)
    world.go(20)
    marks = set()
    for _ in range(5):
        world.go(60)
        if DeviceSession.objects.get(pk=session.pk).state == State.RUNNING:
            marks.add(Device.objects.get(pk=world.device.pk).reading_mark)
    assert len(marks) >= 3
    assert len([entry for entry in world.switched() if entry["body"]["on"]]) == 1


def test_an_off_that_changed_nothing_is_proven_although_no_new_push_comes(world: World) -> None:
    """1.14: the timer fired before our OFF; the status stands still, and still proves that the relay is off."""
    with transaction.atomic():
        order_on(world.device, reason="test", wanted_by="", for_s=5)
    world.go(5)
    Device.objects.update(off_expected_at=world.now + timedelta(hours=1))
    world.go(70)
    assert world.relay()[-1] == (False, "timer")
    mark = Device.objects.get(pk=world.device.pk).reading_mark
    with transaction.atomic():
        command = order_off(world.device, reason="test", wanted_by="")
    world.go(4)
    command.refresh_from_db()
    assert command.state == CommandState.CONFIRMED
    assert Device.objects.get(pk=world.device.pk).reading_mark == mark


def test_an_unplugged_device_whose_cloud_says_online_is_not_believed_on(world: World) -> None:
    """D19: no start is confirmed by an old picture, and nothing is charged for it."""
    knob(world, stale=True)
    session = bought(world)
    world.go(400)
    session.refresh_from_db()
    assert (session.state, session.reason) == (State.CANCELLED, "start_failed")
    assert world.money() == [("authorized", 250), ("voided", 250)]


def test_a_device_that_is_offline_over_its_end_is_switched_off_when_it_returns(world: World) -> None:
    """D10: it lost its timer by a reboot, comes back on, and nobody pays for that."""
    session = bought(world, 60)
    world.go(20)
    knob(world, online=False, initial_state="on")
    knob(world, reboot=True)
    world.go(400)
    session.refresh_from_db()
    assert session.state == State.COMPLETED
    assert world.availability() == "offline"
    returned = world.now
    knob(world, online=True)
    world.go(60)
    assert world.relay()[-1] == (False, "request")
    last = world.ledger(world.shelly_server, "relay")[-1]
    assert last["t"] - returned.timestamp() <= 30 + 15
    assert session.delivered_s == 60
    world.go(60)
    assert world.availability() == "free"


def test_two_channels_of_one_device_are_two_machines(world: World) -> None:
    """D20: the OFF of one that fails for minutes does not touch the other's session."""
    from tests.world import STRIP

    first = world.add_device(STRIP, 0, "Washer 2", "WASH2")
    second = world.add_device(STRIP, 1, "Washer 3", "WASH3")
    plans = [world.add_plan(first, duration_s=30), world.add_plan(second, duration_s=120)]
    world.go(40)
    one, two = world.buy(first, plans[0]), world.buy(second, plans[1])
    world.tell(one)
    world.tell(two)
    world.go(15)
    failing = {"error": "DEVICE_FAILED_COMMAND"}
    world.fault(
        world.shelly_server,
        on="/v2/devices/api/set/switch",
        do="status",
        status=400,
        body=failing,
        times=-1,
        match='"channel":0',
    )
    world.go(200)
    one.refresh_from_db()
    two.refresh_from_db()
    assert (two.state, two.delivered_s) == (State.COMPLETED, 120)
    assert [on for on, _ in world.relay(STRIP, 1)] == [True, False]
    assert one.delivered_s == 30
