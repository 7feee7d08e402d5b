"""The simulated plant on the wire, with bytes of our own: what the real one serves, refuses and keeps silent about."""

from __future__ import annotations

import json
import shutil
import socket
import struct
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from hygate.simulators.base import RunningSimulator
from hygate.simulators.sigenergy import SigenergySimulator, build
from tests import loopback
from tests.captured import SIGENERGY, needs_sigenergy

MBPOLL = shutil.which("mbpoll")
PLANT, INVERTER = 247, 1


class Bench:
    """A running plant and raw Modbus TCP frames that tests send to it."""

    def __init__(self) -> None:
        self.simulator: SigenergySimulator = build()
        self.running = RunningSimulator(self.simulator).start()
        self.wire = socket.create_connection(self.simulator.modbus_address, timeout=2)

    def close(self) -> None:
        self.wire.close()
        self.running.stop()

    def ask(self, unit: int, pdu: bytes) -> bytes:
        """The answer's PDU; raises ``TimeoutError`` when none comes."""
        self.wire.sendall(struct.pack(">HHHB", 7, 0, len(pdu) + 1, unit) + pdu)
        transaction, protocol, length, answered = struct.unpack(">HHHB", self._receive(7))
        assert (transaction, protocol, answered) == (7, 0, unit)
        return self._receive(length - 1)

    def _receive(self, size: int) -> bytes:
        got = b""
        while len(got) < size:
            more = self.wire.recv(size - len(got))
            if not more:
                raise ConnectionResetError
            got += more
        return got

    def read(self, address: int, count: int, *, unit: int = PLANT, fc: int = 4) -> list[int]:
        """Registers, or ``[-exception]``."""
        answer = self.ask(unit, struct.pack(">BHH", fc, address, count))
        if answer[0] & 0x80:
            return [-answer[1]]
        return list(struct.unpack(f">{answer[1] // 2}H", answer[2:]))

    def write(self, address: int, *words: int, unit: int = PLANT) -> bytes:
        return self.ask(unit, struct.pack(f">BHHB{len(words)}H", 16, address, len(words), 2 * len(words), *words))

    def plant(self, **knobs: Any) -> Any:
        return loopback.post(self.running.url + "/_ctl/plant", json=knobs).raise_for_status().json()

    def modbus(self, **knobs: Any) -> None:
        loopback.post(self.running.url + "/_ctl/modbus", json=knobs).raise_for_status()


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.close()


# -- what it serves


def test_import_is_positive_and_export_negative_on_the_wire(bench: Bench) -> None:
    bench.plant(pv_w=2800, load_w=11340, battery_charge_w=0)
    assert bench.read(30005, 2) == [0, 8540]
    bench.plant(load_w=0)
    assert bench.read(30005, 2) == [0xFFFF, 0x10000 - 2800]


def test_phases_stand_at_30052_30054_and_30056(bench: Bench) -> None:
    bench.plant(pv_w=0, load_w=[100, 200, 300], battery_charge_w=0)
    assert bench.read(30052, 6) == [0, 100, 0, 200, 0, 300]


def test_both_read_functions_answer_for_both_ranges(bench: Bench) -> None:
    for address in (30005, 40040):
        assert bench.read(address, 2, fc=3) == bench.read(address, 2, fc=4)


@needs_sigenergy
def test_blocks_that_a_real_plant_accepted_are_accepted(bench: Bench) -> None:
    for block in json.loads((SIGENERGY / "modbus_block_reads_observed.json").read_text())["accepted"]:
        unit = INVERTER if block["unit"] == "inverter" else block["unit"]
        words = bench.read(block["address"], block["count"], unit=unit, fc=block["fc"])
        assert len(words) == block["count"], block


@needs_sigenergy
@pytest.mark.parametrize("group", ["plant_input", "plant_holding"])
def test_every_register_of_the_vendors_list_is_there(bench: Bench, group: str) -> None:
    for register in json.loads((SIGENERGY / "modbus_register_map.json").read_text())[group]["registers"]:
        expected = 1 if register["type"] == "reserved" else register["count"]
        assert len(bench.read(register["address"], register["count"])) == expected, register


@pytest.mark.skipif(MBPOLL is None, reason="mbpoll is not installed")
def test_an_independent_client_reads_the_same(bench: Bench) -> None:
    bench.plant(pv_w=0, load_w=[100, 200, 300], battery_charge_w=0)
    assert MBPOLL is not None
    host, port = bench.simulator.modbus_address
    asked = ["-0", "-m", "tcp", "-p", str(port), "-a", "247", "-t", "3:int", "-B", "-r", "30052", "-c", "3", "-1", host]
    seen = subprocess.run([MBPOLL, *asked], capture_output=True, text=True, timeout=10, check=True).stdout
    values = [line.split()[-1] for line in seen.splitlines() if line.startswith("[300")]
    assert values == ["100", "200", "300"]


# -- what it refuses


@pytest.mark.parametrize(
    ("address", "count", "why"),
    [
        (30006, 2, "starts inside a field"),
        (30005, 1, "ends inside a field"),
        (30073, 10, "reserved on its own"),
        (30287, 1, "not in the map"),
        (29999, 2, "before the map"),
    ],
)
def test_a_block_off_the_field_boundaries_is_refused(bench: Bench, address: int, count: int, why: str) -> None:
    assert bench.read(address, count) == [-2], why


