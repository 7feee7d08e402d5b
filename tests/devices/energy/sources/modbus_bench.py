"""A running plant and the Modbus source that watches it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from devices.energy.reading import Fields, Reading
from devices.energy.sources.sigenergy_modbus import ModbusSettings, SigenergyModbus
from hygate.simulators.base import RunningSimulator
from hygate.simulators.sigenergy import SigenergySimulator, build
from tests import loopback

SEED = {"pv_w": 2800, "load_w": 11340, "battery_charge_w": 0, "soc_pct": 15}


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
        loopback.post(self.running.url + "/_ctl/plant", json=knobs).raise_for_status()

    def modbus(self, **knobs: Any) -> None:
        loopback.post(self.running.url + "/_ctl/modbus", json=knobs).raise_for_status()

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
