"""What makes the headroom rule say no, and the limits that cannot be made."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from devices.energy.reading import PHASES, Field
from devices.energy.rule import (
    CloudData,
    Limits,
    No,
    Phases,
    Reservation,
    headroom,
)
from devices.energy.terms import CAUTIONS
from tests.devices.energy.quiet_site import CAPPED, FREE, LIMITS, NOW, PROVEN, SECOND, Verdict, reading, room

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
