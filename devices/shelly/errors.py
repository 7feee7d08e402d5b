"""What can go wrong between Hygate and the Shelly Cloud, by name.

Source: Cloud Control API pages "communication" (v1) and "communication-v2", plus bodies that public authors observed.
The status alone proves little: the rate limit arrives as 401, a refused command as 200. So the body speaks first.
"""

from __future__ import annotations

import json
import re
from typing import Any, ClassVar, Literal

Acted = Literal["no", "unknown"]
DETAIL_MAX = 120


class ShellyError(Exception):
    """A request that did not do what it should.

    ``retryable``: the same request may succeed later by itself. ``acted``: could the relay have moved nevertheless?
    ``says`` is a sentence for people, ``detail`` a short text for the log; neither holds a key or a URL.
    """

    name: ClassVar[str] = "shelly_error"
    retryable: ClassVar[bool] = False
    says: ClassVar[str] = ""
    acted: Acted = "no"

    def __init__(self, detail: str = "", *, acted: Acted | None = None) -> None:
        self.detail = " ".join(detail.split())[:DETAIL_MAX]
        if acted is not None:
            self.acted = acted
        super().__init__(f"{self.name}: {self.detail}" if self.detail else self.name)

    @property
    def sentence(self) -> str:
        return self.says or self.detail or f"The Shelly Cloud refused: {self.name}."


class RateLimited(ShellyError):
    name, retryable = "rate_limited", True
    says = "The Shelly Cloud had too many requests on this account; it takes about one per second."


class BadKey(ShellyError):
    name = "bad_key"
    says = "The Shelly Cloud refuses the auth key; it changes with the account's password."


class UnclearRefusal(ShellyError):
    """A 401 or 403 that names no cause: seen on accounts whose key was fine, so it is no verdict on the key."""

    name, retryable = "unclear_refusal", True
    says = "The Shelly Cloud refused without a reason; the key may still be right."


class DeviceOffline(ShellyError):
    """The cloud does not buffer commands: the relay stayed as it was."""

    name, retryable = "device_offline", True
    says = "The device is not connected to the Shelly Cloud."


class DeviceNotFound(ShellyError):
    name = "device_not_found"
    says = "The Shelly Cloud does not know this device."


class NoPermission(ShellyError):
    """A device of another account, or an id that does not exist: v2 answers both alike."""

    name = "no_permission"
    says = "The device does not belong to this Shelly account."


class WrongChannel(ShellyError):
    name = "wrong_channel"
    says = "The device has no such channel."


class WrongProfile(ShellyError):
    name = "wrong_profile"
    says = "The device is not in its relay profile; set it to relay or switch in the Shelly app."


class NoSuchRoute(ShellyError):
    """404 without a cause: this server does not have the address that was asked, as one without v2 commands."""

    name = "no_such_route"
    says = "The server does not know this request; check that its address is the one that the Shelly app shows."


class NoTimer(ShellyError):
    """An ON for a server without v2: v1 has no timer, and without one a relay could outlive its payment."""

    name = "no_timer"
    says = "This Shelly server cannot arm a relay's own timer, so nothing is switched on through it."


class BadRequest(ShellyError):
    """The cloud found fault with the parameters; for set/groups it may mean: too many ids."""

    name = "bad_request"
    says = "The Shelly Cloud did not accept the request."


class CommandFailed(ShellyError):
    """The cloud passed the command on and the device failed it; whether before or after moving is not said."""

    name, retryable = "command_failed", True
    acted: Acted = "unknown"
    says = "The device did not carry out the command."


class BadAnswer(ShellyError):
    """HTML, broken JSON, a redirect, a body too big, or a failure that names no known cause."""

    name, retryable = "bad_answer", True
    acted: Acted = "unknown"
    says = "The Shelly Cloud gave an answer that makes no sense."


class CloudDown(ShellyError):
    """No connection (refused, DNS, TLS: nothing was sent), a connection lost after sending, or a 5xx."""

    name, retryable = "cloud_down", True
    says = "The Shelly Cloud cannot be reached."


class HostUnknown(CloudDown):
    name = "host_unknown"
    says = "No server has this name."


class ConnectionRefused(CloudDown):
    """Nobody listens at the address and port."""

    name = "connection_refused"
    says = "The server refuses the connection."


class TlsFailed(CloudDown):
    """The certificate is wrong, or the server does not speak TLS at all: the key was not sent."""

    name = "tls_failed"
    says = "No secure connection to the server could be made."


