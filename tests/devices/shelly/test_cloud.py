"""The cloud client over real sockets: what it sends, and the name it gives to everything that can go wrong."""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpcore
import httpx
import pytest

from devices.shelly import errors
from devices.shelly.cloud import ShellyCloud, Target
from devices.shelly.errors import ShellyError, named
from devices.shelly.wire import own_client
from hygate.simulators.base import RunningSimulator
from hygate.simulators.shelly import ShellySimulator

FIXTURES = Path(
    os.environ.get("HYGATE_PAYLOADS", Path(__file__).resolve().parents[3] / ".." / "shared" / "fixtures" / "shelly")
)
CATALOGUE = FIXTURES / "cloud_error_bodies.json"
KEY = "MTYzNDYzMDM0MQuidSECRETKEY0123456789"
PRO, OFFLINE, COVER = "34987a000001", "349454000002", "349454000003"
RELAY = Target(PRO, 0)
MANY = 3_000_000  # bytes: more than a command may answer, less than all_status may


class Server:
    """A server that answers what a test tells it, and remembers what it was asked."""

    def __init__(self) -> None:
        self.answer: Callable[[BaseHTTPRequestHandler], None] | None = None
        self.status, self.body, self.headers = 200, b"", dict[str, str]()
        self.asked: list[tuple[str, str, str, dict[str, str]]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                text = self.rfile.read(length).decode()
                outer.asked.append((self.command, self.path, text, dict(self.headers)))
                if outer.answer is not None:
                    outer.answer(self)
                    return
                self.send_response_only(outer.status)
                for name, value in {"Content-Length": str(len(outer.body)), **outer.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(outer.body)

            do_GET = do_POST  # noqa: N815 - a followed redirect would arrive as GET

            def log_message(self, format: str, *args: Any) -> None:
                pass

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass

        self._http = Quiet(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def says(self, body: Any, status: int = 200, **headers: str) -> None:
        text = body if isinstance(body, str | bytes) else json.dumps(body)
        self.status, self.body, self.headers = status, text.encode() if isinstance(text, str) else text, headers

    def stop(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


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


@pytest.fixture
def simulated() -> Iterator[ShellyCloud]:
    """The product's own simulator: a two-channel device, one offline, one cover."""
    simulator = ShellySimulator(rate_limit_s=0)
    simulator.add_account(KEY)
    simulator.add_device(KEY, PRO, "SPSW-202PE16EU", channels=2, channel_names=("Sauna", "Dryer"), watts=(60, 0))
    simulator.add_device(KEY, OFFLINE, "SNSW-001P16EU").online = False
    simulator.add_device(KEY, COVER, "SNSW-102P16EU", channels=0, mode="cover")
    running = RunningSimulator(simulator).start()
    yield ShellyCloud(running.url, KEY)
    running.stop()


def off(cloud: ShellyCloud) -> None:
    cloud.switch(RELAY, on=False, toggle_after_s=None)


# -- how a request looks


def test_on_carries_its_timer_in_a_v2_call_with_the_key_in_the_query(server: Server, cloud: ShellyCloud) -> None:
    cloud.switch(Target(PRO, 1), on=True, toggle_after_s=90)
    method, path, text, _ = server.asked[0]
    assert (method, urlsplit(path).path) == ("POST", "/v2/devices/api/set/switch")
    assert parse_qs(urlsplit(path).query) == {"auth_key": [KEY]}
    assert json.loads(text) == {"id": PRO, "channel": 1, "on": True, "toggle_after": 90}


def test_off_carries_no_timer(server: Server, cloud: ShellyCloud) -> None:
    off(cloud)
    assert json.loads(server.asked[0][2]) == {"id": PRO, "channel": 0, "on": False}


@pytest.mark.parametrize(("on", "timer_s"), [(True, None), (True, 0), (True, -5), (False, 60), (False, 0)])
def test_on_without_and_off_with_a_timer_are_never_sent(
    server: Server, cloud: ShellyCloud, on: bool, timer_s: int | None
) -> None:
    with pytest.raises(ValueError, match=r"timer|toggle_after"):
        cloud.switch(RELAY, on=on, toggle_after_s=timer_s)
    assert server.asked == []


def test_group_is_one_off_for_all_its_targets(server: Server, cloud: ShellyCloud) -> None:
    assert cloud.switch_group([RELAY, Target(PRO, 1)]) == {}
    assert json.loads(server.asked[0][2]) == {"switch": {"ids": [f"{PRO}_0", f"{PRO}_1"], "command": {"on": False}}}
    assert urlsplit(server.asked[0][1]).path == "/v2/devices/api/set/groups"


def test_v1_reads_are_forms_with_the_key_in_the_body_only(server: Server, cloud: ShellyCloud) -> None:
    server.says({"isok": True, "data": {"devices_status": []}})
    assert cloud.all_status() == ()
    server.says({"isok": True, "data": {"devices": []}})
    assert cloud.device_list() == ()
    (_, path, text, headers), (_, list_path, list_text, _) = server.asked
    assert (path, list_path) == ("/device/all_status", "/interface/device/list")
    assert parse_qs(text) == {"auth_key": [KEY], "show_info": ["true"], "no_shared": ["true"]}
    assert parse_qs(list_text) == {"auth_key": [KEY]}
    assert headers["Content-Type"] == "application/x-www-form-urlencoded"


def test_nothing_to_ask_sends_nothing(server: Server, cloud: ShellyCloud) -> None:
    assert (cloud.statuses([]), cloud.switch_group([])) == ({}, {})
    assert server.asked == []


def test_more_than_ten_ids_are_refused_before_the_cloud_does(server: Server, cloud: ShellyCloud) -> None:
    with pytest.raises(ValueError, match="10"):
        cloud.statuses([f"id{number}" for number in range(11)])
    assert server.asked == []


# -- what counts as success


@pytest.mark.parametrize(
    "body", ["", " \n", "null", '{"isok":true}', '{"isok":1,"data":{"device_id":"x"}}', "{}", "[]"]
)
def test_an_accepted_command_may_answer_in_many_ways(server: Server, cloud: ShellyCloud, body: str) -> None:
    server.says(body)
    off(cloud)
    assert cloud.switch_group([RELAY]) == {}


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"isok": False}, errors.BadAnswer),
        ({"isok": False, "errors": {"who_knows": "Something"}}, errors.BadAnswer),
        ({"isok": None}, errors.BadAnswer),
        ({"error": "NEW_CODE"}, errors.BadAnswer),
        ({"isok": False, "errors": {"max_req": "Request limit reached!"}}, errors.RateLimited),
        ({"isok": False, "errors": ["Request limit reached!"]}, errors.RateLimited),
        ({"isok": True, "error": "DEVICE_OFFLINE"}, errors.DeviceOffline),
        ({"failedCommands": {f"{PRO}_0": "DEVICE_FAILED_COMMAND"}}, errors.CommandFailed),
        ("<html><body>Sign in to the hotel's network</body></html>", errors.BadAnswer),
        ('{"isok":tr', errors.BadAnswer),
        ("false", errors.BadAnswer),
        ('"OK"', errors.BadAnswer),
        (b"\xff\xfe\x00", errors.BadAnswer),
        ("[" * 100_000, errors.BadAnswer),
    ],
)
def test_http_200_can_be_a_failure(server: Server, cloud: ShellyCloud, body: Any, error: type[ShellyError]) -> None:
    server.says(body)
    with pytest.raises(error):
        off(cloud)


