"""The headroom rule, case by case: the grid, a cap on import, off the grid, and what a policy refuses."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from devices.energy.reading import PHASES, Field, Measured, Reading
from devices.energy.rule import (
    CloudData,
    Limits,
    No,
    Policy,
    Supply,
    Window,
    headroom,
    surplus_w,
)
from devices.energy.terms import CAUTIONS
from tests.devices.energy.quiet_site import CAPPED, FREE, LIMITS, NOW, OUTAGE, SECOND, SUN, Verdict, grid, reading, room

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
