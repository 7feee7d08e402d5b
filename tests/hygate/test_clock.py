"""The clock of one process: it follows drifts, refuses steps, and goes on while nobody measures it."""

from __future__ import annotations

import time
from typing import Any

import pytest

from hygate import clock
from hygate.clock import HeldClock, Measurement, SteadyClock, Verdict

NOON = 1_795_262_400.0
HOUR = 3600.0


def measured(reference_s: float, at_s: float, *, correction_s: float = 0.0, epoch: int = 0) -> Measurement:
    return Measurement(reference_s, at_s, correction_s, epoch)


@pytest.fixture
def held() -> HeldClock:
    """Measured once: it was noon when 100 seconds had elapsed."""
    held = HeldClock()
    held.note(measured(NOON, 100))
    return held


def test_between_measurements_only_elapsed_seconds_count(held: HeldClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "elapsed", lambda: 107.5)
    monkeypatch.setattr(time, "time", lambda: NOON + HOUR)
    assert held.now().timestamp() == NOON + 7.5


@pytest.mark.parametrize("drift_s", [-1.9, 0.0, 1.9])
def test_a_drift_of_the_reference_is_followed(held: HeldClock, drift_s: float) -> None:
    assert held.note(measured(NOON + 10 + drift_s, 110)) is Verdict.FOLLOWED
    assert held.at(110) == NOON + 10 + drift_s


@pytest.mark.parametrize("step_s", [-HOUR, -2.1, 2.1, HOUR])
def test_a_step_moves_no_time_however_often_it_is_seen(held: HeldClock, step_s: float) -> None:
    verdicts = [held.note(measured(NOON + since + step_s, 100 + since)) for since in (10, 11, 12)]
    assert verdicts == [Verdict.SUSPECTED, Verdict.STEPPED, Verdict.STEPPED]
    assert held.at(112) == NOON + 12


def test_one_measurement_that_was_wrong_is_no_step(held: HeldClock) -> None:
    assert held.note(measured(NOON + 10 + HOUR, 110)) is Verdict.SUSPECTED
    assert held.note(measured(NOON + 11, 111)) is Verdict.FOLLOWED
    assert held.note(measured(NOON + 12 + HOUR, 112)) is Verdict.SUSPECTED


def test_two_different_errors_are_no_step(held: HeldClock) -> None:
    assert held.note(measured(NOON + 10 + 5, 110)) is Verdict.SUSPECTED
    assert held.note(measured(NOON + 11 + 90, 111)) is Verdict.SUSPECTED


@pytest.mark.parametrize("sign", [-1, 1])
def test_a_vague_measurement_is_followed_only_as_far_as_it_is_sure(held: HeldClock, sign: int) -> None:
    """A busy machine answers late: half of what it took may be wrong either way."""
    assert held.note(Measurement(NOON + 10 + sign * 0.3, 110, within_s=0.4)) is Verdict.FOLLOWED
    assert held.at(110) == NOON + 10
    held.note(Measurement(NOON + 20 + sign * 0.3, 120, within_s=0.25))
    assert held.at(120) == pytest.approx(NOON + 20 + sign * 0.05)


def test_a_sharp_measurement_mends_a_vague_one() -> None:
    held = HeldClock()
    held.note(Measurement(NOON, 100, within_s=0.4))
    held.note(Measurement(NOON + 10.35, 110, within_s=0.001))
    assert held.at(110) == pytest.approx(NOON + 10.35, abs=0.002)


def test_what_all_agreed_on_is_followed_at_once(held: HeldClock) -> None:
    assert held.note(measured(NOON + 10 + HOUR, 110, correction_s=-30, epoch=1)) is Verdict.FOLLOWED
    assert held.at(110) == NOON + 10 + HOUR - 30


def test_a_clock_that_was_never_measured_is_the_machines_own() -> None:
    held = HeldClock()
    assert not held.is_measured
    assert abs(held.now().timestamp() - time.time()) < 1


@pytest.mark.parametrize("step_s", [-HOUR, HOUR])
def test_a_step_of_the_machines_clock_moves_no_steady_clock(step_s: float, monkeypatch: pytest.MonkeyPatch) -> None:
    steady = SteadyClock()
    right, real = steady.now(), time.time
    monkeypatch.setattr(time, "time", lambda: real() + step_s)
    assert abs((steady.now() - right).total_seconds()) < 1


def test_a_system_that_cannot_count_through_suspend_counts_without(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some preloaded libraries and sandboxes refuse CLOCK_BOOTTIME."""
    real = time.clock_gettime

    def refuse(which: int) -> Any:
        if which != time.CLOCK_MONOTONIC:
            raise OSError(22, "Invalid argument")
        return real(which)

    monkeypatch.setattr(time, "clock_gettime", refuse)
    assert clock._elapsing_clock() == time.CLOCK_MONOTONIC


def test_seconds_count_through_suspend_where_the_system_can() -> None:
    """Linux calls that clock CLOCK_BOOTTIME; what CLOCK_MONOTONIC_RAW is to macOS has no such name elsewhere."""
    assert clock._elapsing_clock() == getattr(time, "CLOCK_BOOTTIME", None) or time.CLOCK_MONOTONIC_RAW