# -- errors by name


def catalogue() -> list[Any]:
    entries = json.loads(CATALOGUE.read_text())["entries"] if CATALOGUE.is_file() else []
    return [pytest.param(entry, id=f"{entry['api']}: {entry['when']}") for entry in entries if "http" in entry]


EXPECTED: dict[str, str] = {
    "more than ~1 request/second on the account": "rate_limited",
    "rate limit, alternative status some authors handle": "rate_limited",
    "auth key named as invalid": "bad_key",
    "unexplained refusal (user account, key valid)": "unclear_refusal",
    "relay channel could not be controlled (author used GET query instead of POST body)": "wrong_channel",
    "no auth key": "bad_key",
    "valid key, device id that does not exist on the account": "no_permission",
    "more than 10 ids": "bad_request",
    "unknown device id among ids": "",
    "device offline": "device_offline",
    "command failed": "command_failed",
    "wrong profile/mode": "wrong_profile",
    "bad channel": "wrong_channel",
    "bad parameters": "bad_request",
    "device instance problem": "device_not_found",
    "no device state": "device_not_found",
    "internal failure": "cloud_down",
    "some targets failed": "",
}


@pytest.mark.skipif(not CATALOGUE.is_file(), reason="the shared catalogue of errors is not here")
@pytest.mark.parametrize("entry", catalogue())
def test_every_http_entry_of_the_error_catalogue_has_its_name(
    server: Server, cloud: ShellyCloud, entry: dict[str, Any]
) -> None:
    body = entry.get("body") or entry.get("body_partial") or ({"error": entry["error"]} if "error" in entry else [])
    server.says(body, status=entry["http"])
    error = named(server.status, server.body)
    assert (error.name if error else "") == EXPECTED[entry["when"]]
    if error is not None:
        with pytest.raises(type(error)):
            off(cloud)


