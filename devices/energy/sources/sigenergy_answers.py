"""What the Sigenergy OpenAPI answers: envelopes that are unwrapped until they are no string, and refusals by name.

The service answers HTTP 200 with the error in ``code``; only a bad token (401), the content network in front (403 with
a web page) and the rate limits (424, 429) use HTTP's own words. Source: the official code table and public clients.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from devices.energy.sources.source import Malformed, RateLimited, Refused, SourceError, Unreachable

BACK_OFF_S = (15.0, 30.0, 60.0, 120.0, 480.0)
LOCKED_S = 180.0
UNWRAP_MAX = 6


class AccessRestricted(RateLimited):
    """1201: the station's figures were asked for less than five minutes ago, by whomever."""

    code = "sigenergy-1201"
    sentence = "Sigenergy answers 1201: this station was asked too recently."
    advice = "Wait five minutes. If it stays, another program uses the same app key: give Hygate a key of its own."


class TooManyRequests(RateLimited):
    """429 and 1110, or our own count of ten a minute."""

    code = "sigenergy-429"
    sentence = "The account's ten requests a minute are used up."
    advice = "Wait a minute. If it stays, another program uses the same app key: give Hygate a key of its own."


class Answered424(RateLimited):
    """Seen as a block of certain clients and as a rate limit; nobody knows which, so it is waited out."""

    code = "sigenergy-424"
    sentence = "Sigenergy answers 424, which it gives for too many requests and to programs that it does not like."
    advice = "Wait. If it stays for an hour, ask Sigenergy whether the app key may read from this address."


class AccountLocked(RateLimited):
    """11002: five wrong passwords within an hour lock the account for three minutes."""

    code = "sigenergy-11002"
    sentence = "Sigenergy has locked this account for three minutes, after five wrong logins."
    advice = "Check app key and app secret in the developer portal before trying again."


class KeyRefused(Refused):
    """11003 at the login, or a fresh token that is refused."""

    code = "sigenergy-11003"
    sentence = "Sigenergy refuses this app key and app secret."
    advice = "Copy both again from the developer portal (Control Center, Settings), and check the region."


class TokenRefused(Refused):
    """401, 11003 or 11002 to a request with a token: the adapter logs in again once before it believes it."""

    code = "sigenergy-token"
    sentence = "Sigenergy refuses the access token that it has just given."
    advice = "Check the region, and this machine's clock."


class TurnedAway(Unreachable):
    """403 with a web page: the content network in front of the API, which never saw the key."""

    code = "sigenergy-403"
    sentence = "Sigenergy's network turned Hygate away with a web page (403) before it looked at the key."
    advice = "Check the region. If it is right, this machine's internet address may be blocked: ask Sigenergy."


class NoRights(Refused):
    """1106, 1108, 1111, 1116, 1401, 1402: the key is good, the station is not (yet) open to it."""

    code = "sigenergy-rights"
    sentence = "This app key may not read this station, or there is none of this number."
    advice = "Check the system ID in mySigen, and have the station's owner approve the app in the developer portal."


class StationOffline(Unreachable):
    """1104, 13008: the plant is switched off or has no network."""

    code = "sigenergy-offline"
    sentence = "The plant is not connected to Sigenergy's cloud."
    advice = "Check that the plant is running and has its network."


class RequestRefused(Refused):
    """1000 and every stable code without a name of its own."""

    code = "sigenergy-refused"
    sentence = "Sigenergy refuses the request."
    advice = "Check the system ID."


class CloudTrouble(Unreachable):
    """Sigenergy's own faults: 1, 1109, 1501, 1502, 1601, HTTP 5xx."""

    code = "sigenergy-trouble"
    sentence = "Sigenergy's cloud has trouble of its own."
    advice = "Wait; Hygate keeps trying."


TROUBLE = frozenset({1, 1109, 1501, 1502, 1601})
RIGHTS: Mapping[int, str] = {
    1106: "Sigenergy knows no station of this system ID.",
    1108: "Sigenergy knows no station of this system ID.",
    1111: "This app key may not read this station, or there is none of this number.",
    1116: "The station's owner has not approved this app yet.",
    1401: "This app key may not operate this station.",
    1402: "This app key lacks the permission.",
    1603: "Sigenergy has not reviewed this account yet.",
    1604: "Sigenergy has not approved this developer yet.",
}


def unwrapped(value: Any) -> Any:
    """``value`` parsed until it is no JSON string: the service wraps ``data`` once, twice, or in a list of strings.

    A text that is no JSON stays a text.
    """
    for _ in range(UNWRAP_MAX):
        if not isinstance(value, str):
            break
        try:
            value = json.loads(value)
        except ValueError:
            break
    if isinstance(value, list):
        return [unwrapped(item) if isinstance(item, str) else item for item in value]
    return value


def envelope(text: str) -> dict[str, Any]:
    """The reply as an object; some replies are a list with the one object in it. Raises ``Malformed``."""
    reply = unwrapped(text)
    if isinstance(reply, list) and len(reply) == 1:
        reply = reply[0]
    if not isinstance(reply, dict) or "code" not in reply:
        raise Malformed("Sigenergy's answer is not in the form that its documentation gives.", "Try again later.")
    return reply


def data_of(status: int, content_type: str, text: str) -> tuple[Any, float | None]:
    """``data`` and the reply's own time (Unix seconds, where told); raises the ``SourceError`` that names a refusal."""
    if status != 200:
        raise http_refusal(status, content_type)
    reply = envelope(text)
    code = whole(reply.get("code"))
    if code != 0:
        raise refusal(code)
    return unwrapped(reply.get("data")), unix_seconds(reply.get("timestamp"))


def http_refusal(status: int, content_type: str) -> SourceError:
    """What an HTTP status other than 200 means. ``wait_s`` is only the first step of the back-off."""
    if status == 401:
        return TokenRefused()
    if status == 403 and "html" in content_type:
        return TurnedAway()
    if status == 403:
        return NoRights("Sigenergy forbids this request (403).")
    if status == 424:
        return Answered424(BACK_OFF_S[0])
    if status == 429:
        return TooManyRequests(60.0)
    if status >= 500:
        return CloudTrouble(f"Sigenergy's cloud has trouble of its own (HTTP {status}).")
    return RequestRefused(f"Sigenergy refuses the request (HTTP {status}).", "Check the region.")


def refusal(code: int | None) -> SourceError:
    """The error that a ``code`` other than 0 names."""
    if code == 1201:
        return AccessRestricted(BACK_OFF_S[0])
    if code == 1110:
        return TooManyRequests(60.0)
    if code == 11002:
        return AccountLocked(LOCKED_S)
    if code == 11003:
        return TokenRefused()
    if code in (1104, 13008):
        return StationOffline()
    if code is not None and code in RIGHTS:
        return NoRights(RIGHTS[code])
    if code in TROUBLE:
        return CloudTrouble(f"Sigenergy's cloud has trouble of its own (code {code}).")
    return RequestRefused(f"Sigenergy refuses the request (code {code}).")


def number(value: Any) -> float | None:
    """A number, also one in a string ("1299.16"); None for null, an empty text, a word, or what is not finite."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def whole(value: Any) -> int | None:
    """A whole number, also as "1.0"; None for anything else."""
    found = number(value)
    return int(found) if found is not None and found == int(found) else None


def unix_seconds(value: Any) -> float | None:
    """Unix seconds out of seconds or milliseconds; None where no time is told."""
    found = number(value)
    if found is None or found <= 0:
        return None
    return found / 1000 if found > 1e11 else found
