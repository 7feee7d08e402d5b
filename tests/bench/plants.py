"""Many Modbus plants in one process (``python -m tests.bench.plants 20``): prints their ports, ends with its input."""

from __future__ import annotations

import asyncio
import sys
import time

from hygate.simulators.base import Ledger
from hygate.simulators.sigenergy.modbus import ModbusServer
from hygate.simulators.sigenergy.plant import Plant


async def _serve(count: int) -> None:
    servers = [ModbusServer(Plant(time.time), Ledger()) for _ in range(count)]
    for server in servers:
        await server.start()
    sys.stdout.write(" ".join(str(server.port) for server in servers) + "\n")
    sys.stdout.flush()
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
