"""The sign check: what proves that positive is import, what refuses it, and what proves nothing."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from devices.energy.balance import TOLERANCE_W, Proven, Refused, Unproven, Verdict, judge, tolerance_w, weigh
from devices.energy.reading import INVERTER_PHASES, PHASES, Field, Measured, Reading
from tests.captured import SIGENERGY, needs_sigenergy

NOON = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)


def reading(**watts: float) -> Reading:
    """A reading of one moment, by the fields' own names."""
    return Reading({Field(name): Measured(value, NOON) for name, value in watts.items()})


def by_phase(grid: tuple[int, int, int], inverter: tuple[int, int, int], **more: float) -> Reading:
    """Totals and phases that belong together."""
    phases = dict(zip((*PHASES, *INVERTER_PHASES), (*grid, *inverter), strict=True))
    return reading(grid_import_w=sum(grid), inverter_ac_w=sum(inverter), **phases, **more)


# -- the seed's row


def test_the_seeds_exporting_row_is_recognised_as_importing() -> None:
    verdict = judge(reading(pv_w=2800, battery_charge_w=0, grid_import_w=-8540, load_w=11340, soc_pct=15))
    assert isinstance(verdict, Refused)
    assert "fits only with the flipped sign" in verdict.sentence
    assert "the source says exporting 8540 W" in verdict.sentence
    assert "the site must be importing them" in verdict.sentence


def test_the_seeds_row_with_the_right_sign_is_proven() -> None:
    verdict = judge(reading(pv_w=2800, battery_charge_w=0, grid_import_w=8540, load_w=11340))
    assert isinstance(verdict, Proven)
    assert "Import of 8540 W is certain" in verdict.sentence


@needs_sigenergy
def test_the_seeds_row_as_it_was_printed_is_refused() -> None:
    row = json.loads((SIGENERGY / "seed_row_contradiction.json").read_text())["as_printed"]
    verdict = judge(
        reading(pv_w=row["pv_w"], battery_charge_w=row["battery_w"], grid_import_w=row["grid_w"], load_w=row["load_w"])
    )
    assert isinstance(verdict, Refused)


# -- what flows in the vendor's own sample: PV 1740 and discharge 2464 give 4207, the grid reads −4151


VENDOR_GRID, VENDOR_INVERTER = (-2090, -2094, 33), (2103, 2104, 0)


def test_totals_of_the_vendors_sample_prove_nothing() -> None:
    verdict = judge(reading(pv_w=1740, battery_charge_w=-2464, grid_import_w=-4151, inverter_ac_w=4207))
    assert isinstance(verdict, Unproven)
    assert "possible under either sign" in verdict.sentence


def test_phase_c_decides_the_vendors_sample() -> None:
    verdict = judge(by_phase(VENDOR_GRID, VENDOR_INVERTER, pv_w=1740, battery_charge_w=-2464))
    assert isinstance(verdict, Proven)
    assert "Phase L3 decides" in verdict.sentence
    assert "import of 33 W" in verdict.sentence


def test_the_vendors_sample_turned_round_is_not_proven() -> None:
    grid = (2090, 2094, -33)
    assert not isinstance(judge(by_phase(grid, VENDOR_INVERTER, pv_w=1740, battery_charge_w=-2464)), Proven)


def test_a_phase_within_the_deadband_decides_nothing() -> None:
    assert isinstance(judge(by_phase((-2090, -2094, 9), VENDOR_INVERTER)), Unproven)


# -- a car that discharges


@needs_sigenergy
def test_the_plant_whose_car_feeds_the_house_is_neither_refused_nor_proven() -> None:
    rows = json.loads((SIGENERGY / "modbus_plant_dump__v2g-evening.json").read_text())["input"]

    def watts(register: str) -> int:
        kilowatts: float = rows[register]["value"]
        return round(kilowatts * 1000)

    verdict = judge(
        reading(
            grid_import_w=watts("30005"),
            inverter_ac_w=watts("30031"),
            pv_w=watts("30035"),
            battery_charge_w=watts("30037"),
        )
    )
    assert isinstance(verdict, Unproven)
    assert "too little" in verdict.sentence


@needs_sigenergy
def test_export_from_a_car_that_is_not_in_the_reading_is_no_flipped_sign() -> None:
    rows = json.loads((SIGENERGY / "modbus_evdc_discharge_rows.json").read_text())["rows"]
    for pv, _, export, battery, _ in rows:
        flows = {
            "pv_w": round(pv * 1000),
            "battery_charge_w": round(battery * 1000),
            "grid_import_w": -round(export * 1000),
        }
        unseen = judge(reading(**flows))
        assert isinstance(unseen, Unproven)
        assert "car" in unseen.sentence
        assert not isinstance(judge(reading(**flows, car_charge_w=-12500)), Refused)


