"""One Shelly Cloud account over HTTP.

Source: Cloud Control API v1 (``/device/all_status``), v2.0-beta (``/v2/devices/api/…``) and the app's own
``/interface/device/list``. The caller spaces the requests (one per second and account); nothing here waits or repeats.
"""

from __future__ import annotations

import json
import logging
import ssl
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import httpx

from devices.shelly.errors import (
    BadAnswer,
    CloudDown,
    ConnectionRefused,
    ShellyError,
    TimedOut,
    TlsFailed,
    named,
    named_code,
    readable,
)
from devices.shelly.payload import parse_all_status, parse_device_list, parse_power_up, parse_v2_get
from devices.shelly.readings import DeviceStatus, ListedDevice, Skipped, Target, as_object
from devices.shelly.wire import is_over, own_client, within
from hygate import clock_witness

__all__ = ["DeviceStatus", "ListedDevice", "ShellyCloud", "Target"]

log = logging.getLogger(__name__)

ALL_STATUS_MAX_BYTES = 8 * 1024 * 1024
ANSWER_MAX_BYTES = 1024 * 1024
IDS_MAX = 10
KEY_FIELD = "auth_key"
SWITCH = "/v2/devices/api/set/switch"
GROUPS = "/v2/devices/api/set/groups"
LIGHT = "/v2/devices/api/set/light"
GET = "/v2/devices/api/get"
V1_CONTROL = "/device/relay/control"


class ShellyCloud:
    """Server and key of one account. Every method makes exactly one request and raises a ``ShellyError`` by name.

    After a call, whether it succeeded or not: ``last_latency_s`` (None before the first), and
    ``server_time_offset_s``, the server's clock minus ours by the last ``Date`` header (whole seconds; None if absent).
    Not meant for two threads at once.
    """

    def __init__(
        self,
        server_url: str,
        auth_key: str,
        *,
        command_timeout_s: float = 5,
        read_timeout_s: float = 2,
        client: httpx.Client | None = None,
    ) -> None:
        self._server_url = server_url.rstrip("/")
        self._auth_key = auth_key
        self._command_timeout_s = command_timeout_s
        self._read_timeout_s = read_timeout_s
        self._client = client or own_client()
        self.last_latency_s: float | None = None
        self.server_time_offset_s: float | None = None

    # -- reads: no error of theirs can mean that a relay moved
    def all_status(self) -> tuple[DeviceStatus, ...]:
        """Every device of the account that has ever reported, v1. Shared devices are left out: they obey others."""
        asked = {"show_info": "true", "no_shared": "true"}
        answer = self._read_v1("/device/all_status", asked, "devices_status", ALL_STATUS_MAX_BYTES)
        parsed = parse_all_status(answer)
        _log_skipped("all_status", parsed.skipped)
        return parsed.devices

    def device_list(self) -> tuple[ListedDevice, ...]:
        """The channels with the names that people gave them, from the app's own endpoint (v1 form)."""
        parsed = parse_device_list(self._read_v1("/interface/device/list", {}, "devices", ANSWER_MAX_BYTES))
        _log_skipped("device_list", parsed.skipped)
        return parsed.devices

    def statuses(self, ids: Sequence[str]) -> dict[str, DeviceStatus]:
        """Up to 10 devices, v2, by id in lower case. What the cloud does not know is absent, without error."""
        if len(ids) > IDS_MAX:
            raise ValueError(f"v2 get takes at most {IDS_MAX} ids, not {len(ids)}")
        if not ids:
            return {}
        answer = self._read(lambda: self._v2(GET, {"ids": list(ids), "select": ["status"]}, self._read_timeout_s))
        if not isinstance(answer, list):
            raise BadAnswer("v2 get: not an array", acted="no")
        parsed = parse_v2_get(answer)
        _log_skipped("v2 get", parsed.skipped)
        return {device.shelly_id: device for device in parsed.devices}

    def power_up(self, targets: Sequence[Target]) -> dict[Target, str]:
        """What relays of up to 10 devices do when power returns (off, on, restore_last, match_input), v2.

        Only this part of the settings is asked for: the rest is long and holds a key of the device.
        """
        ids = sorted({target.shelly_id for target in targets})
        if len(ids) > IDS_MAX:
            raise ValueError(f"v2 get takes at most {IDS_MAX} ids, not {len(ids)}")
        picked = sorted({f"switch:{target.channel}" for target in targets} | {"relays"})
        wanted = {"ids": ids, "select": ["settings"], "pick": {"settings": picked}}
        return parse_power_up(self._read(lambda: self._v2(GET, wanted, self._read_timeout_s)), targets)

    # -- commands: "acted" of an error tells whether the relay may have moved
    def switch(self, target: Target, *, on: bool, toggle_after_s: int | None) -> None:
        """One relay, v2. An ON always carries the seconds after which the device undoes it; an OFF never does.

        (An OFF with a timer would turn the relay back on.) Returning means: accepted, not: moved.
        """
        if on and (toggle_after_s is None or toggle_after_s < 1):
            raise ValueError("An ON needs toggle_after_s of at least one second")
        if not on and toggle_after_s is not None:
            raise ValueError("An OFF must not carry a timer: it would turn the relay back on")
        wanted: dict[str, Any] = {"id": target.shelly_id, "channel": target.channel, "on": on}
        if toggle_after_s is not None:
            wanted["toggle_after"] = toggle_after_s
        answer = self._v2(SWITCH, wanted, self._command_timeout_s)
        for error in _failed_commands(answer).values():
            raise error

    def switch_group(self, targets: Sequence[Target]) -> dict[Target, ShellyError]:
        """OFF for many relays in one request, v2. Returns those that failed, by name; raises if all were refused."""
        if not targets:
            return {}
        wanted = {"switch": {"ids": [str(target) for target in targets], "command": {"on": False}}}
        failed = _failed_commands(self._v2(GROUPS, wanted, self._command_timeout_s))
        by_text = {str(target).lower(): target for target in targets}
        strangers = sorted(set(failed) - set(by_text))
        if strangers:
            log.warning("Shelly set/groups names targets that were not asked for: %s", ", ".join(strangers)[:200])
        return {by_text[text]: error for text, error in failed.items() if text in by_text}

    def set_light(self, target: Target, *, on: bool) -> None:
        """One light, v2; as bright and in the colour that it was. Returning means: accepted, not: moved.

        Relays are switched by another request (``switch``), which always arms their timer; this one is never for them.
        """
        wanted = {"id": target.shelly_id, "channel": target.channel, "on": on}
        for error in _failed_commands(self._v2(LIGHT, wanted, self._command_timeout_s)).values():
            raise error

    def switch_off_v1(self, target: Target) -> None:
        """OFF for one relay by the deprecated v1, for servers without v2. There is no ON: v1 arms no timer."""
        form = {KEY_FIELD: self._auth_key, "id": target.shelly_id, "channel": str(target.channel), "turn": "off"}
        self._post(V1_CONTROL, self._command_timeout_s, ANSWER_MAX_BYTES, data=form)

    # -- how it travels
    def _read_v1(self, path: str, asked: Mapping[str, str], key: str, max_bytes: int) -> Any:
        """A v1 read; its answer must hold ``data.<key>`` as an object or as the cloud's empty ``[]``."""
        form = {KEY_FIELD: self._auth_key, **asked}
        answer = self._read(lambda: self._post(path, self._read_timeout_s, max_bytes, data=form))
        entries = as_object(as_object(answer).get("data")).get(key)
        if not isinstance(entries, dict) and entries != []:
            raise BadAnswer(f"{path}: no {key} in it", acted="no")
        return answer

    def _read(self, request: Callable[[], Any]) -> Any:
        try:
            return request()
        except ShellyError as error:
            error.acted = "no"
            raise

    def _v2(self, path: str, wanted: Mapping[str, Any], timeout_s: float) -> Any:
        return self._post(path, timeout_s, ANSWER_MAX_BYTES, params={KEY_FIELD: self._auth_key}, json=wanted)

    def _post(self, path: str, timeout_s: float, max_bytes: int, **content: Any) -> Any:
        """The parsed body of a success. Errors are raised outside the ``except``: httpx's own hold URL and key."""
        started, failure, status, body = time.monotonic(), None, 0, b""
        try:
            with within(timeout_s):
                status, body = self._exchange(path, timeout_s, max_bytes, content)
        except ShellyError as error:
            failure = error
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            failure = _transport_error(error)
        self.last_latency_s = time.monotonic() - started
        failure = failure or named(status, body)
        if failure is not None:
            raise self._without_key(failure)
        return json.loads(readable(body)) if body.strip() else None

    def _exchange(self, path: str, timeout_s: float, max_bytes: int, content: dict[str, Any]) -> tuple[int, bytes]:
        url = self._server_url + path
        with self._client.stream("POST", url, timeout=timeout_s, follow_redirects=False, **content) as response:
            self._note_date(response.headers.get("Date"))
            body = bytearray()
            for chunk in response.iter_bytes():
                body += chunk
                if len(body) > max_bytes:
                    raise BadAnswer(f"HTTP {response.status_code}, more than {max_bytes} bytes")
                if is_over():
                    raise TimedOut("the answer did not end in time")
            return response.status_code, bytes(body)

    def _note_date(self, header: str | None) -> None:
        self.server_time_offset_s = clock_witness.saw("shelly", header)

    def _without_key(self, error: ShellyError) -> ShellyError:
        if self._auth_key and self._auth_key in error.detail:
            return type(error)(error.detail.replace(self._auth_key, "…"), acted=error.acted)
        return error


