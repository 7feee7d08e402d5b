"""The Sigenergy MQTT push: a broker that wants a client certificate, an app key and a token, and then an activation.

amqtt asks for a client certificate but lets everybody in without one, so the broker gets a TLS context of its own that
requires it. After an activation everything is sent once; from then on, every period, only what has changed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from aiohttp import web
from amqtt.broker import Broker  # type: ignore[import-untyped]
from amqtt.contexts import Action, BrokerConfig, ListenerConfig, ListenerType  # type: ignore[import-untyped]
from amqtt.session import Session  # type: ignore[import-untyped]

from hygate.simulators.base import ControlError, Ledger, control_body
from hygate.simulators.sigenergy.certificates import Certificates
from hygate.simulators.sigenergy.openapi import OpenApi
from hygate.simulators.sigenergy.plant import Flows, Plant

ACTIVATION = "openapi/subscription/"
KINDS = ("period", "change", "alarm")
ALWAYS = "storageSOC%"
# the push counts otherwise than Modbus: 0 off, 1 online, 2 standby, 3 fault
STATUS_CODES = {0: "2.0", 1: "1.0", 2: "3.0", 3: "0.0", 7: "3.0"}
STATUS_WORDS = {0: "standby", 1: "running", 2: "fault", 3: "shutdown", 7: "fault"}
Values = dict[str, str]


@dataclass
class PushKnobs:
    """How this broker behaves; the names are those of ``POST /_ctl/mqtt``."""

    period_s: float = 5.0
    documented: bool = False  # keys and status words as documented, else as real traffic has them
    portal_topics: bool = False  # {app key}/openapi/period/…, as the developer portal has it
    discards: bool = False  # the certificate may connect, and is sent nothing
    only_changes: bool = True


class _Broker(Broker):  # type: ignore[misc]  # amqtt brings no types
    """amqtt's broker, with the gates of the real one."""

    def __init__(self, push: MqttPush, port: int) -> None:
        self._push = push
        listener = ListenerConfig(bind=f"127.0.0.1:{port}")
        super().__init__(BrokerConfig(listeners={"default": listener}, plugins={}))

    @property
    def port(self) -> int:
        server: Any = self._servers["default"].instance
        number: int = server.sockets[0].getsockname()[1]
        return number

    async def drop(self) -> None:
        """Cut every connection, as a lost network does."""
        for _, handler in list(self._sessions.values()):
            if handler.writer is not None:
                with contextlib.suppress(ConnectionError):  # the other side was faster
                    await handler.writer.close()

    async def _create_server_instance(
        self, listener_name: str, listener_type: ListenerType, address: str | None, port: int, ssl_context: Any
    ) -> Any:
        context = self._push.certificates.broker_context()
        return await super()._create_server_instance(listener_name, listener_type, address, port, context)

    async def _authenticate(self, session: Session, _: ListenerConfig) -> bool:
        return self._push.lets_in(session.username or "", session.password or "")

    async def _topic_filtering(self, session: Session, topic: str, action: Action) -> bool:
        return action != Action.SUBSCRIBE or self._push.may_read(topic)

    async def _broadcast_message(
        self, session: Session | None, topic: str | None, data: Any, force_qos: int | None = None
    ) -> None:
        if session is not None and (topic or "").startswith(ACTIVATION):
            self._push.activated(str(topic).removeprefix(ACTIVATION), bytes(data or b""))
        elif session is None:
            await super()._broadcast_message(session, topic, data, force_qos)


