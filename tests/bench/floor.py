"""The floor: an event loop that does nothing but wait and call, with as many slots as the product has threads."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence

import aiohttp

from hygate.demo.processes import WORKERS
from tests.bench.ends import Call

RELAY_WORKERS = 2
"""One for each core: a Python process computes on one of them."""
SLOTS = RELAY_WORKERS * WORKERS["relays"]
"""As many as the product's relay workers have threads."""


def switch_off_at(url: str, ends: Mapping[Call, float]) -> None:
    """Ask each device to go off at its moment."""
    asyncio.run(_all(url, ends))


async def _all(url: str, ends: Mapping[Call, float]) -> None:
    slots = asyncio.Semaphore(SLOTS)
    async with aiohttp.ClientSession(url, connector=aiohttp.TCPConnector(limit=SLOTS)) as session:
        await _warm(session, list(ends)[:SLOTS])
        await asyncio.gather(*(_one(session, slots, call, end) for call, end in ends.items()))


async def _warm(session: aiohttp.ClientSession, calls: Sequence[Call]) -> None:
    """Connections stand before the first end, as those of the product do."""
    await asyncio.gather(*(_ask(session, "get", call.key, {"ids": [call.device], "select": []}) for call in calls))


async def _one(session: aiohttp.ClientSession, slots: asyncio.Semaphore, call: Call, end: float) -> None:
    await asyncio.sleep(end - time.time())
    async with slots:
        await _ask(session, "set/switch", call.key, {"id": call.device, "channel": 0, "on": False})


async def _ask(session: aiohttp.ClientSession, path: str, key: str, body: dict[str, object]) -> None:
    async with session.post(f"/v2/devices/api/{path}", params={"auth_key": key}, json=body) as answer:
        answer.raise_for_status()
        await answer.read()
