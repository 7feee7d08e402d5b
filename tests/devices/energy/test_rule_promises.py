"""What was promised counts until the meter has seen it, and a load has to fit into what is left."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from devices.energy.reading import INVERTER_PHASES, Field
from devices.energy.rule import (
    No,
    Phases,
    Policy,
    Reservation,
    can_carry,
    headroom,
    promised_w,
)
from tests.devices.energy.quiet_site import CAPPED, FREE, LIMITS, NOW, PROVEN, SECOND, grid, reading, room

# -- promises


def test_a_three_phase_promise_takes_thirds_and_a_single_phase_one_its_phase() -> None:
    given = room(None, Reservation(Phases.ALL, 3000), Reservation(Phases.L2, 2000))
    assert (given.total_w, given.phases_w) == (13_950 - 5000, (3450, 1450, 3450))


def test_a_promise_on_an_unknown_phase_counts_on_each() -> None:
    given = room(None, Reservation(Phases.UNKNOWN, 2000))
    assert (given.total_w, given.phases_w) == (13_950 - 2000, (2450, 2450, 2450))


def test_own_watts_that_the_meter_saw_are_not_counted_twice() -> None:
    seen = Reservation(Phases.L1, 2000, seen_w=1500, seen_at=NOW - 2 * SECOND)
    assert room(None, seen).total_w == 13_950 - 500


EVEN: dict[Field, float | None] = dict.fromkeys(INVERTER_PHASES, 0)


def test_own_watts_are_believed_only_as_far_as_the_site_draws_any() -> None:
    """It has gone off since it was heard: the site draws 1 kW on its phase and 3 kW in all, so it cannot draw 4."""
    gone = Reservation(Phases.L1, 4000, seen_w=4000, seen_at=NOW - 2 * SECOND)
    given = room(EVEN, gone)
    assert (given.total_w, given.phases_w) == (13_950 - 1000, (4450 - 3000, 4450, 4450))


def test_what_the_inverters_and_other_makers_feed_is_drawn_as_well() -> None:
    sunny: dict[Field, float | None] = {**grid(-500, 0, 0), Field.INVERTER_AC: 2000, Field.THIRD_PARTY_PV: 700}
    sunny |= EVEN | {Field.INVERTER_AC_L1: 2000}
    heater = Reservation(Phases.L1, 3000, seen_w=3000, seen_at=NOW - 2 * SECOND)
    before = room(sunny)
    assert (before.total_w - room(sunny, heater).total_w, before.phases_w[0] - room(sunny, heater).phases_w[0]) == (
        3000 - 2200,
        3000 - 2200,
    )


@pytest.mark.parametrize("unknown", [{Field.INVERTER_AC: None}, {Field.INVERTER_AC: 0}], ids=["missing", "old"])
def test_own_watts_count_as_not_seen_where_nobody_tells_what_the_site_draws(
    unknown: dict[Field, float | None],
) -> None:
    seen = Reservation(Phases.L1, 2000, seen_w=2000, seen_at=NOW - 12 * SECOND)
    said = reading(unknown, inverter_ac_w=11)
    assert headroom(said, LIMITS, FREE, (seen,), PROVEN, NOW).total_w == 13_950 - 2000


@pytest.mark.parametrize("seen_at", [None, NOW, NOW - 47 * SECOND])
def test_own_watts_of_another_moment_than_the_meters_count_as_not_seen(seen_at: datetime | None) -> None:
    assert room(None, Reservation(Phases.L1, 2000, seen_w=1500, seen_at=seen_at)).total_w == 13_950 - 2000


@pytest.mark.parametrize("seen_w", [None, math.nan, -1, 4001, math.inf])
def test_own_watts_that_cannot_be_count_as_not_seen(seen_w: float | None) -> None:
    assert room(None, Reservation(Phases.L1, 2000, seen_w=seen_w, seen_at=NOW - 2 * SECOND)).total_w == 13_950 - 2000


@pytest.mark.parametrize(
    ("started_s", "watts"), [(None, 2000), (599, 2000), (600, 500)], ids=["not yet on", "heating", "rinsing"]
)
def test_a_plan_may_promise_less_after_its_first_minutes(started_s: float | None, watts: float) -> None:
    started = None if started_s is None else NOW - timedelta(seconds=started_s)
    assert promised_w(2000, started, NOW, reserve_w=500, reserve_after=timedelta(minutes=10)) == watts


@pytest.mark.parametrize("reserve_w", [3000, -1, math.nan])
def test_a_plans_promise_is_never_more_than_rated_nor_less_than_nothing(reserve_w: float) -> None:
    assert promised_w(2000, NOW - 3600 * SECOND, NOW, reserve_w=reserve_w, reserve_after=SECOND) == 2000


# -- whether one device fits


@pytest.mark.parametrize(
    ("watts", "phases", "fits"),
    [
        (450, Phases.L1, True),
        (451, Phases.L1, False),
        (7000, Phases.L2, True),
        (1350, Phases.ALL, True),
        (1400, Phases.ALL, False),
        (450, Phases.UNKNOWN, True),
        (500, Phases.UNKNOWN, False),
    ],
)
def test_a_load_has_to_fit_on_its_phases(watts: float, phases: Phases, fits: bool) -> None:
    assert can_carry(room(grid(5000, -2000, 0)), watts, phases).ok is fits


def test_a_load_has_to_fit_into_the_whole() -> None:
    answer = can_carry(room(policy=CAPPED, limits=replace(LIMITS, margin_w=5000)), 2001, Phases.ALL)
    assert (answer.ok, answer.no) == (False, No.TOO_LITTLE)


@pytest.mark.parametrize("watts", [0, -5, math.nan, math.inf])
def test_a_device_of_unknown_power_is_not_carried(watts: float) -> None:
    assert not can_carry(room(), watts, Phases.L1).ok


def test_a_refusal_is_passed_on() -> None:
    assert can_carry(room({Field.RUNNING: 0}), 1, Phases.L1).no is No.NOT_RUNNING


def test_devices_that_may_not_run_together_wait_for_each_other() -> None:
    policy = Policy(apart=(frozenset({"sauna", "dryer"}),))
    given = room(None, Reservation(Phases.L1, 100, device="dryer"), policy=policy)
    assert can_carry(given, 100, Phases.L2, "sauna").no is No.TOGETHER
    assert can_carry(given, 100, Phases.L2, "washer").ok and can_carry(given, 100, Phases.L2, "dryer").ok


def test_what_was_promised_with_an_answer_is_gone_from_the_next() -> None:
    left = room().less(3000, Phases.L1, "a").less(3000, Phases.ALL, "b")
    assert (left.total_w, left.phases_w, left.running) == (7950, (450, 3450, 3450), frozenset({"a", "b"}))