class MqttPush:
    """The push of one plant: ``start`` and ``stop`` it inside the running loop; ``port`` 0 takes a free one."""

    def __init__(
        self,
        plant: Plant,
        clock: Callable[[], float],
        port: int,
        *,
        api: OpenApi,
        certificates: Certificates | None = None,
        ledger: Ledger | None = None,
    ) -> None:
        self._plant, self._clock, self._api = plant, clock, api
        self._ledger = ledger or Ledger(clock)
        self._broker: _Broker | None = None
        self._timer: asyncio.Task[None] | None = None
        self._sent: dict[str, Values] = {}
        self._sending: set[asyncio.Task[None]] = set()
        self.certificates = certificates or Certificates.made()
        self.knobs = PushKnobs()
        self.port = port

    async def start(self) -> None:
        self._broker = _Broker(self, self.port)
        await self._broker.start()
        self.port = self._broker.port
        self._timer = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            await asyncio.gather(self._timer, *self._sending, return_exceptions=True)
        if self._broker is not None:
            await self._broker.drop()
            await self._broker.shutdown()
        self._broker = self._timer = None

    def add_routes(self, app: web.Application) -> None:
        """The control plane; the certificates are what the developer portal would hand out."""
        app.router.add_get("/_ctl/mqtt", self._get)
        app.router.add_post("/_ctl/mqtt", self._set)
        app.router.add_post("/_ctl/mqtt/push", self._push_now)
        app.router.add_post("/_ctl/mqtt/alarm", self._alarm_now)
        app.router.add_post("/_ctl/mqtt/drop", self._drop)

    # -- what the broker asks
    def lets_in(self, app_key: str, token: str) -> bool:
        known = self._api.accepts(app_key, token)
        self._ledger.add("mqtt", what="connect", ok=known)
        return known

    def may_read(self, topic: str) -> bool:
        """Only the own topics; ``+`` and ``#`` lead nowhere."""
        return "#" not in topic and "+" not in topic and self._api.portal.app_key in topic.split("/")

    def activated(self, kind: str, body: bytes) -> None:
        """An activation with a good token for the own station: from now on this kind is sent, first of all of it."""
        try:
            said = json.loads(body)
            token, systems = str(said["accessToken"]), list(said["systemIdList"])
        except (ValueError, KeyError, TypeError):
            token, systems = "", []
        portal = self._api.portal
        good = kind in KINDS and self._api.accepts(portal.app_key, token) and portal.system_id in systems
        self._ledger.add("mqtt", what=f"activate {kind}", ok=good)
        if good:
            self._sent[kind] = {}
            self._later(kind)

    # -- what it sends
    async def push(self, kind: str) -> None:
        """One message of this kind, when it is activated: what has changed, and with each period the charge."""
        if kind not in self._sent or kind == "alarm" or self.knobs.discards:
            return
        flows = self._plant.flows()
        values = told(flows, kind, documented=self.knobs.documented)
        news = {key: text for key, text in values.items() if self._sent[kind].get(key) != text or key == ALWAYS}
        self._sent[kind] = values
        if self.knobs.only_changes:
            values = news
        if values:
            await self._send(kind, {"deviceType": "system", "statisticsTime": int(flows.at), "value": values})

    async def alarm(self, alarm_code: str, status: str) -> None:
        if "alarm" in self._sent:
            change_ms = round(self._clock() * 1000)
            await self._send("alarm", {"alarmCode": alarm_code, "status": status, "changeTime": change_ms})

    async def _send(self, kind: str, update: dict[str, Any]) -> None:
        if self._broker is None:
            return
        app_key, system_id = self._api.portal.app_key, self._api.portal.system_id
        order = f"{app_key}/openapi/{kind}/{system_id}" if self.knobs.portal_topics else ""
        body = json.dumps([{"systemId": system_id, "snCode": system_id, **update}])
        self._ledger.add("mqtt", what=f"send {kind}", values=update.get("value"))
        await self._broker.internal_message_broadcast(order or f"openapi/{kind}/{app_key}/{system_id}", body.encode())

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self.knobs.period_s)
            for kind in ("period", "change"):
                await self.push(kind)

    def _later(self, kind: str) -> None:
        task = asyncio.get_running_loop().create_task(self.push(kind))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    # -- control
    async def _get(self, _request: web.Request) -> web.Response:
        shown = {"port": self.port, "ca_pem": self.certificates.ca_pem, **vars(self.knobs)}
        client = {"client_pem": self.certificates.client_pem, "client_key_pem": self.certificates.client_key_pem}
        return web.json_response({**shown, **client})

    async def _set(self, request: web.Request) -> web.Response:
        wanted = await control_body(request)
        kinds = {one.name: type(getattr(self.knobs, one.name)) for one in fields(PushKnobs)}
        for name, value in wanted.items():
            fits = name in kinds and type(value) in ((int, float) if kinds[name] is float else (bool,))
            if not fits or (name == "period_s" and value <= 0):
                raise ControlError(f"{name!r} is no knob, or has the wrong type: {sorted(kinds)}")
        vars(self.knobs).update(wanted)
        return web.json_response(vars(self.knobs))

    async def _push_now(self, _request: web.Request) -> web.Response:
        for kind in ("period", "change"):
            await self.push(kind)
        return web.json_response({})

    async def _alarm_now(self, request: web.Request) -> web.Response:
        wanted = await control_body(request)
        await self.alarm(str(wanted.get("alarmCode", "1001")), str(wanted.get("status", "generation")))
        return web.json_response({})

    async def _drop(self, _request: web.Request) -> web.Response:
        if self._broker is not None:
            await self._broker.drop()
        self._sent.clear()
        return web.json_response({})


def told(flows: Flows, kind: str, *, documented: bool) -> Values:
    """The plant in the push's words, all of them texts: ``period`` the flows and states, ``change`` the settings."""
    if kind == "change":
        return {
            "backupCutOffSOC%": _text(flows.backup_soc_pct),
            "dischargeCutOffSOC%": _text(flows.discharge_cut_off_soc_pct),
            "batteryRatedDischargePowerW": _text(flows.battery_discharge_limit_w),
            "inverterMaxActivePowerW": _text(flows.inverter_max_w),
            "peakShavingStatus": "off",
            "stormWatchStatus": "on" if flows.storm_watch else "off",
        }
    status = STATUS_WORDS if documented else STATUS_CODES
    return {
        "gridActivePowerW": _text(flows.grid_import_w),
        "gridPhaseAActivePowerW": _text(flows.grid_import_l1_w),
        "gridPhaseBActivePowerW": _text(flows.grid_import_l2_w),
        "gridPhaseCActivePowerW": _text(flows.grid_import_l3_w),
        "pvPowerW" if documented else "PV power": _text(flows.pv_w + flows.third_party_pv_w),
        "storageSOC%": _text(flows.soc_pct),
        "storageChargeDischargePowerW": _text(flows.battery_charge_w),
        "inverterActivePowerW": _text(flows.inverter_ac_w),
        "inverterPhaseAActivePowerW": _text(flows.inverter_ac_l1_w),
        "inverterPhaseBActivePowerW": _text(flows.inverter_ac_l2_w),
        "inverterPhaseCActivePowerW": _text(flows.inverter_ac_l3_w),
        "batteryMaxDischargePowerW": _text(flows.battery_max_discharge_w),
        "operationalMode": _text(flows.ems_mode),
        "systemStatus": status[flows.running_state],
        "onOffGridStatus": "onGrid" if flows.on_grid else "offGrid",
    }


def _text(number: float) -> str:
    return f"{number:.1f}"
