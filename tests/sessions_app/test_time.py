"""Paid time is elapsed time: whatever calendars, machines and clocks do meanwhile, and one start whatever guests do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from html import unescape
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from hygate import clock, clock_watch, clock_witness
from hygate.models import Alert, Heartbeat, Severity
from sessions_app import selling, services
from sessions_app.models import DeviceSession, WebhookEvent
from sessions_app.selling import CannotBuy
from sessions_app.states import Reason, State
from tests import loopback
from tests.sessions_app.test_webhooks import event, post, signed
from tests.world import STRIP, World

LENGTH_S = 1200
HOUR = 3600.0


@pytest.fixture(autouse=True)
def nothing_seen_yet() -> Iterator[None]:
    clock_witness.forget()
    yield
    clock_witness.forget()


@pytest.fixture
def world_at(transactional_db: None, settings: Any) -> Iterator[Callable[[datetime], World]]:
    """A world that begins at a moment of the test's choice."""
    open_worlds: list[World] = []
    contexts = []

    def make(start: datetime) -> World:
        manual = clock.ManualClock(start)
        using = clock.using(manual)
        using.__enter__()
        contexts.append(using)
        open_worlds.append(World(settings, manual))
        return open_worlds[-1]

    yield make
    for one in open_worlds:
        one.close()
    for using in contexts:
        using.__exit__(None, None, None)


def page(session: DeviceSession) -> str:
    return unescape(Client().get(f"/session/{session.token}/").content.decode())


def started(world: World, session: DeviceSession) -> DeviceSession:
    world.tell(session)
    world.go(10)
    session.refresh_from_db()
    assert session.state == State.RUNNING
    return session


# -- T3: the calendar


@pytest.mark.parametrize(
    ("start", "ends"),
    [
        (datetime(2027, 3, 28, 0, 50, tzinfo=UTC), "03:10"),
        (datetime(2026, 10, 25, 0, 50, tzinfo=UTC), "02:10"),
        (datetime(2026, 11, 21, 22, 50, tzinfo=UTC), "00:10"),
        (datetime(2028, 2, 28, 22, 50, tzinfo=UTC), "00:10"),
        (datetime(2028, 2, 29, 22, 50, tzinfo=UTC), "00:10"),
        (datetime(2026, 12, 31, 22, 50, tzinfo=UTC), "00:10"),
    ],
    ids=["summer time begins", "summer time ends", "midnight", "into 29 February", "out of it", "new year"],
)
def test_no_calendar_changes_the_length_of_a_session(
    start: datetime, ends: str, world_at: Callable[[datetime], World]
) -> None:
    world = world_at(start)
    session = started(world, world.buy(plan=world.add_plan(world.device, duration_s=LENGTH_S)))
    assert session.started_at is not None and session.ends_at is not None
    assert session.ends_at - session.started_at == timedelta(seconds=LENGTH_S)
    assert f"{ends}" in page(session)
    world.go(LENGTH_S + 10)
    session.refresh_from_db()
    on, off = world.switched()
    assert (session.state, session.delivered_s) == (State.COMPLETED, LENGTH_S)
    assert on["body"]["toggle_after"] == LENGTH_S + world.settings.NUMBERS.timer_margin_s
    assert 0 <= off["t"] - session.ends_at.timestamp() <= 1.0
    assert world.relay() == [(True, "request"), (False, "request")]


# -- T5: a machine that stood still


def test_after_standing_still_ends_come_first_and_an_old_start_is_given_back(world: World) -> None:
    other = world.add_device(STRIP, 1, "Washer 2", "WASH2")
    world.go(35)
    running = started(world, world.buy(plan=world.add_plan(world.device, duration_s=60)))
    waiting = world.buy(other, world.add_plan(other, grace_s=60))
    world.tell(waiting)
    seen = len(world.switched())
    world.manual.set(world.now + timedelta(minutes=20))
    world.go(60)
    running.refresh_from_db()
    waiting.refresh_from_db()
    assert running.state == State.COMPLETED
    assert (waiting.state, waiting.reason) == (State.CANCELLED, Reason.START_FAILED)
    asked = world.switched()[seen:]
    assert asked
    assert all("toggle_after" not in one["body"] for one in asked)
    assert world.relay(STRIP, 1) == []
    assert waiting.payments.get().charge_minor == 0
    assert [kind for kind, _ in world.money()].count("voided") == 1


def test_after_standing_still_an_off_goes_before_an_on(world: World) -> None:
    """Both are due at once, the ON for the longer time: one account sends one after the other."""
    other = world.add_device(STRIP, 1, "Washer 2", "WASH2")
    world.go(35)
    waiting = world.buy(other, world.add_plan(other, grace_s=60))
    world.tell(waiting)
    started(world, world.buy(plan=world.add_plan(world.device, duration_s=70)))
    world.manual.set(world.now + timedelta(seconds=120))
    seen = len(world.switched())
    world.go(10)
    waiting.refresh_from_db()
    assert ["toggle_after" in one["body"] for one in world.switched()[seen:]] == [False, True]
    assert waiting.state == State.RUNNING


# -- T6: the end of the grace period


def test_grace_over_starts_whether_or_not_the_guest_is_there(world: World) -> None:
    session = started(world, world.buy())
    assert world.relay() == [(True, "request")]
    assert session.grace_ends_at is not None and session.started_at is not None
    assert timedelta(0) <= session.started_at - session.grace_ends_at <= timedelta(seconds=3)


