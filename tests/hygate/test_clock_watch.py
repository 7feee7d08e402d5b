"""Looking after the clock: steps are held off by all processes together, and what the world says reaches a person."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from typing import Any

import pytest
from django.db import connection
from django.db.utils import OperationalError

from hygate import clock, clock_watch, clock_witness
from hygate.clock import HeldClock
from hygate.clock_watch import Evidence, Watch, may_follow, stops_starts
from hygate.due import sweep as sweeping
from hygate.due.sweep import FallbackSweep, beat
from hygate.models import Alert, AuditEvent, Heartbeat, Severity
from sessions_app.models import DeviceSession, WebhookEvent
from tests.world import World

pytestmark = pytest.mark.django_db(transaction=True)

NOON = 1_795_262_400.0
HOUR = 3600.0


class Site:
    """A reference that can be set, processes that can stand still, and seconds that pass for all of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._patch = monkeypatch
        self.reference_s, self.passed_s = NOON, 100.0
        monkeypatch.setattr(clock_watch, "_reference_s", lambda: self.reference_s)

    def wait(self, seconds: float) -> None:
        self.reference_s += seconds
        self.passed_s += seconds

    def process(self, name: str) -> Process:
        return Process(self, name, self._patch)


class Process:
    """A worker: its own clock, its own watch, its own heartbeat. ``lost_s``: how long it stood still, unnoticed."""

    def __init__(self, site: Site, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.site, self.name, self._patch = site, name, monkeypatch
        self.lost_s = 0.0
        self.held = HeldClock()
        self.watch = Watch(self.elapsed)

    def elapsed(self) -> float:
        return self.site.passed_s - self.lost_s

    def look(self) -> None:
        self._patch.setattr(clock, "elapsed", self.elapsed)
        self._patch.setattr(clock, "held", self.held)
        self._patch.setattr(clock_watch, "PROCESS", self.name)
        with clock.using(self.held):
            self.watch.look()
            beat(f"worker:{self.name}", process=self.name)

    def off_s(self, right_s: float) -> float:
        return self.held.at(self.elapsed()) - right_s


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Site:
    return Site(monkeypatch)


@pytest.fixture(autouse=True)
def nothing_seen_yet() -> Iterator[None]:
    clock_witness.forget()
    yield
    clock_witness.forget()


def look(site: Site, *processes: Process, every_s: float = 1) -> None:
    site.wait(every_s)
    for process in processes:
        process.look()


def said() -> list[tuple[str, str]]:
    return list(Alert.objects.filter(closed_at=None).values_list("key", "severity"))


# -- steps of the reference


@pytest.mark.parametrize("step_s", [-HOUR, 60.0, HOUR])
def test_a_set_reference_moves_nobodys_time_and_is_told_once(site: Site, step_s: float) -> None:
    one, two = site.process("one"), site.process("two")
    look(site, one, two)
    site.reference_s += step_s
    for _ in range(5):
        look(site, one, two)
    assert abs(one.off_s(NOON + 6)) < 0.01
    assert abs(two.off_s(NOON + 6)) < 0.01
    assert said() == [("clock", Severity.WARNING)]
    assert Alert.objects.get().times == 1
    assert not stops_starts()


def test_a_process_that_starts_after_the_step_has_the_same_time(site: Site) -> None:
    old = site.process("old")
    look(site, old)
    site.reference_s += HOUR
    look(site, old)
    look(site, old)
    late = site.process("late")
    late.look()
    assert abs(late.off_s(NOON + 3)) < 0.01


def test_a_process_that_stood_still_catches_up_with_the_others(site: Site) -> None:
    one, two = site.process("one"), site.process("two")
    look(site, one, two)
    site.wait(20 * 60)
    one.lost_s = 20 * 60
    look(site, two, one)
    look(site, two, one)
    assert abs(one.off_s(site.reference_s)) < 0.01
    assert said() == []
    assert not Heartbeat.objects.filter(name=clock_watch.ROW).exists()


def test_a_reference_that_is_set_back_ends_the_correction(site: Site) -> None:
    one = site.process("one")
    look(site, one)
    site.reference_s += HOUR
    look(site, one)
    look(site, one)
    assert said() == [("clock", Severity.WARNING)]
    site.reference_s -= HOUR
    look(site, one)
    look(site, one)
    look(site, one)
    assert said() == []
    assert abs(one.off_s(site.reference_s)) < 0.01
    assert Heartbeat.objects.get(name=clock_watch.ROW).detail["correction_s"] == 0


def test_while_the_database_is_away_time_goes_on(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    one = site.process("one")
    look(site, one)

    def away() -> float:
        raise OperationalError("gone")

    monkeypatch.setattr(clock_watch, "_reference_s", away)
    with pytest.raises(OperationalError):
        look(site, one, every_s=600)
    assert one.off_s(NOON + 601) == 0


def measured_by(reference_s: Callable[[], float], site: Site, patch: pytest.MonkeyPatch) -> clock.Measurement | None:
    """What a process finds whose question to the reference takes as long as ``reference_s`` lets pass."""
    patch.setattr(clock, "elapsed", lambda: site.passed_s)
    patch.setattr(clock_watch, "_reference_s", reference_s)
    return clock_watch.measure()


def test_a_measurement_that_took_too_long_counts_for_nothing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow() -> float:
        site.wait(3)
        return site.reference_s

    assert measured_by(slow, site, monkeypatch) is None


def test_half_of_the_round_trip_is_taken_off(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def halfway() -> float:
        site.wait(0.4)
        said_s = site.reference_s
        site.wait(0.4)
        return said_s

    measured = measured_by(halfway, site, monkeypatch)
    assert measured is not None
    assert measured.reference_s == NOON + 0.4
    assert measured.at_s == pytest.approx(100.4)


def test_the_quickest_of_a_few_measurements_counts(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that has just started is slow to take an answer, and would run behind until it looks again."""
    waits_s = iter((0.4, 0.001, 0.3))

    def late() -> float:
        said_s = site.reference_s
        site.wait(next(waits_s))
        return said_s

    measured = measured_by(late, site, monkeypatch)
    assert measured is not None
    assert measured.reference_s == NOON + 0.4
    assert measured.within_s == pytest.approx(0.0005)


def test_the_reference_is_the_clock_of_the_database_that_there_is() -> None:
    assert abs(clock_watch._reference_s() - time.time()) < 5


def test_the_first_connection_of_a_process_measures_its_clock(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong clock of the machine decides nothing, not even in the first second."""
    site.reference_s = NOON - HOUR
    fresh = HeldClock()
    monkeypatch.setattr(clock, "held", fresh)
    connection.close()
    Heartbeat.objects.exists()
    assert fresh.is_measured
    assert abs(fresh.now().timestamp() - (NOON - HOUR)) < 5


# -- the way back


def test_with_something_under_way_time_never_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    world_agrees = [Evidence("stripe", HOUR)]
    monkeypatch.setattr(clock_watch, "_under_way", [lambda: True])
    assert not may_follow(-HOUR, world_agrees)
    monkeypatch.setattr(clock_watch, "_under_way", [lambda: False])
    assert may_follow(-HOUR, world_agrees)


@pytest.mark.parametrize(
    ("correction_s", "found"),
    [
        (0.0, []),
        (-HOUR, []),
        (-HOUR, [Evidence("stripe", 0.0)]),
        (-HOUR, [Evidence("stripe", HOUR), Evidence("shelly", -HOUR)]),
        (-HOUR, [Evidence("webhook", HOUR)]),
    ],
    ids=["no correction", "the world is silent", "we are right", "the world disagrees", "a hint is no witness"],
)
def test_only_a_world_that_agrees_with_the_reference_ends_a_long_correction(
    correction_s: float, found: list[Evidence], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock_watch, "_under_way", [])
    assert not may_follow(correction_s, found)


def test_a_session_under_way_keeps_time_from_stepping(world: World) -> None:
    session = world.buy()
    assert not may_follow(-20, [])
    world.tell(session)
    world.go(120)
    session.refresh_from_db()
    assert session.state == "completed"
    assert may_follow(-20, [])


def test_stepping_back_takes_the_moments_ahead_along(site: Site) -> None:
    """What was due in a second is not due in an hour."""
    one = site.process("one")
    site.reference_s = NOON + HOUR
    look(site, one)
    at = datetime.fromtimestamp(NOON + HOUR + 60, UTC)
    event = WebhookEvent.objects.create(event_id="evt_1", kind="test", received_at=at, due_at=at)
    site.reference_s -= HOUR
    look(site, one)
    look(site, one)
    for _ in range(2):
        with clock.using(one.held):
            clock_witness.saw("stripe", formatdate(site.reference_s, usegmt=True))
    assert not DeviceSession.objects.exists()
    look(site, one)
    assert abs(one.off_s(site.reference_s)) < 0.01
    event.refresh_from_db()
    assert event.due_at is not None
    assert abs((event.due_at - datetime.fromtimestamp(NOON + 60, UTC)).total_seconds()) < 0.1
    assert said() == []


# -- what the world says


def answer(off_s: float, source: str = "shelly", times: int = 2) -> None:
    for _ in range(times):
        clock_witness.saw(source, formatdate(clock.now().timestamp() + off_s, usegmt=True))


@pytest.mark.parametrize("off_s", [-HOUR, -32, 32, HOUR])
def test_a_date_that_is_far_off_raises_one_error_and_stops_starts(off_s: float, manual_clock: Any) -> None:
    watch = Watch()
    for _ in range(3):
        answer(off_s)
        answer(off_s, "stripe")
        watch.look()
    alert = Alert.objects.get()
    assert (alert.key, alert.severity, alert.help_anchor, alert.times) == ("clock", "error", "clock", 1)
    assert stops_starts()


@pytest.mark.parametrize("off_s", [-28, 0, 28])
def test_a_date_that_is_nearly_right_is_right(off_s: float, manual_clock: Any) -> None:
    answer(off_s)
    Watch().look()
    assert said() == []


def test_one_answer_out_of_a_cache_stops_nothing(manual_clock: Any) -> None:
    answer(-HOUR, times=1)
    answer(0, times=1)
    answer(-HOUR, times=1)
    Watch().look()
    assert said() == []


def test_right_again_closes_the_alert(manual_clock: Any) -> None:
    watch = Watch()
    answer(HOUR)
    watch.look()
    assert stops_starts()
    answer(0)
    watch.look()
    assert said() == []
    assert not stops_starts()


def test_what_nobody_sees_any_more_expires(manual_clock: Any) -> None:
    """The process that saw it is gone; its own idea of the time does not matter."""
    passed = [0.0]
    answer(HOUR)
    watch = Watch(lambda: passed[0])
    watch.look()
    Heartbeat.objects.filter(name__startswith="clock:").update(at=manual_clock.now() + timedelta(days=1))
    watch.look()
    passed[0] = 299.0
    watch.look()
    assert stops_starts()
    passed[0] = 301.0
    watch.look()
    assert not stops_starts()
    assert not Heartbeat.objects.filter(name__startswith="clock:").exists()


def test_a_webhook_from_another_time_is_told_but_stops_nothing(manual_clock: Any) -> None:
    clock_witness.saw_webhook(-HOUR)
    Watch().look()
    assert said() == [("clock", Severity.WARNING)]
    assert not stops_starts()


@pytest.mark.parametrize("header", [None, "", "yesterday", "Sat, 99 Foo 2026"])
def test_a_date_that_cannot_be_read_says_nothing(header: str | None) -> None:
    assert clock_witness.saw("shelly", header) is None
    assert clock_witness.take() == {}


def test_the_alert_says_by_how_much_and_is_in_the_audit_log(manual_clock: Any) -> None:
    answer(HOUR)
    Watch().look()
    assert "3600 s behind" in Alert.objects.get().advice
    assert AuditEvent.objects.get(kind="alert_opened").data["alert_kind"] == "clock"


# -- the worker's own watch


def test_a_clock_that_cannot_be_looked_at_costs_no_sweep(manual_clock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fallback = FallbackSweep("relays", threads=1)

    def broken() -> None:
        raise ValueError("unforeseen")

    swept: list[Any] = []
    monkeypatch.setattr(fallback._clock_watch, "look_if_due", broken)
    monkeypatch.setattr(sweeping, "sweep", swept.append)
    fallback._look()
    assert len(swept) == 1


def test_a_worker_looks_at_its_clock_every_ten_seconds(manual_clock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    passed, looks = [0.0], list[float]()
    watch = Watch(lambda: passed[0])
    look: Callable[[], None] = lambda: looks.append(passed[0])  # noqa: E731
    monkeypatch.setattr(watch, "look", look)
    for second in range(25):
        passed[0] = float(second)
        watch.look_if_due()
    assert looks == [0, 10, 20]
