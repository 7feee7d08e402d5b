"""The way to the cloud: one HTTP client per thread, and requests that end when their time is over.

httpx's time-outs count each read anew, so a server that sends one byte per second is never late, and the look-up of a
name has no limit at all. Here one deadline rules the whole exchange: look-up, connection, TLS, sending, every read.

A connection goes to the very address that was looked up and checked. The name is not looked up again, so that no second
answer can lead elsewhere; TLS and the Host header keep the name.
"""

from __future__ import annotations

import ipaddress
import os
import queue
import socket
import ssl
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any

import httpcore
import httpx
from django.conf import settings

from devices.shelly.errors import AddressRefused, HostUnknown
from devices.shelly.server_url import check_connection

CONNECTIONS_MAX = 4
KEEPALIVE_S = 15.0
ADDRESSES_MAX = 4

_deadline: ContextVar[float | None] = ContextVar("shelly_deadline", default=None)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Every network step of the block on this thread together may last ``seconds``."""
    token = _deadline.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _deadline.reset(token)


def is_over() -> bool:
    deadline = _deadline.get()
    return deadline is not None and time.monotonic() >= deadline


def _left(own: float | None, late: type[httpcore.TimeoutException]) -> float | None:
    """Seconds that this step may last; raises ``late`` when none is left."""
    deadline = _deadline.get()
    if deadline is None:
        return own
    left = deadline - time.monotonic()
    if left <= 0:
        raise late("the time for the whole request is over")
    return left if own is None else min(own, left)


class DeadlineStream(httpcore.NetworkStream):
    """A connection whose every step looks at the deadline."""

    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, _left(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, _left(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left = _left(timeout, httpcore.ConnectTimeout)
        return DeadlineStream(self._inner.start_tls(ssl_context, server_hostname, left))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class DeadlineBackend(httpcore.SyncBackend):
    """Opens connections to checked addresses, by the deadline, shared fairly between the addresses of a host."""

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        addresses = addresses_of(host, port, _left(timeout, httpcore.ConnectTimeout))[:ADDRESSES_MAX]
        _refuse_forbidden(host, port, addresses)
        options = list(socket_options or ())
        for tried, address in enumerate(addresses, start=1):
            left = _left(timeout, httpcore.ConnectTimeout)
            share = None if left is None else left / (len(addresses) - tried + 1)
            try:
                return DeadlineStream(super().connect_tcp(address, port, share, local_address, options))
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if tried == len(addresses):
                    raise
        raise httpcore.ConnectError("the host has no address")


def _refuse_forbidden(host: str, port: int, addresses: list[str]) -> None:
    try:
        check_connection(host, port, addresses, settings.SHELLY_HOSTS, settings.SIMULATED)
    except ValueError as refusal:
        raise AddressRefused(acted="no", reason=str(refusal)) from None


def addresses_of(host: str, port: int, timeout: float | None) -> list[str]:
    """The IP addresses of ``host``, looked up for at most ``timeout`` seconds (the resolver itself knows no limit)."""
    if _is_address(host):
        return [host]
    answers: queue.SimpleQueue[list[str] | OSError] = queue.SimpleQueue()
    threading.Thread(target=_look_up, args=(host, port, answers), name="shelly-dns", daemon=True).start()
    try:
        answer = answers.get(timeout=timeout)
    except queue.Empty:
        raise httpcore.ConnectTimeout("the name look-up took too long") from None
    if isinstance(answer, OSError):
        raise HostUnknown("the name look-up failed", acted="no") from None
    return answer


def _look_up(host: str, port: int, answers: queue.SimpleQueue[list[str] | OSError]) -> None:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        answers.put(error)
    except UnicodeError:
        answers.put(OSError("not a host name"))
    else:
        answers.put(list(dict.fromkeys(str(entry[4][0]) for entry in found)))


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


@cache
def authorities() -> ssl.SSLContext:
    """Reading them takes tens of milliseconds: once for all threads, and by a worker before its first call."""
    return httpx.create_ssl_context()


class DeadlineTransport(httpx.HTTPTransport):
    """httpx's own transport over a pool whose connections obey the deadline. No retries, no proxies from outside."""

    def __init__(self) -> None:
        super().__init__(verify=authorities())
        self._pool = httpcore.ConnectionPool(
            ssl_context=authorities(),
            max_connections=CONNECTIONS_MAX,
            max_keepalive_connections=CONNECTIONS_MAX,
            keepalive_expiry=KEEPALIVE_S,
            network_backend=DeadlineBackend(),
        )


_mine = threading.local()


def own_client() -> httpx.Client:
    """This thread's client (a forked child gets its own). Never follows redirects.

    One for each thread, because a pool looks at all of its connections, once for every request that comes and goes:
    with sixty-four calls side by side that took longer than the calls.
    """
    client: httpx.Client | None = getattr(_mine, "client", None)
    if client is None or client.is_closed or _mine.pid != os.getpid():
        headers = {"User-Agent": "hygate", "Accept": "application/json", "Accept-Encoding": "identity"}
        client = httpx.Client(transport=DeadlineTransport(), follow_redirects=False, headers=headers)
        _mine.client, _mine.pid = client, os.getpid()
    return client