@pytest.mark.parametrize("before_s", [1.0, 0.001, 0.0])
def test_pressing_start_in_the_last_moment_starts_once(world: World, before_s: float) -> None:
    session = world.buy()
    world.tell(session)
    session.refresh_from_db()
    assert session.grace_ends_at is not None
    world.manual.set(session.grace_ends_at - timedelta(seconds=before_s))
    assert services.start_now(session)
    assert not services.start_now(session)
    world.go(10)
    session.refresh_from_db()
    assert session.state == State.RUNNING
    assert world.relay() == [(True, "request")]
    assert len([one for one in world.switched() if "toggle_after" in one["body"]]) == 1


# -- T1, T2: a clock that is wrong


def look(world: World) -> None:
    """Two readings of the relay, then the watch that every worker has."""
    world.go(65)
    clock_watch.Watch().look()


def skew(world: World, seconds: float) -> None:
    for server in (world.shelly_server, world.stripe_server):
        world.ctl(server, "POST", "/_ctl/date", {"skew_s": seconds})


@pytest.mark.parametrize("skew_s", [-HOUR, 300.0])
def test_with_a_wrong_clock_nobody_can_buy_and_the_page_says_so(world: World, skew_s: float) -> None:
    skew(world, skew_s)
    look(world)
    alert = Alert.objects.get(closed_at=None)
    assert (alert.key, alert.severity, alert.times) == ("clock", Severity.ERROR, 1)
    assert world.availability() == "clock"
    with pytest.raises(CannotBuy):
        selling.hold_slot(device=world.device, plan=world.plan)
    text = unescape(Client().get("/d/WASH1/").content.decode())
    assert "We cannot sell time on Washer 1 right now." in text
    assert world.money() == []


def test_with_a_wrong_clock_a_running_session_ends_on_time(world: World) -> None:
    session = started(world, world.buy(plan=world.add_plan(world.device, duration_s=120)))
    skew(world, HOUR)
    look(world)
    assert clock_watch.stops_starts()
    world.go(120)
    session.refresh_from_db()
    assert (session.state, session.delivered_s) == (State.COMPLETED, 120)
    assert session.ends_at is not None
    assert 0 <= world.switched()[-1]["t"] - session.ends_at.timestamp() <= 1.0
    assert world.relay() == [(True, "request"), (False, "request")]


def test_with_a_wrong_clock_a_paid_session_waits_and_starts_when_it_is_right(world: World) -> None:
    session = world.buy(plan=world.add_plan(world.device, grace_s=90))
    world.tell(session)
    skew(world, HOUR)
    look(world)
    world.go(60)
    session.refresh_from_db()
    assert session.state == State.WAITING_FOR_POWER
    assert world.relay() == []
    text = unescape(Client().get(f"/session/{session.token}/").content.decode())
    assert "Our clock has to be right before we start Washer 1" in text
    assert "Sun, battery and grid" not in text and "Waiting for power" not in text
    skew(world, 0)
    look(world)
    assert not clock_watch.stops_starts()
    world.go(15)
    session.refresh_from_db()
    assert session.state in (State.RUNNING, State.STOPPING, State.COMPLETED)
    assert world.relay()[0] == (True, "request")


def test_start_now_waits_for_the_right_time_too(world: World) -> None:
    session = world.buy(plan=world.add_plan(world.device, grace_s=300))
    world.tell(session)
    skew(world, HOUR)
    look(world)
    assert services.start_now(session)
    session.refresh_from_db()
    assert session.state == State.WAITING_FOR_POWER


def test_stripe_tells_the_time_too(world: World) -> None:
    world.ctl(world.stripe_server, "POST", "/_ctl/date", {"skew_s": -HOUR})
    session = world.buy()
    world.tell(session)
    clock_watch.Watch().look()
    assert "Stripe says" in Alert.objects.get(closed_at=None).advice


def test_simulators_tell_the_time_of_their_own_clock(world: World) -> None:

    world.ctl(world.shelly_server, "POST", "/_ctl/date", {"skew_s": 90})
    answer = loopback.get(f"{world.shelly_server.url}/_ctl/ledger", timeout=5)
    assert answer.headers["Date"] == formatdate(world.now.timestamp() + 90, usegmt=True)
    assert loopback.post(f"{world.shelly_server.url}/_ctl/date", json={"skew_s": "x"}, timeout=5).status_code == 400


@pytest.mark.parametrize("off_s", [-400, 400])
def test_a_genuine_webhook_from_another_time_raises_a_clock_alert(world: World, off_s: int) -> None:
    body = event("S-ABCDEFG-1")
    assert post(body, signed(body, at=world.now.timestamp() + off_s)) == 400
    assert not WebhookEvent.objects.exists()
    clock_watch.Watch().look()
    assert Alert.objects.get(closed_at=None).severity == Severity.WARNING
    assert world.availability() == "free"


def test_a_forged_webhook_from_another_time_raises_nothing(world: World) -> None:
    body = event("S-ABCDEFG-1")
    assert post(body, signed(body, secret="whsec_other", at=world.now.timestamp() - 400)) == 400
    clock_watch.Watch().look()
    assert not Alert.objects.exists()
    assert not Heartbeat.objects.filter(name__startswith="clock:").exists()


def test_a_webhook_is_judged_by_our_clock_and_not_by_the_machines(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    import time

    body = event("S-ABCDEFG-1")
    signature, real = signed(body), time.time
    monkeypatch.setattr(time, "time", lambda: real() + 400)
    assert post(body, signature) == 200


@pytest.mark.django_db
def test_the_alert_leads_to_what_to_do() -> None:
    from sessions_app.dashboard import troubleshooting

    assert troubleshooting.link("clock") == f"{reverse('dashboard:help')}#clock"
    assert troubleshooting.link("cannot_buy_clock")
