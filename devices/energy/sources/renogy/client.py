"""Signed requests to Renogy's OpenAPI, at most so many a minute, and a name for everything that can go wrong."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx

from devices.energy.sources.renogy.signing import signed_headers
from devices.energy.sources.source import Malformed, RateLimited, Refused, SourceError, Unreachable
from devices.shelly.server_url import is_loopback
from hygate import clock

HOST = "openapi.renogy.com"
BASE_URL = f"https://{HOST}"
ANSWER_MAX_BYTES = 1024 * 1024
TIMEOUT_S = 5.0
PER_MINUTE = 30  # the service's own limit, for one key
KEPT_BACK = 10  # of them, for *Test connection*: it runs in another process with the same key
WINDOW_S = 61.0  # a minute, and a second for requests that travel at different speeds
QUIET_S = 60.0
SKEW_S = 60.0  # further off than this, the clock is the likelier fault; what Renogy tolerates is not documented


def check_base_url(url: str, simulated: bool) -> str:
    """The address in its plain form; ValueError with a sentence.

    The keys sign for all of an owner's devices, so they go to Renogy's own host, or to this machine where Hygate runs
    with simulators.
    """
    try:
        parts = urlsplit(url.strip())
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError:
        raise ValueError(f"The server address must be {BASE_URL}.") from None
    if parts.path not in ("", "/") or parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError(f"The server address must be only {BASE_URL}, without a path.")
    if simulated and parts.scheme in ("http", "https") and is_loopback(host):
        shown = f"[{host}]" if ":" in host else host
        return f"{parts.scheme}://{shown}" + (f":{port}" if port is not None else "")
    if parts.scheme == "https" and host == HOST and port in (None, 443):
        return BASE_URL
    if is_loopback(host):
        raise ValueError("A server on this machine is only for simulators: start Hygate with HYGATE_SIMULATED=1.")
    raise ValueError(f"The host {host!r} is not Renogy's; the address is {BASE_URL}.")


@dataclass(frozen=True)
class RenogySettings:
    """One account. ``device_ids``: the devices that count, empty for all; times in seconds.

    ``poll_s`` is the rest between two passes; a pass makes one request and one for each device that counts.
    """

    access_key: str
    secret_key: str = field(repr=False)
    base_url: str = BASE_URL
    device_ids: tuple[str, ...] = ()
    poll_s: float = 60.0
    alarms_s: float = 600.0
    datamap_s: float = 6 * 3600.0


class Budget:
    """At most ``most`` requests in any minute. ``steady`` counts seconds and never jumps."""

    def __init__(self, most: int = PER_MINUTE - KEPT_BACK, steady: Callable[[], float] = time.monotonic) -> None:
        self._most, self._steady = most, steady
        self._sent: deque[float] = deque()

    def wait_s(self) -> float:
        """How long until the next request may leave; 0 = now."""
        now = self._steady()
        while self._sent and self._sent[0] <= now - WINDOW_S:
            self._sent.popleft()
        return 0.0 if len(self._sent) < self._most else max(0.0, self._sent[-self._most] + WINDOW_S - now)

    async def take(self) -> None:
        """Book the next free place within the minute, then wait for it: two who ask at once get two places."""
        wait = self.wait_s()
        self._sent.append(self._steady() + wait)
        if wait > 0:
            await asyncio.sleep(wait)


class RenogyClient:
    """The six reads of the API. Each makes one request, returns parsed JSON, and raises a ``SourceError`` by name."""

    def __init__(
        self,
        settings: RenogySettings,
        http: httpx.AsyncClient,
        budget: Budget,
        now: Callable[[], datetime] = clock.now,
    ) -> None:
        self._settings, self._http, self._budget, self._now = settings, http, budget, now

    async def devices(self) -> Any:
        return await self._get("/device/list")

    async def datamap(self, device_id: str) -> Any:
        return await self._get(f"/device/datamap/{_segment(device_id)}")

    async def latest(self, device_id: str) -> Any:
        return await self._get(f"/device/data/latest/{_segment(device_id)}")

    async def history(self, device_id: str, year: int, month: int, utc_offset_hours: int) -> Any:
        params = urlencode({"year": year, "month": month, "utcOffsetHours": utc_offset_hours})
        return await self._get(f"/device/data/history/{_segment(device_id)}", params)

    async def alarms(self, device_id: str) -> Any:
        return await self._get(f"/device/alarm/{_segment(device_id)}")

    async def log(self, device_id: str) -> Any:
        return await self._get(f"/device/log/{_segment(device_id)}")

    async def _get(self, path: str, params: str = "") -> Any:
        """Errors are raised outside the ``except``: httpx's own hold the request with its signature."""
        await self._budget.take()
        failure: SourceError | None = None
        status, headers, body = 0, httpx.Headers(), b""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                status, headers, body = await self._exchange(path, params)
        except TimeoutError:
            failure = Unreachable("Renogy does not answer in time.", "Try again later.")
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            failure = _unreachable(error)
        failure = failure or self._refusal(status, headers)
        if failure is not None:
            raise failure
        return _parsed(body)

    async def _exchange(self, path: str, params: str) -> tuple[int, httpx.Headers, bytes]:
        url = self._settings.base_url + path + (f"?{params}" if params else "")
        timestamp_ms = int(self._now().timestamp() * 1000)
        signed = signed_headers(path, params, timestamp_ms, self._settings.access_key, self._settings.secret_key)
        body = bytearray()
        async with self._http.stream("GET", url, headers=signed) as response:
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > ANSWER_MAX_BYTES:
                    raise httpx.DecodingError("the answer is too long")
            return response.status_code, response.headers, bytes(body)

    def _refusal(self, status: int, headers: httpx.Headers) -> SourceError | None:
        """What a status means; the bodies of refusals may be empty or anything, so they are not read."""
        if status == 200:
            return None
        if status == 401:
            return self._unauthorised(headers)
        if status == 403:
            return Refused(
                "Renogy accepts the keys but refuses this read.", "Ask Renogy for the right to read these devices."
            )
        if status == 404:
            return Missing("Renogy does not know what was asked for.", "Check the server address and the devices.")
        if status == 429:
            return RateLimited(_retry_after(headers), "Renogy had more than 30 requests in a minute with this key.")
        if status >= 500:
            return Unreachable(f"Renogy has a fault of its own (HTTP {status}).", "Try again later.")
        return Malformed(f"Renogy answers HTTP {status}, which its documentation does not know.", "Check the address.")

    def _unauthorised(self, headers: httpx.Headers) -> Refused:
        """401 says only that key, signature or time is wrong; the Date of the answer tells which of them is likely."""
        ahead = self._clock_ahead_s(headers)
        if ahead is not None and abs(ahead) > SKEW_S:
            way = "ahead of" if ahead > 0 else "behind"
            return Refused(
                f"Renogy refuses the signature: this machine's clock is {abs(ahead):.0f} s {way} Renogy's.",
                "Set this machine's clock (NTP), then try again.",
            )
        return Refused("Renogy refuses the keys.", "Copy Access-Key and Secret-Key again from Renogy's API Key page.")

    def _clock_ahead_s(self, headers: httpx.Headers) -> float | None:
        try:
            return self._now().timestamp() - parsedate_to_datetime(headers["Date"]).timestamp()
        except (KeyError, ValueError, OverflowError):
            return None


