"""What is kept of the power that relays draw: one row for each fresh reading of one that is on, for thirty days."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from typing import Any
from unittest.mock import Mock

import pytest
from django.db import DatabaseError, connection, transaction
from django.test.utils import CaptureQueriesContext

from devices.models import Device, PowerSample, RelayCommand, ShellyAccount
from devices.relays import power
from devices.relays.commands import order_on
from devices.relays.models import CommandState
from tests.world import PLUG, STRIP, World

LONG_S = 300


def switch_on(world: World, device: Device) -> None:
    with transaction.atomic():
        order_on(device, reason="test", wanted_by="", for_s=LONG_S)
    world.go(4)


def running(world: World) -> Any:
    session = world.buy(plan=world.add_plan(world.device, duration_s=LONG_S, grace_s=0))
    world.tell(session)
    world.go(5)
    session.refresh_from_db()
    assert session.state == "running"
    return session


def unmeasured(world: World) -> None:
    """The plug becomes one without a meter."""
    world.shelly_server.call(
        lambda: [world.shelly.world.devices["account-1", PLUG].base_status["switch:0"].pop(name) for name in METER]
    )


METER = ("apower", "aenergy", "voltage", "current")


def test_a_session_leaves_a_sample_for_each_reading_from_on_to_off(world: World) -> None:
    session = running(world)
    world.go(LONG_S + 60)
    session.refresh_from_db()
    assert session.state == "completed"
    samples = list(PowerSample.objects.values_list("at", "watts"))
    assert {watts for _, watts in samples} == {60}
    assert session.started_at <= samples[0][0] and samples[-1][0] <= session.off_requested_at
    assert len(samples) >= 4
    assert all(after - before <= timedelta(seconds=90) for (before, _), (after, _) in pairwise(samples))


def test_a_relay_that_is_off_leaves_none(world: World) -> None:
    world.go(200)
    assert Device.objects.get(pk=world.device.pk).watts == 0
    assert not PowerSample.objects.exists()


def test_a_device_without_a_meter_leaves_none(world: World) -> None:
    unmeasured(world)
    running(world)
    world.go(100)
    device = Device.objects.get(pk=world.device.pk)
    assert (device.output, device.watts) == (True, None)
    assert not PowerSample.objects.exists()


def test_an_old_picture_is_no_sample(world: World) -> None:
    running(world)
    world.go(40)
    world.ctl(world.shelly_server, "POST", f"/_ctl/devices/{PLUG}", {"stale": True})
    world.go(40)
    before = PowerSample.objects.count()
    read_at = Device.objects.get(pk=world.device.pk).seen_at
    world.go(90)
    assert read_at is not None
    assert Device.objects.filter(pk=world.device.pk, seen_at__gt=read_at).exists()
    assert PowerSample.objects.count() == before >= 1


def test_a_relay_that_is_still_on_is_followed_although_nobody_expects_it_to_be(world: World) -> None:
    switch_on(world, world.device)
    Device.objects.update(off_expected_at=None, maintenance_since=world.now)
    before = PowerSample.objects.count()
    world.go(100)
    assert PowerSample.objects.count() > before


def test_a_relay_that_ought_to_be_on_and_is_not_is_seen_to_draw_nothing(world: World) -> None:
    Device.objects.filter(pk=world.device.pk).update(off_expected_at=world.now + timedelta(hours=1))
    world.go(100)
    assert set(PowerSample.objects.values_list("device", "watts")) == {(world.device.pk, 0)}


def test_all_relays_of_a_reading_are_written_at_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    devices = [world.add_device(STRIP, channel, f"Dryer {channel}", f"DRY{channel}A") for channel in range(4)]
    world.go(35)
    Device.objects.update(maintenance_since=world.now)
    for device in devices:
        switch_on(world, device)
    PowerSample.objects.all().delete()
    inserts = Mock(wraps=PowerSample.objects.bulk_create)
    monkeypatch.setattr(PowerSample.objects, "bulk_create", inserts)
    world.go(90)
    assert PowerSample.objects.count() == inserts.call_count * len(devices) > 0
    latest = PowerSample.objects.latest("at").at
    assert set(PowerSample.objects.filter(at=latest).values_list("device", flat=True)) == {one.pk for one in devices}


def test_a_table_that_cannot_be_written_keeps_no_off_from_being_confirmed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise DatabaseError("no room left")

    monkeypatch.setattr(PowerSample.objects, "bulk_create", broken)
    session = running(world)
    world.go(LONG_S + 60)
    session.refresh_from_db()
    assert (session.state, session.delivered_s) == ("completed", LONG_S)
    assert world.relay()[-1] == (False, "request")
    assert not RelayCommand.objects.exclude(state=CommandState.CONFIRMED).exists()
    assert not PowerSample.objects.exists()


def test_a_reading_that_is_not_recorded_leaves_no_sample(world: World) -> None:
    with transaction.atomic():
        power.keep([PowerSample(device=world.device, at=world.now, watts=5)])
        transaction.set_rollback(True)
    assert not PowerSample.objects.exists()


# -- thirty days


def aged(device: Device, now: Any, *days: float) -> None:
    PowerSample.objects.bulk_create(PowerSample(device=device, at=now - timedelta(days=age), watts=7) for age in days)


def test_samples_are_gone_after_thirty_days_with_the_next_sync(world: World) -> None:
    aged(world.device, world.now, 400, 31, 30.1, 29.9, 1)
    world.go(660)
    ages = {(world.now - at).days for at in PowerSample.objects.values_list("at", flat=True)}
    assert ages == {29, 1}


def test_each_account_clears_away_its_own_and_only_so_much_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = ShellyAccount.objects.create(name="other", server_url=world.shelly_server.url, auth_key="none")
    elsewhere = Device.objects.create(location=world.location, account=other, shelly_id="aabbcc", name="Elsewhere")
    aged(elsewhere, world.now, 40)
    aged(world.device, world.now, *range(31, 38))
    monkeypatch.setattr(power, "MOST_FORGOTTEN", 5)
    left = []
    for _ in range(3):
        with CaptureQueriesContext(connection) as asked:
            power.forget_old(world.account.pk, world.now)
        assert [query["sql"].split(" ")[0] for query in asked.captured_queries] == ["BEGIN", "DELETE", "COMMIT"]
        left.append(PowerSample.objects.filter(device=world.device).count())
    assert left == [2, 0, 0]
    assert PowerSample.objects.filter(device=elsewhere).count() == 1


def test_samples_of_an_account_that_never_syncs_go_as_well(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(power, "_looked", {})
    world.go(1)
    world.account.auth_key, world.account.synced_at = "no longer the key", None
    world.account.save(update_fields=["auth_key", "synced_at"])
    aged(world.device, world.now, 29.98, 1)
    world.go(3700)
    assert ShellyAccount.objects.get().synced_at is None
    ages = {(world.now - at).days for at in PowerSample.objects.values_list("at", flat=True)}
    assert ages == {1}
