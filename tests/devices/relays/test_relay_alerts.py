"""What the relay room tells people, from the real errors of the simulated cloud, and when it takes it back."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import transaction

from devices.models import Device, ShellyAccount
from devices.relays.commands import order_off, order_on
from hygate.models import Alert
from tests.world import KEY, PLUG, World


def opened(kind: str) -> list[Alert]:
    return list(Alert.objects.filter(kind=kind, closed_at__isnull=True))


def switch(world: World, *, on: bool) -> None:
    with transaction.atomic():
        if on:
            order_on(world.device, reason="test", wanted_by="", for_s=3600)
        else:
            order_off(world.device, reason="test", wanted_by="")


def device(world: World, **what: Any) -> None:
    world.ctl(world.shelly_server, "POST", f"/_ctl/devices/{PLUG}", what)


def test_a_refused_key_is_told_at_once_and_taken_back_with_the_first_good_answer(world: World) -> None:
    world.ctl(world.shelly_server, "POST", f"/_ctl/accounts/{account_name(world)}", {"auth_key": "changed"})
    world.go(31)
    [alert] = opened("account_key")
    assert (alert.account, alert.severity) == (world.account.pk, "error")
    assert KEY not in f"{alert.title} {alert.advice}"
    world.go(60)
    assert [again.pk for again in opened("account_key")] == [alert.pk]
    world.ctl(world.shelly_server, "POST", f"/_ctl/accounts/{account_name(world)}", {"auth_key": KEY})
    world.go(40)
    assert opened("account_key") == []


def account_name(world: World) -> str:
    [account] = world.ctl(world.shelly_server, "GET", "/_ctl/accounts")
    return str(account["name"])


def test_a_silent_cloud_is_told_once_and_taken_back(world: World) -> None:
    world.fault(world.shelly_server, on="*", do="drop", times=-1)
    world.go(200)
    [alert] = opened("account_silent")
    assert alert.times > 1
    world.ctl(world.shelly_server, "DELETE", "/_ctl/faults")
    world.go(60)
    assert opened("account_silent") == []


def test_a_server_that_knows_no_account_is_told_ends_sales_and_is_taken_back(world: World) -> None:
    world.fault(world.shelly_server, on="/device/all_status", do="status", status=404, times=-1)
    world.go(200)
    [alert] = opened("account_host")
    assert "Copy the server" in alert.advice
    assert world.availability() == "offline"
    world.ctl(world.shelly_server, "DELETE", "/_ctl/faults")
    world.go(60)
    assert opened("account_host") == []
    assert world.availability() == "free"


@pytest.mark.parametrize("code", ["no_permissions", "DEVICE_INVALID_CHANNEL", "DEVICE_INVALID_MODE"])
def test_a_relay_that_is_not_as_it_was_set_up_is_not_sold_again(world: World, code: str) -> None:
    world.fault(world.shelly_server, on="switch_on", do="status", status=400, body={"error": code})
    switch(world, on=True)
    world.go(5)
    [alert] = opened("blocked_not_as_set_up")
    assert alert.device == world.device.pk
    assert world.availability() == "blocked"


def test_a_rate_limit_alarms_nobody(world: World) -> None:
    limited = {"isok": False, "errors": {"max_req": "Request limit reached!"}}
    world.fault(world.shelly_server, on="*", do="status", status=401, body=limited, times=6)
    world.go(120)
    assert not Alert.objects.exists()


def test_a_relay_that_cannot_be_switched_off_needs_a_person_after_a_minute(world: World) -> None:
    switch(world, on=True)
    world.go(5)
    device(world, online=False)
    switch(world, on=False)
    world.go(55)
    assert opened("off_overdue") == []
    world.go(60)
    [alert] = opened("off_overdue")
    assert (alert.severity, alert.device) == ("error", world.device.pk)
    assert "does not answer" in alert.title
    world.go(600)
    assert [again.pk for again in opened("off_overdue")] == [alert.pk]
    device(world, online=True)
    world.go(60)
    assert world.relay()[-1][0] is False
    assert opened("off_overdue") == []


def test_a_relay_that_answers_but_stays_on_is_told_in_those_words(world: World) -> None:
    switch(world, on=True)
    world.go(5)
    world.fault(world.shelly_server, on="switch_off", do="status", status=200, times=-1)
    switch(world, on=False)
    world.go(130)
    [alert] = opened("off_overdue")
    assert "still reads on" in alert.title


def test_an_off_that_is_confirmed_in_time_alarms_nobody(world: World) -> None:
    switch(world, on=True)
    world.go(5)
    switch(world, on=False)
    world.go(120)
    assert not Alert.objects.exists()


def test_a_new_on_takes_back_the_alarm_about_the_old_off(world: World) -> None:
    switch(world, on=True)
    world.go(5)
    device(world, online=False)
    switch(world, on=False)
    world.go(120)
    assert len(opened("off_overdue")) == 1
    switch(world, on=True)
    assert opened("off_overdue") == []


@pytest.mark.parametrize("was_unproven", [False, True])
def test_an_on_that_shows_its_timer_alarms_nobody_and_heals(world: World, was_unproven: bool) -> None:
    from devices.relays import telling

    if was_unproven:
        Device.objects.update(timer_unproven=True)
        with transaction.atomic():
            telling.timer_seen(Device.objects.get(), shown=False)
        assert len(opened("timer_unproven")) == 1
    switch(world, on=True)
    world.go(5)
    assert opened("timer_unproven") == []
    assert ShellyAccount.objects.get().status == "ok"


def without_timers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Firmware that does not show its timer: the reading says on, and no more."""
    from devices.shelly import readings

    original = readings.ChannelReading.__init__

    def blind(self: Any, *args: Any, **fields: Any) -> None:
        original(self, *args, **fields)
        object.__setattr__(self, "timer_ends_at", None)

    monkeypatch.setattr(readings.ChannelReading, "__init__", blind)


def test_a_high_power_device_without_a_visible_timer_is_sold_once_at_most(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    Device.objects.update(rated_w=11_000)
    without_timers(monkeypatch)
    switch(world, on=True)
    world.go(5)
    assert [alert.kind for alert in Alert.objects.filter(closed_at=None)] == ["blocked_timer_unproven"]
    assert Device.objects.get().blocked_reason == "timer_unproven"


def test_an_on_without_a_visible_timer_warns(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    without_timers(monkeypatch)
    switch(world, on=True)
    world.go(5)
    [alert] = opened("timer_unproven")
    assert (alert.severity, alert.device) == ("warning", world.device.pk)
    monkeypatch.undo()
    switch(world, on=True)
    world.go(60)
    assert opened("timer_unproven") == []
