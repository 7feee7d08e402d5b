"""The simulated plant: what flows where, under which sun, load and charge, and what its meter makes of it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest

from hygate.simulators.sigenergy.plant import Flows, Plant, PlantError, thirds


class Clock:
    def __init__(self) -> None:
        self.now = 1_780_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def plant(clock: Clock) -> Plant:
    return Plant(clock)


def balance(flows: Flows) -> int:
    """What feeds the house, less what it takes: nothing is left over in a plant without losses."""
    fed = flows.pv_w + flows.third_party_pv_w + flows.grid_import_w
    return fed - flows.battery_charge_w - flows.car_charge_w - flows.load_w


SITUATIONS: list[dict[str, Any]] = [
    {},
    {"pv_w": 0, "soc_pct": 80},
    {"pv_w": 9000, "load_w": [200, 200, 200], "soc_pct": 100},
    {"pv_w": 30000, "load_w": 0, "soc_pct": 100},
    {"pv_w": 0, "load_w": [9000, 100, 0], "soc_pct": 5},
    {"car_charge_w": -11000, "pv_w": 3000},
    {"car_charge_w": 7000, "pv_w": 3000, "soc_pct": 90},
    {"third_party_pv_w": 5000, "load_w": 700},
    {"on_grid": False, "soc_pct": 60, "load_w": [2000, 100, 0]},
    {"on_grid": False, "soc_pct": 100, "pv_w": 9000},
    {"running_state": 2, "load_w": 4000, "third_party_pv_w": 500},
    {"balanced": False, "pv_w": 6000, "load_w": [3000, 0, 100]},
    {"battery_charge_w": -3000, "soc_pct": 90},
    {"storm_watch": True, "pv_w": 0, "soc_pct": 80},
]


@pytest.mark.parametrize("situation", SITUATIONS)
def test_nothing_is_left_over(plant: Plant, situation: dict[str, Any]) -> None:
    plant.set(situation)
    assert balance(plant.truth()) == 0


@pytest.mark.parametrize("situation", SITUATIONS)
def test_phases_add_up_to_the_totals(plant: Plant, situation: dict[str, Any]) -> None:
    flows = plant.set(situation)
    assert sum(flows.grid_import_by_phase) == flows.grid_import_w
    assert sum(flows.inverter_ac_by_phase) == flows.inverter_ac_w
    assert flows.load_l1_w + flows.load_l2_w + flows.load_l3_w == flows.load_w


def test_the_seeds_row_is_import(plant: Plant) -> None:
    flows = plant.set({"pv_w": 2800, "battery_charge_w": 0, "load_w": 11340, "soc_pct": 15})
    assert (flows.pv_w, flows.load_w, flows.battery_charge_w, flows.grid_import_w) == (2800, 11340, 0, 8540)


def test_surplus_charges_the_battery_first_and_is_sold_when_it_is_full(plant: Plant) -> None:
    plant.set({"pv_w": 5000, "load_w": 1000, "soc_pct": 50})
    assert (plant.flows().battery_charge_w, plant.flows().grid_import_w) == (4000, 0)
    plant.set({"soc_pct": 100})
    assert (plant.flows().battery_charge_w, plant.flows().grid_import_w) == (0, -4000)


def test_battery_empties_with_the_clock_down_to_its_reserve(plant: Plant, clock: Clock) -> None:
    plant.set({"pv_w": 0, "load_w": 3200, "soc_pct": 50, "capacity_wh": 16_000, "backup_soc_pct": 10})
    clock.now += 3600
    assert plant.flows().soc_pct == pytest.approx(30, abs=0.1)
    clock.now += 2 * 3600
    assert plant.flows().soc_pct == pytest.approx(10, abs=0.4)
    assert plant.flows().grid_import_w == 3200


def test_export_stops_at_its_limit(plant: Plant) -> None:
    flows = plant.set({"pv_w": 11000, "load_w": 0, "soc_pct": 100, "grid_export_limit_w": 5000})
    assert (flows.grid_import_w, flows.pv_w) == (-5000, 5000)


def test_a_storm_keeps_the_battery_from_helping(plant: Plant) -> None:
    flows = plant.set({"storm_watch": True, "pv_w": 0, "load_w": 3000, "soc_pct": 80})
    assert (flows.grid_import_w, flows.battery_charge_w, flows.storm_watch) == (3000, 0, 1)


def test_off_grid_the_inverter_carries_the_house_alone(plant: Plant) -> None:
    flows = plant.set({"on_grid": False, "pv_w": 0, "load_w": [4000, 0, 0], "soc_pct": 60})
    assert flows.inverter_ac_by_phase == (4000, 0, 0)
    assert (flows.grid_import_w, flows.on_grid) == (0, 0)


def test_off_grid_more_load_than_the_inverter_carries_makes_it_dark(plant: Plant) -> None:
    flows = plant.set({"on_grid": False, "load_w": 13_000, "soc_pct": 90})
    assert (flows.load_w, flows.inverter_ac_w) == (0, 0)


def test_a_fault_leaves_the_house_to_the_grid(plant: Plant) -> None:
    flows = plant.set({"running_state": 2, "pv_w": 5000, "load_w": 900})
    assert (flows.running, flows.inverter_ac_w, flows.pv_w, flows.grid_import_w) == (0, 0, 0, 900)


def test_a_named_load_adds_to_its_phase(plant: Plant) -> None:
    plant.set({"load_w": [100, 100, 100], "pv_w": 0, "battery_charge_w": 0})
    plant.add_load("sauna", 6000, phase=2)
    assert plant.flows().load_l2_w == 100
    plant.set_load("sauna", True)
    assert plant.flows().load_l2_w == 6100
    assert plant.flows().grid_import_l2_w == 6100
    plant.set_load("sauna", False)
    assert plant.flows().load_l2_w == 100


def test_a_three_phase_load_is_shared(plant: Plant) -> None:
    plant.set({"load_w": 0, "pv_w": 0, "battery_charge_w": 0, "loads": {"car": {"watts": 11000, "on": True}}})
    assert plant.flows().grid_import_by_phase == thirds(11000)


# -- what the meter makes of it


def test_a_flipped_meter_tells_import_as_export_on_every_phase(plant: Plant) -> None:
    true = plant.set({"pv_w": 0, "battery_charge_w": 0, "load_w": [100, 200, 300]})
    told = plant.set({"flip_sign": True})
    assert told.grid_import_by_phase == (-100, -200, -300)
    assert (told.grid_import_w, told.load_w) == (-600, true.load_w)
    assert plant.truth().grid_import_w == 600


def test_a_load_that_follows_the_flipped_meter_is_wrong_with_it(plant: Plant) -> None:
    plant.set({"pv_w": 0, "battery_charge_w": 0, "load_w": 600, "flip_sign": True, "load_follows_meter": True})
    assert plant.flows().load_w == -600


def test_frozen_values_stand_still_while_the_plant_goes_on(plant: Plant, clock: Clock) -> None:
    before = plant.flows()
    plant.set({"freeze": True})
    clock.now += 60
    plant.set({"load_w": 9000})
    assert plant.flows() == before
    assert plant.truth().load_w == 9000
    plant.set({"freeze": False})
    assert plant.flows().load_w == 9000


def test_without_a_sensor_the_grid_reads_nothing(plant: Plant) -> None:
    flows = plant.set({"sensor": False, "pv_w": 0, "load_w": 900})
    assert (flows.grid_sensor_ok, flows.grid_import_w) == (0, 0)


# -- knobs


@pytest.mark.parametrize(
    "wanted",
    [
        {"sun": 1},
        {"pv_w": -1},
        {"pv_w": "much"},
        {"pv_w": float("nan")},
        {"soc_pct": 101},
        {"on_grid": 1},
        {"running_state": 5},
        {"firmware": "V3.0"},
        {"load_w": [1, 2]},
        {"loads": {"sauna": True}},
        {"loads": {"sauna": {"watts": 100, "phase": 4}}},
        {"capacity_wh": 0},
    ],
)
def test_a_wrong_knob_is_refused_and_nothing_is_turned(plant: Plant, wanted: dict[str, Any]) -> None:
    before = asdict(plant.knobs)
    with pytest.raises(PlantError):
        plant.set({"third_party_pv_w": 4000, **wanted})
    assert asdict(plant.knobs) == before