def test_at_most_124_registers_are_read(bench: Bench) -> None:
    assert len(bench.read(30000, 124)) == 124
    assert bench.read(30000, 125) == [-3]
    assert bench.read(30000, 0) == [-3]


def test_an_unknown_function_is_refused(bench: Bench) -> None:
    assert bench.ask(PLANT, bytes([0x2B, 0x0E, 1, 0])) == bytes([0xAB, 1])


@pytest.mark.parametrize(
    ("firmware", "newest", "missing"),
    [
        ("V1.8", 30070, 30072),
        ("V2.4", 30072, 30087),
        ("V2.5", 30087, 30092),
        ("V2.6", 30092, 30194),
        ("V2.7", 30194, 30284),
        ("V2.8", 30284, 30272),
        ("V2.9", 30272, 30287),
    ],
)
def test_old_firmware_lacks_what_came_later(bench: Bench, firmware: str, newest: int, missing: int) -> None:
    bench.plant(firmware=firmware)
    size = {30072: 1, 30087: 1, 30287: 1}
    assert len(bench.read(newest, size.get(newest, 2))) == size.get(newest, 2)
    assert bench.read(missing, size.get(missing, 2)) == [-2]


def test_plant_registers_are_not_on_the_inverters_unit(bench: Bench) -> None:
    assert bench.read(30005, 2, unit=INVERTER) == [-2]
    assert bench.read(30540, 2, unit=INVERTER) == [0, 12000]
    assert bench.read(30540, 2) == [-2]


def test_an_unknown_unit_is_not_answered(bench: Bench) -> None:
    bench.wire.settimeout(0.2)
    with pytest.raises(TimeoutError):
        bench.read(30005, 2, unit=9)


# -- writes


def test_writes_are_refused_while_remote_ems_is_off(bench: Bench) -> None:
    assert bench.write(40034, 0, 5000) == bytes([0x90, 4])
    assert bench.read(40034, 2) == [0, 9600]


def test_writes_are_taken_once_remote_ems_is_on(bench: Bench) -> None:
    assert bench.write(40029, 1) == struct.pack(">BHH", 16, 40029, 1)
    assert bench.write(40034, 0, 5000) == struct.pack(">BHH", 16, 40034, 2)
    assert bench.read(40034, 2) == [0, 5000]
    assert bench.plant()["knobs"]["battery_discharge_limit_w"] == 5000


def test_the_import_limit_needs_no_remote_ems(bench: Bench) -> None:
    bench.write(40040, 0, 11000)
    assert bench.plant()["knobs"]["grid_import_limit_w"] == 11000


def test_input_registers_cannot_be_written(bench: Bench) -> None:
    assert bench.write(30005, 0, 1) == bytes([0x90, 2])


def test_a_broadcast_acts_and_is_not_answered(bench: Bench) -> None:
    bench.wire.settimeout(0.2)
    with pytest.raises(TimeoutError):
        bench.write(40040, 0, 9000, unit=0)
    assert bench.plant()["knobs"]["grid_import_limit_w"] == 9000


# -- how it fails


def test_it_can_be_mute_for_one_request(bench: Bench) -> None:
    bench.modbus(mute_next=1)
    bench.wire.settimeout(0.2)
    with pytest.raises(TimeoutError):
        bench.read(30005, 2)
    assert len(bench.read(30005, 2)) == 2


def test_it_can_cut_the_connection(bench: Bench) -> None:
    bench.modbus(drop_next=1)
    with pytest.raises(ConnectionResetError):
        bench.read(30005, 2)


def test_it_can_fail_behind_the_gateway(bench: Bench) -> None:
    bench.modbus(fail_next=1)
    assert bench.read(30005, 2) == [-4]


def test_it_can_say_any_words(bench: Bench) -> None:
    bench.modbus(words={"30005": [0x3B9A, 0xCA00]})
    assert bench.read(30005, 2) == [0x3B9A, 0xCA00]


@pytest.mark.parametrize(
    "knobs", [{"loud": True}, {"mute": 1}, {"words": {"30005": [1]}}, {"words": {"1": [1]}}, {"drop_next": -1}]
)
def test_a_wrong_knob_of_the_server_is_refused(bench: Bench, knobs: dict[str, Any]) -> None:
    assert loopback.post(bench.running.url + "/_ctl/modbus", json=knobs).status_code == 400


def test_a_wrong_knob_of_the_plant_is_refused_with_a_sentence(bench: Bench) -> None:
    answer = loopback.post(bench.running.url + "/_ctl/plant", json={"soc_pct": 140})
    assert answer.status_code == 400
    assert answer.json() == {"error": "soc_pct lies between 0 and 100"}


def test_requests_are_listed_with_their_answers(bench: Bench) -> None:
    bench.read(30005, 2)
    bench.read(30006, 2)
    listed = loopback.get(bench.running.url + "/_ctl/modbus").json()["requests"]
    assert [(one["address"], one["count"], one["answer"]) for one in listed] == [
        (30005, 2, "ok"),
        (30006, 2, "exception 2"),
    ]