def test_export_of_the_cars_power_fits_the_inverters_output() -> None:
    flows = reading(pv_w=6049, battery_charge_w=-4317, inverter_ac_w=22866, grid_import_w=-16026, load_w=6840)
    assert isinstance(judge(flows), Unproven)
    assert isinstance(judge(flows, load_has_own_meter=True), Proven)


# -- independence


def test_a_load_from_the_same_meter_proves_no_export() -> None:
    flows = reading(pv_w=8000, battery_charge_w=0, inverter_ac_w=8000, grid_import_w=-7000, load_w=1000)
    assert isinstance(judge(flows), Unproven)


def test_a_load_with_a_meter_of_its_own_proves_export() -> None:
    flows = reading(pv_w=8000, battery_charge_w=0, inverter_ac_w=8000, grid_import_w=-7000, load_w=1000)
    verdict = judge(flows, load_has_own_meter=True)
    assert isinstance(verdict, Proven)
    assert "meter of its own" in verdict.sentence


def test_a_flipped_meter_whose_plant_computes_its_load_from_it_is_not_proven() -> None:
    """True: 7000 W exported, 1000 W of load. The plant believes its meter and tells 15000 W of load."""
    flows = reading(pv_w=8000, battery_charge_w=0, inverter_ac_w=8000, grid_import_w=7000, load_w=15000)
    assert isinstance(judge(flows), Unproven)


def test_a_negative_load_is_refused() -> None:
    """True: 8540 W imported beside 2800 W of PV. The plant believes its meter and tells −5740 W of load."""
    flows = reading(pv_w=2800, battery_charge_w=0, inverter_ac_w=2800, grid_import_w=-8540, load_w=-5740)
    assert isinstance(judge(flows), Refused)


def test_inverter_and_import_alone_prove_the_sign() -> None:
    assert isinstance(judge(reading(inverter_ac_w=500, grid_import_w=4000)), Proven)


def test_more_export_than_generation_is_refused_without_any_load() -> None:
    assert isinstance(judge(reading(inverter_ac_w=500, grid_import_w=-4000)), Refused)


def test_other_makers_pv_counts_as_generation() -> None:
    flows = {"inverter_ac_w": 500, "grid_import_w": -4000}
    assert isinstance(judge(reading(**flows, third_party_pv_w=5000)), Unproven)


def test_charging_from_the_grid_proves_the_sign() -> None:
    assert isinstance(judge(reading(inverter_ac_w=-5000, grid_import_w=6000)), Proven)
    assert isinstance(judge(reading(inverter_ac_w=-5000, grid_import_w=-6000)), Refused)


def test_a_balance_that_fits_neither_sign_is_unproven() -> None:
    verdict = judge(reading(pv_w=3000, battery_charge_w=0, grid_import_w=-2000, load_w=9000))
    assert isinstance(verdict, Unproven)
    assert "fits neither sign" in verdict.sentence


# -- phases


def test_phases_that_do_not_add_up_are_refused() -> None:
    flows = reading(grid_import_w=4000, grid_import_l1_w=1000, grid_import_l2_w=1000, grid_import_l3_w=0)
    verdict = judge(flows)
    assert isinstance(verdict, Refused)
    assert "add up to 2000 W, but the total says 4000 W" in verdict.sentence


def test_phases_of_the_opposite_sign_are_refused() -> None:
    flows = reading(grid_import_w=3000, grid_import_l1_w=-1000, grid_import_l2_w=-1000, grid_import_l3_w=-1000)
    verdict = judge(flows)
    assert isinstance(verdict, Refused)
    assert "opposite signs" in verdict.sentence


def test_one_missing_phase_is_no_contradiction() -> None:
    flows = reading(grid_import_w=4000, grid_import_l2_w=1000, grid_import_l3_w=500, inverter_ac_w=0)
    assert isinstance(judge(flows), Proven)


def test_one_turned_current_sensor_is_refused_by_its_phase() -> None:
    verdict = judge(by_phase((2000, -1500, 2000), (100, 100, 100)))
    assert isinstance(verdict, Refused)
    assert "phase L2" in verdict.sentence


# -- moments that cannot tell


def test_a_quiet_night_proves_nothing() -> None:
    verdict = judge(reading(pv_w=0, battery_charge_w=-250, inverter_ac_w=240, grid_import_w=12, load_w=250))
    assert isinstance(verdict, Unproven)
    assert "too little" in verdict.sentence


@pytest.mark.parametrize(
    ("state", "word"),
    [({"grid_sensor_ok": 0}, "no grid sensor"), ({"meters_lost": 2}, "lost a meter"), ({"on_grid": 0}, "off the grid")],
)
def test_a_grid_number_without_meaning_is_unproven(state: dict[str, Any], word: str) -> None:
    verdict = judge(reading(inverter_ac_w=0, grid_import_w=5000, **state))
    assert isinstance(verdict, Unproven)
    assert word in verdict.sentence


def test_a_reading_without_grid_power_is_unproven() -> None:
    assert isinstance(judge(reading(pv_w=2800)), Unproven)


