"""*Test connection*: the verdict names what is wrong, over real sockets."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from devices.models import ShellyAccount
from devices.relays import connection
from hygate import clock
from sessions_app.dashboard import troubleshooting

if TYPE_CHECKING:
    from tests.world import World

KEY = "typed-key-0123456789"


class Odd:
    """A server that is no cloud: answers one status and body, or nothing at all."""

    def __init__(self) -> None:
        self.status, self.body, self.hangs = 200, b"", False
        self.bodies: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                outer.bodies.append(self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode())
                if outer.hangs:
                    time.sleep(1)
                    return
                self.send_response_only(outer.status)
                self.send_header("Content-Length", str(len(outer.body)))
                self.end_headers()
                self.wfile.write(outer.body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


@pytest.fixture
def odd() -> Iterator[Odd]:
    server = Odd()
    yield server
    server.stop()


def verdict(url: str, key: str = KEY) -> connection.Verdict:
    said = connection.test_connection(server_url=url, auth_key=key, account=None)
    assert key not in repr(said) or not key
    assert said.sentence.endswith(".")
    assert said.ok or said.advice.endswith(".")
    return said


def errors_of(**errors: str) -> bytes:
    return json.dumps({"isok": False, "errors": errors}).encode()


@pytest.mark.parametrize(
    ("status", "body", "code", "word"),
    [
        (401, errors_of(invalid_auth_key="Wrong auth key"), "bad_key", "auth key is refused"),
        (401, errors_of(), "unclear_refusal", "without a reason"),
        (401, errors_of(max_req="Request limit reached!"), "rate_limited", "Too many requests"),
        (429, b"", "rate_limited", "Too many requests"),
        (200, b"<html>Welcome to nginx</html>", "bad_answer", "no Shelly Cloud"),
        (404, b"not here", "no_such_route", "no Shelly Cloud"),
        (302, b"", "bad_answer", "no Shelly Cloud"),
        (200, b'{"isok": true, "data": {}}', "bad_answer", "no Shelly Cloud"),
        (502, b"<html>Bad gateway</html>", "cloud_down", "cannot be reached"),
    ],
)
def test_each_answer_has_its_verdict(odd: Odd, status: int, body: bytes, code: str, word: str) -> None:
    odd.status, odd.body = status, body
    said = verdict(odd.url)
    assert (said.ok, said.code) == (False, code)
    assert word in said.title
    assert said.latency_ms is not None
    assert "nginx" not in repr(said)


def test_a_shared_key_is_named_as_the_likely_cause_of_a_rate_limit(odd: Odd) -> None:
    odd.status, odd.body = 401, errors_of(max_req="Request limit reached!")
    assert "Two programs share this key" in verdict(odd.url).advice


def test_silence_is_a_time_out(odd: Odd, settings: Any) -> None:
    from dataclasses import replace

    settings.NUMBERS = replace(settings.NUMBERS, read_timeout_s=0.2)
    odd.hangs = True
    assert verdict(odd.url).code == "timed_out"


def test_closed_port_is_a_refused_connection() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    assert verdict(url).code == "connection_refused"


def test_plain_server_behind_https_is_a_tls_failure(odd: Odd) -> None:
    assert verdict(odd.url.replace("http:", "https:")).code == "tls_failed"
    assert odd.bodies == []


def test_unknown_name_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: Any, **_options: Any) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr("devices.shelly.wire.socket.getaddrinfo", fail)
    said = verdict("https://shelly-999-eu.shelly.cloud")
    assert (said.code, said.title) == ("host_unknown", "The server's name is unknown")


@pytest.mark.parametrize(
    "url", ["http://169.254.169.254", "https://x.shelly.cloud.evil.tld", "https://evil.example", ""]
)
def test_a_server_that_may_not_have_the_key_is_not_asked(url: str) -> None:
    said = verdict(url)
    assert (said.code, said.latency_ms) == ("address_refused", None)


def test_without_a_key_nothing_is_asked(odd: Odd) -> None:
    assert verdict(odd.url, key="").code == "no_key"
    assert odd.bodies == []


def test_every_verdict_has_its_row_on_the_troubleshooting_page() -> None:
    missing = [kind.name for kind in connection.HELP if not troubleshooting.link(kind.name)]
    assert missing == []


# -- with a real account


def test_a_good_account_is_counted(world: World) -> None:
    world.ctl(world.shelly_server, "POST", "/_ctl/devices/e86beaaaa001", {"online": False})
    said = connection.test_connection(server_url=world.account.server_url, auth_key="", account=world.account)
    assert said.ok
    assert said.counts == connection.Counts(devices=2, channels=5, offline=1)
    assert said.title == "Connected: 2 devices with 5 relay channels, 1 offline"


def test_test_takes_its_turn_and_gives_it_back(world: World) -> None:
    before = len(world.ledger(world.shelly_server, "request"))
    for _ in range(3):
        said = connection.test_connection(server_url=world.account.server_url, auth_key="", account=world.account)
        assert said.ok, said
    assert len(world.ledger(world.shelly_server, "request")) == before + 3
    fresh = ShellyAccount.objects.get()
    assert fresh.claimed_until is None
    assert fresh.free_at is not None
    assert fresh.free_at > clock.now()


def test_busy_account_is_not_disturbed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("devices.relays.sync.TURN_WITHIN_S", 0.2)
    ShellyAccount.objects.update(claimed_until=clock.now() + timedelta(days=1))
    before = len(world.ledger(world.shelly_server, "request"))
    said = connection.test_connection(server_url=world.account.server_url, auth_key="", account=world.account)
    assert said.code == "account_busy"
    assert len(world.ledger(world.shelly_server, "request")) == before


def test_what_is_typed_is_tried_and_not_saved(world: World) -> None:
    said = connection.test_connection(server_url=world.account.server_url, auth_key="wrong", account=world.account)
    assert said.code == "bad_key"
    fresh = ShellyAccount.objects.get()
    assert (fresh.auth_key, fresh.status) == ("demo-shelly-key", "ok")


def test_a_test_of_the_saved_values_puts_the_shown_status_right(world: World) -> None:
    ShellyAccount.objects.update(status="bad_key")
    connection.test_connection(server_url=world.account.server_url, auth_key="", account=world.account)
    world.go(3)
    assert ShellyAccount.objects.get().status == "ok"


def test_a_saved_key_that_cannot_be_decrypted_is_said_so(world: World, settings: Any) -> None:
    from cryptography.fernet import Fernet

    settings.FIELD_KEYS = [Fernet.generate_key().decode()]
    account = ShellyAccount.objects.get()
    said = connection.test_connection(server_url=account.server_url, auth_key="", account=account)
    assert said.code == "key_unreadable"
    assert "HYGATE_FIELD_KEYS" in said.sentence
