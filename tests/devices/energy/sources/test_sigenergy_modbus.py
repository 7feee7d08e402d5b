"""The Modbus source: registers become fields with the right sign, and everything that can be wrong has a name."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from pymodbus.client import AsyncModbusTcpClient

from devices.energy.balance import Proven, Refused, judge
from devices.energy.reading import PHASES, Field, Fields, Reading
from devices.energy.sources import sigenergy_modbus
from devices.energy.sources.sigenergy_modbus import ModbusSettings, SigenergyModbus, adapter, line
from devices.energy.sources.sigenergy_modbus.decoding import decode, number, unsigned, words_of
from devices.energy.sources.sigenergy_modbus.registers import ALARMS_AND_LOAD, FAST, LIMITS, Block, Kind
from devices.energy.sources.source import Malformed, SourceError, TooOld, Unreachable
from devices.energy.sources.source import Refused as SourceRefused
from hygate.simulators.base import RunningSimulator
from hygate.simulators.sigenergy import SigenergySimulator, build

PAYLOADS = Path(
    os.environ.get("HYGATE_PAYLOADS", Path(__file__).resolve().parents[4] / ".." / "shared" / "fixtures" / "sigenergy")
)
needs_payloads = pytest.mark.skipif(not PAYLOADS.is_dir(), reason="the shared Sigenergy payloads are not here")
NOON = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
SEED = {"pv_w": 2800, "load_w": 11340, "battery_charge_w": 0, "soc_pct": 15}


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


@needs_payloads
def test_the_vendors_frames_decode_to_their_kilowatts() -> None:
    frames = json.loads((PAYLOADS / "modbus_frames_vendor.json").read_text())["frames"]
    answers = [frame for frame in frames if "decoded" in frame]
    assert len(answers) == 2
    for frame in answers:
        payload = bytes.fromhex(frame["response"])[3:]
        assert number(words_of(payload), Kind.U32) / 1000 == frame["decoded"]


@needs_payloads
def test_the_dump_of_a_real_plant_decodes_to_what_it_says() -> None:
    dump = json.loads((PAYLOADS / "modbus_plant_dump__v2g-evening.json").read_text())
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


# -- over the wire


class Enough(Exception):
    """Thrown by a test to end ``watch``."""


class Bench:
    """A running plant and the source that watches it."""

    def __init__(self) -> None:
        self.simulator: SigenergySimulator = build()
        self.running = RunningSimulator(self.simulator).start()
        self.host, self.port = self.simulator.modbus_address
        self.source = self.make()

    def make(self, **settings: Any) -> SigenergyModbus:
        return SigenergyModbus(ModbusSettings(**{"host": self.host, "port": self.port, **settings}), sleep=at_once)

    def plant(self, **knobs: Any) -> None:
        httpx.post(self.running.url + "/_ctl/plant", json=knobs).raise_for_status()

    def modbus(self, **knobs: Any) -> None:
        httpx.post(self.running.url + "/_ctl/modbus", json=knobs).raise_for_status()

    @property
    def asked(self) -> list[tuple[int, int]]:
        """Address and count of every request so far."""
        return [(entry["address"], entry["count"]) for entry in self.simulator.modbus.requests]

    def forget(self) -> None:
        self.simulator.modbus.requests.clear()

    def watch(self, updates: int, source: SigenergyModbus | None = None) -> Reading:
        """What is known after so many updates."""
        known = Reading({})

        async def deliver(fields: Fields) -> None:
            nonlocal known, updates
            known, updates = known.merged(fields), updates - 1
            if updates == 0:
                raise Enough

        with pytest.raises(Enough):
            asyncio.run((source or self.source).watch(deliver))
        return known


async def at_once(_seconds: float) -> None:
    """A second that a test does not wait for."""
    await asyncio.sleep(0)


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.running.stop()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Silence is called silence sooner."""
    monkeypatch.setattr(line, "TIMEOUT_S", 0.1)


async def ignore(_fields: Fields) -> None:
    """A watcher that only waits for the error."""


