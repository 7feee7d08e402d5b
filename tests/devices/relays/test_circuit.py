"""A silent cloud: one probe every five seconds for all of its commands, and nothing is sold meanwhile."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from django.db import transaction

from devices.models import Device, RelayCommand, ShellyAccount
from devices.relays.circuit import WHOLE_ACCOUNT, Silence, after
from devices.relays.commands import order_off, order_on
from devices.relays.models import CommandState
from devices.shelly.errors import BadAnswer, BadKey, CloudDown, DeviceOffline, RateLimited, ShellyError, TimedOut
from hygate.models import Alert
from sessions_app.states import State
from tests.world import PLUG, STRIP, World

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def silence(*asked: str, error: ShellyError | None = None) -> Silence:
    state = Silence()
    for one in asked:
        state = after(state, error or TimedOut(), [one] if one != WHOLE_ACCOUNT else [], NOW, opens_after=3)
    return state


@pytest.mark.parametrize(
    ("asked", "is_open"),
    [
        (("a", "b"), False),
        (("a", "a", "b"), True),
        (("a", "a", "a", "a"), False),
        (("a", "a", "a", "b"), True),
        ((WHOLE_ACCOUNT, "a", "a"), True),
        ((WHOLE_ACCOUNT, WHOLE_ACCOUNT, WHOLE_ACCOUNT), True),
    ],
)
def test_it_opens_after_three_in_a_row_over_two_devices(asked: tuple[str, ...], is_open: bool) -> None:
    assert (silence(*asked).opened_at is not None) is is_open


@pytest.mark.parametrize("error", [None, RateLimited(), BadKey(), DeviceOffline()])
def test_any_word_of_the_cloud_itself_closes_it(error: ShellyError | None) -> None:
    assert after(silence("a", "a", "b"), error, ["a"], NOW, opens_after=3) == Silence()


def test_a_page_of_a_proxy_neither_opens_nor_closes_it() -> None:
    opened = silence("a", "a", "b")
    assert after(opened, BadAnswer(), ["a"], NOW, opens_after=3) == opened


def test_it_stays_open_since_its_first_moment() -> None:
    opened = silence("a", "a", "b")
    later = after(opened, CloudDown(), [], NOW + timedelta(seconds=5), opens_after=3)
    assert (later.opened_at, later.in_row) == (NOW, 4)


@pytest.fixture
def site(world: World) -> World:
    """Two devices on, and time-outs that do not keep the test waiting."""
    world.settings.NUMBERS = replace(world.settings.NUMBERS, command_timeout_s=0.2, read_timeout_s=0.2)
    world.add_device(STRIP, 0, "Washer 2", "WASH2")
    world.go(40)
    with transaction.atomic():
        for device in Device.objects.all():
            order_on(device, reason="test", wanted_by="", for_s=7200)
    world.go(10)
    Device.objects.update(off_expected_at=world.now + timedelta(hours=2))
    return world


def account() -> ShellyAccount:
    return ShellyAccount.objects.get()


def go_silent(world: World) -> None:
    world.fault(world.shelly_server, on="*", do="drop", times=-1)


def off_both() -> list[RelayCommand]:
    with transaction.atomic():
        return [order_off(device, reason="test", wanted_by="") for device in Device.objects.order_by("pk")]


def requests_since(world: World, moment: datetime) -> list[dict[str, object]]:
    return [e for e in world.ledger(world.shelly_server, "request") if e["t"] > moment.timestamp()]


def test_a_silent_cloud_is_probed_by_one_read_every_five_seconds(site: World) -> None:
    go_silent(site)
    site.go(60)
    assert account().circuit_opened_at is not None
    since = site.now
    off_both()
    site.go(31)
    probes = requests_since(site, since)
    assert {entry["path"] for entry in probes} == {"/device/all_status"}
    times = [float(str(entry["t"])) for entry in probes]
    assert len(times) >= 5
    assert all(5.0 <= round(b - a, 2) <= 6.1 for a, b in pairwise(times))


def test_sales_close_while_the_cloud_is_silent_and_open_again_by_themselves(site: World) -> None:
    go_silent(site)
    site.go(60)
    assert {site.availability(device) for device in Device.objects.all()} == {"offline"}
    [alert] = Alert.objects.filter(closed_at=None, account=account().pk)
    assert "does not answer" in alert.title
    site.ctl(site.shelly_server, "DELETE", "/_ctl/faults")
    site.go(10)
    assert account().circuit_opened_at is None
    assert account().status == "ok"
    assert not Alert.objects.filter(closed_at=None, account=account().pk).exists()


def test_offs_that_waited_go_first_and_together_as_soon_as_the_cloud_is_back(site: World) -> None:
    """Also those that were tried and timed out: the silence was no failure of their devices."""
    go_silent(site)
    commands = off_both()
    site.go(60)
    assert account().circuit_opened_at is not None
    site.ctl(site.shelly_server, "DELETE", "/_ctl/faults")
    since = site.now
    site.go(8)
    probe, first, *_ = requests_since(site, since)
    assert probe["path"] == "/device/all_status"
    assert str(first["path"]).endswith("/set/groups")
    states = RelayCommand.objects.filter(pk__in=[one.pk for one in commands]).values_list("state", flat=True)
    assert set(states) == {CommandState.CONFIRMED}


def test_an_on_in_its_start_window_goes_out_when_the_cloud_is_back(world: World) -> None:
    world.settings.NUMBERS = replace(world.settings.NUMBERS, command_timeout_s=0.2, read_timeout_s=0.2)
    session = world.buy()
    world.tell(session)
    go_silent(world)
    world.go(60)
    assert account().circuit_opened_at is not None
    world.ctl(world.shelly_server, "DELETE", "/_ctl/faults")
    world.go(12)
    session.refresh_from_db()
    assert session.state == State.RUNNING


def test_one_device_that_hangs_does_not_close_its_neighbours_sales(site: World) -> None:
    site.fault(site.shelly_server, on="switch_off", do="hang_before", seconds=0.4, times=-1, match=PLUG)
    with transaction.atomic():
        order_off(Device.objects.get(shelly_id=PLUG), reason="test", wanted_by="")
    site.go(120)
    assert account().circuit_opened_at is None
    Device.objects.filter(shelly_id=STRIP).update(off_expected_at=None)
    with transaction.atomic():
        order_off(Device.objects.get(shelly_id=STRIP), reason="test", wanted_by="")
    site.go(40)
    assert site.availability(Device.objects.get(shelly_id=STRIP)) == "free"


def test_time_outs_open_it_and_a_server_that_listens_no_more_too(site: World) -> None:
    """D23: relays that are on end by their own timers; the rest is checked on return."""
    site.ctl(site.shelly_server, "POST", "/_ctl/limits", {"rate_limit_s": 0})
    site.fault(site.shelly_server, on="*", do="hang_before", seconds=0.4, times=-1)
    site.go(60)
    assert account().circuit_opened_at is not None
    assert account().last_error == "timed_out"
    site.shelly_server.stop()
    site.go(10)
    assert account().circuit_opened_at is not None
    assert account().last_error != "timed_out"
