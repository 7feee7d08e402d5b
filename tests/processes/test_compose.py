"""``docker-compose.yml`` without an engine: its own commands and environment, as processes of this machine."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
import redis
import yaml
from django.core.management import get_commands

from hygate.demo.environment import Ports
from hygate.demo.processes import beat, watcher, web, workers
from tests.processes.workers import wait_for

ROOT = Path(__file__).resolve().parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
ROLES = ("web", "clock", "relays", "money", "watcher", "beat")
VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")
SERVER = urlsplit(os.environ.get("HYGATE_TEST_PG_URL") or "postgresql://postgres@127.0.0.1:5432/postgres")
BROKER = "redis://127.0.0.1:6379/9"
OURS = re.compile(r"clock|relays|money|unacked.*|_kombu.*")
STOPPED_WITHIN_S = 10.0
ENERGY_PORTS = ("HYGATE_SIM_SIGENERGY_PORT", "HYGATE_SIM_MODBUS_PORT", "HYGATE_SIM_MQTT_PORT")


def filled_in(text: str, values: dict[str, str]) -> str:
    """Compose's ``${NAME:-default}`` and ``${NAME:?why}``."""

    def value(hit: re.Match[str]) -> str:
        name, how, otherwise = hit.groups()
        if values.get(name):
            return values[name]
        assert how == "-", f"{name} has no value: {otherwise}"
        return str(otherwise)

    return VARIABLE.sub(value, text)


# -- what the file says


def test_everything_that_runs_for_long_has_its_service() -> None:
    ports = Ports(8000, 8101, 8102, 6390)
    programs = (web(ports, processes=2), *workers(), watcher(), beat())
    demo = {program.name.removeprefix("worker-"): program.command for program in programs}
    assert set(demo) == set(ROLES)
    for role, command in demo.items():
        mine = SERVICES[role]["command"]
        assert mine[0] in command or mine[0] == "python"
        for option in ("-Q", "-c", "-P", "-n", "--interface", "--blocking-threads"):
            if option in command:
                assert mine[mine.index(option) + 1] == command[command.index(option) + 1], f"{role}: {option}"


def test_an_energy_watcher_is_a_service_as_soon_as_there_is_one() -> None:
    assert ("watch_energy" in get_commands()) == any(
        "watch_energy" in one.get("command", ()) for one in SERVICES.values()
    )


def test_one_image_runs_every_role_and_only_after_the_migration() -> None:
    assert {SERVICES[role]["image"] for role in (*ROLES, "migrate")} == {"hygate:latest"}
    assert SERVICES["migrate"]["restart"] == "no"
    for role in ROLES:
        assert SERVICES[role]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
        assert SERVICES[role]["restart"] == "unless-stopped"
        assert role == "web" or SERVICES[role]["healthcheck"]["test"][:4] == ["CMD", "python", "manage.py", "heartbeat"]


def test_no_secret_stands_in_the_environment() -> None:
    environment = SERVICES["web"]["environment"]
    words = ("KEY", "SECRET", "PASSWORD", "DATABASE_URL")
    named = {name for name in environment if any(word in name for word in words)}
    assert named
    for name in named:
        assert name.endswith("_FILE")
        assert environment[name].removeprefix("/run/secrets/") in SERVICES["web"]["secrets"]
    assert set(SERVICES["web"]["secrets"]) <= set(COMPOSE["secrets"])


def test_the_image_brings_no_secret_and_is_not_root() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    assert [line for line in lines if line.startswith("USER ")] == ["USER hygate"]
    assert any("--require-hashes -r /tmp/run.txt" in line for line in lines)
    copied = [line.split()[-2] for line in lines if line.startswith("COPY ") and "--from" not in line]
    allowed = (ROOT / ".dockerignore").read_text().splitlines()
    assert allowed[1] == "*"
    assert all(f"!{name}" in allowed for name in copied)
    assert not {".env", "secrets", "var", "."} & set(copied)


def test_the_secrets_are_made_once_and_kept(tmp_path: Path) -> None:
    script = ["sh", str(ROOT / "tools" / "secrets.sh")]
    subprocess.run(script, cwd=tmp_path, check=True, capture_output=True)
    folder = tmp_path / "secrets"
    made = {path.name: path.read_text() for path in folder.iterdir()}
    assert set(made) == {Path(one["file"]).name for one in COMPOSE["secrets"].values()}
    assert folder.stat().st_mode & 0o077 == 0
    assert made["postgres_password"].strip() in made["database_url"]
    subprocess.run(script, cwd=tmp_path, check=True, capture_output=True)
    assert {path.name: path.read_text() for path in folder.iterdir()} == made


# -- what it runs


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def database() -> Iterator[str]:
    """The address of a database of this test's own."""
    try:
        server = psycopg.connect(SERVER.geturl(), autocommit=True, connect_timeout=2)
    except psycopg.OperationalError:
        pytest.skip("no PostgreSQL answers on this machine")
    name = f"hygate_compose_{os.getpid()}"
    with server:
        server.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        server.execute(f"CREATE DATABASE {name}")
        yield SERVER._replace(path=f"/{name}").geturl()
        server.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.fixture
