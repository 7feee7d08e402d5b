"""The account queue against the simulated cloud: one at a time, paced, OFF first, nothing believed unread."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

from django.db import transaction

from devices.models import Device, RelayAttempt, RelayCommand, ShellyAccount
from devices.relays.commands import order_off, order_on
from devices.relays.models import CommandState
from tests.world import PLUG, STRIP, World


def on(device: Device, seconds: int = 600) -> RelayCommand:
    with transaction.atomic():
        return order_on(device, reason="test", wanted_by="", for_s=seconds)


def off(*devices: Device) -> list[RelayCommand]:
    with transaction.atomic():
        return [order_off(device, reason="test", wanted_by="") for device in devices]


def strip(world: World) -> list[Device]:
    devices = [world.add_device(STRIP, channel, f"Socket {channel}", f"STRIP{channel}") for channel in range(4)]
    world.go(40)
    return devices


def test_offs_due_together_travel_in_one_request_and_each_is_read_back(world: World) -> None:
    devices = strip(world)
    for device in devices:
        on(device)
        world.go(5)
    commands = off(*devices)
    world.go(5)
    last = world.switched()[-1]
    assert last["path"].endswith("/set/groups")
    assert len(last["body"]["switch"]["ids"]) == 4
    assert "toggle_after" not in last["body"]["switch"]["command"]
    states = RelayCommand.objects.filter(pk__in=[one.pk for one in commands]).values_list("state", flat=True)
    assert set(states) == {CommandState.CONFIRMED}


def test_the_queue_never_trips_the_account_s_rate_limit(world: World) -> None:
    devices = strip(world)
    for device in devices:
        on(device)
    world.go(30)
    off(*devices)
    world.go(30)
    statuses = {entry["status"] for entry in world.ledger(world.shelly_server, "request")}
    assert statuses == {200}


def test_a_rate_limit_is_waited_out_and_not_taken_for_a_bad_key(world: World) -> None:
    limited = {"isok": False, "errors": {"max_req": "Request limit reached!"}}
    world.fault(world.shelly_server, on="switch_on", do="status", status=401, body=limited, times=2)
    command = on(world.device)
    world.go(20)
    command.refresh_from_db()
    assert command.state == CommandState.CONFIRMED
    account = ShellyAccount.objects.get()
    assert account.status == "ok"
    assert account.wide_gap_until is not None
    times = [entry["t"] for entry in world.switched()]
    assert [round(b - a) for a, b in pairwise(times)] == [2, 4]


def test_three_attempts_make_a_round_and_are_at_least_half_a_second_apart(world: World) -> None:
    world.fault(world.shelly_server, on="switch_on", do="status", status=500, times=2)
    command = on(world.device)
    world.go(30)
    command.refresh_from_db()
    assert command.state == CommandState.CONFIRMED
    sends = RelayAttempt.objects.filter(command=command, kind="send").order_by("number")
    moments = [one.sent_at for one in sends]
    assert all(b - a >= timedelta(seconds=0.5) for a, b in pairwise(moments))
    assert sends.last().outcome == "ok"  # type: ignore[union-attr]


def test_an_off_is_never_given_up(world: World) -> None:
    on(world.device)
    world.go(5)
    world.fault(
        world.shelly_server, on="switch_off", do="status", status=400, body={"error": "DEVICE_OFFLINE"}, times=-1
    )
    [command] = off(world.device)
    world.go(300)
    command.refresh_from_db()
    assert command.state == CommandState.QUEUED
    assert command.rounds >= 5
    assert world.availability() == "offline"
    world.ctl(world.shelly_server, "DELETE", "/_ctl/faults")
    world.go(40)
    command.refresh_from_db()
    assert command.state == CommandState.CONFIRMED
    assert world.availability() == "free"


def test_accepted_is_not_confirmed_while_the_relay_has_not_moved(world: World) -> None:
    world.fault(world.shelly_server, on="switch_on", do="status", status=200, times=1)
    command = on(world.device)
    world.go(2.5)
    command.refresh_from_db()
    assert command.state == CommandState.ACCEPTED
    world.go(20)
    command.refresh_from_db()
    assert command.state == CommandState.CONFIRMED
    assert len(world.switched()) == 2


def test_an_off_that_the_device_failed_waits_behind_no_reading(world: World) -> None:
    """D18: ONs and their readings keep the account busy for many seconds; a relay that is still on must not wait."""
    sockets = strip(world)
    on(world.device)
    world.go(10)
    failed = {"error": "DEVICE_FAILED_COMMAND"}
    world.fault(world.shelly_server, on="switch_off", do="status", status=400, body=failed, times=1)
    since = world.now.timestamp()
    off(world.device)
    for socket in sockets:
        on(socket)
    world.go(30)
    asked = [entry for entry in world.ledger(world.shelly_server, "request") if entry["t"] >= since]
    kinds = ["read" if entry["path"].endswith("/get") else entry["body"].get("on") for entry in asked]
    assert kinds[:7] == [False, True, True, True, True, False, "read"]
    assert world.relay()[-1] == (False, "request")


def test_an_off_whose_answer_was_lost_and_that_reads_on_is_sent_again_at_once(world: World) -> None:
    """One reading is enough: an OFF that was accepted has three, because the status of a sound relay may lag."""
    on(world.device)
    world.go(10)
    world.fault(world.shelly_server, on="switch_off", do="drop", times=1)
    off(world.device)
    world.go(4)
    assert world.relay()[-1] == (False, "request")
    assert [entry["body"]["on"] for entry in world.switched()] == [True, False, False]


def test_an_off_that_acted_although_its_answer_was_lost_is_not_sent_again(world: World) -> None:
    on(world.device)
    world.go(10)
    world.fault(world.shelly_server, on="switch_off", do="act_then_drop", times=1)
    [command] = off(world.device)
    world.go(20)
    command.refresh_from_db()
    assert command.state == CommandState.CONFIRMED
    assert [entry["body"]["on"] for entry in world.switched()] == [True, False]


def test_a_stale_cloud_never_confirms_an_on(world: World) -> None:
    world.ctl(world.shelly_server, "POST", f"/_ctl/devices/{PLUG}", {"stale": True})
    command = on(world.device)
    world.go(15)
    command.refresh_from_db()
    assert command.state != CommandState.CONFIRMED


def test_a_later_wish_overtakes_an_unsent_one(world: World) -> None:
    first = on(world.device)
    [last] = off(world.device)
    world.go(10)
    first.refresh_from_db()
    last.refresh_from_db()
    assert (first.state, last.state) == (CommandState.SUPERSEDED, CommandState.CONFIRMED)
    assert [entry["body"]["on"] for entry in world.switched()] == [False]


def test_an_on_that_acts_after_its_time_out_is_followed_by_off(world: World) -> None:
    """D25: the ON was in flight when it was called off; the OFF is believed only after the ON had its time to act."""
    world.settings.NUMBERS = replace(world.settings.NUMBERS, command_timeout_s=0.3)
    world.fault(world.shelly_server, on="switch_on", do="drop", act_after_s=0.0, times=1)
    on(world.device)
    world.go(0)
    off(world.device)
    world.go(60)
    assert world.relay()[-1] == (False, "request")


def test_a_relay_switched_on_by_hand_while_nobody_has_paid_is_switched_off(world: World) -> None:
    world.ctl(world.shelly_server, "POST", f"/_ctl/devices/{PLUG}", {"press": 0})
    world.go(70)
    assert world.relay() == [(True, "button"), (False, "request")]
    assert RelayCommand.objects.get().reason == "stray_on"


def test_a_device_in_maintenance_is_left_as_staff_has_put_it(world: World) -> None:
    Device.objects.update(maintenance_since=world.now)
    world.ctl(world.shelly_server, "POST", f"/_ctl/devices/{PLUG}", {"press": 0})
    world.go(70)
    assert world.switched() == []


def test_no_reading_starts_shortly_before_a_known_off(world: World) -> None:
    numbers = world.settings.NUMBERS
    session = world.buy()
    world.tell(session)
    world.go(40)
    session.refresh_from_db()
    assert session.ends_at is not None
    ends_at = session.ends_at.timestamp()
    reads = [e["t"] for e in world.ledger(world.shelly_server, "request") if "/set/" not in e["path"]]
    assert not [t for t in reads if ends_at - numbers.gap_s - numbers.read_timeout_s < t < ends_at]


def test_a_wrong_key_ends_an_on_at_once_and_is_named_on_the_account(world: World) -> None:
    world.ctl(world.shelly_server, "POST", "/_ctl/accounts/account-1", {"auth_key": "another"})
    command = on(world.device)
    world.go(5)
    command.refresh_from_db()
    assert (command.state, command.last_error) == (CommandState.FAILED, "bad_key")
    assert ShellyAccount.objects.get().status == "bad_key"


def test_a_reading_whose_holder_died_is_closed_by_the_next_one(world: World) -> None:
    command = on(world.device)
    lost = RelayAttempt.objects.create(command=command, kind="read", number=1, sent_at=world.now)
    world.go(10)
    lost.refresh_from_db()
    assert (lost.outcome, lost.error) == ("unknown", "holder_lost")
    assert not RelayAttempt.objects.filter(outcome="pending").exists()
