"""The auth key at the moment of connecting: only to checked addresses, and only under the name it was meant for."""

from __future__ import annotations

import datetime as dt
import socket
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpcore
import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from devices.shelly import errors, wire
from devices.shelly.cloud import ShellyCloud, Target
from devices.shelly.wire import DeadlineTransport

KEY = "key-that-must-not-travel"
CLOUD = "shelly-103-eu.shelly.cloud"
PUBLIC = "52.28.10.20"
RELAY = Target("34987a000001", 0)


class Resolver:
    """Answers look-ups as told, one answer after the other, and remembers where connections then went."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answers: list[list[str]] = []
        self.asked: list[str] = []
        self.went: list[str] = []
        monkeypatch.setattr("devices.shelly.wire.socket.getaddrinfo", self._look_up)
        monkeypatch.setattr(httpcore.SyncBackend, "connect_tcp", self._connect)

    def says(self, *answers: list[str]) -> None:
        self.answers = list(answers)

    def _look_up(self, host: str, port: int, **_options: Any) -> list[Any]:
        self.asked.append(host)
        found = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [(socket.AF_UNSPEC, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

    def _connect(self, host: str, *_rest: Any) -> httpcore.NetworkStream:
        self.went.append(host)
        raise httpcore.ConnectError("the test's network ends here")


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Resolver:
    return Resolver(monkeypatch)


@pytest.fixture(autouse=True)
def _real_site(settings: Any) -> None:
    settings.SIMULATED = False
    settings.SHELLY_HOSTS = ["proxy.example", "other.example:8443"]


def ask(url: str) -> errors.ShellyError:
    """What a command to ``url`` comes to, over a client of its own."""
    with httpx.Client(transport=DeadlineTransport()) as client, pytest.raises(errors.ShellyError) as caught:
        ShellyCloud(url, KEY, command_timeout_s=2, client=client).switch(RELAY, on=False, toggle_after_s=None)
    assert KEY not in f"{caught.value} {caught.value.sentence}"
    return caught.value


INSIDE = [
    "169.254.169.254",
    "127.0.0.1",
    "10.0.0.5",
    "172.16.3.4",
    "192.168.1.5",
    "100.64.0.1",
    "0.0.0.0",
    "224.0.0.1",
    "240.0.0.1",
    "::1",
    "::",
    "fe80::1",
    "fd00::1",
    "fec0::1",
    "ff02::1",
    "::ffff:10.0.0.5",
    "::ffff:169.254.169.254",
    "::127.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "2002:7f00:1::1",
]


@pytest.mark.parametrize("address", INSIDE)
def test_name_of_the_cloud_that_leads_inside_is_not_followed(resolver: Resolver, address: str) -> None:
    resolver.says([address])
    error = ask(f"https://{CLOUD}")
    assert (error.name, error.acted) == ("address_refused", "no")
    assert "HYGATE_SHELLY_HOSTS" in error.sentence
    assert resolver.went == []


def test_one_address_inside_among_good_ones_is_enough_to_refuse(resolver: Resolver) -> None:
    resolver.says([PUBLIC, "192.168.1.5"])
    assert ask(f"https://{CLOUD}").name == "address_refused"
    assert resolver.went == []


@pytest.mark.parametrize("address", [PUBLIC, "2a05:d014::1", "64:ff9b::341c:a14"])
def test_connection_goes_to_the_address_that_was_checked(resolver: Resolver, address: str) -> None:
    resolver.says([address])
    assert isinstance(ask(f"https://{CLOUD}"), errors.CloudDown)
    assert resolver.went == [address]


def test_rebinding_finds_no_second_look_up(resolver: Resolver) -> None:
    resolver.says([PUBLIC], ["169.254.169.254"])
    ask(f"https://{CLOUD}")
    assert (resolver.asked, resolver.went) == ([CLOUD], [PUBLIC])
    assert ask(f"https://{CLOUD}").name == "address_refused"
    assert resolver.went == [PUBLIC]


@pytest.mark.parametrize(
    "url",
    [
        f"https://{CLOUD}@evil.example",
        f"https://{CLOUD}.evil.tld",
        "https://x.shelly.cloud.evil.tld",
        "https://evilshelly.cloud",
        "http://169.254.169.254",
        "https://127.0.0.1:6379",
        "https://2130706433",
        "https://[::ffff:127.0.0.1]",
        "https://[::1]",
        "http://localhost:8101",
    ],
)
def test_a_host_that_slipped_into_the_row_is_refused_at_connect(resolver: Resolver, url: str) -> None:
    resolver.says([PUBLIC])
    assert ask(url).name == "address_refused"
    assert resolver.went == []


@pytest.mark.parametrize("address", ["10.0.0.5", "127.0.0.1", "fd00::1", "::ffff:10.0.0.5"])
def test_a_server_of_ones_own_may_stand_in_the_own_network(resolver: Resolver, address: str) -> None:
    resolver.says([address])
    assert ask("https://proxy.example").name == "cloud_down"
    assert resolver.went == [address]


@pytest.mark.parametrize("address", ["169.254.169.254", "::ffff:169.254.169.254", "fe80::1", "224.0.0.1", "0.0.0.0"])
def test_not_even_a_server_of_ones_own_may_stand_at_a_link_local_address(resolver: Resolver, address: str) -> None:
    resolver.says([address])
    assert ask("https://proxy.example").name == "address_refused"
    assert resolver.went == []


def test_a_listed_port_is_the_only_one(resolver: Resolver) -> None:
    resolver.says([PUBLIC])
    assert ask("https://other.example").name == "address_refused"
    assert ask("https://other.example:8443").name == "cloud_down"
    assert resolver.went == [PUBLIC]


def test_simulators_loopback_is_for_simulations_only(settings: Any, resolver: Resolver) -> None:
    assert ask("http://127.0.0.1:8101").name == "address_refused"
    settings.SIMULATED = True
    assert ask("http://127.0.0.1:8101").name == "cloud_down"
    resolver.says(["127.0.0.1"])
    assert ask(f"https://{CLOUD}").name == "address_refused"
    assert resolver.went == ["127.0.0.1"]


# -- over a real TLS socket


class TlsServer:
    """A cloud with a certificate for one name, on this machine; remembers server names and Host headers."""

    def __init__(self, folder: Path, name: str) -> None:
        self.names: list[str | None] = []
        self.hosts: list[str] = []
        self.asked: list[str] = []
        self.redirect_to = ""
        self.certificate = folder / f"{name}.pem"
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, _certify(name, self.certificate))
        context.sni_callback = lambda _socket, shown, _context: self.names.append(shown)
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                outer.hosts.append(self.headers["Host"])
                outer.asked.append(self.path)
                self.send_response_only(302 if outer.redirect_to else 200)
                if outer.redirect_to:
                    self.send_header("Location", outer.redirect_to)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass

        self._http = Quiet(("127.0.0.1", 0), Handler)
        self._http.socket = context.wrap_socket(self._http.socket, server_side=True)
        self.port = self._http.server_port
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


def _certify(name: str, certificate: Path) -> Path:
    """Writes a certificate for ``name``, and answers its key's file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    file = certificate.with_suffix(".key")
    plain = serialization.NoEncryption()
    file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, plain)
    )
    return file


