"""The Sigenergy OpenAPI: key login, the account's stations, the energy flow, and every refusal of the real one.

Refused: no browser's User-Agent (403 with a web page), a bad or old token (401), a wrong key (11003; the fifth in an
hour locks the account, 11002), a station that is not the account's (1111), the same question within five minutes
(1201), the eleventh request of a minute (1110), a plant without a connection (13008). ``data`` comes wrapped as the
real service wraps it: a JSON string for the login and the list, an object for the flow.
"""

from __future__ import annotations

import base64
import binascii
import json
import secrets
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from aiohttp import web

from hygate.simulators.base import ControlError, Ledger, control_body
from hygate.simulators.sigenergy.plant import Flows, Plant

DEMO_APP_KEY = "demo-sigenergy-key"
DEMO_APP_SECRET = "demo-sigenergy-secret"  # noqa: S105 - opens a simulator
DEMO_SYSTEM_ID = "DEMO0000000001"
PERIOD_S, MINUTE_S, HOUR_S = 300.0, 60.0, 3600.0
REQUESTS_A_MINUTE = 10
WRONG_LOGINS, LOCKED_S = 5, 180.0
STATES = {0: "Standby", 1: "Normal", 2: "Fault", 3: "Shutdown", 7: "Fault"}
MESSAGES = {
    0: "success",
    1000: "param illegal",
    1110: "Interface is current-limited",
    1111: "Station not permitted",
    1201: "access restriction",
    11002: "account locked",
    11003: "authentication failed",
    13008: "station disconnect",
}
TURNED_AWAY = "<!DOCTYPE HTML><html><head><title>ERROR: The request could not be satisfied</title></head></html>"


@dataclass
class Portal:
    """What the developer portal and the tests set; the names are those of ``POST /_ctl/openapi``."""

    app_key: str = DEMO_APP_KEY
    app_secret: str = DEMO_APP_SECRET
    system_id: str = DEMO_SYSTEM_ID
    token_lasts_s: int = 43199
    offline: bool = False  # the plant has lost its way to the cloud
    browsers_only: bool = True


class Refusal(Exception):
    """A ``code`` other than 0, in an answer with HTTP 200."""

    def __init__(self, code: int) -> None:
        self.code = code
        super().__init__(MESSAGES[code])