def broker() -> Iterator[str]:
    """A Redis database that holds nothing but what a run of this test may have left there."""
    client = redis.Redis.from_url(BROKER, socket_connect_timeout=1)
    try:
        keys = [key.decode() for key in client.scan_iter()]
    except redis.ConnectionError:
        pytest.skip("no Redis or Valkey answers on this machine")
    if not all(OURS.fullmatch(key) for key in keys):
        pytest.skip("the Redis database of this test belongs to somebody else")
    client.flushdb()
    yield BROKER
    client.flushdb()
    client.close()


class Stack:
    """The services of the file as processes, each in a group of its own."""

    def __init__(self, folder: Path, database: str, broker: str) -> None:
        self.web, self.shelly, self.stripe = free_port(), free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.web}"
        self.log = folder / "log"
        self.log.mkdir()
        subprocess.run(["sh", str(ROOT / "tools" / "secrets.sh")], cwd=folder, check=True, capture_output=True)
        secrets = folder / "secrets"
        (secrets / "database_url").write_text(f"{database}\n")
        (secrets / "stripe_key").write_text("sk_test_simulated\n")
        (secrets / "stripe_webhook_secrets").write_text("whsec_demo\n")
        written = SERVICES["web"]["environment"] | {"GRANIAN_HOST": "127.0.0.1", "GRANIAN_PORT": str(self.web)}
        here = {"/run/secrets": str(secrets), "/var/lib/hygate": str(folder / "var"), "redis://valkey:6379/0": broker}
        self.environment = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(folder),
            **{name: self._on_this_machine(value, here) for name, value in written.items()},
            "HYGATE_SIMULATED": "1",
            "HYGATE_SIM_SHELLY_PORT": str(self.shelly),
            "HYGATE_SIM_STRIPE_PORT": str(self.stripe),
            **{name: str(free_port()) for name in ENERGY_PORTS},
        }
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def _on_this_machine(self, value: str, here: dict[str, str]) -> str:
        value = filled_in(value, {"HYGATE_BASE_URL": self.url})
        for there, local in here.items():
            value = value.replace(there, local)
        return value

    def once(self, *command: str, within_s: float = 60) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=within_s, check=False
        )

    def start(self, name: str, *command: str) -> None:
        with (self.log / f"{name}.log").open("ab") as out:
            self.running[name] = subprocess.Popen(
                command, cwd=ROOT, env=self.environment, stdout=out, stderr=out, start_new_session=True
            )

    def is_ready(self) -> bool:
        with (
            suppress(urllib.error.URLError, OSError),
            urllib.request.urlopen(f"{self.url}/readyz", timeout=2) as answer,
        ):
            return bool(answer.status == 200)
        return False

    def alive(self) -> list[str]:
        return [name for name, process in self.running.items() if self._group_lives(process)]

    @staticmethod
    def _group_lives(process: subprocess.Popen[bytes]) -> bool:
        process.poll()
        try:
            os.killpg(process.pid, 0)
        except OSError:
            return False
        return True

    def signal(self, what: signal.Signals, names: list[str]) -> None:
        for name in names:
            with suppress(OSError):
                os.killpg(self.running[name].pid, what)

    def close(self) -> None:
        self.signal(signal.SIGKILL, list(self.running))
        for process in self.running.values():
            process.wait(5)

    def said(self) -> str:
        return "\n".join(f"-- {path.name}\n{path.read_text()[-1500:]}" for path in sorted(self.log.iterdir()))


@pytest.fixture
def stack(tmp_path: Path, database: str, broker: str) -> Iterator[Stack]:
    made = Stack(tmp_path, database, broker)
    try:
        yield made
    finally:
        made.close()


@pytest.mark.slow
def test_the_services_sell_one_session_and_stop_within_ten_seconds(stack: Stack) -> None:
    for simulator in ("shelly", "stripe", "sigenergy"):
        stack.start(simulator, "python", "manage.py", "simulate", simulator)
    migrated = stack.once(*SERVICES["migrate"]["command"])
    assert migrated.returncode == 0, migrated.stderr
    seeded = stack.once("python", "manage.py", "shell", "-c", "from hygate.demo.seed import seed; seed()")
    assert seeded.returncode == 0, seeded.stderr
    for role in ROLES:
        stack.start(role, *(filled_in(word, {}) for word in SERVICES[role]["command"]))

    wait_for(stack.is_ready, 60, "/readyz answers 200")
    for role in ROLES[1:]:
        check = SERVICES[role]["healthcheck"]["test"][1:]
        wait_for(lambda check=check: stack.once(*check).returncode == 0, 30, f"{role} is healthy")  # type: ignore[misc]
    probed = stack.once("python", "-m", "hygate.alive")
    assert probed.returncode == 0, probed.stderr

    sale = stack.once(
        "python", "manage.py", "shell", "-c", "from hygate.demo.smoke import smoke; smoke(print)", within_s=120
    )
    assert sale.returncode == 0, sale.stdout + sale.stderr + stack.said()
    assert "Money, relay, page and audit agree." in sale.stdout

    started = time.monotonic()
    stack.signal(signal.SIGTERM, list(ROLES))
    wait_for(lambda: not set(ROLES) & set(stack.alive()), STOPPED_WITHIN_S, f"all stopped, not {stack.alive()}")
    assert time.monotonic() - started < STOPPED_WITHIN_S
    assert stack.once("python", "-m", "hygate.alive").returncode != 0
