"""The headroom rule: its cases one by one, and what must hold for every reading that anybody can think of."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.energy.reading import INVERTER_PHASES, PHASES, Field, Measured, Reading
from devices.energy.rule import (
    CloudData,
    Headroom,
    Limits,
    No,
    Phases,
    Policy,
    Reservation,
    Supply,
    Window,
    can_carry,
    headroom,
    most_generous,
    overload,
    promised_w,
    surplus_w,
)
from devices.energy.terms import CAUTIONS

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)


@dataclass(frozen=True)
class Verdict:
    admits: bool = True
    sentence: str = "Positive is import."


PROVEN = Verdict()
# A site that draws 3 kW evenly, its battery at rest, able to give 6 kW through inverters of 10 kW.
QUIET: dict[Field, float] = {
    Field.GRID_IMPORT: 3000,
    Field.GRID_IMPORT_L1: 1000,
    Field.GRID_IMPORT_L2: 1000,
    Field.GRID_IMPORT_L3: 1000,
    Field.BATTERY_CHARGE: 0,
    Field.PV: 0,
    Field.INVERTER_AC: 0,
    Field.SOC: 60,
    Field.ON_GRID: 1,
    Field.RUNNING: 1,
    Field.GRID_SENSOR_OK: 1,
    Field.METERS_LOST: 0,
    Field.STORM_WATCH: 0,
    Field.EMS_MODE: 0,
    Field.GRID_IMPORT_LIMIT: 20_000,
    Field.INVERTER_AVAILABLE: 10_000,
    Field.BATTERY_MAX_DISCHARGE: 36_007,
    Field.BATTERY_DISCHARGE_LIMIT: 6000,
    Field.BACKUP_SOC: 20,
    Field.DISCHARGE_CUT_OFF_SOC: 5,
}
LIMITS = Limits(grid_import_w=17_250, fuse_w=(5750, 5750, 5750), margin_w=300, reserve_soc_pct=10)
FREE = Policy()
CAPPED = Policy(Supply.CAPPED, import_cap_w=4000, battery_may_help=True)
SUN = Policy(Supply.SURPLUS, yielding_modes=frozenset({0}))
OUTAGE: dict[Field, float] = {Field.ON_GRID: 0, Field.INVERTER_AC: 2000}


def reading(changes: Mapping[Field, float | None] | None = None, *, age_s: float = 1, **ages_s: float) -> Reading:
    """QUIET with changes (None = absent), all ``age_s`` old, single fields as old as named."""
    values = {**QUIET, **(changes or {})}
    return Reading(
        {
            name: Measured(value, NOW - timedelta(seconds=ages_s.get(name.value, age_s)))
            for name, value in values.items()
            if value is not None
        }
    )


def grid(l1: float, l2: float, l3: float) -> dict[Field, float | None]:
    return {Field.GRID_IMPORT: l1 + l2 + l3, **dict(zip(PHASES, (l1, l2, l3), strict=True))}


def room(
    changes: Mapping[Field, float | None] | None = None,
    *reservations: Reservation,
    limits: Limits = LIMITS,
    policy: Policy = FREE,
    **more: Any,
) -> Headroom:
    return headroom(reading(changes), limits, policy, reservations, PROVEN, NOW, **more)


# -- (a) the grid


def test_the_grid_gives_its_limit_less_import_and_margin() -> None:
    assert (room().total_w, room().phases_w) == (17_250 - 3000 - 300, (4450, 4450, 4450))


def test_the_plants_own_import_limit_holds_where_it_is_lower() -> None:
    assert room({Field.GRID_IMPORT_LIMIT: 9000}).total_w == 9000 - 3000 - 300


def test_export_adds_to_what_can_be_given() -> None:
    assert room(grid(-1000, -1000, -1000)).total_w == 17_250 + 3000 - 300


def test_each_phase_is_signed_on_its_own() -> None:
    assert room(grid(5000, -2000, 0)).phases_w == (450, 7450, 5450)


def test_without_fuses_each_phase_has_an_equal_share_of_the_limit() -> None:
    assert room(limits=replace(LIMITS, fuse_w=())).phases_w == (4450, 4450, 4450)


def test_a_site_on_one_phase_needs_no_other() -> None:
    single = replace(LIMITS, phases=1, fuse_w=(), grid_import_w=5750)
    assert room(dict.fromkeys(PHASES), limits=single).phases_w == (5750 - 3000 - 300,)


def test_a_site_without_an_import_limit_gives_nothing() -> None:
    told = replace(LIMITS, grid_import_w=None, told=CAUTIONS - {Field.GRID_IMPORT_LIMIT})
    assert room({Field.GRID_IMPORT_LIMIT: None}, limits=told).no is No.NOT_CONFIGURED


# -- (b) a cap on import


def test_a_cap_leaves_what_the_battery_may_add_and_the_inverters_can_pass() -> None:
    assert room(policy=CAPPED).total_w == 4000 - 3000 + 6000 - 300


def test_present_discharge_is_no_longer_free() -> None:
    assert room({Field.BATTERY_CHARGE: -2500, Field.INVERTER_AC: 2500}, policy=CAPPED).total_w == 1000 + 3500 - 300


def test_the_inverters_free_power_caps_the_batterys() -> None:
    """TypQxQ's plant: the battery says 36 kW, the inverters can pass far less."""
    changes = {Field.BATTERY_DISCHARGE_LIMIT: 24_000.0, Field.INVERTER_AC: 8000.0}
    assert room(changes, policy=CAPPED).total_w == 1000 + 2000 - 300


