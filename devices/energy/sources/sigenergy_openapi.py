"""Sigenergy OpenAPI: the maker's cloud, five minutes behind the plant and unable to say by how much.

Fit for showing and planning, so ``admits`` is False: a site sells no high power on it unless its administrator says so.
``gridPower`` is positive when the site sells, ``batteryPower`` when the battery charges, all in kW; both signs were
checked against a captured balance (0.3 + 4.3 = 0.89 + 3.71). The answer tells no time of measurement: what is passed
on is the time of the reply.
"""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote

import httpx

from devices.energy.reading import Field, Fields, Measured
from devices.energy.sources.sigenergy_account import PERIOD, Answer, account_of
from devices.energy.sources.sigenergy_answers import (
    AccessRestricted,
    AccountLocked,
    KeyRefused,
    NoRights,
    StationOffline,
    TokenRefused,
    data_of,
    number,
)
from devices.energy.sources.sigenergy_hosts import CheckedTransport, api_base, region_of
from devices.energy.sources.source import Deliver, Found, Malformed, RateLimited, Unreachable
from hygate import clock

# the content network in front turns away programs that do not name themselves as a browser would
USER_AGENT = "Mozilla/5.0 (compatible; Hygate)"
REQUEST_S = 8.0
TEST_S = 9.5
ANSWER_MAX = 1_000_000
RENEW_BEFORE = timedelta(minutes=5)
CLOCK_OFF_S = 30
LOOK_S = 1.0
FLOW, SYSTEMS = "energyFlow", "system"
PLANNING_ONLY = (
    "This source shows, it does not admit: its figures are up to five minutes old and cannot say so. To sell high"
    " power, add Sigenergy Modbus or Sigenergy MQTT push, or let the location admit on 5-minute data with extra margin."
)


class CertificateInvalid(Unreachable):
    """The host shows a certificate that does not hold."""

    code = "sigenergy-tls"
    sentence = "The certificate of the Sigenergy host is not valid."
    advice = "Check this machine's clock, and whether something in this network opens TLS connections."


@dataclass(frozen=True)
class OpenApiSettings:
    """``region_or_base_url``: ``eu`` or ``https://openapi-eu.sigencloud.com``; ``system_id`` stands in mySigen."""

    region_or_base_url: str
    app_key: str
    app_secret: str = field(repr=False)
    system_id: str = ""


