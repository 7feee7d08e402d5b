"""The Sigenergy simulator: one plant, asked over Modbus TCP, OpenAPI and MQTT, and the control plane of its knobs."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from aiohttp import web

from hygate.simulators.base import ControlError, Simulator, control_body
from hygate.simulators.sigenergy.certificates import Certificates
from hygate.simulators.sigenergy.modbus import ModbusServer
from hygate.simulators.sigenergy.mqtt import MqttPush
from hygate.simulators.sigenergy.openapi import OpenApi
from hygate.simulators.sigenergy.plant import Plant, PlantError
from hygate.simulators.sigenergy.wired import Wired


class SigenergySimulator(Simulator):
    name = "sigenergy"

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.time,
        modbus_port: int = 0,
        mqtt_port: int = 0,
        certificates: Certificates | None = None,
        shelly_url: str | None = None,
    ) -> None:
        super().__init__(clock=clock)
        self.plant = Plant(clock)
        self.modbus = ModbusServer(self.plant, self.ledger, port=modbus_port)
        self.openapi = OpenApi(self.plant, clock, self.ledger)
        self.mqtt = MqttPush(
            self.plant, clock, mqtt_port, api=self.openapi, certificates=certificates, ledger=self.ledger
        )
        self._wired = Wired(self.plant, shelly_url) if shelly_url else None

    @property
    def modbus_address(self) -> tuple[str, int]:
        """Host and port on which the plant speaks Modbus TCP."""
        return self.modbus.host, self.modbus.port

    def add_routes(self, app: web.Application) -> None:
        self.openapi.add_routes(app)
        self.mqtt.add_routes(app)
        app.router.add_get("/_ctl/plant", self._get_plant)
        app.router.add_post("/_ctl/plant", self._post_plant)
        app.router.add_get("/_ctl/modbus", self._get_modbus)
        app.router.add_post("/_ctl/modbus", self._post_modbus)

    async def on_start(self) -> None:
        await self.modbus.start()
        await self.mqtt.start()
        if self._wired is not None:
            await self._wired.start()

    async def on_stop(self) -> None:
        if self._wired is not None:
            await self._wired.stop()
        await self.mqtt.stop()
        await self.modbus.stop()

    async def _get_plant(self, _request: web.Request) -> web.Response:
        return web.json_response(self._plant_body())

    async def _post_plant(self, request: web.Request) -> web.Response:
        """All of the body is checked before any of it happens."""
        wanted = await control_body(request)
        try:
            self.plant.set(wanted)
        except PlantError as wrong:
            raise ControlError(str(wrong)) from wrong
        self.ledger.add("plant", knobs=wanted)
        return web.json_response(self._plant_body())

    def _plant_body(self) -> dict[str, Any]:
        """The knobs, what really flows, and what the plant says of it."""
        truth, told = self.plant.truth(), self.plant.flows()
        return {"knobs": asdict(self.plant.knobs), "truth": asdict(truth), "flows": asdict(told)}

    async def _get_modbus(self, _request: web.Request) -> web.Response:
        """The port, the knobs and the last requests, oldest first."""
        body = {"port": self.modbus.port, "knobs": asdict(self.modbus.knobs), "requests": list(self.modbus.requests)}
        return web.json_response(body)

    async def _post_modbus(self, request: web.Request) -> web.Response:
        """Turn the server's knobs; ``{"drop": true}`` closes every connection once."""
        wanted = await control_body(request)
        drop = wanted.pop("drop", False)
        self.modbus.turn(wanted)
        if drop:
            self.modbus.drop_connections()
        return web.json_response(asdict(self.modbus.knobs))


def build(
    *,
    modbus_port: int = 0,
    mqtt_port: int = 0,
    certificates: Certificates | None = None,
    clock: Callable[[], float] = time.time,
    shelly_url: str | None = None,
) -> SigenergySimulator:
    """A plant on a sunny day with a house behind it, and in that house the relays of the Shelly simulator named."""
    return SigenergySimulator(
        clock=clock, modbus_port=modbus_port, mqtt_port=mqtt_port, certificates=certificates, shelly_url=shelly_url
    )