def test_the_first_rounds_deliver_everything(bench: Bench) -> None:
    bench.plant(**SEED, third_party_pv_w=0)
    known = bench.watch(8)
    not_told = {Field.STORM_WATCH}
    assert set(known.fields) == set(Field) - not_told
    assert known.value(Field.GRID_IMPORT) == 8540
    assert known.value(Field.LOAD) == 11340
    assert known.value(Field.GRID_IMPORT_LIMIT) == 17_000
    assert known.value(Field.SOC) == 15


def test_values_of_the_wire_are_the_plants_own(bench: Bench) -> None:
    bench.plant(pv_w=900, load_w=[3000, 100, 0], car_charge_w=-2000, third_party_pv_w=400, soc_pct=62)
    known, flows = bench.watch(8), bench.running.call(bench.simulator.plant.flows)
    told = {field: getattr(flows, field.value) for field in known.fields}
    assert {field: measured.value for field, measured in known.fields.items()} == told


def test_fields_are_as_old_as_the_answer_not_as_the_plants_clock(bench: Bench, manual_clock: Any) -> None:
    bench.plant(freeze=True)
    known = bench.watch(1)
    assert {measured.at for measured in known.fields.values()} == {manual_clock.now()}


def test_one_block_a_second_and_the_slow_ones_each_half_minute(bench: Bench) -> None:
    bench.watch(4 + 30)
    fast = (30000, 124)
    rounds = bench.asked[2:]  # after the state and the newest version
    assert rounds[:8] == [fast, (30200, 87), fast, (30194, 2), fast, (40029, 40), fast, (31502, 2)]
    assert rounds[8:] == [fast] * 26
    bench.forget()
    bench.watch(4 + 31)
    assert bench.asked[2:].count((30200, 87)) == 1


def test_rounds_are_a_second_apart(bench: Bench) -> None:
    pauses: list[float] = []

    async def noted(seconds: float) -> None:
        pauses.append(seconds)

    bench.watch(8, SigenergyModbus(ModbusSettings(bench.host, bench.port), sleep=noted))
    assert len(pauses) >= 3
    assert all(0.5 < pause <= 1.0 for pause in pauses)


@pytest.mark.parametrize(
    ("firmware", "version", "lacking"),
    [
        ("V2.9", "V2.9", set()),
        ("V2.8", "V2.8", set()),
        ("V2.7", "V2.7", {Field.METERS_LOST, Field.LOAD}),
        ("V2.6", "V2.6", {Field.METERS_LOST, Field.LOAD, Field.THIRD_PARTY_PV}),
        (
            "V2.5",
            "V2.5",
            {Field.METERS_LOST, Field.LOAD, Field.THIRD_PARTY_PV, Field.BACKUP_SOC, Field.DISCHARGE_CUT_OFF_SOC},
        ),
        (
            "V1.8",
            "V2.4 or older",
            {
                Field.METERS_LOST,
                Field.LOAD,
                Field.THIRD_PARTY_PV,
                Field.BACKUP_SOC,
                Field.DISCHARGE_CUT_OFF_SOC,
                Field.GRID_IMPORT_LIMIT,
            },
        ),
    ],
)
def test_each_firmware_delivers_what_it_has(bench: Bench, firmware: str, version: str, lacking: set[Field]) -> None:
    bench.plant(firmware=firmware)
    known = bench.watch(8)
    assert bench.source.version == version
    assert set(known.fields) == set(Field) - lacking - {Field.STORM_WATCH}


def test_a_refused_block_is_remembered_and_not_asked_again(bench: Bench) -> None:
    bench.plant(firmware="V2.4")
    bench.watch(8)
    assert (30000, 124) in bench.asked
    bench.forget()
    bench.watch(8)
    refused = [entry for entry in bench.simulator.modbus.requests if entry["answer"] != "ok"]
    assert {(entry["address"], entry["count"]) for entry in refused} == {
        (probe, size) for probe, size in ((30272, 2), (30284, 2), (30194, 2), (30092, 2), (30087, 1))
    }
    assert (30003, 55) in bench.asked


def test_an_update_of_the_firmware_is_asked_for_everything(bench: Bench) -> None:
    bench.plant(firmware="V2.4")
    assert Field.GRID_IMPORT_LIMIT not in bench.watch(8).fields
    bench.plant(firmware="V2.9")
    assert Field.GRID_IMPORT_LIMIT in bench.watch(8).fields