class SigenergyOpenApi:
    """The adapter: see devices/energy/sources/source.py for what it promises."""

    admits = False

    def __init__(self, settings: OpenApiSettings, known: Fields | None = None) -> None:
        """``known``: what another process read last, for *Test connection*. Raises ``HostRefused``."""
        self._settings = settings
        self._base_url = api_base(settings.region_or_base_url)
        self._account = account_of(self._base_url, settings.app_key, settings.app_secret)
        self._known = known or {}
        self._clock_off_s = 0.0

    @property
    def base_url(self) -> str:
        return self._base_url

    @property
    def renew_at(self) -> datetime:
        """When the token should be replaced."""
        return self._account.renew_at

    # -- what a source does
    async def watch(self, deliver: Deliver) -> None:
        """Ask once in five minutes: the flows, then the station's state."""
        while True:
            await self._until_due(FLOW)
            try:
                await deliver(await self.flows())
            except StationOffline:
                await deliver({Field.RUNNING: Measured(0, clock.now())})
                raise
            await deliver(await self.state())

    async def test(self) -> Found:
        """Log in anew, then use the answer that is known: a fresh one costs the station its next five minutes."""
        try:
            async with asyncio.timeout(TEST_S):
                return await self._tested()
        except TimeoutError:
            raise Unreachable("Sigenergy's cloud did not answer within ten seconds.", "Try again.") from None

    # -- what it asks
    async def token(self, *, fresh: bool = False) -> str:
        """The access token, from the cache until five minutes before it ends; raises ``KeyRefused`` and others."""
        if fresh or clock.now() >= self._account.renew_at:
            await self._log_in()
        return self._account.token

    async def flows(self) -> Fields:
        """The energy flow, at most five minutes old; raises ``SourceError``."""
        station = self._settings.system_id
        answer = await self._ask(FLOW, station, f"/openapi/systems/{quote(station, safe='')}/energyFlow")
        return flow_fields(answer.content, answer.at)

    async def state(self) -> Fields:
        """Whether the station runs and is on the grid, out of the account's list; nothing where it is not listed."""
        answer = await self._ask(SYSTEMS, "", "/openapi/system")
        return state_fields(station_in(answer.content, self._settings.system_id) or {}, answer.at)

    async def _tested(self) -> Found:
        await self.token(fresh=True)
        sentences = ["Sigenergy accepts the app key."]
        sentences += await self._rights()
        fields = dict(self._young())
        if fields:
            sentences.append("The figures are those that were read last: a station may be asked once in five minutes.")
        else:
            fields, said = await self._first_look()
            sentences += said
        if abs(self._clock_off_s) > CLOCK_OFF_S:
            sentences.append(
                f"This machine's clock differs from Sigenergy's by {abs(self._clock_off_s):.0f} s: set it."
            )
        return Found((*sentences, PLANNING_ONLY), fields)

    async def _rights(self) -> list[str]:
        """A sentence that names the station; raises ``NoRights`` when the account's list lacks it."""
        try:
            answer = await self._ask(SYSTEMS, "", "/openapi/system")
        except AccessRestricted:
            return []
        station = station_in(answer.content, self._settings.system_id)
        if station is None:
            raise NoRights(f"The account's list of stations has no {self._settings.system_id}.")
        return [f"The station {station.get('systemName') or self._settings.system_id} is open to it."]

    def _young(self) -> Fields:
        """What is known, here or by another process, and younger than the time in which nothing new may be asked."""
        now = clock.now()
        answer = self._account.answer(FLOW, self._settings.system_id, now)
        if answer is not None:
            return flow_fields(answer.content, answer.at)
        return {name: measured for name, measured in self._known.items() if now - measured.at < PERIOD}

    async def _first_look(self) -> tuple[dict[Field, Measured], list[str]]:
        try:
            return dict(await self.flows()), []
        except AccessRestricted:
            return {}, ["Its figures were asked for less than five minutes ago, so there are none to show yet."]

    async def _until_due(self, what: str) -> None:
        """Wait for the moment at which asking is allowed again, by Hygate's clock."""
        due = self._account.due(what, self._settings.system_id)
        while due is not None and (left := (due - clock.now()).total_seconds()) > 0:  # noqa: ASYNC110 - Hygate's clock sets no event
            await asyncio.sleep(min(left, LOOK_S))

    async def _ask(self, what: str, station: str, path: str) -> Answer:
        """The answer to a question that is allowed once in five minutes, or the one that was given before."""
        account, now = self._account, clock.now()
        known = account.answer(what, station, now)
        if known is not None:
            return known
        due = account.due(what, station)
        if due is not None and now < due:
            left_s = (due - now).total_seconds()
            raise AccessRestricted(
                left_s, f"Hygate asks Sigenergy again in {left_s:.0f} s, not to be refused for longer."
            )
        try:
            answer = await self._get(path)
        except RateLimited as refused:
            raise account.back_off(what, station, refused, clock.now()) from None
        account.answered(what, station, answer, clock.now())
        return answer

    async def _get(self, path: str) -> Answer:
        """With the cached token; when that is refused, once more with a new one."""
        try:
            return await self._exchange("GET", path, token=await self.token())
        except TokenRefused:
            return await self._exchange("GET", path, token=await self.token(fresh=True))

    async def _log_in(self) -> None:
        pair = f"{self._settings.app_key}:{self._settings.app_secret}"
        body = {"key": base64.b64encode(pair.encode()).decode()}
        try:
            answer = await self._exchange("POST", "/openapi/auth/login/key", body=body)
        except TokenRefused:
            raise KeyRefused from None
        except AccountLocked as locked:
            raise self._account.back_off("login", "", locked, clock.now()) from None
        self._account.token, lasts = token_in(answer.content)
        self._account.renew_at = clock.now() + lasts - RENEW_BEFORE

    async def _exchange(self, method: str, path: str, *, token: str = "", body: Any = None) -> Answer:
        """One request within eight seconds; every failure becomes a ``SourceError``, none of which holds a secret."""
        self._account.spend(clock.now())
        try:
            async with asyncio.timeout(REQUEST_S):
                status, headers, text = await self._send(method, path, self._headers(token), body)
        except (TimeoutError, httpx.TimeoutException):
            raise Unreachable("Sigenergy's cloud did not answer in time.", "Check this machine's internet.") from None
        except httpx.HTTPError as error:
            raise unreachable(error) from None
        now = clock.now()
        self._clock_off_s = clock_difference(headers.get("date", ""), now)
        content, told = data_of(status, headers.get("content-type", ""), text)
        # a reply out of somebody's cache shows an older time than ours, and is as old as that
        at = now if told is None else min(now, datetime.fromtimestamp(told, UTC))
        return Answer(content, at)

    async def _send(
        self, method: str, path: str, headers: dict[str, str], body: Any
    ) -> tuple[int, Mapping[str, str], str]:
        async with (
            httpx.AsyncClient(transport=CheckedTransport(), follow_redirects=False, timeout=REQUEST_S) as client,
            client.stream(method, self._base_url + path, headers=headers, json=body) as response,
        ):
            content = bytearray()
            async for part in response.aiter_bytes():
                content += part
                if len(content) > ANSWER_MAX:
                    raise Malformed("Sigenergy's answer is longer than any real one.", "Check the region.")
            return response.status_code, response.headers, content.decode(errors="replace")

    def _headers(self, token: str) -> dict[str, str]:
        region = region_of(self._base_url)
        headers = {"User-Agent": USER_AGENT, "Accept": "application/json"}
        if region:
            headers["sigen-region"] = region
        return {**headers, "Authorization": f"Bearer {token}"} if token else headers