@pytest.mark.parametrize(
    "changes",
    [
        {Field.SOC: 20},
        {Field.SOC: 5},
        {Field.BACKUP_SOC: 60},
        {Field.DISCHARGE_CUT_OFF_SOC: 70},
        {Field.STORM_WATCH: 1},
    ],
)
def test_a_battery_at_its_reserve_or_kept_full_adds_nothing(changes: dict[Field, float | None]) -> None:
    assert room(changes, policy=CAPPED).total_w == 1000 - 300


def test_a_battery_that_may_not_help_is_not_counted_as_sun_either() -> None:
    alone = replace(CAPPED, battery_may_help=False)
    assert room({Field.BATTERY_CHARGE: -600, Field.INVERTER_AC: 600}, policy=alone).total_w == 1000 - 600 - 300


def test_charging_power_counts_only_in_modes_known_to_yield_it() -> None:
    charging = {**grid(-100, -100, -100), Field.BATTERY_CHARGE: 3000}
    assert room(charging, policy=SUN).total_w == 300 + 3000 - 300
    assert room({**charging, Field.EMS_MODE: 5}, policy=SUN).total_w == 0


def test_the_grids_limit_holds_below_a_generous_cap() -> None:
    assert room(policy=replace(CAPPED, import_cap_w=50_000)).total_w == room().total_w


def test_a_site_without_a_battery_needs_no_word_of_one() -> None:
    absent = dict.fromkeys((Field.SOC, Field.BATTERY_CHARGE, Field.BACKUP_SOC))
    assert room(absent, limits=replace(LIMITS, has_battery=False), policy=CAPPED).total_w == 1000 - 300


NO_BATTERY_TOLD = dict.fromkeys((Field.SOC, Field.BATTERY_CHARGE, Field.BATTERY_MAX_DISCHARGE, Field.BACKUP_SOC))


@pytest.mark.parametrize(
    "policy", [CAPPED, SUN, Policy(min_soc_pct=30), Policy(min_surplus_w=500)], ids=["cap", "sun", "charge", "surplus"]
)
def test_a_policy_that_counts_on_the_battery_says_no_where_none_is_told_of(policy: Policy) -> None:
    given = room(NO_BATTERY_TOLD, policy=policy)
    assert (given.total_w, given.no) == (0, No.MISSING)
    assert "needs to know the battery, and the energy source tells of none" in given.sentence


@pytest.mark.parametrize(
    ("policy", "total_w", "no"),
    [
        (CAPPED, 4000 + 2000 - 300, None),
        (SUN, 2000 - 300, None),
        (Policy(min_soc_pct=30), 0, No.LOW_BATTERY),
    ],
)
def test_a_battery_told_as_empty_adds_nothing(policy: Policy, total_w: int, no: No | None) -> None:
    """As a plant without one tells it: 0 % and 0 W."""
    exporting = grid(-500, -500, -1000) | {Field.SOC: 0, Field.BATTERY_CHARGE: 0}
    given = room(exporting, policy=policy)
    assert (given.total_w, given.no) == (total_w, no)