def _transport_error(error: Exception) -> ShellyError:
    """Names what httpx reports. Before the connection stands nothing was sent, so nothing can have moved."""
    what = type(error).__name__
    if isinstance(error, httpx.ConnectTimeout | httpx.PoolTimeout):
        return TimedOut(what, acted="no")
    if isinstance(error, httpx.TimeoutException):
        return TimedOut(what)
    if isinstance(error, httpx.ConnectError | httpx.UnsupportedProtocol | httpx.InvalidURL):
        return _no_connection(error, what)
    if isinstance(error, httpx.DecodingError):
        return BadAnswer(what)
    return CloudDown(what, acted="unknown")


def _no_connection(error: BaseException, what: str) -> ShellyError:
    """Why there is no connection, by what lies under httpx's error."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return TlsFailed(str(getattr(cause, "verify_message", "") or cause.reason or what), acted="no")
        if isinstance(cause, ConnectionRefusedError):
            return ConnectionRefused(what, acted="no")
        cause = cause.__cause__ or cause.__context__
    return CloudDown(what, acted="no")


def _failed_commands(answer: Any) -> dict[str, ShellyError]:
    """``failedCommands`` of set/*: target as text in lower case, and its error by name."""
    failed = as_object(as_object(answer).get("failedCommands"))
    return {text.lower(): named_code(code if isinstance(code, str) else "no code") for text, code in failed.items()}


def _log_skipped(where: str, skipped: Iterable[Skipped]) -> None:
    for entry in skipped:
        log.warning("Shelly %s: entry %s skipped: %s", where, entry.key[:60], entry.why)
