"""Which servers an auth key may be sent to: it opens the whole account, so not to just any address."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection
from urllib.parse import SplitResult, urlsplit

SHELLY_CLOUD = re.compile(r"([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+shelly\.cloud")
EXAMPLE = "https://shelly-103-eu.shelly.cloud"


def check_server_url(url: str, extra_hosts: Collection[str], simulated: bool) -> str:
    """The server's address in its plain form (``https://host`` or ``https://host:port``); ValueError with a sentence.

    Allowed: https to ``*.shelly.cloud`` or to one of ``extra_hosts``; http to this machine where Hygate runs with
    simulators. A bare host name, as people copy it from the app, counts as https.
    """
    text = url.strip()
    if not text or re.search(r"[\s\\\x00-\x1f\x7f]", text):
        raise ValueError(f"The server address must look like {EXAMPLE}.")
    parts, host, port = _taken_apart(text if "://" in text else f"https://{text}")
    if "@" in parts.netloc or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError(f"The server address must be only scheme and host, like {EXAMPLE}.")
    if not _is_allowed(parts.scheme, host, port, extra_hosts, simulated):
        raise ValueError(_refusal(parts.scheme, host, simulated))
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}:{port}" if port is not None else f"{parts.scheme}://{shown}"


def _taken_apart(text: str) -> tuple[SplitResult, str, int | None]:
    try:
        parts = urlsplit(text)
        return parts, (parts.hostname or "").lower(), parts.port
    except ValueError:
        raise ValueError(f"The server address must be a host, with or without a port, like {EXAMPLE}.") from None


def _is_allowed(scheme: str, host: str, port: int | None, extra_hosts: Collection[str], simulated: bool) -> bool:
    if simulated and scheme in ("http", "https") and is_loopback(host):
        return True
    extra = {entry.strip().lower() for entry in extra_hosts}
    known = SHELLY_CLOUD.fullmatch(host) is not None or bool({host, f"{host}:{port}"} & extra)
    return scheme == "https" and bool(host) and known


def _refusal(scheme: str, host: str, simulated: bool) -> str:
    if is_loopback(host) and not simulated:
        return "A server on this machine is only for simulators: start Hygate with HYGATE_SIMULATED=1."
    if scheme != "https":
        return "The server address must start with https://, because the auth key travels in it."
    return f"The host {host!r} is no Shelly server (*.shelly.cloud); if it is right, add it to HYGATE_SHELLY_HOSTS."


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