def test_a_site_on_the_grids_limit_needs_no_word_of_a_battery() -> None:
    assert room(NO_BATTERY_TOLD).no is None


# -- (c) off the grid


def test_off_the_grid_only_the_inverters_free_power_counts() -> None:
    assert room(OUTAGE).total_w == 10_000 - 2000 - 300


def test_off_the_grid_each_phase_has_a_third_and_may_carry_all_of_the_load() -> None:
    assert room(OUTAGE).phases_w == tuple([math.floor(10_000 / 3 - 2000 - 300)] * 3)


def test_off_the_grid_the_reserve_is_kept() -> None:
    assert room({**OUTAGE, Field.SOC: 20}).no is No.LOW_BATTERY


def test_off_the_grid_inverters_that_say_nothing_give_nothing() -> None:
    limits = replace(LIMITS, inverter_w=10_000, told=frozenset())
    assert room({**OUTAGE, Field.INVERTER_AVAILABLE: None}, limits=limits).no is No.MISSING


@pytest.mark.parametrize(("running", "no"), [(1, None), (0, No.NOT_RUNNING), (None, None)])
def test_a_fault_that_is_told_holds_without_any_grid_too(running: float | None, no: No | None) -> None:
    limits = replace(LIMITS, inverter_w=4000, stand_alone=True, phases=1, fuse_w=())
    assert room({**OUTAGE, Field.RUNNING: running}, limits=limits).no is no


def test_the_sign_of_a_grid_that_is_not_there_does_not_matter() -> None:
    assert headroom(reading(OUTAGE), LIMITS, FREE, (), Verdict(False), NOW).no is None


def test_a_site_without_any_grid_goes_by_its_inverters_and_battery() -> None:
    """What Renogy tells: battery, sun and the inverter's output, nothing else."""
    told: dict[Field, float | None] = {Field.SOC: 77, Field.PV: 640, Field.INVERTER_AC: 180, Field.BATTERY_CHARGE: 430}
    limits = Limits(inverter_w=2000, phases=1, stand_alone=True, told=frozenset(), margin_w=100, cloud=CloudData(50))
    alone = Reading({name: Measured(value, NOW - SECOND) for name, value in told.items() if value is not None})
    given = headroom(alone, limits, FREE, (), Verdict(False), NOW, cloud_only=True)
    assert given.total_w == 2000 - 180 - 150
    only_sun = headroom(alone, limits, Policy(Supply.SURPLUS), (), Verdict(False), NOW, cloud_only=True)
    assert only_sun.total_w == 640 - 180 - 150


# -- what makes it say no


@pytest.mark.parametrize("name", [*PHASES, Field.GRID_IMPORT, Field.ON_GRID, Field.RUNNING, *CAUTIONS])
def test_each_missing_field_is_a_no(name: Field) -> None:
    assert room({name: None}, policy=CAPPED).no is No.MISSING


@pytest.mark.parametrize("name", [*PHASES, Field.GRID_IMPORT, Field.ON_GRID, Field.RUNNING, *CAUTIONS])
def test_each_stale_field_is_a_no(name: Field) -> None:
    old = reading(None, **{name.value: 91.0})
    assert headroom(old, LIMITS, CAPPED, (), PROVEN, NOW).no is No.STALE


@pytest.mark.parametrize("name", sorted(CAUTIONS))
def test_a_caution_that_was_told_once_and_grew_old_is_a_no_though_nobody_expected_it(name: Field) -> None:
    old, limits = reading(None, **{name.value: 91.0}), replace(LIMITS, told=frozenset())
    assert headroom(old, limits, CAPPED, (), PROVEN, NOW).no is No.STALE


def test_a_flow_is_stale_when_a_state_is_not_yet() -> None:
    assert headroom(reading(None, age_s=10.5), LIMITS, FREE, (), PROVEN, NOW).no is No.STALE
    assert headroom(reading(None, meters_lost=60), LIMITS, FREE, (), PROVEN, NOW).no is None


