"""Renogy's OpenAPI V0.9 as its clients know it: signed reads, 30 a minute and key, and bodies that may be empty.

Signature: base64(HMAC-SHA256(secret, "{ts}.{path}.{params}")) over the full path (``/device/list``) and the parameters
as they travel, without the "?"; no parameters leave a trailing dot.
"""

from __future__ import annotations

import base64
import calendar
import hashlib
import hmac
import math
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from aiohttp import web

from hygate.simulators.base import ControlError, Simulator, control_body
from hygate.simulators.renogy.plant import PlantDevice

WINDOW_S = 60.0
LOG_MAX = 200
ERROR_BODIES = ("empty", "text", "json")


@dataclass
class Habits:
    """How strict the service is. Times in seconds.

    ``skew_s``: how far a Timestamp may lie off its clock. ``error_body``: what a refusal carries. ``strings``: numbers
    of ``latest`` as texts, as one family of inverter-chargers sends them. ``wrapped``: lists as ``{"data": […]}``.
    """

    per_minute: int = 30
    skew_s: float = 300.0
    error_body: str = "empty"
    strings: bool = False
    wrapped: bool = False

    def change(self, wanted: dict[str, Any]) -> None:
        """All of it is checked before any of it holds."""
        for name, value in wanted.items():
            known = name in Habits.__dataclass_fields__ and isinstance(value, type(getattr(Habits(), name)) | int)
            if not known or (name == "error_body" and value not in ERROR_BODIES):
                raise ControlError(f"No habit {name!r} with {value!r}; there are: {', '.join(asdict(self))}")
        for name, value in wanted.items():
            setattr(self, name, value)


@dataclass
class Account:
    """One developer key, the devices it may see, and when it was last used."""

    access_key: str
    secret_key: str
    devices: dict[str, PlantDevice]
    admitted: deque[float] = field(default_factory=deque)

    def admit(self, now: float, per_minute: int) -> bool:
        while self.admitted and self.admitted[0] <= now - WINDOW_S:
            self.admitted.popleft()
        if len(self.admitted) >= per_minute:
            return False
        self.admitted.append(now)
        return True