# -- the network fails


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


def test_body_that_is_too_big_is_not_read_to_its_end(server: Server, cloud: ShellyCloud) -> None:
    server.says(b" " * MANY)
    with pytest.raises(errors.BadAnswer, match="more than"):
        off(cloud)


def test_all_status_of_a_big_account_may_be_bigger(server: Server, cloud: ShellyCloud) -> None:
    server.says(json.dumps({"isok": True, "data": {"devices_status": {}}}) + " " * MANY)
    assert cloud.all_status() == ()


def test_redirects_are_not_followed(server: Server, cloud: ShellyCloud) -> None:
    server.says("", status=307, Location=f"{server.url}/elsewhere")
    with pytest.raises(errors.BadAnswer):
        off(cloud)
    assert len(server.asked) == 1


@pytest.mark.parametrize("body", ["", "null", {"isok": True}, {"isok": True, "data": {"devices_status": "no"}}])
def test_a_read_without_its_content_is_a_bad_answer(server: Server, cloud: ShellyCloud, body: Any) -> None:
    server.says(body)
    for read in (cloud.all_status, cloud.device_list, lambda: cloud.statuses([PRO])):
        with pytest.raises(errors.BadAnswer):
            read()


# -- what must not leak, and what is measured


def chain(error: BaseException | None) -> str:
    return "" if error is None else f"{error!r} {error.args} " + chain(error.__cause__) + chain(error.__context__)


