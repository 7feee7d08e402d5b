"""Many OFFs at once: in groups that the account can carry, and never held up by the one that is dead."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models import QuerySet
from django.test.utils import CaptureQueriesContext

from devices.accounts import change_account
from devices.models import Device, RelayCommand, ShellyAccount
from devices.relays import queue
from devices.relays.commands import order_off, order_on
from devices.relays.models import CommandState
from devices.relays.queue import CROWD
from devices.relays.steps import Wait
from hygate import clock
from hygate.due.claims import claim
from hygate.due.registry import handler_for
from hygate.models import Alert
from sessions_app.models import DeviceSession
from sessions_app.states import Reason, State
from tests.world import KEY, PLUG, World

DEAD = "34987aaaad00"


def strips(world: World, count: int) -> list[Device]:
    """``count`` power strips of four sockets each, every socket a Device."""
    devices = []
    for number in range(count):
        shelly_id = f"34987bbbb{number:03x}"
        world.shelly_server.call(
            lambda shelly_id=shelly_id: world.shelly.add_device(KEY, shelly_id, "SPSW-104PE16EU", channels=4)  # type: ignore[misc]
        )
        for channel in range(4):
            devices.append(
                world.add_device(shelly_id, channel, f"Socket {number}.{channel}", f"S{number:03}C{channel}")
            )
    world.go(40)
    return devices


def running(world: World, device: Device, ends_at: Any) -> DeviceSession:
    """A session in its minutes whose relay is on, as if it had been bought an hour ago."""
    started_at = ends_at - timedelta(seconds=3600)
    Device.objects.filter(pk=device.pk).update(off_expected_at=ends_at)
    return DeviceSession.objects.create(
        reference=f"S-{device.pk}", token_hash=f"hash {device.pk}", token="t", device=device, plan_name="Hour",
        duration_s=3600, state=State.RUNNING, created_at=started_at, hold_expires_at=started_at,
        started_at=started_at, ends_at=ends_at, due_at=ends_at,
        timer_ends_at=ends_at + timedelta(seconds=30),
    )  # fmt: skip


def all_on(world: World, devices: list[Device]) -> None:
    def press() -> None:
        now = world.now.timestamp()
        for device in devices:
            thing = world.shelly.world.devices["account-1", device.shelly_id]
            world.shelly.world.switch(thing, thing.relays[device.channel], on=True, cause="request", t=now)

    Device.objects.update(off_expected_at=world.now + timedelta(hours=1))
    world.shelly_server.call(press)
    world.go(35)


def off(*devices: Device) -> list[RelayCommand]:
    with transaction.atomic():
        return [order_off(device, reason="test", wanted_by="") for device in devices]


def targets(entry: dict[str, Any]) -> list[str]:
    body = entry["body"]
    ids: list[str] = body["switch"]["ids"] if "switch" in body else [f"{body['id']}_{body['channel']}"]
    return ids


def states(commands: list[RelayCommand]) -> Counter[str]:
    return Counter(RelayCommand.objects.filter(pk__in=[one.pk for one in commands]).values_list("state", flat=True))


def test_fifty_sessions_that_end_in_one_second_are_all_off_in_time(world: World) -> None:
    """D18. Each OFF is asked for within the written lateness, and no session ends without its reading."""
    devices = strips(world, 13)[:50]
    all_on(world, devices)
    ends = world.now + timedelta(seconds=30)
    sessions = [running(world, one, ends + timedelta(milliseconds=20 * n)) for n, one in enumerate(devices)]
    world.go(120)
    assert {DeviceSession.objects.get(pk=one.pk).state for one in sessions} == {State.COMPLETED}
    asked = [entry for entry in world.switched() if entry["t"] >= ends.timestamp()]
    assert len({text for entry in asked for text in targets(entry)}) == 50
    assert max(entry["t"] for entry in asked) <= ends.timestamp() + 1 + 2.5
    assert len(asked) <= 3
    assert {entry["status"] for entry in world.ledger(world.shelly_server, "request")} == {200}


def test_a_refused_group_is_halved_for_the_account_and_blamed_on_no_device(world: World) -> None:
    devices = strips(world, 6)
    all_on(world, devices)
    world.ctl(world.shelly_server, "POST", "/_ctl/limits", {"groups_max": 10})
    before = len(world.switched())
    commands = off(*devices)
    world.go(60)
    assert states(commands) == {CommandState.CONFIRMED: 24}
    sizes = [len(entry["body"]["switch"]["ids"]) for entry in world.switched()[before:]]
    assert sizes == [24, 12, 6, 6, 6, 6]
    assert ShellyAccount.objects.get().groups_size == 6
    assert not Device.objects.filter(failed_last=True).exists()
    assert max(RelayCommand.objects.values_list("rounds", flat=True)) == 0


def test_what_failed_in_a_group_is_tried_again_alone(world: World) -> None:
    devices = strips(world, 2)
    all_on(world, devices)
    dead = devices[0].shelly_id
    world.ctl(world.shelly_server, "POST", f"/_ctl/devices/{dead}", {"online": False})
    before = len(world.switched())
    commands = off(*devices)
    world.go(15)
    first, *rest = world.switched()[before:]
    assert len(first["body"]["switch"]["ids"]) == 8
    assert rest and all(entry["path"].endswith("/set/switch") and entry["body"]["id"] == dead for entry in rest)
    assert states(commands)[CommandState.CONFIRMED] == 4
    world.ctl(world.shelly_server, "POST", f"/_ctl/devices/{dead}", {"online": True})
    world.go(60)
    assert states(commands) == {CommandState.CONFIRMED: 8}


def test_a_dead_device_named_in_failed_commands_never_delays_the_others(world: World) -> None:
    """D17 (i): with it and without it, the others' OFF leaves at the same moment."""
    devices = strips(world, 6)
    all_on(world, devices)
    dead, others = devices[0], devices[4:]
    world.ctl(world.shelly_server, "POST", f"/_ctl/devices/{dead.shelly_id}", {"online": False})
    off(dead)
    world.go(100)
    since = world.now
    commands = off(*others)
    world.go(6)
    sent = [e for e in world.switched() if e["t"] >= since.timestamp()]
    group = next(e for e in sent if e["path"].endswith("/set/groups"))
    assert group["t"] - since.timestamp() <= world.settings.NUMBERS.gap_s
    assert len(group["body"]["switch"]["ids"]) == len(others)
    assert states(commands) == {CommandState.CONFIRMED: len(others)}


