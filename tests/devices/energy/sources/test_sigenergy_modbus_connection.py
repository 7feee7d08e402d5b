"""Test connection of the Modbus source: what it saw, and everything that can be wrong has a name."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from pymodbus.client import AsyncModbusTcpClient

from devices.energy.balance import Proven, Refused, judge
from devices.energy.reading import Reading
from devices.energy.sources import sigenergy_modbus
from devices.energy.sources.sigenergy_modbus import ModbusSettings, SigenergyModbus, adapter, line
from devices.energy.sources.source import Malformed, SourceError, TooOld, Unreachable
from devices.energy.sources.source import Refused as SourceRefused
from tests.devices.energy.sources.modbus_bench import SEED, Bench


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.running.stop()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Silence is called silence sooner."""
    monkeypatch.setattr(line, "TIMEOUT_S", 0.1)


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