def test_a_reading_from_the_future_is_a_no() -> None:
    assert headroom(reading(None, grid_import_w=-5), LIMITS, FREE, (), PROVEN, NOW).no is No.FUTURE


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (Field.GRID_IMPORT, math.nan),
        (Field.GRID_IMPORT, math.inf),
        (Field.GRID_IMPORT, -1e9),
        (Field.GRID_IMPORT_L2, 1e9),
        (Field.SOC, -5),
        (Field.SOC, 101),
        (Field.INVERTER_AVAILABLE, -1),
        (Field.ON_GRID, 2),
        (Field.CAR_CHARGE, math.nan),
        (Field.LOAD, "3000"),
        (Field.PV, 10**400),
        (Field.ON_GRID, True),
    ],
)
def test_an_impossible_value_is_a_no_even_where_it_is_not_needed(name: Field, value: Any) -> None:
    assert room({name: value}).no is No.IMPLAUSIBLE


def test_phases_that_do_not_add_up_are_a_no() -> None:
    assert room({Field.GRID_IMPORT_L1: -2000}).no is No.IMPLAUSIBLE


@pytest.mark.parametrize(
    ("changes", "no"),
    [
        ({Field.RUNNING: 0}, No.NOT_RUNNING),
        ({Field.GRID_SENSOR_OK: 0}, No.NO_GRID_SENSOR),
        ({Field.METERS_LOST: 2}, No.METER_LOST),
    ],
)
def test_what_the_plant_says_against_itself_is_a_no(changes: dict[Field, float | None], no: No) -> None:
    assert room(changes).no is no


def test_a_sign_that_is_not_proven_is_a_no_in_its_own_words() -> None:
    given = headroom(reading(), LIMITS, FREE, (), Verdict(False, "Flipped."), NOW)
    assert (given.no, given.sentence, given.total_w) == (No.SIGN, "Flipped.", 0)


def test_a_cloud_shows_and_does_not_admit() -> None:
    assert room(cloud_only=True).no is No.SHOWS_ONLY


def test_a_cloud_admits_with_a_wider_margin_where_the_administrator_says_so() -> None:
    limits = replace(LIMITS, cloud=CloudData(extra_margin_w=2000))
    given = headroom(reading(None, age_s=400), limits, FREE, (), PROVEN, NOW, cloud_only=True)
    assert given.total_w == 17_250 - 3000 - 300 - 2000


@pytest.mark.parametrize("watts", [math.nan, -1, math.inf, 1e9])
def test_a_promise_that_makes_no_sense_is_a_no(watts: float) -> None:
    assert room(None, Reservation(Phases.L1, watts)).no is No.IMPLAUSIBLE


# -- the policy


def test_outside_its_window_a_site_sells_no_high_power() -> None:
    night = Policy(windows=(Window(time(22), time(6)),), zone=ZoneInfo("Europe/Vienna"))
    assert room(policy=night).no is No.OUTSIDE_WINDOW


@pytest.mark.parametrize(
    ("hour", "weekday", "holds"), [(23, 4, True), (5, 5, True), (6, 5, False), (21, 4, False), (23, 5, False)]
)
def test_a_window_over_midnight_belongs_to_the_day_it_begins(hour: int, weekday: int, holds: bool) -> None:
    friday_night = Window(time(22), time(6), frozenset({4}))
    assert friday_night.holds(datetime(2026, 11, 16 + weekday, hour)) is holds  # noqa: DTZ001 - local time of a site


def test_a_battery_below_the_policys_threshold_is_a_no() -> None:
    assert room(policy=Policy(min_soc_pct=61)).no is No.LOW_BATTERY
    assert room(policy=Policy(min_soc_pct=60)).no is None


@pytest.mark.parametrize(("lasted_s", "no"), [(None, No.LITTLE_SURPLUS), (59, No.LITTLE_SURPLUS), (60, None)])
def test_a_surplus_has_to_have_lasted(lasted_s: float | None, no: No | None) -> None:
    since = None if lasted_s is None else NOW - timedelta(seconds=lasted_s)
    policy = Policy(min_surplus_w=2000)
    assert room(grid(-700, -700, -700), policy=policy, surplus_since=since).no is no


