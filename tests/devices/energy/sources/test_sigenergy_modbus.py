"""The Modbus source over the wire: what it asks and when, what it remembers, and what ends its watch."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from devices.energy.reading import Field, Fields
from devices.energy.sources.sigenergy_modbus import ModbusSettings, SigenergyModbus, line
from devices.energy.sources.source import SourceError, Unreachable
from tests.devices.energy.sources.modbus_bench import SEED, Bench, Enough


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