def test_numbers_of_another_moment_are_not_weighed() -> None:
    fresh = reading(inverter_ac_w=500, grid_import_w=4000)
    stale = fresh.merged({Field.INVERTER_AC: Measured(500, NOON - timedelta(seconds=3))})
    assert isinstance(judge(fresh), Proven)
    assert isinstance(judge(stale), Unproven)


# -- tolerance


def test_tolerance_is_the_larger_of_300_w_and_5_percent() -> None:
    assert tolerance_w(1000, -2000) == TOLERANCE_W
    assert tolerance_w(1000, -20000) == 1000


@pytest.mark.parametrize(("import_w", "verdict"), [(800, Unproven), (802, Proven)])
def test_proof_begins_beyond_the_tolerance(import_w: int, verdict: type) -> None:
    assert isinstance(judge(reading(inverter_ac_w=500, grid_import_w=import_w)), verdict)


# -- over several readings


PROOF, REFUSAL, SILENCE = Proven("import"), Refused("flipped"), Unproven("quiet")


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ([], Unproven),
        ([SILENCE] * 9, Unproven),
        ([PROOF] * 4, Unproven),
        ([PROOF] * 4 + [SILENCE, PROOF], Proven),
        ([PROOF] * 50 + [REFUSAL], Unproven),
        ([REFUSAL] * 2, Unproven),
        ([REFUSAL] * 3, Refused),
        ([PROOF] * 50 + [REFUSAL] * 3, Refused),
    ],
)
def test_proof_takes_five_readings_and_a_refusal_three(verdicts: list[Verdict], expected: type) -> None:
    assert isinstance(weigh(verdicts), expected)


def test_a_single_refusal_is_told_even_among_proofs() -> None:
    assert "flipped" in weigh([PROOF] * 50 + [REFUSAL]).sentence


# -- the property


@st.composite
def true_flows(draw: st.DrawFn) -> dict[str, float]:
    """A site that obeys physics: nobody's load is negative, what is made and bought is what is used.

    Losses of up to 3 % lie between battery and AC side; the load may be told or not.
    """
    watts = st.integers(min_value=0, max_value=15_000)
    load = (draw(watts), draw(watts), draw(watts))
    pv, battery = draw(watts), draw(st.integers(min_value=-15_000, max_value=15_000))
    car, others = draw(st.integers(min_value=-11_000, max_value=11_000)), draw(watts)
    direct = pv - battery - car
    lost = round(abs(direct) * draw(st.floats(min_value=0, max_value=0.03)))
    output = direct - lost
    third, other = output // 3, others // 3
    inverter = (third, third, output - 2 * third)
    extra = (other, other, others - 2 * other)
    grid = [used - made - more for used, made, more in zip(load, inverter, extra, strict=True)]
    names = (*PHASES, *INVERTER_PHASES)
    flows: dict[str, float] = dict(zip((str(name) for name in names), (*grid, *inverter), strict=True))
    flows |= {"grid_import_w": sum(grid), "inverter_ac_w": output, "third_party_pv_w": others}
    flows |= {"pv_w": pv, "battery_charge_w": battery, "car_charge_w": car, "load_w": sum(load)}
    return flows


OPTIONAL = ("inverter_ac_w", "pv_w", "battery_charge_w", "car_charge_w", "load_w", *PHASES, *INVERTER_PHASES)


@given(
    flows=true_flows(),
    untold=st.sets(st.sampled_from([str(name) for name in OPTIONAL])),
    load_follows_meter=st.booleans(),
)
def test_a_flipped_grid_sign_is_never_proven(
    flows: dict[str, float], untold: set[str], load_follows_meter: bool
) -> None:
    flipped = {name: -value if name.startswith("grid_import") else value for name, value in flows.items()}
    if load_follows_meter:
        flipped["load_w"] = flipped["inverter_ac_w"] + flipped["third_party_pv_w"] + flipped["grid_import_w"]
    told = {name: value for name, value in flipped.items() if name not in untold}
    verdict = judge(reading(**told))
    assume(abs(flows["grid_import_w"]) > TOLERANCE_W)
    assert not isinstance(verdict, Proven), (told, verdict)


@given(flows=true_flows())
def test_a_right_grid_sign_is_never_refused(flows: dict[str, float]) -> None:
    assert not isinstance(judge(reading(**flows)), Refused)


@given(flows=true_flows())
def test_a_load_with_its_own_meter_finds_every_flipped_sign(flows: dict[str, float]) -> None:
    made = flows["inverter_ac_w"] + flows["third_party_pv_w"]
    assume(abs(flows["grid_import_w"]) > tolerance_w(flows["grid_import_w"], flows["load_w"], made))
    flipped = {name: -value if name.startswith("grid_import") else value for name, value in flows.items()}
    assert isinstance(judge(reading(**flipped), load_has_own_meter=True), Refused)
    assert isinstance(judge(reading(**flows), load_has_own_meter=True), Proven)
