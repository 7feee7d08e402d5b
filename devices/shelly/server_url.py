"""Which servers an auth key may be sent to: it opens the whole account, so not to just any address.

Asked twice: of the name when an account is saved, and of name and IP address when a connection is made. A name that
was fine yesterday may lead into our own network today.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection
from urllib.parse import SplitResult, urlsplit

SHELLY_CLOUD = re.compile(r"([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+shelly\.cloud")
EXAMPLE = "https://shelly-103-eu.shelly.cloud"
NAT64 = ipaddress.ip_network("64:ff9b::/96")
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


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
    known = SHELLY_CLOUD.fullmatch(host) is not None or _is_listed(host, port, extra_hosts)
    return scheme == "https" and bool(host) and known


def _is_listed(host: str, port: int | None, extra_hosts: Collection[str]) -> bool:
    """``HYGATE_SHELLY_HOSTS`` names hosts, or hosts with the one port they are meant at."""
    extra = {entry.strip().lower() for entry in extra_hosts}
    return bool({host, f"{host}:{443 if port is None else port}", f"{host}:{port}"} & extra)


def _refusal(scheme: str, host: str, simulated: bool) -> str:
    if is_loopback(host) and not simulated:
        return "A server on this machine is only for simulators: start Hygate with HYGATE_SIMULATED=1."
    if scheme != "https":
        return "The server address must start with https://, because the auth key travels in it."
    return f"The host {host!r} is no Shelly server (*.shelly.cloud); if it is right, add it to HYGATE_SHELLY_HOSTS."


def check_connection(
    host: str, port: int, addresses: Collection[str], extra_hosts: Collection[str], simulated: bool
) -> None:
    """Whether a connection to ``host`` may go to all of ``addresses``; ValueError with a sentence.

    Shelly's servers stand on the public internet. This machine and private networks are only for simulators and for
    hosts that the site's own settings name; link-local addresses (a cloud machine's metadata) are for nobody.
    """
    host = host.lower()
    if simulated and is_loopback(host) and all(_plain(address).is_loopback for address in addresses):
        return
    listed = _is_listed(host, port, extra_hosts)
    if not listed and SHELLY_CLOUD.fullmatch(host) is None:
        raise ValueError(_refusal("https", host, simulated))
    for text in addresses:
        address = _plain(text)
        if not (_is_public(address) or (listed and _is_local(address))):
            raise ValueError(
                f"The host {host!r} leads to the address {address}, which is not on the public internet; if it is"
                " right, add it to HYGATE_SHELLY_HOSTS."
            )


def is_public(text: str) -> bool:
    """Whether the IP address ``text`` stands on the public internet, in whatever dress it comes."""
    return _is_public(_plain(text))


def _plain(text: str) -> Address:
    """The address that is really meant: an IPv4 address in the dress of an IPv6 one is judged as what it is."""
    address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1] or address


def _is_public(address: Address) -> bool:
    return address.is_global and not _is_odd(address)


def _is_local(address: Address) -> bool:
    """This machine or a private network, and nothing stranger."""
    return address.is_loopback or (address.is_private and not _is_odd(address))


def _is_odd(address: Address) -> bool:
    """For no server of anybody's: multicast, link-local, unspecified, reserved, and IPv6's old site-local."""
    odd = address.is_multicast or address.is_link_local or address.is_unspecified or address.is_reserved
    return odd or (isinstance(address, ipaddress.IPv6Address) and address.is_site_local)


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