def test_a_surplus_that_comes_out_of_the_battery_is_none() -> None:
    assert surplus_w(reading({**grid(-700, -700, -700), Field.BATTERY_CHARGE: -2100}), LIMITS, FREE) == 0


def test_the_most_generous_of_several_policies_holds() -> None:
    night = room(policy=Policy(windows=(Window(time(0), time(1)),)))
    assert most_generous([night, room(policy=CAPPED)]) == room(policy=CAPPED)
    assert most_generous([night]).no is No.OUTSIDE_WINDOW
    assert most_generous([]).no is No.NOT_CONFIGURED


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


# -- overload


def lack(changes: Mapping[Field, float | None], policy: Policy = FREE, limits: Limits = LIMITS) -> Any:
    return overload(reading(changes), limits, policy, PROVEN, NOW)


def test_nothing_is_shed_between_the_two_thresholds() -> None:
    """5,600 W on L1 leave no headroom, and are no trouble either."""
    crowded = grid(5600, 0, 0)
    assert room(crowded).phases_w[0] == 0 and not lack(crowded).is_trouble


def test_a_crossed_fuse_has_to_lose_what_is_over_it() -> None:
    over = lack(grid(6000, 1000, 1000))
    assert (over.total_w, over.phases_w, over.flow_w) == (0, (250, 0, 0), 8000)


def test_a_crossed_limit_has_to_lose_what_is_over_it() -> None:
    assert lack(grid(5000, 5000, 5000), limits=replace(LIMITS, grid_import_w=14_000)).total_w == 1000


def test_a_cap_is_crossed_only_by_more_than_its_slack() -> None:
    sun = Policy(Supply.SURPLUS, shed_slack_w=300)
    assert not lack(grid(100, 100, 100), sun).is_trouble
    assert lack(grid(200, 200, 200), sun).total_w == 300


def test_off_the_grid_the_inverters_are_what_can_be_overloaded() -> None:
    over = lack({Field.ON_GRID: 0, Field.INVERTER_AC: 11_000})
    assert (over.total_w, over.flow_w) == (1000, 11_000)


def test_off_the_grid_a_load_above_one_phases_share_is_no_trouble() -> None:
    assert not lack({Field.ON_GRID: 0, Field.INVERTER_AC: 6000}).is_trouble


@pytest.mark.parametrize("name", [Field.GRID_IMPORT, Field.GRID_IMPORT_L2, Field.RUNNING])
def test_overload_is_blind_without_a_reading_to_trust(name: Field) -> None:
    over = lack({**grid(9000, 9000, 9000), name: None})
    assert over.blind and not over.is_trouble and over.sentence


# -- limits that make no sense


