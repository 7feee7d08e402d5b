"""What has to go when a site draws more than it may."""

from __future__ import annotations

from dataclasses import replace

import pytest

from devices.energy.reading import Field
from devices.energy.rule import (
    Policy,
    Supply,
)
from tests.devices.energy.quiet_site import LIMITS, grid, lack, room

# -- overload


def test_nothing_is_shed_between_the_two_thresholds() -> None:
    """5,600 W on L1 leave no headroom, and are no trouble either."""
    crowded = grid(5600, 0, 0)
    assert room(crowded).phases_w[0] == 0 and not lack(crowded).is_trouble


def test_a_crossed_fuse_has_to_lose_what_is_over_it() -> None:
    over = lack(grid(6000, 1000, 1000))
    assert (over.total_w, over.phases_w, over.flow_w) == (0, (250, 0, 0), 8000)


def test_a_crossed_limit_has_to_lose_what_is_over_it() -> None:
    assert lack(grid(5000, 5000, 5000), limits=replace(LIMITS, grid_import_w=14_000)).total_w == 1000


def test_what_is_wrong_is_said_of_the_whole_or_of_the_worst_phase() -> None:
    assert lack(grid(6000, 5800, 1000)).reason == "L1 is 250 W above what its fuse may carry."
    whole = lack(grid(5000, 5000, 5000), limits=replace(LIMITS, grid_import_w=14_000))
    assert whole.reason == "The site is 1000 W above what it may draw."
    assert not lack(grid(0, 0, 0)).reason


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
