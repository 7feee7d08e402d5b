"""The sync that comes by itself: every ten minutes, in the gaps of the account's queue, asking about what is new."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from typing import Any

from django.db import transaction

from devices.adding import Choice, add_devices
from devices.models import Device, RelayCommand, ShellyAccount
from devices.relays.commands import order_off, order_on
from devices.relays.models import CommandState
from devices.relays.sync import sync_account
from hygate import alerts
from hygate.models import Alert
from tests.world import KEY, PLUG, World

NEW = "e86beaaaa0ff"
EVERY_S = 600


def arrive(world: World, shelly_id: str = NEW, name: str = "Dryer 9") -> None:
    world.shelly_server.call(lambda: world.shelly.add_device(KEY, shelly_id, "SNPL-00112EU", name=name))


def leave(world: World, shelly_id: str = PLUG) -> Any:
    """The device is taken out of the Shelly account; answers what brings it back."""
    return world.shelly_server.call(lambda: world.shelly.world.devices.pop(("account-1", shelly_id)))


def come_back(world: World, thing: Any) -> None:
    devices = world.shelly.world.devices
    world.shelly_server.call(lambda: devices.__setitem__(("account-1", thing.id), thing))


def lists(world: World) -> list[float]:
    entries = world.ledger(world.shelly_server, "request")
    return [entry["t"] for entry in entries if entry["path"] == "/interface/device/list"]


def open_questions() -> list[Alert]:
    return list(Alert.objects.filter(kind="new_channel", closed_at=None))


def test_the_list_is_asked_for_every_ten_minutes_within_the_account_s_pace(world: World) -> None:
    world.go(2 * EVERY_S + 60)
    times = lists(world)
    assert len(times) == 3
    assert all(EVERY_S <= b - a <= EVERY_S + 40 for a, b in pairwise(times))
    assert {entry["status"] for entry in world.ledger(world.shelly_server, "request")} == {200}


def test_a_channel_never_seen_before_is_asked_about_once(world: World) -> None:
    arrive(world)
    world.go(EVERY_S + 60)
    [question] = open_questions()
    assert question.title == "New in demo: Dryer 9, add it?"
    assert NEW in {row["shelly_id"] for row in ShellyAccount.objects.get().found}
    world.go(2 * EVERY_S)
    assert Alert.objects.filter(kind="new_channel").count() == 1


def test_the_first_sync_asks_about_nothing(world: World) -> None:
    assert not Alert.objects.filter(kind="new_channel").exists()
    ShellyAccount.objects.update(synced_at=None, found=[], sync_due_at=world.now)
    world.go(60)
    assert ShellyAccount.objects.get().synced_at is not None
    assert not Alert.objects.filter(kind="new_channel").exists()


def test_adding_the_channel_answers_the_question(world: World) -> None:
    arrive(world)
    world.go(EVERY_S + 60)
    account = ShellyAccount.objects.get()
    add_devices(account, [Choice(NEW, 0, "Dryer 9")], world.location)
    assert open_questions() == []


def test_what_was_added_is_read_at_once_and_not_half_a_minute_later(world: World) -> None:
    arrive(world)
    account = ShellyAccount.objects.get()
    sync_account(account)
    world.go(5)
    account.refresh_from_db()
    [added] = add_devices(account, [Choice(NEW, 0, "Dryer 9")], world.location)
    assert added.seen_at is None
    world.go(5)
    added.refresh_from_db()
    assert added.seen_at is not None


def test_a_question_that_somebody_dismissed_is_not_asked_again(world: World) -> None:
    arrive(world)
    world.go(EVERY_S + 60)
    [question] = open_questions()
    assert alerts.close_by_hand(question.pk, by="user:1")
    world.go(2 * EVERY_S)
    assert open_questions() == []


def test_what_leaves_again_is_asked_about_no_more(world: World) -> None:
    arrive(world)
    world.go(EVERY_S + 60)
    leave(world, NEW)
    world.go(EVERY_S + 60)
    assert open_questions() == []


def test_what_a_person_has_seen_in_a_sync_is_not_asked_about(world: World) -> None:
    arrive(world)
    sync_account(ShellyAccount.objects.get())
    world.go(EVERY_S + 60)
    assert open_questions() == []


def test_a_device_that_vanishes_is_marked_and_one_that_returns_is_for_sale_again(world: World) -> None:
    thing = leave(world)
    world.go(EVERY_S + 60)
    gone = Device.objects.get(pk=world.device.pk)
    assert gone.vanished_at is not None
    assert world.availability() == "not_for_sale"
    come_back(world, thing)
    world.go(EVERY_S + 60)
    assert Device.objects.get(pk=world.device.pk).vanished_at is None
    assert world.availability() == "free"


def test_a_sync_never_delays_a_command(world: World) -> None:
    """A command that comes between the two halves finds its place; one that is known before is waited for."""
    with transaction.atomic():
        order_on(world.device, reason="test", wanted_by="", for_s=3600)
    world.go(5)
    Device.objects.update(off_expected_at=world.now + timedelta(hours=1))
    ShellyAccount.objects.update(sync_due_at=world.now, due_at=world.now)
    world.go(0.5)
    assert len(lists(world)) == 2
    since = world.now
    with transaction.atomic():
        command = order_off(world.device, reason="test", wanted_by="")
    world.go(3)
    command.refresh_from_db()
    assert command.state == CommandState.CONFIRMED
    sent = world.switched()[-1]["t"] - since.timestamp()
    assert sent <= world.settings.NUMBERS.gap_s
    world.go(20)
    synced = ShellyAccount.objects.get().synced_at
    assert synced is not None and synced > since


def test_no_sync_starts_shortly_before_a_known_off(world: World) -> None:
    numbers = world.settings.NUMBERS
    Device.objects.update(off_expected_at=world.now + timedelta(seconds=3))
    ShellyAccount.objects.update(sync_due_at=world.now, status_due_at=world.now, due_at=world.now)
    before = len(lists(world))
    world.go(3 - 0.1)
    assert len(lists(world)) == before
    assert numbers.gap_s + numbers.read_timeout_s > 3
    assert not RelayCommand.objects.exists()