class Missing(SourceError):
    """HTTP 404: a device that is gone, or a server that is not Renogy's."""

    retryable = False
    code = "energy-missing"


def _segment(device_id: str) -> str:
    """A device id as one part of a path; ids are digits, and nothing else may change where a signed request goes."""
    if not (device_id.isascii() and device_id.isalnum()):
        raise Malformed("Renogy lists a device whose id is no number.", "Leave it out in the settings of the source.")
    return device_id


def _retry_after(headers: httpx.Headers) -> float:
    """Seconds to keep quiet: what the answer asks for, a minute where it names nothing."""
    text = headers.get("Retry-After", "")
    return float(min(int(text), 3600)) if text.isascii() and text.isdigit() and len(text) < 9 else QUIET_S


def _unreachable(error: Exception) -> SourceError:
    if isinstance(error, httpx.TimeoutException):
        return Unreachable("Renogy does not answer in time.", "Try again later.")
    if isinstance(error, httpx.DecodingError):
        return Malformed("Renogy's answer cannot be read.", "Try again later.")
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return Unreachable("The connection to Renogy is not secure.", "Check the address and this machine's clock.")
        cause = cause.__cause__ or cause.__context__
    return Unreachable("The host cannot be reached.", f"The address is {BASE_URL}; check name look-up and firewall.")


def _parsed(body: bytes) -> Any:
    """JSON of a success. An empty body says nothing, which is no answer either."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise Malformed(
            "Renogy's answer is no JSON." if body.strip() else "Renogy's answer is empty.",
            "Check the address; if it is right, try again later.",
        ) from None