def test_a_device_whose_commands_hang_travels_alone_and_last(world: World) -> None:
    """D17 (ii): once it has hung, the others go first, in one request."""
    world.settings.NUMBERS = replace(world.settings.NUMBERS, command_timeout_s=0.3)
    devices = strips(world, 3)
    all_on(world, devices)
    dead, others = devices[0], devices[4:]
    world.fault(world.shelly_server, on="switch_off", do="hang_before", seconds=0.5, times=-1, match=dead.shelly_id)
    off(dead)
    world.go(20)
    since = world.now
    off(*others)
    RelayCommand.objects.filter(device=dead).update(next_at=world.now, state=CommandState.QUEUED)
    world.go(5)
    sent = [e for e in world.switched() if e["t"] >= since.timestamp()]
    assert sent[0]["path"].endswith("/set/groups")
    assert dead.shelly_id not in str(sent[0]["body"])


def test_a_key_revoked_in_a_session_leaves_the_end_to_the_relay_s_own_timer(world: World) -> None:
    """D15: OFF cannot be sent; after the new key is saved, state is read and put right."""
    session = world.buy()
    world.tell(session)
    world.go(15)
    world.ctl(world.shelly_server, "POST", "/_ctl/accounts/account-1", {"auth_key": "the new key"})
    world.go(90)
    session.refresh_from_db()
    assert world.relay() == [(True, "request"), (False, "timer")]
    assert session.state == State.COMPLETED
    assert world.availability() == "offline"
    assert Alert.objects.filter(closed_at=None, account=world.account.pk).exists()
    account = ShellyAccount.objects.get()
    change_account(account, name=account.name, server_url=account.server_url, auth_key="the new key")
    world.go(60)
    assert RelayCommand.objects.filter(on=False).latest("pk").state == CommandState.CONFIRMED
    assert world.availability() == "free"
    assert not Alert.objects.filter(closed_at=None, account=world.account.pk).exists()