@pytest.mark.parametrize(
    "wrong",
    [
        {"grid_import_w": -1},
        {"grid_import_w": math.nan},
        {"fuse_w": (5750.0,)},
        {"phases": 2},
        {"margin_w": -1},
        {"margin_w": 100, "shed_margin_w": 200},
        {"reserve_soc_pct": 101},
        {"max_age": -SECOND},
        {"told": frozenset({Field.PV})},
    ],
)
def test_limits_that_make_no_sense_cannot_be_made(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        Limits(**wrong)


# -- for every reading


sixty = settings(max_examples=60)
POLICIES = (
    FREE,
    CAPPED,
    SUN,
    Policy(Supply.SURPLUS, battery_may_help=True, yielding_modes=frozenset({0})),
    Policy(Supply.CAPPED, import_cap_w=2000),
    Policy(min_soc_pct=30),
)
watts = st.integers(-20_000, 8000)
powers = st.integers(0, 30_000)
flags = st.sampled_from((1, 1, 1, 1, 1, 1, 1, 0))
percents = st.integers(0, 100)
reservations = st.lists(
    st.builds(
        Reservation,
        st.sampled_from(Phases),
        st.integers(0, 4000),
        st.none() | st.floats(-100, 5000),
        st.none() | st.sampled_from([NOW - 60 * SECOND, NOW - 5 * SECOND, NOW - SECOND, NOW]),
    ),
    max_size=6,
)


@st.composite
def readings(draw: st.DrawFn) -> dict[Field, float | None]:
    """What a whole, possible, fresh plant can say; its phases add up, or nearly."""
    each = draw(st.tuples(watts, watts, watts))
    off = draw(st.integers(-400, 400))
    return {
        **grid(*each),
        Field.GRID_IMPORT: sum(each) + off,
        Field.BATTERY_CHARGE: draw(watts),
        Field.PV: draw(powers),
        Field.INVERTER_AC: draw(watts),
        **dict(zip(INVERTER_PHASES, draw(st.tuples(watts, watts, watts)), strict=True)),
        Field.THIRD_PARTY_PV: draw(st.none() | powers),
        Field.SOC: draw(percents),
        Field.ON_GRID: draw(flags),
        Field.RUNNING: draw(flags),
        Field.GRID_SENSOR_OK: draw(flags),
        Field.METERS_LOST: draw(st.sampled_from((0, 0, 0, 0, 0, 0, 1))),
        Field.STORM_WATCH: draw(st.sampled_from((0, 0, 1))),
        Field.EMS_MODE: draw(st.sampled_from((0, 5))),
        Field.GRID_IMPORT_LIMIT: draw(st.integers(5000, 40_000)),
        Field.INVERTER_AVAILABLE: draw(powers),
        Field.BATTERY_MAX_DISCHARGE: draw(powers),
        Field.BATTERY_DISCHARGE_LIMIT: draw(powers),
        Field.BACKUP_SOC: draw(percents),
        Field.DISCHARGE_CUT_OFF_SOC: draw(percents),
    }


def least_unseen_w(reservation: Reservation) -> float:
    """The least that can be reserved: as if whatever is said to be seen had been in the meter."""
    seen = reservation.seen_w
    is_plausible = seen is not None and 0 <= seen <= 2 * reservation.watts
    return max(0.0, reservation.watts - (seen or 0)) if is_plausible else reservation.watts


def least_on(phase: Phases, promises: list[Reservation]) -> float:
    shares = {phase: 1.0, Phases.ALL: 1 / 3, Phases.UNKNOWN: 1.0}
    return sum(least_unseen_w(one) * shares.get(one.phases, 0.0) for one in promises)


def gives_no_more(less: Headroom, more: Headroom) -> bool:
    return less.total_w <= more.total_w and all(
        have <= before for have, before in zip(less.phases_w, more.phases_w or (0, 0, 0), strict=False)
    )


@sixty
@given(readings(), reservations, st.sampled_from(POLICIES))
def test_no_more_is_promised_than_meter_and_promises_leave(
    plant: dict[Field, float | None], promises: list[Reservation], policy: Policy
) -> None:
    given_ = room(plant, *promises, policy=policy)
    if given_.no is not None:
        assert given_.total_w == 0 and not given_.phases_w
    elif plant[Field.ON_GRID]:
        total = 17_250 - (plant[Field.GRID_IMPORT] or 0) - sum(map(least_unseen_w, promises)) - 300
        assert given_.total_w <= max(0, total)
        for watts_, field, phase in zip(given_.phases_w, PHASES, (Phases.L1, Phases.L2, Phases.L3), strict=True):
            assert watts_ <= max(0, 5750 - (plant[field] or 0) - least_on(phase, promises) - 300)
    else:
        free = (plant[Field.INVERTER_AVAILABLE] or 0) - (plant[Field.INVERTER_AC] or 0)
        assert given_.total_w <= max(0, free - sum(map(least_unseen_w, promises)) - 300)


@sixty
@given(readings(), reservations, st.sampled_from(POLICIES))
def test_what_devices_say_of_themselves_frees_no_more_than_the_site_draws(
    plant: dict[Field, float | None], promises: list[Reservation], policy: Policy
) -> None:
    given_ = room(plant, *promises, policy=policy)
    if given_.no is not None or not plant[Field.ON_GRID]:
        return
    load = (plant[Field.GRID_IMPORT] or 0) + (plant[Field.INVERTER_AC] or 0) + (plant[Field.THIRD_PARTY_PV] or 0)
    promised = sum(one.watts for one in promises) - max(0, load)
    assert given_.total_w <= max(0, 17_250 - (plant[Field.GRID_IMPORT] or 0) - max(0, promised) - 300)


@sixty
@given(readings(), reservations, st.sampled_from(POLICIES), st.sampled_from(sorted(Field)))
def test_a_missing_field_never_raises_it(
    plant: dict[Field, float | None], promises: list[Reservation], policy: Policy, name: Field
) -> None:
    assert gives_no_more(room({**plant, name: None}, *promises, policy=policy), room(plant, *promises, policy=policy))


@sixty
@given(readings(), reservations, st.sampled_from(POLICIES), st.sampled_from(sorted(Field)), st.floats(10, 1e6))
def test_an_older_field_never_raises_it(
    plant: dict[Field, float | None], promises: list[Reservation], policy: Policy, name: Field, age_s: float
) -> None:
    aged = headroom(reading(plant, **{name.value: age_s}), LIMITS, policy, promises, PROVEN, NOW)
    assert gives_no_more(aged, room(plant, *promises, policy=policy))


@sixty
@given(
    readings(),
    st.sampled_from(POLICIES),
    st.sampled_from(sorted(Field)),
    st.sampled_from((math.nan, math.inf, -math.inf, 1e30, -1e30, -1e9)),
)
def test_an_impossible_value_never_raises_it(
    plant: dict[Field, float | None], policy: Policy, name: Field, value: float
) -> None:
    assert room({**plant, name: value}, policy=policy).total_w == 0


@sixty
@given(readings(), reservations, st.sampled_from(POLICIES), powers, st.sampled_from(PHASES))
def test_more_import_never_raises_it(
    plant: dict[Field, float | None], promises: list[Reservation], policy: Policy, more: int, phase: Field
) -> None:
    heavier = {**plant, phase: (plant[phase] or 0) + more, Field.GRID_IMPORT: (plant[Field.GRID_IMPORT] or 0) + more}
    now_, before = room(heavier, *promises, policy=policy), room(plant, *promises, policy=policy)
    if (
        before.no is not No.IMPLAUSIBLE
    ):  # heavier flows are allowed to disagree by more: then there was no answer before
        assert gives_no_more(now_, before)


@sixty
@given(readings(), reservations, st.sampled_from(POLICIES), st.sampled_from(Phases), powers)
def test_one_more_promise_never_raises_it(
    plant: dict[Field, float | None], promises: list[Reservation], policy: Policy, phases: Phases, more: int
) -> None:
    promised = room(plant, *promises, Reservation(phases, more), policy=policy)
    assert gives_no_more(promised, room(plant, *promises, policy=policy))


@sixty
@given(readings(), reservations, st.sampled_from(POLICIES))
def test_a_sign_that_is_not_proven_never_raises_it(
    plant: dict[Field, float | None], promises: list[Reservation], policy: Policy
) -> None:
    unproven = headroom(reading(plant), LIMITS, policy, promises, Verdict(False), NOW)
    assert gives_no_more(unproven, room(plant, *promises, policy=policy))


@sixty
@given(readings(), reservations, st.sampled_from(Phases), st.integers(1, 8000))
def test_a_load_that_is_carried_leaves_no_overload_behind(
    plant: dict[Field, float | None], promises: list[Reservation], phases: Phases, load: int
) -> None:
    """Admission and shedding agree: what was just admitted is never what has to go."""
    free = room(plant, *promises)
    if phases is Phases.UNKNOWN or not can_carry(free, load, phases).ok or not plant[Field.ON_GRID]:
        return
    before = lack(plant)
    shares = {Phases.ALL: (load / 3,) * 3}.get(phases) or [load if p is phases else 0 for p in list(Phases)[:3]]
    each = [(plant[field] or 0) + share for field, share in zip(PHASES, shares, strict=True)]
    loaded = {**plant, **grid(*each), Field.GRID_IMPORT: (plant[Field.GRID_IMPORT] or 0) + load}
    assert lack(loaded).is_trouble == before.is_trouble
    assert lack(loaded).phases_w == before.phases_w
