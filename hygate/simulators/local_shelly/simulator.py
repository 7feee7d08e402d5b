"""A Shelly device's own RPC over HTTP, as far as its virtual numbers go.

Sources: Shelly's "RPC protocol", "Number", "Common errors" (−103 invalid argument, −105 not found), "Authentication".
``POST /rpc`` takes a frame and answers with one; ``GET /rpc/Method?…`` answers the bare result, or HTTP 500 with the
bare error. ``/shelly`` and ``Shelly.GetDeviceInfo`` need no password.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from aiohttp import web

from hygate.simulators.base import ControlError, Simulator, control_body
from hygate.simulators.local_shelly.digest import Digest

DEVICE_ID = "shellypro2-aabbccddeeff"
LARGEST = 999_999_999_999_999.0
VIRTUAL_IDS = range(200, 300)
NUMBERS_MOST = 10
INVALID_ARGUMENT, NOT_FOUND, NO_HANDLER = -103, -105, 404
OPEN_METHODS = frozenset({"Shelly.GetDeviceInfo"})
Params = Mapping[str, Any]


class RpcError(Exception):
    """What the answer's ``error`` says."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


@dataclass
class Number:
    """One virtual component ``number:id``; ``updated`` is Unix seconds."""

    value: float = 0.0
    min: float = -LARGEST
    max: float = LARGEST
    updated: float = 0.0
    source: str = "init"


