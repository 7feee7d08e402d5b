"""What the relays of the Shelly simulator switch is part of the plant's load, as it is in a house."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import aiohttp

from hygate.simulators.sigenergy.plant import Plant

EVERY_S = 1.0
TIMEOUT = aiohttp.ClientTimeout(total=2)
ONE_PHASE_CARRIES_W = 3680
"""16 A at 230 V: what draws more has three phases."""


class Wired:
    """Asks the Shelly simulator's control plane each second which relays let how many watts through."""

    def __init__(self, plant: Plant, shelly_url: str) -> None:
        self._plant, self._url = plant, shelly_url.rstrip("/") + "/_ctl/devices"
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._follow())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _follow(self) -> None:
        async with aiohttp.ClientSession(timeout=TIMEOUT) as session:
            while True:
                # while the other simulator is away the wires carry what they carried
                with suppress(aiohttp.ClientError, TimeoutError):
                    async with session.get(self._url) as answer:
                        self._plant.set({"loads": loads_of(await answer.json())})
                await asyncio.sleep(EVERY_S)


def loads_of(devices: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """A named load of the plant for each relay channel that has something behind it."""
    return {
        f"{device['id']}:{channel['channel']}": {
            "watts": round(channel["load_w"]),
            "phase": 0 if channel["load_w"] > ONE_PHASE_CARRIES_W else 1,
            "on": channel["watts"] > 0,
        }
        for device in devices
        for channel in device["channels"]
        if channel["load_w"] > 0
    }