def test_a_server_without_v2_switches_off_by_v1_and_never_on(world: World) -> None:
    with transaction.atomic():
        order_on(world.device, reason="test", wanted_by="", for_s=3600)
    world.go(5)
    world.ctl(world.shelly_server, "POST", "/_ctl/limits", {"v2": False})
    [command] = off(world.device)
    world.go(20)
    command.refresh_from_db()
    assert command.state == CommandState.CONFIRMED
    assert world.relay()[-1] == (False, "request")
    by_v1 = [e for e in world.ledger(world.shelly_server, "request") if e["path"] == "/device/relay/control"]
    assert [(e["body"]["id"], e["body"]["channel"], e["body"]["turn"]) for e in by_v1] == [(PLUG, "0", "off")]
    assert Device.objects.get(pk=world.device.pk).failed_last is False


def test_nothing_is_sold_through_a_server_that_cannot_arm_a_timer(world: World) -> None:
    world.ctl(world.shelly_server, "POST", "/_ctl/limits", {"v2": False})
    session = world.buy()
    world.tell(session)
    world.go(40)
    session.refresh_from_db()
    assert (session.state, session.reason) == (State.CANCELLED, Reason.START_FAILED)
    assert RelayCommand.objects.filter(on=True).get().last_error == "no_timer"
    assert world.relay() == []
    assert world.money() == [("authorized", 250), ("voided", 250)]
    assert world.availability() == "blocked"


@pytest.mark.parametrize("groups_max", [1, 10])
def test_one_bad_end_of_a_cap_never_loses_an_off(world: World, groups_max: int) -> None:
    devices = strips(world, 2)
    all_on(world, devices)
    world.ctl(world.shelly_server, "POST", "/_ctl/limits", {"groups_max": groups_max})
    commands = off(*devices)
    world.go(90)
    assert states(commands) == {CommandState.CONFIRMED: 8}


def test_the_same_news_about_many_devices_is_written_in_one_statement(world: World) -> None:
    """A push of a strip is news about its four sockets; of all that are silent nothing is new but the moment."""
    devices, shellies = strips(world, 6), 6

    def readings() -> int:
        return sum(one["path"] == "/device/all_status" for one in world.ledger(world.shelly_server, "request"))

    before = readings()
    with CaptureQueriesContext(connection) as asked:
        world.go(3 * world.settings.NUMBERS.status_every_s)
    written = sum('UPDATE "devices_device"' in one["sql"] for one in asked.captured_queries)
    assert 0 < written <= (shellies + 1) * (readings() - before)
    assert shellies + 1 < len(devices)


def test_a_wish_that_was_written_while_a_drain_waited_for_the_account_is_sent_by_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever wrote it has been told that the account is in hand: nobody else comes before the next sweep."""
    device, account = world.device, ShellyAccount.objects.get()
    [held] = claim(handler_for(account._meta.label_lower), limit=1, pks=[account.pk], ahead_s=60)
    drain = queue._Drain([held])
    rows_of = drain._mine

    def waited_for(accounts: Sequence[int]) -> QuerySet[ShellyAccount]:
        clock.sleep(0.05)
        off(device)
        return rows_of(accounts)

    monkeypatch.setattr(drain, "_mine", waited_for)
    drain._rest([account.pk], last=False)
    assert list(drain.asleep) == [account.pk]


def test_a_command_that_is_due_in_a_moment_keeps_the_account_in_hand() -> None:
    now = clock.now()
    soon, later = (RelayCommand(next_at=now + timedelta(seconds=wait_s)) for wait_s in (0.1, 0.5))
    assert queue._held_until(Wait(soon.next_at), [later, soon], now) == soon.next_at
    assert queue._held_until(Wait(later.next_at), [later], now) is None


@pytest.mark.parametrize(
    ("state", "drains", "is_held"),
    [
        (CommandState.ACCEPTED, 1, True),
        (CommandState.ACCEPTED, CROWD + 1, False),
        (CommandState.QUEUED, CROWD + 1, True),
    ],
)
def test_an_account_is_kept_through_the_gap_for_a_command_and_for_a_reading_where_few_are(
    monkeypatch: pytest.MonkeyPatch, state: CommandState, drains: int, is_held: bool
) -> None:
    now = clock.now()
    gap_ends = now + timedelta(seconds=1)
    monkeypatch.setattr(queue, "_running", set(range(drains)))
    found = queue._held_until(Wait(gap_ends, hold=True), [RelayCommand(state=state)], now)
    assert found == (gap_ends if is_held else None)