class RenogySimulator(Simulator):
    """Accounts and their plants. ``clock`` is the service's own time, which Timestamps are compared with."""

    name = "renogy"

    def __init__(self, clock: Callable[[], float] = time.time, habits: Habits | None = None) -> None:
        super().__init__(clock=clock)
        self.habits = habits or Habits()
        self._accounts: dict[str, Account] = {}

    def add_account(self, access_key: str, secret_key: str, devices: Iterable[PlantDevice] = ()) -> Account:
        account = Account(access_key, secret_key, {device.id: device for device in devices})
        self._accounts[access_key] = account
        return account

    # -- what the base asks for

    def add_routes(self, app: web.Application) -> None:
        app.router.add_get("/device/list", self._served(self._list), name="list")
        app.router.add_get("/device/datamap/{id}", self._served(self._datamap), name="datamap")
        app.router.add_get("/device/data/latest/{id}", self._served(self._latest), name="latest")
        app.router.add_get("/device/data/history/{id}", self._served(self._history), name="history")
        app.router.add_get("/device/alarm/{id}", self._served(self._alarm), name="alarm")
        app.router.add_get("/device/log/{id}", self._served(self._log), name="log")
        app.router.add_get("/_ctl/devices", self._get_devices)
        app.router.add_post("/_ctl/devices/{id}", self._post_device)
        app.router.add_get("/_ctl/habits", self._get_habits)
        app.router.add_post("/_ctl/habits", self._post_habits)

    def operation(self, request: web.Request) -> str:
        return request.match_info.route.name or request.path

    # -- the way in

    def _served(self, answer: Callable[[Account, web.Request], web.Response]) -> Callable[[web.Request], Any]:
        """Key, signature and time first, then the limiter; only then the answer. All of it stands in the ledger."""

        async def serve(request: web.Request) -> web.Response:
            account = self._account(request)
            if account is None:
                response = self._refusal(401, "unauthorized")
            elif not account.admit(self.clock(), self.habits.per_minute):
                response = self._refusal(429, "too many requests")
            else:
                response = answer(account, request)
            name = account.access_key if account else None
            self.ledger.add("request", account=name, path=request.raw_path, status=response.status)
            response.headers["Date"] = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(self.clock()))
            return response

        return serve

    def _account(self, request: web.Request) -> Account | None:
        """Whose request this is; None when key, signature or time is wrong, which the service does not tell apart."""
        account = self._accounts.get(request.headers.get("Access-Key", ""))
        timestamp = request.headers.get("Timestamp", "")
        if account is None or not (timestamp.isascii() and timestamp.isdigit()):
            return None
        if abs(int(timestamp) / 1000 - self.clock()) > self.habits.skew_s:
            return None
        path, _, params = request.raw_path.partition("?")
        digest = hmac.digest(account.secret_key.encode(), f"{timestamp}.{path}.{params}".encode(), hashlib.sha256)
        expected = base64.b64encode(digest).decode()
        given = request.headers.get("Signature", "")
        return account if hmac.compare_digest(expected.encode(), given.encode()) else None

    def _refusal(self, status: int, text: str) -> web.Response:
        if self.habits.error_body == "empty":
            return web.Response(status=status)
        if self.habits.error_body == "text":
            return web.Response(status=status, text=f"<html>{text}</html>", content_type="text/html")
        return web.json_response({"message": text}, status=status)

    def _array(self, rows: list[Any]) -> web.Response:
        return web.json_response({"data": rows} if self.habits.wrapped else rows)

    # -- the answers

    def _list(self, account: Account, _request: web.Request) -> web.Response:
        hubs = [device for device in account.devices.values() if not device.parent]
        return self._array([{**hub.listed(), "sublist": _below(account, hub)} for hub in hubs])

    def _datamap(self, account: Account, request: web.Request) -> web.Response:
        device = account.devices.get(request.match_info["id"])
        return self._refusal(404, "not found") if device is None else self._array(device.datamap)

    def _latest(self, account: Account, request: web.Request) -> web.Response:
        """The last values that were heard, however old: an offline device answers like any other."""
        device = account.devices.get(request.match_info["id"])
        if device is None:
            return self._refusal(404, "not found")
        values = (
            {key: _as_text(value) for key, value in device.latest.items()} if self.habits.strings else device.latest
        )
        return web.json_response({"data": values})

    def _history(self, account: Account, request: web.Request) -> web.Response:
        """One row for each day of the asked month that has begun: a sun that follows the year, a cloud now and then."""
        device = account.devices.get(request.match_info["id"])
        try:
            year, month = int(request.query["year"]), int(request.query["month"])
            midnight = calendar.timegm((year, month, 1, 0, 0, 0)) - int(request.query["utcOffsetHours"]) * 3600
            days = calendar.monthrange(year, month)[1]
        except (KeyError, ValueError):
            return self._refusal(400, "bad request")
        if device is None:
            return self._refusal(404, "not found")
        begun = [midnight + day * 86_400 for day in range(days) if midnight + day * 86_400 <= self.clock()]
        return self._array([{"generatePower": _yield_wh(device, start), "ts": start * 1000} for start in begun])

    def _alarm(self, account: Account, request: web.Request) -> web.Response:
        device = account.devices.get(request.match_info["id"])
        return self._refusal(404, "not found") if device is None else self._array(device.alarms)

    def _log(self, account: Account, request: web.Request) -> web.Response:
        device = account.devices.get(request.match_info["id"])
        return self._refusal(404, "not found") if device is None else self._array(device.log[:LOG_MAX])

    # -- the control plane

    async def _get_devices(self, _request: web.Request) -> web.Response:
        return web.json_response(
            [asdict(one) for account in self._accounts.values() for one in account.devices.values()]
        )

    async def _post_device(self, request: web.Request) -> web.Response:
        """``{"online": bool, "latest": {…}, "alarms": […], "log": […]}``; ``latest`` is laid over what is there."""
        wanted = await control_body(request)
        device = self._device(request.match_info["id"])
        kinds: dict[str, type] = {"online": bool, "latest": dict, "alarms": list, "log": list}
        for key, value in wanted.items():
            if key not in kinds or not isinstance(value, kinds[key]):
                raise ControlError(f"A device takes no {key!r} of that kind; known: {', '.join(kinds)}")
        if "latest" in wanted:
            wanted["latest"] = {**device.latest, **wanted["latest"]}
        for key, value in wanted.items():
            setattr(device, key, value)
        return web.json_response(asdict(device))

    async def _get_habits(self, _request: web.Request) -> web.Response:
        return web.json_response(asdict(self.habits))

    async def _post_habits(self, request: web.Request) -> web.Response:
        self.habits.change(await control_body(request))
        return web.json_response(asdict(self.habits))

    def _device(self, id: str) -> PlantDevice:
        for account in self._accounts.values():
            if id in account.devices:
                return account.devices[id]
        raise ControlError(f"No device has the id {id!r}")


def _below(account: Account, hub: PlantDevice) -> list[dict[str, Any]]:
    return [device.listed() for device in account.devices.values() if device.parent == hub.id]


def _as_text(value: Any) -> Any:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return f"{value:.2f}" if is_number else value


def _yield_wh(device: PlantDevice, day: float) -> float:
    """Watt-hours of one day, the same each time it is asked; devices without a solar input make none."""
    if device.latest.get("solarWatts") is None:
        return 0.0
    season = 1.0 - 0.6 * math.cos(2 * math.pi * (time.gmtime(day).tm_yday + 10) / 365)
    cloud = 0.35 if int(day / 86_400) % 5 == 0 else 1.0
    return round(1_400.0 * season * cloud, 1)