class AddressRefused(CloudDown):
    """We refused: the host is not allowed, or its name leads to an address that is none of Shelly's."""

    name = "address_refused"
    says = "The server is none that the auth key may be sent to."

    @property
    def sentence(self) -> str:
        return self.reason or self.says

    def __init__(self, detail: str = "", *, acted: Acted | None = None, reason: str = "") -> None:
        super().__init__(detail or reason, acted=acted)
        self.reason = reason


class TimedOut(ShellyError):
    """No whole answer in time; a command may have been carried out all the same."""

    name, retryable = "timed_out", True
    acted: Acted = "unknown"
    says = "The Shelly Cloud did not answer in time."


class NotConfirmed(ShellyError):
    """For the read-back: the command was accepted, yet no reading shows that the relay moved."""

    name, retryable = "not_confirmed", True
    acted: Acted = "unknown"
    says = "The device did not confirm the command."


# A word (code or text) of a refusal, and what it means. Several authors saw texts where others saw codes.
WORDS: tuple[tuple[re.Pattern[str], type[ShellyError]], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), kind)
    for pattern, kind in (
        (r"^max_req$|request limit", RateLimited),
        (r"^invalid_token$|token.?broken|(invalid|wrong|bad)[ _]auth[ _]?key", BadKey),
        (r"^wrong_channel$|^device_invalid_channel$|could not control this relay channel", WrongChannel),
        (r"^device_invalid_mode$|^device_unsupported_command$", WrongProfile),
        (r"^device_offline$|device (is )?offline", DeviceOffline),
        (r"^(device|instance)_not_found$|device not found", DeviceNotFound),
        (r"^no_permissions?$|^wrong_id$", NoPermission),
        (r"^device_failed_command$", CommandFailed),
        (r"^unexpected_subservice_error$", CloudDown),
        (r"^bad_request$|^validation_errors$", BadRequest),
    )
)


def named(status: int, body: bytes | str) -> ShellyError | None:
    """The error that HTTP ``status`` and ``body`` amount to, or None where they are a success.

    Written for a command: ``acted`` is "unknown" where the relay could have moved. Success is 200 with an empty body,
    null, an array or an object without failure marks (v2 answers set/* with nothing, v1 with ``isok: true``).
    """
    is_json, answer = _parsed(readable(body))
    words = _words(answer)
    for word in words:
        kind = _meaning(word)
        if kind is not None:
            acted: Acted | None = "unknown" if kind is CloudDown else None
            return kind(_detail(status, words), acted=acted)
    if status == 200 and is_json and not _is_failure(answer, words):
        return None
    return _by_status(status, words or ([] if is_json else ["the body is no JSON"]))


def named_code(code: str) -> ShellyError:
    """The error behind one entry of ``failedCommands``; an unknown code is a failed command."""
    kind = _meaning(code) or CommandFailed
    return kind(code, acted="unknown" if kind is CloudDown else None)


def readable(body: bytes | str) -> str:
    """The body as text; bytes that are no UTF-8 become replacement characters."""
    return body.decode("utf-8-sig", "replace") if isinstance(body, bytes) else body


def _parsed(text: str) -> tuple[bool, Any]:
    if not text.strip():
        return True, None
    try:
        return True, json.loads(text)
    except (ValueError, RecursionError):
        return False, None


def _words(answer: Any) -> list[str]:
    """The codes and texts of ``error`` and ``errors``, which come as a text, a list or an object."""
    if not isinstance(answer, dict):
        return []
    found: list[str] = []
    for value in (answer.get("error"), answer.get("errors")):
        if isinstance(value, dict):
            found += [str(part) for pair in value.items() for part in pair if isinstance(part, str) and part]
        elif isinstance(value, list):
            found += [str(part) for part in value if isinstance(part, str) and part]
        elif isinstance(value, str) and value:
            found.append(value)
    return found


def _meaning(word: str) -> type[ShellyError] | None:
    return next((kind for pattern, kind in WORDS if pattern.search(word.strip())), None)


def _is_failure(answer: Any, words: list[str]) -> bool:
    if isinstance(answer, dict):
        is_ok = answer.get("isok", True)
        return bool(words) or bool(answer.get("error")) or not (is_ok is True or is_ok == 1)
    return answer is not None and not isinstance(answer, list)


def _by_status(status: int, words: list[str]) -> ShellyError:
    """What is left when the body names nothing that is known."""
    detail = _detail(status, words)
    if status == 429:
        return RateLimited(detail)
    if status in (401, 403):
        return UnclearRefusal(detail)
    if status == 404:
        return NoSuchRoute(detail)
    if status >= 500:
        return CloudDown(detail, acted="unknown")
    return BadAnswer(detail)


def _detail(status: int, words: list[str]) -> str:
    return f"HTTP {status} {', '.join(words)}"
