"""Registers become fields with the right sign, and what cannot be true becomes none."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from devices.energy.reading import PHASES, Field, Reading
from devices.energy.sources.sigenergy_modbus.decoding import decode, number, unsigned, words_of
from devices.energy.sources.sigenergy_modbus.registers import ALARMS_AND_LOAD, FAST, LIMITS, Block, Kind
from devices.energy.sources.source import Malformed
from tests.captured import SIGENERGY, needs_sigenergy

NOON = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)


# -- decoding


def words(block: Block, **told: list[int]) -> list[int]:
    """A block that says zero, except ``r30005=[0, 1]`` and the like; the sensor is connected."""
    block_words = [0] * block.count
    for name, part in {"r30004": [1], **told}.items():
        at = int(name[1:]) - block.address
        if 0 <= at < block.count:
            block_words[at : at + len(part)] = part
    return block_words


def decoded(block: Block, **told: list[int]) -> Reading:
    result = decode(block, words(block, **told), NOON)
    assert not result.malformed
    return Reading(result.fields)


@pytest.mark.parametrize(
    ("register", "field"),
    [
        (30005, Field.GRID_IMPORT),
        (30052, Field.GRID_IMPORT_L1),
        (30054, Field.GRID_IMPORT_L2),
        (30056, Field.GRID_IMPORT_L3),
        (30031, Field.INVERTER_AC),
        (30037, Field.BATTERY_CHARGE),
    ],
)
def test_signs_are_those_of_the_wire(register: int, field: Field) -> None:
    """30005 and the phases: positive buys. 30037: positive charges. 30031: positive feeds."""
    assert decoded(FAST, **{f"r{register}": [0, 8540]}).value(field) == 8540
    assert decoded(FAST, **{f"r{register}": [0xFFFF, 0xDEA4]}).value(field) == -8540


def test_small_negatives_stay_negative() -> None:
    assert number([0xFFFF, 0xFFFE], Kind.S32) == -2
    assert number([0xFFFE], Kind.S16) == -2
    assert number([0xFFFF, 0xFFFE], Kind.U32) == 0xFFFFFFFE


def test_states_become_yes_and_no() -> None:
    reading = decoded(FAST, r30051=[1], r30009=[0])
    assert [reading.value(field) for field in (Field.RUNNING, Field.ON_GRID, Field.GRID_SENSOR_OK)] == [1, 1, 1]


@pytest.mark.parametrize("state", [0, 2, 3, 7, 4])
def test_every_state_but_running_is_not_running(state: int) -> None:
    assert decoded(FAST, r30051=[state]).value(Field.RUNNING) == 0


@pytest.mark.parametrize("state", [1, 2])
def test_automatic_and_manual_islands_are_off_grid(state: int) -> None:
    assert decoded(FAST, r30009=[state]).value(Field.ON_GRID) == 0


def test_without_a_sensor_there_is_no_grid_power() -> None:
    reading = decoded(FAST, r30004=[0], r30005=[0, 500])
    assert reading.value(Field.GRID_SENSOR_OK) == 0
    assert [reading.value(field) for field in (Field.GRID_IMPORT, *PHASES)] == [None] * 4


def test_lost_meters_are_three_bits() -> None:
    assert decoded(ALARMS_AND_LOAD, r30280=[0b1010]).value(Field.METERS_LOST) == 0b010


@pytest.mark.parametrize(
    ("block", "register", "told", "field"),
    [
        (LIMITS, "r40040", [0xFFFF, 0xFFFF], Field.GRID_IMPORT_LIMIT),
        (FAST, "r30049", [0xFFFF, 0xFFFF], Field.BATTERY_MAX_DISCHARGE),
        (FAST, "r30005", [0x8000, 0], Field.GRID_IMPORT),
        (FAST, "r30005", [0x7FFF, 0xFFFF], Field.GRID_IMPORT),
        (FAST, "r30052", [0xFFFF, 0xFFFF], Field.GRID_IMPORT_L1),
        (FAST, "r30014", [0xFFFF], Field.SOC),
        (FAST, "r30051", [0xFFFF], Field.RUNNING),
    ],
)
def test_the_plants_word_for_nothing_is_no_value(block: Block, register: str, told: list[int], field: Field) -> None:
    assert decoded(block, **{register: told}).value(field) is None


@pytest.mark.parametrize(
    ("block", "register", "told", "field"),
    [
        (FAST, "r30005", [0x3B9A, 0xCA00], Field.GRID_IMPORT),  # 10^9
        (FAST, "r30005", [0xFF67, 0x6980], Field.GRID_IMPORT),  # −10,000 kW
        (FAST, "r30035", [0xFFFF, 0xF000], Field.PV),  # the sun takes no 4 kW
        (FAST, "r30014", [1001], Field.SOC),
        (LIMITS, "r40040", [0x8000, 1], Field.GRID_IMPORT_LIMIT),
    ],
)
def test_what_cannot_be_true_is_rejected_and_named(block: Block, register: str, told: list[int], field: Field) -> None:
    result = decode(block, words(block, **{register: told}), NOON)
    assert field not in result.fields
    assert [register[1:] in wrong.sentence for wrong in result.malformed] == [True]


def test_one_wrong_register_spoils_no_other() -> None:
    result = decode(FAST, words(FAST, r30014=[1001], r30005=[0, 700]), NOON)
    assert result.fields[Field.GRID_IMPORT].value == 700


def test_an_answer_of_another_length_is_malformed() -> None:
    with pytest.raises(Malformed, match="124 registers were asked from 30000, 123 came"):
        decode(FAST, [0] * 123, NOON)


def test_half_a_register_is_malformed() -> None:
    with pytest.raises(Malformed):
        words_of(b"\x00\x01\x02")


@needs_sigenergy
def test_the_vendors_frames_decode_to_their_kilowatts() -> None:
    frames = json.loads((SIGENERGY / "modbus_frames_vendor.json").read_text())["frames"]
    answers = [frame for frame in frames if "decoded" in frame]
    assert len(answers) == 2
    for frame in answers:
        payload = bytes.fromhex(frame["response"])[3:]
        assert number(words_of(payload), Kind.U32) / 1000 == frame["decoded"]


@needs_sigenergy
def test_the_dump_of_a_real_plant_decodes_to_what_it_says() -> None:
    dump = json.loads((SIGENERGY / "modbus_plant_dump__v2g-evening.json").read_text())
    rows = {int(address): row for part in ("input", "holding") for address, row in dump[part].items()}
    seen = 0
    for block in (FAST, LIMITS):
        told = {f"r{address}": row["raw"] for address, row in rows.items()}
        reading = decoded(block, **told)
        for register in block.registers:
            row = rows.get(register.address)
            if row is None or row["unit"] is None:
                continue
            expected = row["value"] * (1000 if row["unit"] == "kW" else 1)
            assert reading.value(register.field) == pytest.approx(expected), row["name"]
            seen += 1
    assert seen == 15


def test_blocks_start_and_end_on_field_boundaries_however_they_are_cut() -> None:
    waiting, seen = [FAST, ALARMS_AND_LOAD, LIMITS], 0
    while waiting:
        parts = waiting.pop().narrower()
        waiting += parts
        for part in parts:
            seen += 1
            assert part.address == part.registers[0].address
            assert part.address + part.count == part.registers[-1].end
    assert seen > 40


def test_words_join_high_word_first() -> None:
    assert unsigned([0x0001, 0x0002]) == 0x00010002
