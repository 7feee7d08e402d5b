"""Where Sigenergy's keys may travel: the maker's own hosts, at addresses on the public internet, and nowhere else.

Simulators stand on this machine, and are allowed only where Hygate runs with ``HYGATE_SIMULATED=1``.
"""

from __future__ import annotations

import asyncio
import re
import socket
from urllib.parse import urlsplit

import httpx
from django.conf import settings

from devices.energy.sources.source import Refused, SourceError, Unreachable
from devices.shelly.server_url import is_loopback, is_public

REGION = re.compile(r"[a-z]{2,8}")
API_HOST = re.compile(r"(?:openapi|api)-([a-z]{2,8})\.sigencloud\.com")
BROKER_HOST = re.compile(r"mqtt-[a-z]{2,8}\.sigencloud\.com")
BROKER_PORT = 8883
ADDRESSES_MAX = 4


class HostRefused(Refused):
    """An address that is not Sigenergy's, or a name that leads into a private network."""

    code = "sigenergy-host"
    sentence = "This is no Sigenergy host."
    advice = "Enter the region (eu, apac, aus, us, cn, jp), or the host that the developer portal names."


class HostUnknown(Unreachable):
    """The name look-up found nothing."""

    code = "sigenergy-host-unknown"
    sentence = "The name of the Sigenergy host cannot be looked up."
    advice = "Check the region, and this machine's name server."


def api_base(region_or_url: str) -> str:
    """The API's address for a region (``eu``) or a host as the portal names it; raises ``HostRefused``.

    Allowed are ``https://openapi-….sigencloud.com`` and ``https://api-….sigencloud.com``, and http to this machine
    where simulators run.
    """
    text = region_or_url.strip().rstrip("/").lower()
    if REGION.fullmatch(text):
        return f"https://openapi-{text}.sigencloud.com"
    scheme, host, port, bare = _taken_apart(text, "https")
    if bare and settings.SIMULATED and scheme in ("http", "https") and is_loopback(host):
        return _joined(scheme, host, port)
    if bare and scheme == "https" and port in (None, 443) and API_HOST.fullmatch(host):
        return f"https://{host}"
    raise HostRefused


def region_of(base_url: str) -> str:
    """``eu`` for ``https://openapi-eu.sigencloud.com``; empty where the address names none (a simulator)."""
    found = API_HOST.fullmatch(urlsplit(base_url).hostname or "")
    return found[1] if found else ""


def broker_address(broker: str, base_url: str) -> tuple[str, int]:
    """Host and port of the MQTT broker; without ``broker`` the one of the API's region. Raises ``HostRefused``."""
    text = broker.strip().rstrip("/").lower() or f"mqtt-{region_of(base_url)}.sigencloud.com"
    scheme, host, port, bare = _taken_apart(text, "mqtts")
    if bare and scheme == "mqtts" and settings.SIMULATED and is_loopback(host):
        return host, port or BROKER_PORT
    if bare and scheme == "mqtts" and port in (None, BROKER_PORT) and BROKER_HOST.fullmatch(host):
        return host, BROKER_PORT
    raise HostRefused("This is no Sigenergy broker.", "Enter it as the developer portal does: mqtt-eu.sigencloud.com.")


def _taken_apart(text: str, usual_scheme: str) -> tuple[str, str, int | None, bool]:
    """Scheme, host, port, and whether there is nothing beside them."""
    try:
        parts = urlsplit(text if "://" in text else f"{usual_scheme}://{text}")
        port = parts.port
    except ValueError:
        raise HostRefused from None
    bare = not (parts.path or parts.query or parts.fragment or "@" in parts.netloc)
    return parts.scheme, parts.hostname or "", port, bare


def _joined(scheme: str, host: str, port: int | None) -> str:
    shown = f"[{host}]" if ":" in host else host
    return f"{scheme}://{shown}" if port is None else f"{scheme}://{shown}:{port}"


async def checked_addresses(host: str, port: int) -> list[str]:
    """The IP addresses of ``host``, each one fit to receive a key; raises ``HostUnknown``, ``HostRefused``."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise HostUnknown(f"The name {host} cannot be looked up.") from None
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    if settings.SIMULATED and is_loopback(host) and all(is_loopback(address) for address in addresses):
        return addresses
    for address in addresses:
        if not is_public(address):
            raise HostRefused(
                f"The host {host} leads to the address {address}, which is not on the public internet.",
                "Check this machine's name server.",
            )
    return addresses


class CheckedTransport(httpx.AsyncBaseTransport):
    """Connects to the very address that was looked up and checked; TLS and the Host header keep the name."""

    def __init__(self) -> None:
        self._inner = httpx.AsyncHTTPTransport(trust_env=False)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url, host = request.url, request.url.host
        addresses = (await checked_addresses(host, url.port or 443))[:ADDRESSES_MAX]
        request.extensions = {**request.extensions, "sni_hostname": host}
        failed: Exception = SourceError()
        for address in addresses:
            request.url = url.copy_with(host=address)
            try:
                return await self._inner.handle_async_request(request)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                failed = error
        raise failed

    async def aclose(self) -> None:
        await self._inner.aclose()
