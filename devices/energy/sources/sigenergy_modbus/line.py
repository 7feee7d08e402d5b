"""One Modbus TCP connection: a read that gives registers or says in Hygate's words why there are none."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException

from devices.energy.sources.source import SourceError, Unreachable

log = logging.getLogger(__name__)
TIMEOUT_S = 1.5  # the protocol says: wait 1000 ms before calling it a time-out
CONNECT_TIMEOUT_S = 2.0
FIRST_HOLDING = 40000
ILLEGAL_ADDRESS = 2
MEANING = {
    1: "it does not know this kind of request",
    3: "it does not accept the value asked for",
    4: "the device behind it has failed",
    6: "it is busy",
    10: "no path leads to this unit",
    11: "this unit does not answer behind it",
}


class Mute(Unreachable):
    """The connection stands, but no answer came in time."""

    sentence = "The plant accepts the connection but does not answer."
    advice = (
        "Another client may keep it busy, or an AC charger that is offline makes it mute: close other Modbus clients, "
        "then switch Modbus TCP off and on in the mySigen app."
    )


class NoSuchRegister(SourceError):
    """Exception 2: this firmware has no such register, or the block cuts through a field."""


class Answered(Unreachable):
    """Another Modbus exception than 2; ``exception`` is its number."""

    def __init__(self, exception: int) -> None:
        meaning = MEANING.get(exception, "the protocol gives it no meaning")
        super().__init__(f"The plant refuses with Modbus exception {exception}: {meaning}.", "It is asked again.")
        self.exception = exception


class Line:
    """Reads over one open connection, one request at a time."""

    def __init__(self, client: AsyncModbusTcpClient) -> None:
        self._client = client

    async def read(self, unit: int, address: int, count: int) -> list[int]:
        """``count`` registers from ``address``, each 0..65535.

        Raises ``NoSuchRegister``, ``Answered``, ``Mute``, or ``Unreachable`` when the connection is gone.
        """
        ask = self._client.read_holding_registers if address >= FIRST_HOLDING else self._client.read_input_registers
        try:
            answer = await ask(address, count=count, device_id=unit)
        except ModbusException as failed:
            if self._client.connected:
                raise Mute from failed
            raise Unreachable("The plant has closed the connection.", "It is connected again.") from failed
        if not answer.isError():
            return list(answer.registers)
        if answer.exception_code == ILLEGAL_ADDRESS:
            raise NoSuchRegister(f"Unit {unit} has no registers {address} to {address + count - 1}.")
        raise Answered(answer.exception_code)


@asynccontextmanager
async def connected(host: str, port: int, *, timeout_s: float | None = None) -> AsyncIterator[Line]:
    """An open line, closed at the end; raises ``Unreachable`` with the reason."""
    client = AsyncModbusTcpClient(host, port=port, timeout=timeout_s or TIMEOUT_S, retries=0, reconnect_delay=0)
    try:
        if not await client.connect():
            raise await _why_not(host, port)
        yield Line(client)
    finally:
        client.close()


async def _why_not(host: str, port: int) -> Unreachable:
    """Look once more, to tell a closed port from a missing host: pymodbus says only that it failed."""
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            _, writer = await asyncio.open_connection(host, port)
    except ConnectionRefusedError:
        return Unreachable(
            f"{host} is there, but its port {port} is closed.",
            "Switch on Modbus TCP in the mySigen app (installer's rights), or correct the port: it is 502.",
        )
    except socket.gaierror:
        return Unreachable(f"No host is called {host}.", "Enter the plant's IP address.")
    except OSError:
        return Unreachable(
            f"No host answers at {host}.", "Check the address, and that the plant and Hygate share a network."
        )
    writer.close()
    return Unreachable(f"{host} let the connection fall at first, then took it.", "It is connected again.")
