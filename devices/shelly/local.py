"""A Shelly device in the local network: writing its virtual numbers. Nothing here switches a relay.

Source: Shelly's "Number" component and "RPC over HTTP", and "Authentication" (HTTP digest, SHA-256, user ``admin``).
Only addresses of a private network are asked, written as an IP address: no name can lead elsewhere.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx
from django.conf import settings

from devices.shelly.errors import BadAnswer, BadKey, BadRequest, CloudDown, RateLimited, ShellyError, TimedOut

TIMEOUT_S = 3.0
USER = "admin"
EXAMPLE = "192.168.1.50"
ANSWER_MAX = 10_000


def check_local_address(text: str, *, simulated: bool) -> str:
    """``192.168.1.50`` or ``192.168.1.50:8080`` in its plain form; ValueError with a sentence.

    A private IPv4 address, and this machine only where Hygate runs with simulators.
    """
    try:
        parts = urlsplit(f"//{text.strip()}")
        host, port = parts.hostname or "", parts.port
        address = ipaddress.IPv4Address(host)
    except ValueError:
        raise ValueError(f"The address must be the device's IP address, like {EXAMPLE}.") from None
    if parts.path or parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError(f"The address must be only an IP address, like {EXAMPLE}.")
    if not ((address.is_loopback and simulated) or _is_home(address)):
        raise ValueError(f"{address} is not an address of a private network: the bridge writes to local devices only.")
    return f"{address}:{port}" if port not in (None, 80) else str(address)


def _is_home(address: ipaddress.IPv4Address) -> bool:
    odd = address.is_loopback or address.is_link_local or address.is_unspecified or address.is_reserved
    return address.is_private and not odd and not address.is_multicast


class LocalShelly:
    """One device; ``password`` is empty where its local pages need none.

    Keep it for the next time: a device gives out a limited number of nonces (32, each for an hour) and wants each to be
    used again. After an error make a new one, for a nonce that is dead stays dead.
    """

    def __init__(self, address: str, password: str = "") -> None:
        self.address = address
        self._auth = httpx.DigestAuth(USER, password) if password else None

    def set_numbers(self, values: Mapping[int, float]) -> None:
        """``Number.Set`` for each id (200 to 299), one after the other; raises ``ShellyError``.

        One that the device refuses keeps no other from being written: the first refusal is raised at the end.
        """
        refused: BadRequest | None = None
        base = f"http://{_checked(self.address)}"
        with httpx.Client(base_url=base, auth=self._auth, timeout=TIMEOUT_S, trust_env=False) as client:
            for number, value in values.items():
                try:
                    _call(client, "Number.Set", {"id": number, "value": value})
                except BadRequest as error:
                    refused = refused or error
        if refused is not None:
            raise refused


def _checked(address: str) -> str:
    try:
        return check_local_address(address, simulated=settings.SIMULATED)
    except ValueError as wrong:
        raise BadRequest(str(wrong)) from None


def _call(client: httpx.Client, method: str, params: Mapping[str, Any]) -> None:
    body = {"id": 1, "src": "hygate", "method": method, "params": params}
    try:
        answer = client.post("/rpc", json=body)
    except httpx.TimeoutException:
        raise TimedOut("the device did not answer in time") from None
    except (httpx.HTTPError, httpx.InvalidURL):
        raise CloudDown("the device cannot be reached at its local address") from None
    _refuse_errors(answer, params.get("id"))


def _refuse_errors(answer: httpx.Response, number: Any) -> None:
    if answer.status_code == httpx.codes.UNAUTHORIZED:
        raise BadKey("the device asks for its own password, and this one is not it")
    if answer.status_code == httpx.codes.TOO_MANY_REQUESTS:
        raise RateLimited("the device had too many logins that failed, and wants to be left alone for a moment")
    said = _json(answer)
    error = said.get("error")
    if isinstance(error, dict) or answer.status_code >= httpx.codes.BAD_REQUEST:
        message = str(error.get("message", "")) if isinstance(error, dict) else f"HTTP {answer.status_code}"
        raise BadRequest(f"number:{number} was refused: {message or 'no reason given'}")


def _json(answer: httpx.Response) -> dict[str, Any]:
    if len(answer.content) > ANSWER_MAX:
        raise BadAnswer("the answer is too long for a device's")
    try:
        said = answer.json()
    except ValueError:
        raise BadAnswer("the answer is no JSON: is this a Shelly device of the second generation or later?") from None
    if not isinstance(said, dict):
        raise BadAnswer("the answer is no JSON object")
    return said


def sentence(error: ShellyError) -> str:
    """What to tell people: the wire's own words, where the cloud's would mislead."""
    return error.detail or error.says
