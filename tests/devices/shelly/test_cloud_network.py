"""The network fails under the cloud client: each failure has its name, and says whether a relay may have moved."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from typing import Any

import httpcore
import httpx
import pytest

from devices.shelly import errors
from devices.shelly.cloud import ShellyCloud
from devices.shelly.wire import own_client
from tests.devices.shelly.told_server import KEY, PRO, Server, off


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.stop()


@pytest.fixture
def cloud(server: Server) -> ShellyCloud:
    return ShellyCloud(server.url, KEY, command_timeout_s=5, read_timeout_s=5)


@pytest.fixture
def impatient(server: Server) -> ShellyCloud:
    return ShellyCloud(server.url, KEY, command_timeout_s=1, read_timeout_s=1)


# -- failures


def test_refused_connection_is_a_cloud_that_is_down_and_nothing_moved() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    with pytest.raises(errors.ConnectionRefused) as caught:
        off(ShellyCloud(url, KEY))
    assert (caught.value.acted, caught.value.retryable) == ("no", True)


def test_server_without_tls_is_a_cloud_that_is_down(server: Server) -> None:
    with pytest.raises(errors.TlsFailed) as caught:
        off(ShellyCloud(server.url.replace("http:", "https:"), KEY))
    assert caught.value.acted == "no"


def test_unknown_host_is_a_cloud_that_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: Any, **_options: Any) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr("devices.shelly.wire.socket.getaddrinfo", fail)
    with pytest.raises(errors.HostUnknown) as caught:
        off(ShellyCloud("http://nowhere.shelly.cloud", KEY))
    assert caught.value.acted == "no"


def test_slow_name_look_up_ends_with_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = threading.Event()
    monkeypatch.setattr("devices.shelly.wire.socket.getaddrinfo", lambda *_args, **_options: answer.wait(5) and [])
    started = time.monotonic()
    with pytest.raises(errors.TimedOut) as caught:
        off(ShellyCloud("http://slow.shelly.cloud", KEY, command_timeout_s=0.3))
    answer.set()
    assert time.monotonic() - started < 1
    assert caught.value.acted == "no"


def test_name_with_several_addresses_tries_the_next_one(
    server: Server, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.SHELLY_HOSTS = ["two.example"]
    dead, port = "203.0.113.9", int(server.url.rpartition(":")[2])
    connect = httpcore.SyncBackend.connect_tcp

    def connect_tcp(self: httpcore.SyncBackend, host: str, *rest: Any) -> httpcore.NetworkStream:
        if host == dead:
            raise httpcore.ConnectTimeout("nobody there")
        return connect(self, host, *rest)

    monkeypatch.setattr("devices.shelly.wire.addresses_of", lambda *_args: [dead, "127.0.0.1"])
    monkeypatch.setattr(httpcore.SyncBackend, "connect_tcp", connect_tcp)
    off(ShellyCloud(f"http://two.example:{port}", KEY))
    assert len(server.asked) == 1


def test_connection_cut_after_the_request_leaves_the_relay_unknown(server: Server, cloud: ShellyCloud) -> None:
    server.answer = lambda handler: handler.connection.shutdown(socket.SHUT_RDWR)
    with pytest.raises(errors.CloudDown) as caught:
        off(cloud)
    assert caught.value.acted == "unknown"


def test_the_same_failure_of_a_read_moved_nothing(server: Server, cloud: ShellyCloud) -> None:
    server.says("<html>", status=502)
    for read in (cloud.all_status, cloud.device_list, lambda: cloud.statuses([PRO])):
        with pytest.raises(errors.CloudDown) as caught:
            read()
        assert caught.value.acted == "no"


def test_silence_ends_with_the_time_out_and_the_relay_is_unknown(server: Server, impatient: ShellyCloud) -> None:
    server.answer = lambda _handler: time.sleep(2)
    started = time.monotonic()
    with pytest.raises(errors.TimedOut) as caught:
        off(impatient)
    assert 0.9 < time.monotonic() - started < 1.5
    assert caught.value.acted == "unknown"


def drip(handler: BaseHTTPRequestHandler, opening: bytes) -> None:
    handler.wfile.write(opening)
    for _ in range(40):
        handler.wfile.write(b" ")
        handler.wfile.flush()
        time.sleep(0.1)


@pytest.mark.parametrize(
    "opening",
    [b"HTTP/1.1 200 OK\r\nX-Slow: ", b"HTTP/1.1 200 OK\r\nContent-Length: 4000\r\n\r\n{"],
    ids=["header", "body"],
)
def test_a_byte_at_a_time_does_not_outlive_the_time_out(server: Server, impatient: ShellyCloud, opening: bytes) -> None:
    server.answer = lambda handler: drip(handler, opening)
    started = time.monotonic()
    with pytest.raises(errors.TimedOut):
        off(impatient)
    assert time.monotonic() - started < 1.5


def test_reads_have_a_time_out_of_their_own(server: Server) -> None:
    server.answer = lambda _handler: time.sleep(2)
    started = time.monotonic()
    with pytest.raises(errors.TimedOut):
        ShellyCloud(server.url, KEY, command_timeout_s=5, read_timeout_s=0.2).all_status()
    assert time.monotonic() - started < 1


# -- the connections


def test_each_thread_has_one_client() -> None:
    with ThreadPoolExecutor(1) as other:
        theirs = other.submit(own_client).result()
        assert other.submit(own_client).result() is theirs
    assert own_client() is own_client()
    assert own_client() is not theirs


def test_any_httpx_client_can_carry_the_requests() -> None:
    client = httpx.Client(transport=httpx.MockTransport(lambda _request: httpx.Response(200)))
    with client:
        off(ShellyCloud("https://shelly-103-eu.shelly.cloud", KEY, client=client))


def test_deadline_backend_is_what_a_threads_client_uses() -> None:
    transport = own_client()._transport
    assert isinstance(transport, httpx.HTTPTransport)
    assert isinstance(transport._pool, httpcore.ConnectionPool)
    assert type(transport._pool._network_backend).__name__ == "DeadlineBackend"