class LocalShellySimulator(Simulator):
    """One device. ``numbers`` are its virtual components by their ids; an id that is not among them does not exist."""

    name = "local-shelly"

    def __init__(self, ids: Iterable[int] = (), *, password: str = "", clock: Callable[[], float] = time.time) -> None:
        super().__init__(clock=clock)
        self.numbers = {number: Number() for number in ids}
        self.digest = Digest(DEVICE_ID, clock, password)

    @property
    def values(self) -> dict[int, float]:
        """The numbers that were written, by their ids."""
        return {number: one.value for number, one in self.numbers.items() if one.updated}

    def add_routes(self, app: web.Application) -> None:
        app.router.add_post("/rpc", self._frame)
        app.router.add_get("/rpc/{method}", self._plain)
        app.router.add_get("/shelly", self._shelly)
        app.router.add_get("/_ctl/device", self._get_device)
        app.router.add_post("/_ctl/device", self._post_device)

    # -- the ways in

    async def _frame(self, request: web.Request) -> web.Response:
        try:
            frame = json.loads(await request.text())
        except ValueError:
            frame = None
        if not isinstance(frame, dict) or not isinstance(frame.get("method"), str):
            return web.Response(status=400, text="Bad request\n")
        method, params = frame["method"], frame.get("params") or {}
        refused = self._refused(request, method)
        if refused is not None:
            return refused
        answer = {"id": frame.get("id"), "src": DEVICE_ID} | ({"dst": frame["src"]} if "src" in frame else {})
        try:
            return web.json_response(answer | {"result": self._act(method, params)})
        except RpcError as error:
            return web.json_response(answer | {"error": self._noted(method, error)})

    async def _plain(self, request: web.Request) -> web.Response:
        method = request.match_info["method"]
        refused = self._refused(request, method)
        if refused is not None:
            return refused
        try:
            return web.json_response(self._act(method, {key: _parsed(text) for key, text in request.query.items()}))
        except RpcError as error:
            return web.json_response(self._noted(method, error), status=500)

    async def _shelly(self, _request: web.Request) -> web.Response:
        return web.json_response(self._info({}))

    def _refused(self, request: web.Request, method: str) -> web.Response | None:
        """401 with a challenge; 429 where too many were asked for."""
        shown = request.headers.get("Authorization", "")
        if method in OPEN_METHODS or self.digest.admits(shown, request.method, request.raw_path):
            return None
        self.ledger.add("unauthorized", method=method, shown=bool(shown))
        challenge = self.digest.challenge()
        if challenge is None:
            return web.json_response({"code": 429, "message": "Too many failed authentication attempts"}, status=429)
        return web.Response(status=401, headers={"WWW-Authenticate": challenge})

    # -- the methods

    def _act(self, method: str, params: Any) -> Any:
        known = {
            "Number.Set": self._set,
            "Number.GetStatus": self._status,
            "Number.GetConfig": self._config,
            "Shelly.GetDeviceInfo": self._info,
        }
        if method not in known:
            raise RpcError(NO_HANDLER, f"No handler for {method}")
        if not isinstance(params, dict):
            raise RpcError(INVALID_ARGUMENT, "Invalid params")
        return known[method](params)

    def _set(self, params: Params) -> None:
        number, one = self._one(params)
        if "value" not in params:
            raise RpcError(INVALID_ARGUMENT, "Missing required 'value'")
        value = params["value"]
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise RpcError(INVALID_ARGUMENT, f"number:{number}: 'value' is not a number")
        if not one.min <= value <= one.max:
            raise RpcError(INVALID_ARGUMENT, f"number:{number}: 'value' is not between {one.min:g} and {one.max:g}")
        one.value, one.updated, one.source = value, self.clock(), "rpc"
        self.ledger.add("set", number=number, value=value)

    def _status(self, params: Params) -> dict[str, Any]:
        _, one = self._one(params)
        return {"value": one.value, "source": one.source, "last_update_ts": int(one.updated)}

    def _config(self, params: Params) -> dict[str, Any]:
        number, one = self._one(params)
        bounds = {"min": one.min, "max": one.max}
        return {"id": number, "name": None, "persisted": False, "default_value": 0, **bounds, "meta": {}}

    def _info(self, _params: Params) -> dict[str, Any]:
        return {
            "id": DEVICE_ID,
            "mac": DEVICE_ID.partition("-")[2].upper(),
            "model": "SPSW-202XE16EU",
            "gen": 2,
            "ver": "1.7.5",
            "app": "Pro2",
            "auth_en": bool(self.digest.password),
            "auth_domain": DEVICE_ID if self.digest.password else None,
        }

    def _one(self, params: Params) -> tuple[int, Number]:
        if "id" not in params:
            raise RpcError(INVALID_ARGUMENT, "Missing required 'id'")
        number = params["id"]
        if isinstance(number, bool) or not isinstance(number, int):
            raise RpcError(INVALID_ARGUMENT, "'id' is not a number")
        if number not in self.numbers:
            raise RpcError(NOT_FOUND, f"Bad id={number}")
        return number, self.numbers[number]

    def _noted(self, method: str, error: RpcError) -> dict[str, Any]:
        self.ledger.add("refused", method=method, code=error.code, message=error.message)
        return {"code": error.code, "message": error.message}

    # -- the control plane

    async def _get_device(self, _request: web.Request) -> web.Response:
        return web.json_response(self._shown())

    async def _post_device(self, request: web.Request) -> web.Response:
        """``{"password": "…", "numbers": {"200": {"min": 0, "max": 9} | null}, "restart": true}``; null takes away."""
        spec = await control_body(request)
        unknown = set(spec) - {"password", "numbers", "restart"}
        if unknown or not isinstance(spec.get("numbers", {}), dict):
            raise ControlError(f"The device has password, numbers and restart; unknown: {sorted(unknown)}")
        after = {number: self._wanted(number, wanted) for number, wanted in _by_id(spec.get("numbers", {}))}
        merged = {number: one for number, one in (self.numbers | after).items() if one is not None}
        if len(merged) > NUMBERS_MOST:
            raise ControlError(f"A device has at most {NUMBERS_MOST} virtual components")
        self.numbers = merged
        if "password" in spec:
            self.digest.password = str(spec["password"])
        if spec.get("restart") or "password" in spec:
            self.digest.forget()
        return web.json_response(self._shown())

    def _wanted(self, number: int, wanted: Any) -> Number | None:
        if wanted is None:
            return None
        if not isinstance(wanted, dict) or set(wanted) - {"min", "max"}:
            raise ControlError("A number has min and max")
        present = self.numbers.get(number) or Number()
        try:
            least, most = float(wanted.get("min", present.min)), float(wanted.get("max", present.max))
        except (TypeError, ValueError) as error:
            raise ControlError("min and max are numbers") from error
        return Number(present.value, least, most, present.updated, present.source)

    def _shown(self) -> dict[str, Any]:
        return {"numbers": {str(number): asdict(one) for number, one in self.numbers.items()}}


def _parsed(text: str) -> Any:
    """An argument of the query string: JSON where it is some, else a text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _by_id(numbers: Mapping[str, Any]) -> list[tuple[int, Any]]:
    try:
        found = [(int(number), wanted) for number, wanted in numbers.items()]
    except ValueError as error:
        raise ControlError("numbers are named by their ids") from error
    if any(number not in VIRTUAL_IDS for number, _ in found):
        raise ControlError("Virtual components have the ids 200 to 299")
    return found