def test_errors_hold_neither_key_nor_url(server: Server, cloud: ShellyCloud, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    answers: list[tuple[int, Any]] = [(400, {"error": f"BAD_REQUEST {KEY}", "data": {}}), (401, {"errors": {KEY: KEY}})]
    for status, body in answers:
        server.says(body, status=status)
        with pytest.raises(ShellyError) as caught:
            off(cloud)
        assert KEY not in chain(caught.value) + caught.value.detail
    server.answer = lambda handler: handler.connection.shutdown(socket.SHUT_RDWR)
    with pytest.raises(ShellyError) as caught:
        off(cloud)
    assert KEY not in chain(caught.value)
    assert server.url not in chain(caught.value)
    assert KEY not in caplog.text


def test_latency_and_the_servers_clock_are_known_after_a_call(server: Server, cloud: ShellyCloud) -> None:
    assert (cloud.last_latency_s, cloud.server_time_offset_s) == (None, None)
    server.says("", Date=formatdate(time.time() + 3600, usegmt=True))
    off(cloud)
    assert cloud.last_latency_s is not None
    assert 0 < cloud.last_latency_s < 1
    assert cloud.server_time_offset_s == pytest.approx(3600, abs=2)
    server.says("", Date="yesterday")
    off(cloud)
    assert cloud.server_time_offset_s is None


def test_latency_of_a_failure_is_known_too(server: Server, cloud: ShellyCloud) -> None:
    server.says("<html>", status=502)
    with pytest.raises(errors.CloudDown):
        off(cloud)
    assert cloud.last_latency_s is not None


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


# -- against the simulator


def test_on_and_off_reach_the_simulated_relay(simulated: ShellyCloud) -> None:
    simulated.switch(RELAY, on=True, toggle_after_s=60)
    status = simulated.statuses([PRO.upper()])[PRO]
    reading = status.channel(0)
    assert status.online
    assert status.mark
    assert reading is not None
    assert (reading.output, reading.source) == (True, "SHC")
    assert reading.timer_ends_at is not None
    assert reading.timer_ends_at.timestamp() == pytest.approx(time.time() + 60, abs=3)
    off(simulated)
    reading = simulated.statuses([PRO])[PRO].channel(0)
    assert reading is not None
    assert (reading.output, reading.timer_ends_at) == (False, None)


def test_group_names_each_target_that_failed(simulated: ShellyCloud) -> None:
    gone, offline, cover = Target("ffffffffffff", 0), Target(OFFLINE, 0), Target(COVER, 0)
    failed = simulated.switch_group([RELAY, gone, offline, cover])
    assert {str(target): error.name for target, error in failed.items()} == {
        "ffffffffffff_0": "device_not_found",
        f"{OFFLINE}_0": "command_failed",
        f"{COVER}_0": "wrong_profile",
    }


@pytest.mark.parametrize(
    ("target", "error"),
    [
        (Target(OFFLINE, 0), errors.DeviceOffline),
        (Target(COVER, 0), errors.WrongProfile),
        (Target(PRO, 7), errors.WrongChannel),
        (Target("ffffffffffff", 0), errors.NoPermission),
    ],
)
def test_refused_switch_has_its_name(simulated: ShellyCloud, target: Target, error: type[ShellyError]) -> None:
    with pytest.raises(error):
        simulated.switch(target, on=True, toggle_after_s=5)


def test_unknown_device_is_absent_from_the_statuses(simulated: ShellyCloud) -> None:
    assert set(simulated.statuses([PRO, "ffffffffffff"])) == {PRO}


def test_mark_is_the_same_through_both_apis_until_the_next_push(simulated: ShellyCloud) -> None:
    before = {device.shelly_id: device.mark for device in simulated.all_status()}
    assert simulated.statuses([PRO])[PRO].mark == before[PRO]
    simulated.switch(RELAY, on=True, toggle_after_s=60)
    assert simulated.statuses([PRO])[PRO].mark != before[PRO]


def test_wrong_key_and_rate_limit_are_told_apart() -> None:
    simulator = ShellySimulator(rate_limit_s=5)
    simulator.add_account(KEY)
    running = RunningSimulator(simulator).start()
    try:
        with pytest.raises(errors.BadKey):
            ShellyCloud(running.url, "another").all_status()
        ShellyCloud(running.url, KEY).all_status()
        with pytest.raises(errors.RateLimited):
            ShellyCloud(running.url, KEY).all_status()
    finally:
        running.stop()


def test_deadline_backend_is_what_a_threads_client_uses() -> None:
    transport = own_client()._transport
    assert isinstance(transport, httpx.HTTPTransport)
    assert isinstance(transport._pool, httpcore.ConnectionPool)
    assert type(transport._pool._network_backend).__name__ == "DeadlineBackend"
