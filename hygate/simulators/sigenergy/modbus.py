"""The plant's Modbus TCP server: what it answers, what it refuses, and how it fails.

Framing of its own rather than a library's: the real plant refuses what a library would serve (a block that cuts
through a field, a reserved register on its own, a write without remote EMS), and the Hygate side of the wire must not
be tested against its own library.
"""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hygate.simulators.base import ControlError, Ledger
from hygate.simulators.sigenergy.plant import FIRMWARES, Plant
from hygate.simulators.sigenergy.registers import (
    INVERTER,
    LIMITS,
    NEEDS_REMOTE_EMS,
    PLANT_HOLDING,
    PLANT_INPUT,
    REMOTE_EMS,
    Register,
)

PLANT_UNIT, BROADCAST = 247, 0
READS, WRITE_ONE, WRITE_MANY = (3, 4), 6, 16
MOST_READ, MOST_WRITTEN = 124, 123
ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE, DEVICE_FAILURE = 1, 2, 3, 4
HEADER = struct.Struct(">HHHB")  # transaction, protocol, length, unit
KEPT_REQUESTS = 2000


class ModbusRefusal(Exception):
    """A Modbus exception answer; ``code`` is its number."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


@dataclass
class ModbusKnobs:
    """How the server misbehaves; the names are those of ``POST /_ctl/modbus``.

    ``mute``: it takes connections and answers nothing. ``delay_s``: it answers that late. ``drop_next``: so many
    requests are answered by closing the connection. ``mute_next``: so many are not answered. ``fail_next``: so many
    are answered by exception 4. ``words``: register → the words it says instead of the truth. ``refused``: registers
    that this plant does not have, whatever its firmware. ``inverter_unit``: the unit of the one inverter.
    """

    mute: bool = False
    delay_s: float = 0.0
    drop_next: int = 0
    mute_next: int = 0
    fail_next: int = 0
    words: dict[int, list[int]] = field(default_factory=dict)
    refused: list[int] = field(default_factory=list)
    inverter_unit: int = 1


class ModbusServer:
    """Serves ``plant`` on a port of its own; ``port`` is known once it has started."""

    def __init__(self, plant: Plant, ledger: Ledger, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self.knobs = ModbusKnobs()
        self.requests: deque[dict[str, Any]] = deque(maxlen=KEPT_REQUESTS)
        self.host, self.port = host, port
        self._plant, self._ledger = plant, ledger
        self._written: dict[int, list[int]] = {}
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, self.host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        self.drop_connections()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def drop_connections(self) -> None:
        for writer in list(self._connections.values()):
            writer.transport.abort()

    def turn(self, wanted: Mapping[str, Any]) -> None:
        """Turn knobs; raises ``ControlError`` for one that does not exist or a value of another kind."""
        for name, value in wanted.items():
            setattr(self.knobs, name, _checked(name, value))

    # -- wire
    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections[task] = writer
        try:
            while await self._exchange(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            return  # the client has gone
        finally:
            self._connections.pop(task, None)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and its answer; False when the connection is to be closed."""
        transaction, protocol, length, unit = HEADER.unpack(await reader.readexactly(HEADER.size))
        if protocol != 0 or not 2 <= length <= 254:
            return False  # this is no Modbus
        pdu = await reader.readexactly(length - 1)
        answer = self._answer(unit, pdu)
        if self.knobs.delay_s:
            await asyncio.sleep(self.knobs.delay_s)
        if self.knobs.drop_next > 0:
            self.knobs.drop_next -= 1
            return False
        if self.knobs.mute_next > 0:
            self.knobs.mute_next -= 1
            return True
        if answer is not None and not self.knobs.mute:
            writer.write(HEADER.pack(transaction, 0, len(answer) + 1, unit) + answer)
            await writer.drain()
        return True

    def _answer(self, unit: int, pdu: bytes) -> bytes | None:
        """The answer's PDU, or None where the plant keeps silent: a broadcast, or a unit that is not there."""
        function = pdu[0]
        entry = self._record(unit, pdu)
        if unit not in (PLANT_UNIT, BROADCAST, self.knobs.inverter_unit):
            entry["answer"] = "silence"
            return None
        try:
            answer = self._act(unit, function, pdu[1:])
        except ModbusRefusal as refused:
            entry["answer"] = f"exception {refused.code}"
            answer = bytes([function | 0x80, refused.code])
        return None if unit == BROADCAST else answer

    def _record(self, unit: int, pdu: bytes) -> dict[str, Any]:
        address, count = struct.unpack(">HH", pdu[1:5]) if len(pdu) >= 5 else (0, 0)
        entry = {"t": self._plant.flows().at, "unit": unit, "fc": pdu[0], "address": address, "count": count}
        entry["answer"] = "ok"
        self.requests.append(entry)
        return entry

    def _act(self, unit: int, function: int, body: bytes) -> bytes:
        if self.knobs.fail_next > 0:
            self.knobs.fail_next -= 1
            raise ModbusRefusal(DEVICE_FAILURE)
        if function in READS and len(body) == 4:
            words = self._read(unit, *struct.unpack(">HH", body))
            return bytes([function, 2 * len(words)]) + struct.pack(f">{len(words)}H", *words)
        if function == WRITE_ONE and len(body) == 4:
            address, value = struct.unpack(">HH", body)
            self._write(unit, address, [value])
            return bytes([function]) + body
        if function == WRITE_MANY and len(body) >= 5:
            address, count, size = struct.unpack(">HHB", body[:5])
            if not 1 <= count <= MOST_WRITTEN or size != 2 * count or len(body) != 5 + size:
                raise ModbusRefusal(ILLEGAL_VALUE)
            self._write(unit, address, list(struct.unpack(f">{count}H", body[5:])))
            return bytes([function]) + body[:4]
        raise ModbusRefusal(ILLEGAL_FUNCTION)

    # -- registers
    def _map(self, unit: int) -> dict[int, Register]:
        """The registers that this unit has with the present firmware, by address."""
        newest = FIRMWARES.index(self._plant.knobs.firmware)
        every = INVERTER if unit == self.knobs.inverter_unit else (*PLANT_INPUT, *PLANT_HOLDING)
        there = (one for one in every if one.address not in self.knobs.refused)
        return {one.address: one for one in there if _since(one) <= newest}

    def _read(self, unit: int, address: int, count: int) -> list[int]:
        if not 1 <= count <= MOST_READ:
            raise ModbusRefusal(ILLEGAL_VALUE)
        span = self._span(unit, address, count)
        if all(register.reserved for register in span):
            raise ModbusRefusal(ILLEGAL_ADDRESS)
        flows, knobs = self._plant.flows(), self._plant.knobs
        words: list[int] = []
        for register in span:
            told = self.knobs.words.get(register.address) or self._written.get(register.address)
            words += told or register.words(flows, knobs)
        return words

    def _span(self, unit: int, address: int, count: int) -> list[Register]:
        """The fields that fill exactly these registers; refused when the first or last would be cut, or one lacks."""
        there, at, span = self._map(unit), address, []
        while at < address + count:
            register = there.get(at)
            if register is None or register.end > address + count:
                raise ModbusRefusal(ILLEGAL_ADDRESS)
            span.append(register)
            at = register.end
        return span

    def _write(self, unit: int, address: int, words: list[int]) -> None:
        """Take a setting; those of remote EMS are refused while that is off."""
        if unit == self.knobs.inverter_unit or address not in {register.address for register in PLANT_HOLDING}:
            raise ModbusRefusal(ILLEGAL_ADDRESS)
        for register in self._span(PLANT_UNIT, address, len(words)):
            if register.reserved:
                raise ModbusRefusal(ILLEGAL_ADDRESS)
            if register.address in NEEDS_REMOTE_EMS and self._written.get(REMOTE_EMS) != [1]:
                raise ModbusRefusal(DEVICE_FAILURE)
            at = register.address - address
            self._keep(register.address, words[at : at + register.count])
        self._ledger.add("modbus_write", unit=unit, address=address, words=words)

    def _keep(self, address: int, words: list[int]) -> None:
        """A limit changes the plant; what the plant has no use for is only told again."""
        if address in LIMITS:
            self._plant.set({LIMITS[address]: words[0] << 16 | words[1]})
        else:
            self._written[address] = words


