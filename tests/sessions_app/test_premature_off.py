"""A relay that goes off by itself while somebody has paid: the minutes stand still until it is back, or it ends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from devices.models import Device, RelayCommand
from devices.relays.blocking import unblock
from devices.relays.models import RE_ON
from hygate.models import Alert, AuditEvent, Role, User
from sessions_app import money, services
from sessions_app.models import DeviceSession
from sessions_app.premature_off import resumed
from sessions_app.states import Reason, State
from tests.world import PLUG, World, kinds_of

LONG_S = 600


@pytest.fixture
def session(world: World) -> DeviceSession:
    """Ten minutes at 2.50, running since twenty seconds."""
    world.plan.duration_s = LONG_S
    world.plan.save(update_fields=["duration_s"])
    bought = world.buy()
    world.tell(bought)
    world.go(30)
    return fresh(bought)


def fresh(session: DeviceSession) -> DeviceSession:
    return DeviceSession.objects.get(pk=session.pk)


def device(world: World, **knobs: Any) -> None:
    world.ctl(world.shelly_server, "POST", f"/_ctl/devices/{PLUG}", knobs)


def on_seconds(world: World) -> float:
    """How long the relay really gave power, by the physical ledger."""
    total, since = 0.0, 0.0
    for entry in world.ledger(world.shelly_server, "relay"):
        if entry["on"]:
            since = entry["t"]
        else:
            total += entry["t"] - since
    return total


def ons(world: World) -> list[float]:
    return [entry["t"] for entry in world.switched() if entry["body"].get("on")]


def test_a_wall_button_costs_the_guest_no_minute(world: World, session: DeviceSession) -> None:
    """D14: OFF by hand, ON again by us; the end moves by the time that the minutes stood still."""
    before = session.ends_at
    device(world, press=0)
    world.go(40)
    session = fresh(session)
    assert (session.state, session.re_ons, session.paused_at) == (State.RUNNING, 1, None)
    assert session.ends_at is not None and before is not None and session.started_at is not None
    assert session.ends_at - session.started_at == timedelta(seconds=LONG_S, milliseconds=session.paused_ms)
    assert session.ends_at > before
    world.go(LONG_S + 60)
    session = fresh(session)
    assert (session.state, session.delivered_s) == (State.COMPLETED, LONG_S)
    assert on_seconds(world) >= LONG_S
    assert world.money() == [("authorized", 250), ("captured", 250)]
    assert [cause for _, cause in world.relay()] == ["request", "button", "request", "request"]
    assert {"relay_went_off", "relay_came_back"} <= set(kinds_of(session))


def test_off_is_asked_for_on_the_second_of_the_moved_end(world: World, session: DeviceSession) -> None:
    device(world, press=0)
    world.go(LONG_S + 120)
    session = fresh(session)
    assert session.ends_at is not None
    assert 0 <= world.switched()[-1]["t"] - session.ends_at.timestamp() <= 1.0


def test_a_re_on_carries_a_timer_that_outlasts_the_moved_end(world: World, session: DeviceSession) -> None:
    device(world, press=0)
    world.go(60)
    session = fresh(session)
    truth = world.ctl(world.shelly_server, "GET", "/_ctl/devices")
    timer = next(one for one in truth if one["id"] == PLUG)["channels"][0]["timer"]
    assert session.ends_at is not None
    assert timer["fires_at"] >= session.ends_at.timestamp() + 5


def test_a_reboot_that_ends_off_is_followed_by_on_for_the_rest(world: World, session: DeviceSession) -> None:
    """D11."""
    device(world, reboot=True)
    world.go(LONG_S + 120)
    session = fresh(session)
    assert (session.state, session.re_ons, session.delivered_s) == (State.COMPLETED, 1, LONG_S)
    assert world.relay()[:3] == [(True, "request"), (False, "reboot"), (True, "request")]


def test_a_reboot_while_offline_is_noticed_when_the_device_returns(world: World, session: DeviceSession) -> None:
    device(world, online=False)
    world.go(60)
    device(world, reboot=True)
    world.go(30)
    device(world, online=True)
    world.go(LONG_S + 240)
    session = fresh(session)
    assert (session.state, session.delivered_s) == (State.COMPLETED, LONG_S)
    assert on_seconds(world) >= LONG_S


def test_a_controller_that_fights_for_the_relay_gets_two_re_ons_and_then_the_guest_his_money(
    world: World, session: DeviceSession
) -> None:
    """D26: mySigen puts every ON back within three seconds."""
    device(world, enforced_off=True)
    world.go(400)
    session = fresh(session)
    assert (session.state, session.reason) == (State.CANCELLED, Reason.RELAY_OFF)
    assert session.re_ons == 2
    moments = ons(world)
    assert len(moments) == 3
    assert all(b - a >= 10 for a, b in pairwise(moments))
    assert session.delivered_s is not None and session.delivered_s <= on_seconds(world) + 1
    kept = money.charge_for(250, session.delivered_s, LONG_S)
    assert world.money() == [("authorized", 250), ("captured", 250), ("refunded", 250 - kept)]
    assert world.availability() == "blocked"
    alert = Alert.objects.get(closed_at=None, device=world.device.pk)
    assert alert.kind == "blocked_fought_over"
    assert "another controller (for example mysigen) switches this relay: remove it there" in alert.advice.lower()


def test_a_blocked_device_is_for_sale_again_when_somebody_says_so(world: World, session: DeviceSession) -> None:
    device(world, enforced_off=True)
    world.go(400)
    device(world, enforced_off=False)
    assert unblock(world.device, by="user:1")
    assert not unblock(world.device, by="user:1")
    world.go(40)
    assert world.availability() == "free"
    assert not Alert.objects.filter(closed_at=None, kind="blocked_fought_over").exists()
    assert AuditEvent.objects.get(kind="device_unblocked").actor == "user:1"


def test_refund_instead_of_re_on_is_a_setting(world: World, session: DeviceSession) -> None:
    world.settings.PREMATURE_OFF = "refund"
    device(world, press=0)
    world.go(60)
    session = fresh(session)
    assert (session.state, session.reason, session.re_ons) == (State.CANCELLED, Reason.RELAY_OFF, 0)
    assert len(ons(world)) == 1
    assert world.availability() == "free"
    assert world.money()[-1][0] == "refunded"


def test_a_relay_that_cannot_be_brought_back_in_the_window_ends_the_session(
    world: World, session: DeviceSession
) -> None:
    """It is no fight when nothing could be switched: the guest gets the rest back, the device is not blocked."""
    device(world, press=0)
    world.fault(
        world.shelly_server, on="switch_on", do="status", status=400, body={"error": "DEVICE_OFFLINE"}, times=-1
    )
    world.go(240)
    session = fresh(session)
    assert (session.state, session.reason, session.re_ons) == (State.CANCELLED, Reason.RELAY_OFF, 1)
    assert session.delivered_s is not None and session.delivered_s <= 40
    assert world.availability() == "free"


def test_a_re_on_that_only_shows_late_is_still_believed(world: World, session: DeviceSession) -> None:
    """The cloud lags a minute behind: the ON worked, though no reading says so for a while."""
    device(world, press=0)
    world.go(0.5)
    world.go(30)
    device(world, press=0)
    device(world, status_lag_s=60.0)
    world.go(300)
    session = fresh(session)
    assert session.state == State.RUNNING
    assert session.paused_at is None
    world.go(LONG_S + 300)
    assert (fresh(session).state, fresh(session).delivered_s) == (State.COMPLETED, LONG_S)


def test_a_guest_who_stops_while_it_is_off_pays_only_for_what_was_on(world: World, session: DeviceSession) -> None:
    device(world, press=0)
    world.fault(world.shelly_server, on="switch_on", do="status", status=500, times=-1)
    world.go(60)
    assert fresh(session).paused_at is not None
    assert services.stop_by_guest(fresh(session))
    world.go(10)
    session = fresh(session)
    assert (session.state, session.reason) == (State.CANCELLED, Reason.STOPPED_BY_GUEST)
    assert session.delivered_s is not None and session.delivered_s <= 40


def test_page_and_dashboard_say_that_the_minutes_stand_still(
    world: World, session: DeviceSession, client: Client
) -> None:
    device(world, press=0)
    world.fault(world.shelly_server, on="switch_on", do="status", status=500, times=-1)
    world.go(60)
    page = client.get(f"/session/{session.token}/").content.decode()
    assert "Power went off" in page
    assert "Minutes without power cost nothing." in page
    client.force_login(User.objects.create_user("op@example.com", "a long password", role=Role.OPERATOR))
    assert "relay went off" in client.get("/dashboard/").content.decode()
    world.ctl(world.shelly_server, "DELETE", "/_ctl/faults")
    world.go(60)
    assert "Power on" in client.get(f"/session/{session.token}/").content.decode()


def test_off_just_before_the_end_is_no_premature_off(world: World, session: DeviceSession) -> None:
    """The device's own timer fires after the end when nobody was there to switch: nothing is switched on again."""
    assert session.ends_at is not None
    world.manual.set(session.ends_at + timedelta(seconds=40))
    world.go(60)
    session = fresh(session)
    assert (session.state, session.delivered_s, session.re_ons) == (State.COMPLETED, LONG_S, 0)
    assert world.relay()[-1] == (False, "timer")
    assert not RelayCommand.objects.filter(reason=RE_ON).exists()