def test_a_single_register_that_the_plant_lacks_costs_only_its_field(bench: Bench) -> None:
    bench.modbus(refused=[30052])
    known = bench.watch(1)
    assert Field.GRID_IMPORT_L1 not in known.fields
    assert known.value(Field.GRID_IMPORT_L2) is not None


def test_what_was_refused_while_the_plant_started_is_asked_after_a_new_connection(bench: Bench) -> None:
    bench.modbus(refused=[30005])
    assert Field.GRID_IMPORT not in bench.watch(1).fields
    bench.modbus(refused=[])
    assert Field.GRID_IMPORT in bench.watch(1).fields


def test_nonsense_is_logged_once_and_its_field_is_left_out(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.modbus(words={"30005": [0x3B9A, 0xCA00]})
    with caplog.at_level(logging.WARNING, logger="devices.energy"):
        known = bench.watch(10)
    assert Field.GRID_IMPORT not in known.fields
    said = [record.getMessage() for record in caplog.records if record.name.startswith("devices.energy")]
    assert said == [
        f"Sigenergy Modbus at {bench.host}: Register 30005 (grid_import_w) says 1000000000, which cannot be true."
    ]


@pytest.mark.usefixtures("impatient")
def test_one_lost_answer_is_routine(bench: Bench) -> None:
    bench.watch(8)
    bench.forget()
    updates = 0

    async def deliver(_fields: Fields) -> None:
        nonlocal updates
        updates += 1
        if updates == 3:
            await asyncio.to_thread(bench.modbus, mute_next=2)
        if updates == 6:
            raise Enough

    with pytest.raises(Enough):
        asyncio.run(bench.source.watch(deliver))


def watching(bench: Bench, then: Callable[[], Awaitable[Any]]) -> SourceError:
    """The error that ends ``watch`` after ``then`` happened on the first update."""
    done = False

    async def deliver(_fields: Fields) -> None:
        nonlocal done
        if not done:
            done = True
            await then()

    with pytest.raises(SourceError) as caught:
        asyncio.run(bench.source.watch(deliver))
    return caught.value


@pytest.mark.usefixtures("impatient")
def test_a_plant_that_falls_silent_ends_the_watch(bench: Bench) -> None:
    error = watching(bench, lambda: asyncio.to_thread(bench.modbus, mute=True))
    assert isinstance(error, Unreachable)
    assert error.retryable
    assert "does not answer" in error.sentence


def test_a_cut_connection_ends_the_watch(bench: Bench) -> None:
    error = watching(bench, lambda: asyncio.to_thread(bench.modbus, drop=True))
    assert isinstance(error, Unreachable)


def test_a_plant_that_only_fails_ends_the_watch(bench: Bench) -> None:
    error = watching(bench, lambda: asyncio.to_thread(bench.modbus, fail_next=50))
    assert isinstance(error, Unreachable)
    assert "Modbus exception 4" in error.sentence


@pytest.mark.usefixtures("impatient")
def test_a_silent_car_charger_costs_only_the_car(bench: Bench) -> None:
    known = bench.watch(40, bench.make(inverter=9))
    assert Field.CAR_CHARGE not in known.fields
    assert Field.GRID_IMPORT in known.fields


def test_a_late_answer_is_not_taken_for_the_next_one(bench: Bench) -> None:
    async def ask() -> list[int]:
        async with line.connected(bench.host, bench.port, timeout_s=0.15) as wire:
            with pytest.raises(line.Mute):
                await wire.read(247, 30010, 2)
            bench.simulator.modbus.knobs.delay_s = 0.0
            await asyncio.sleep(0.2)
            return await wire.read(247, 30014, 1)

    bench.plant(soc_pct=33)
    bench.modbus(delay_s=0.25)
    assert asyncio.run(ask()) == [330]


# -- Test connection: what is wrong has a name


def test_test_connection_says_what_it_saw(bench: Bench) -> None:
    bench.plant(**SEED)
    found = asyncio.run(bench.source.test())
    assert found.sentences[0] == f"The plant answers at {bench.host}; its firmware speaks protocol V2.9."
    assert found.sentences[1] == "Importing 8540 W, PV 2800 W, battery charging 0 W, charged to 15.0 %."
    assert isinstance(judge(Reading(found.fields)), Proven)
    assert judge(Reading(found.fields)).sentence in found.sentences


def test_test_connection_names_what_old_firmware_does_not_tell(bench: Bench) -> None:
    bench.plant(firmware="V2.4")
    sentences = asyncio.run(bench.source.test()).sentences
    assert "It does not tell the import limit (V2.5): enter the connection's limit by hand." in sentences


@pytest.mark.parametrize("load_follows_meter", [False, True])
def test_a_meter_mounted_the_wrong_way_is_refused_in_words(bench: Bench, load_follows_meter: bool) -> None:
    bench.plant(**SEED, flip_sign=True, load_follows_meter=load_follows_meter)
    found = asyncio.run(bench.source.test())
    verdict = judge(Reading(found.fields))
    assert isinstance(verdict, Refused)
    assert "fits only with the flipped sign" in verdict.sentence
    assert verdict.sentence in found.sentences


def test_a_missing_sensor_is_said(bench: Bench) -> None:
    bench.plant(sensor=False)
    sentences = asyncio.run(bench.source.test()).sentences
    assert any("no grid sensor" in sentence for sentence in sentences)


def failing(source: SigenergyModbus) -> SourceError:
    with pytest.raises(SourceError) as caught:
        asyncio.run(source.test())
    return caught.value


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def test_a_closed_port_is_named() -> None:
    port = free_port()
    error = failing(sigenergy_modbus.build(ModbusSettings("127.0.0.1", port)))
    assert isinstance(error, Unreachable)
    assert error.sentence == f"127.0.0.1 is there, but its port {port} is closed."
    assert "Modbus TCP" in error.advice


@pytest.mark.parametrize(
    ("failure", "sentence"),
    [
        (socket.gaierror(-2, "Name or service not known"), "No host is called plant.local."),
        (OSError(113, "No route to host"), "No host answers at plant.local."),
        (TimeoutError(), "No host answers at plant.local."),
    ],
)
def test_a_missing_host_is_named(monkeypatch: pytest.MonkeyPatch, failure: OSError, sentence: str) -> None:
    async def fail(*_args: Any, **_kwargs: Any) -> None:
        raise failure

    monkeypatch.setattr(AsyncModbusTcpClient, "connect", lambda _client: asyncio.sleep(0, result=False))
    monkeypatch.setattr(asyncio, "open_connection", fail)
    assert failing(sigenergy_modbus.build(ModbusSettings("plant.local"))).sentence == sentence


@pytest.mark.usefixtures("impatient")
def test_a_mute_server_is_named(bench: Bench) -> None:
    bench.modbus(mute=True)
    error = failing(bench.source)
    assert isinstance(error, line.Mute)
    assert "AC charger" in error.advice


def test_a_units_number_that_is_an_inverters_is_named(bench: Bench) -> None:
    error = failing(bench.make(unit=1))
    assert isinstance(error, SourceRefused)
    assert not error.retryable
    assert error.sentence == "Unit 1 answers, but it is not the plant."
    assert "247" in error.advice


@pytest.mark.usefixtures("impatient")
def test_a_units_number_that_nobody_has_is_named(bench: Bench) -> None:
    error = failing(bench.make(unit=9))
    assert isinstance(error, SourceRefused)
    assert error.sentence == "No plant answers as unit 9."


def test_firmware_without_plant_registers_is_too_old(bench: Bench) -> None:
    bench.modbus(refused=[30051])
    assert isinstance(failing(bench.source), TooOld)


def test_firmware_without_grid_power_is_too_old(bench: Bench) -> None:
    bench.modbus(refused=[30005])
    error = failing(bench.source)
    assert isinstance(error, TooOld)
    assert "grid_import_w" in error.sentence


def test_nonsense_in_what_everything_needs_is_malformed(bench: Bench) -> None:
    bench.modbus(words={"30005": [0x3B9A, 0xCA00]})
    error = failing(bench.source)
    assert isinstance(error, Malformed)
    assert "30005" in error.sentence


def test_a_plant_that_answers_slowly_does_not_hold_the_test(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "TEST_WITHIN_S", 0.3)
    bench.modbus(delay_s=0.25)
    assert "not all within" in failing(bench.source).sentence