def _since(register: Register) -> int:
    """Where the register's first version stands among the firmwares; V1.7 is older than all of them."""
    return FIRMWARES.index(register.since) if register.since in FIRMWARES else 0


def _checked(name: str, value: Any) -> Any:
    if name == "words":
        return _words(value)
    if name == "refused":
        if not isinstance(value, list) or not all(type(one) is int for one in value):
            raise ControlError("refused is a list of register addresses")
        return value
    present = getattr(ModbusKnobs(), name, None)
    if present is None:
        raise ControlError(f"There is no knob {name!r}")
    wanted: Sequence[type] = (int, float) if isinstance(present, float) else (type(present),)
    if type(value) not in wanted or value < 0:
        raise ControlError(f"{name} is a {wanted[0].__name__}, and not negative")
    return value


def _words(value: Any) -> dict[int, list[int]]:
    """``{"30005": [0, 1]}`` with as many words as the register has."""
    lengths = {one.address: one.count for one in (*PLANT_INPUT, *PLANT_HOLDING, *INVERTER)}
    if not isinstance(value, dict):
        raise ControlError("words is an object: register to a list of words")
    checked = {}
    for name, words in value.items():
        address = int(name) if str(name).isdigit() else -1
        if len(words) != lengths.get(address) or not all(type(one) is int and 0 <= one <= 0xFFFF for one in words):
            raise ControlError(f"Register {name} takes {lengths.get(address, 'no')} words from 0 to 65535")
        checked[address] = list(words)
    return checked