def test_an_old_picture_of_a_relay_switches_nothing(world: World, session: DeviceSession) -> None:
    """D19: the cloud says online and shows old values; nobody concludes from them."""
    device(world, stale=True)
    world.go(120)
    assert fresh(session).state == State.RUNNING
    assert len(ons(world)) == 1


def test_a_second_press_by_hand_brings_the_minutes_back_too(world: World, session: DeviceSession) -> None:
    """Somebody switches it off and, while our ON does not get through, on again: that ON gets a timer from us."""
    device(world, press=0)
    world.fault(world.shelly_server, on="switch_on", do="status", status=200, times=2)
    world.go(70)
    assert fresh(session).paused_at is not None
    device(world, press=0)
    world.go(70)
    session = fresh(session)
    assert (session.state, session.paused_at) == (State.RUNNING, None)
    truth = world.ctl(world.shelly_server, "GET", "/_ctl/devices")
    timer = next(one for one in truth if one["id"] == PLUG)["channels"][0]["timer"]
    assert session.ends_at is not None
    assert timer is not None and timer["fires_at"] >= session.ends_at.timestamp() + 5
    assert not Device.objects.get(pk=world.device.pk).must_be_off_since


START = datetime(2026, 11, 21, 12, tzinfo=UTC)
spans = st.lists(st.tuples(st.integers(1, 10**9), st.integers(0, 10**9)), max_size=3)