@pytest.fixture
def tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TlsServer]:
    """``proxy.example`` and ``wrong.example`` lead to one server with a trusted certificate for the first."""
    server = TlsServer(tmp_path, "proxy.example")
    monkeypatch.setenv("SSL_CERT_FILE", str(server.certificate))
    there = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port))]
    monkeypatch.setattr("devices.shelly.wire.socket.getaddrinfo", lambda *_args, **_options: there)
    wire.authorities.cache_clear()
    yield server
    wire.authorities.cache_clear()
    server.stop()


def test_tls_name_and_host_header_stay_the_servers_own(tls: TlsServer) -> None:
    with httpx.Client(transport=DeadlineTransport()) as client:
        cloud = ShellyCloud(f"https://proxy.example:{tls.port}", KEY, client=client)
        cloud.switch(RELAY, on=False, toggle_after_s=None)
    assert tls.names == ["proxy.example"]
    assert tls.hosts == [f"proxy.example:{tls.port}"]


def test_certificate_for_another_name_ends_before_the_key_is_sent(tls: TlsServer, settings: Any) -> None:
    settings.SHELLY_HOSTS = ["wrong.example"]
    assert ask(f"https://wrong.example:{tls.port}").name == "tls_failed"
    assert tls.asked == []


def test_redirect_is_neither_followed_nor_shown(tls: TlsServer) -> None:
    tls.redirect_to = "http://169.254.169.254/latest/meta-data/"
    error = ask(f"https://proxy.example:{tls.port}")
    assert error.name == "bad_answer"
    assert "169.254" not in f"{error} {error.sentence}"
    assert len(tls.asked) == 1