def build(settings: OpenApiSettings, known: Fields | None = None) -> SigenergyOpenApi:
    return SigenergyOpenApi(settings, known)


# -- what the answers say

KILOWATTS: Mapping[str, tuple[Field, int]] = {
    "pvPower": (Field.PV, 1),
    "gridPower": (Field.GRID_IMPORT, -1),
    "batteryPower": (Field.BATTERY_CHARGE, 1),
    "loadPower": (Field.LOAD, 1),
    "evPower": (Field.CAR_CHARGE, 1),
}


def flow_fields(data: Any, at: datetime) -> Fields:
    """``data`` of energyFlow in W; a null stays absent. Raises ``Malformed`` where nothing can be used."""
    if not isinstance(data, dict):
        raise Malformed("Sigenergy's energy flow is empty.", "Look whether mySigen shows the plant.")
    fields: dict[Field, Measured] = {}
    for name, (wanted, sign) in KILOWATTS.items():
        kilowatts = number(data.get(name))
        if kilowatts is not None:
            fields[wanted] = Measured(sign * round(kilowatts * 1000), at)
    soc = number(data.get("batterySoc"))
    if soc is not None and 0 <= soc <= 100:
        fields[Field.SOC] = Measured(soc, at)
    if Field.GRID_IMPORT not in fields:
        raise Malformed("Sigenergy's energy flow has no grid power.", "Look whether mySigen shows the plant.")
    return fields


def state_fields(station: Mapping[str, Any], at: datetime) -> Fields:
    """Every word but *Normal* and *onGrid* counts as the worse state."""
    fields: dict[Field, Measured] = {}
    if "status" in station:
        fields[Field.RUNNING] = Measured(int(station["status"] == "Normal"), at)
    if "onOffGridStatus" in station:
        fields[Field.ON_GRID] = Measured(int(station["onOffGridStatus"] == "onGrid"), at)
    return fields


def station_in(data: Any, system_id: str) -> Mapping[str, Any] | None:
    """The one station of an account's list."""
    stations = data if isinstance(data, list) else []
    return next((one for one in stations if isinstance(one, dict) and one.get("systemId") == system_id), None)


def token_in(data: Any) -> tuple[str, timedelta]:
    """The access token and how long it lasts; raises ``Malformed``."""
    token = data.get("accessToken") if isinstance(data, dict) else None
    lasts_s = number(data.get("expiresIn")) if isinstance(data, dict) else None
    if not isinstance(token, str) or not token or lasts_s is None or not 0 < lasts_s < 1e9:
        raise Malformed("Sigenergy's login answers without a token.", "Try again later.")
    return token, timedelta(seconds=lasts_s)


def clock_difference(date: str, now: datetime) -> float:
    """Seconds by which this machine's clock is ahead of the ``Date`` header; 0 where there is none."""
    try:
        return (now - parsedate_to_datetime(date)).total_seconds()
    except (TypeError, ValueError):
        return 0.0


def unreachable(error: httpx.HTTPError) -> Unreachable:
    """No connection: the certificate, where that was it."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return CertificateInvalid(f"The certificate of the Sigenergy host is not valid: {cause.verify_message}.")
        cause = cause.__cause__ or cause.__context__
    return Unreachable("Sigenergy's cloud cannot be reached.", "Check the region, and this machine's internet.")


__all__ = ["Answer", "OpenApiSettings", "SigenergyOpenApi", "build"]