@given(bought_s=st.integers(1, 7 * 86400), spans=spans)
def test_whatever_goes_off_and_comes_back_the_guest_gets_exactly_what_was_bought(
    bought_s: int, spans: list[tuple[int, int]]
) -> None:
    """On for a while (µs), off for a while, up to three times: at the moved end every bought second was delivered."""
    ends_at, paused_ms, now = START + timedelta(seconds=bought_s), 0, START
    off = timedelta()
    for on_us, off_us in spans:
        off_since = now + timedelta(microseconds=on_us)
        if off_since >= ends_at:
            break
        now = off_since + timedelta(microseconds=off_us)
        ends_at, more_ms = resumed(ends_at, off_since, now)
        paused_ms += more_ms
        off += now - off_since
    delivered = money.delivered_s(started_at=START, off_at=ends_at, paused_ms=paused_ms, bought_s=bought_s)
    assert delivered == bought_s
    assert ends_at - START - off >= timedelta(seconds=bought_s)
    assert ends_at - START - off <= timedelta(seconds=bought_s, milliseconds=len(spans))


@given(on_us=st.integers(0, 10**12), bought_s=st.integers(1, 7 * 86400))
def test_what_was_off_at_the_end_is_never_charged(on_us: int, bought_s: int) -> None:
    delivered = money.delivered_s(
        started_at=START, off_at=START + timedelta(microseconds=on_us), paused_ms=0, bought_s=bought_s
    )
    assert delivered == min(bought_s, on_us // 10**6)
    assert 0 <= money.charge_for(250, delivered, bought_s) <= 250


def test_a_clock_that_ran_backwards_moves_no_end() -> None:
    assert resumed(START, START, START - timedelta(seconds=5)) == (START, 0)