class Limits:
    """Who asked what, and when: ten requests a minute, each question once in five minutes for a station."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.forget()

    def forget(self) -> None:
        self._requests: deque[float] = deque(maxlen=REQUESTS_A_MINUTE)
        self._asked: dict[tuple[str, str], float] = {}
        self._wrong: deque[float] = deque(maxlen=WRONG_LOGINS)
        self._locked_until = 0.0

    def request(self) -> None:
        now = self._clock()
        if len(self._requests) == REQUESTS_A_MINUTE and now - self._requests[0] < MINUTE_S:
            raise Refusal(1110)
        self._requests.append(now)

    def question(self, what: str, station: str) -> None:
        now = self._clock()
        if now - self._asked.get((what, station), -PERIOD_S) < PERIOD_S:
            raise Refusal(1201)
        self._asked[what, station] = now

    def login(self, *, right: bool) -> None:
        now = self._clock()
        if now < self._locked_until:
            raise Refusal(11002)
        if right:
            return
        self._wrong.append(now)
        if len(self._wrong) == WRONG_LOGINS and now - self._wrong[0] < HOUR_S:
            self._locked_until = now + LOCKED_S
            self._wrong.clear()
        raise Refusal(11003)


class OpenApi:
    """The service over one plant; ``add_routes`` puts it and its control route into an application."""

    def __init__(self, plant: Plant, clock: Callable[[], float], ledger: Ledger | None = None) -> None:
        self._plant, self._clock = plant, clock
        self._ledger = ledger or Ledger(clock)
        self._tokens: dict[str, float] = {}
        self.portal = Portal()
        self.limits = Limits(clock)

    def add_routes(self, app: web.Application) -> None:
        app.router.add_post("/openapi/auth/login/key", self._login)
        app.router.add_get("/openapi/system", self._systems)
        app.router.add_get("/openapi/systems/{system_id}/energyFlow", self._energy_flow)
        app.router.add_get("/_ctl/openapi", self._get_portal)
        app.router.add_post("/_ctl/openapi", self._set_portal)
        app.router.add_delete("/_ctl/openapi/tokens", self._forget_tokens)
        app.router.add_delete("/_ctl/openapi/limits", self._forget_limits)

    def accepts(self, app_key: str, token: str) -> bool:
        """Whether the broker may let this pair in."""
        return app_key == self.portal.app_key and self._clock() < self._tokens.get(token, 0.0)

    # -- the service
    async def _login(self, request: web.Request) -> web.Response:
        def answer() -> str:
            self.limits.login(right=_pair(body) == (self.portal.app_key, self.portal.app_secret))
            token = secrets.token_urlsafe(24)
            self._tokens[token] = self._clock() + self.portal.token_lasts_s
            shown = {"tokenType": "Bearer", "accessToken": token, "expiresIn": self.portal.token_lasts_s}
            return json.dumps(shown)

        body = await request.text()
        return self._answered(request, "login", answer)

    async def _systems(self, request: web.Request) -> web.Response:
        def answer() -> str:
            self.limits.question("system", "")
            return json.dumps([self._system()])

        return self._refused(request) or self._answered(request, "system", answer)

    async def _energy_flow(self, request: web.Request) -> web.Response:
        def answer() -> dict[str, float]:
            system_id = request.match_info["system_id"]
            if system_id != self.portal.system_id:
                raise Refusal(1111)
            self.limits.question("energyFlow", system_id)
            if self.portal.offline:
                raise Refusal(13008)
            return energy_flow(self._plant.flows())

        return self._refused(request) or self._answered(request, "energyFlow", answer)

    def _system(self) -> dict[str, Any]:
        flows = self._plant.flows()
        return {
            "systemId": self.portal.system_id,
            "systemName": "Simulated plant",
            "status": "Disconnection" if self.portal.offline else STATES[flows.running_state],
            "isActivate": True,
            "onOffGridStatus": "onGrid" if flows.on_grid else "offGrid",
            "timeZone": "Etc/UTC",
        }

    def _refused(self, request: web.Request) -> web.Response | None:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if self._clock() < self._tokens.get(token, 0.0) or self._is_turned_away(request):
            return None
        self._ledger.add("openapi", what=request.path, status=401)
        return web.Response(status=401)

    def _is_turned_away(self, request: web.Request) -> bool:
        return self.portal.browsers_only and not request.headers.get("User-Agent", "").startswith("Mozilla/")

    def _answered(self, request: web.Request, what: str, answer: Callable[[], Any]) -> web.Response:
        if self._is_turned_away(request):
            self._ledger.add("openapi", what=what, status=403)
            return web.Response(status=403, text=TURNED_AWAY, content_type="text/html")
        try:
            self.limits.request()
            code, data = 0, answer()
        except Refusal as refusal:
            code, data = refusal.code, None
        self._ledger.add("openapi", what=what, status=200, code=code)
        body = {"code": code, "msg": MESSAGES[code], "timestamp": int(self._clock()), "data": data}
        return web.json_response(body)

    # -- control
    async def _get_portal(self, _request: web.Request) -> web.Response:
        return web.json_response(vars(self.portal))

    async def _set_portal(self, request: web.Request) -> web.Response:
        wanted = await control_body(request)
        kinds = {one.name: type(getattr(self.portal, one.name)) for one in fields(Portal)}
        for name, value in wanted.items():
            if name not in kinds or type(value) is not kinds[name]:
                raise ControlError(f"{name!r} is no setting, or has the wrong type: {sorted(kinds)}")
        vars(self.portal).update(wanted)
        return web.json_response(vars(self.portal))

    async def _forget_tokens(self, _request: web.Request) -> web.Response:
        self._tokens.clear()
        return web.json_response({})

    async def _forget_limits(self, _request: web.Request) -> web.Response:
        self.limits.forget()
        return web.json_response({})


def energy_flow(flows: Flows) -> dict[str, float]:
    """The plant in the cloud's words: kW in steps of 10 W, ``gridPower`` positive when the site sells."""
    return {
        "pvPower": _kilowatts(flows.pv_w + flows.third_party_pv_w),
        "gridPower": _kilowatts(-flows.grid_import_w),
        "evPower": _kilowatts(flows.car_charge_w),
        "loadPower": _kilowatts(flows.load_w),
        "heatPumpPower": 0.0,
        "batteryPower": _kilowatts(flows.battery_charge_w),
        "batterySoc": flows.soc_pct,
    }


def _kilowatts(watts: int) -> float:
    return round(watts / 1000, 2) + 0.0


def _pair(body: str) -> tuple[str, str]:
    """App key and secret out of ``{"key": base64("key:secret")}``, with or without padding."""
    try:
        text = str(json.loads(body)["key"])
        pair = base64.b64decode(text + "=" * (-len(text) % 4), validate=True).decode()
    except (ValueError, KeyError, TypeError, binascii.Error):
        return "", ""
    app_key, _, app_secret = pair.partition(":")
    return app_key, app_secret
