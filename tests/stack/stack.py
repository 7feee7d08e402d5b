"""The stack: PostgreSQL, broker, both simulators, web, workers and beat, with fault proxies before database and broker.

The harness's own connection goes to the database directly; the product's goes through the proxy. Some times are
shortened, by ordinary environment variables; the time-outs, the pause between attempts and the account's gap stay real.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zoneinfo
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg

from hygate.demo import processes as programs
from hygate.demo.environment import Place, Ports
from hygate.simulators.base import RunningSimulator
from hygate.simulators.shelly import ShellySimulator
from hygate.simulators.stripe import StripeSimulator
from tests.stack.ports import free_port
from tests.stack.postgres import Postgres
from tests.stack.processes import Process
from tests.stack.proxy import Proxy

ROOT = Path(__file__).resolve().parents[2]
SHORTENED = {
    "HYGATE_HOLD_S": "30",
    "HYGATE_UNPAID_OF_DEVICE": "60",  # every guest here comes from one address
    "HYGATE_UNPAID_IN_ALL": "60",
    "HYGATE_EXTEND_LEAST_LEFT_S": "2",
    "HYGATE_RECON_S": "3",
    "HYGATE_START_WINDOW_S": "30",
    "HYGATE_OFF_BACKOFF_CAP_S": "5",
    "HYGATE_STATUS_EVERY_S": "3",
    "HYGATE_OFFLINE_AFTER_S": "10",
    "HYGATE_OFF_ALERT_S": "6",
    "HYGATE_ALERT_MAIL_AFTER_S": "2",
    "HYGATE_QUARANTINE_S": "20",
    "HYGATE_TIMER_MARGIN_S": "10",
    "HYGATE_STRIPE_KEY_LIVES_S": "6",
    "HYGATE_LONGEST_POWER_WAIT_S": "8",
    "HYGATE_LONGEST_PAUSE_S": "30",
    "HYGATE_SHED_SETTLE_S": "2",
    "HYGATE_SHED_CALM_S": "2",
    "HYGATE_QUEUE_OFFER_S": "20",
    "HYGATE_QUEUE_LOOK_S": "1",
    "HYGATE_LOG_LEVEL": "WARNING",
}
WEB_WITHIN_S = 60.0


class Stack:
    """``start()`` brings everything up; ``process[name]`` can be killed, frozen and started again; ``close()`` ends it.

    ``tree`` is the source tree whose product runs: the repository, or a copy with a seeded bug.
    """

    def __init__(
        self,
        folder: Path,
        *,
        tree: Path = ROOT,
        numbers: dict[str, str] | None = None,
        relays: int = 2,
        web_workers: int = 1,
        rate_limit_s: float = 1.0,
        watches_energy: bool = False,
    ) -> None:
        self.folder, self.tree = folder, tree
        folder.mkdir(parents=True, exist_ok=True)
        self.zones = folder / "zones"
        self.numbers = SHORTENED | (numbers or {})
        self._relays, self._web_workers = relays, web_workers
        self._watches_energy = watches_energy
        self.web_port = free_port()
        self.base_url = f"http://127.0.0.1:{self.web_port}"
        self.postgres = Postgres()
        self.broker_port = free_port()
        self.shelly = ShellySimulator(rate_limit_s=rate_limit_s)
        self.shelly_server = RunningSimulator(self.shelly)
        self.stripe = StripeSimulator(webhook_url=f"{self.base_url}/api/stripe/webhook")
        self.stripe_server = RunningSimulator(self.stripe)
        self.process: dict[str, Process] = {}
        self.database_proxy: Proxy
        self.broker_proxy: Proxy

    # -- up and down

    def start(self) -> Stack:
        self.postgres.start(fresh_database=True)
        self.database_proxy = Proxy(self.postgres.port).start()
        self.broker_proxy = Proxy(self.broker_port).start()
        self.shelly_server.start()
        self.stripe_server.start()
        self._add("broker", self._broker_command())
        self.run("broker")
        self._migrate()
        self._add("web", programs.web(Ports(self.web_port, 0, 0, 0), self._web_workers).command)
        self._add("clock", programs.worker("clock", programs.WORKERS["clock"]))
        for number in range(1, self._relays + 1):
            self._add(f"relays-{number}", _named(programs.worker("relays", programs.WORKERS["relays"]), number))
        self._add("money", programs.worker("money", programs.WORKERS["money"]))
        self._add("beat", programs.beat().command)
        if self._watches_energy:
            self._add("watcher", programs.watcher().command)
        since = time.time()
        self.run(*self.product)
        self.wait_ready(since)
        return self

    @property
    def product(self) -> tuple[str, ...]:
        """Everything of Hygate; the broker, the database and the simulators are the world around it."""
        return tuple(name for name in self.process if name != "broker")

    @property
    def environment(self) -> dict[str, str]:
        """What the product's processes are told."""
        return self._told(self.postgres.url(port=self.database_proxy.port))

    @property
    def own_environment(self) -> dict[str, str]:
        """The same for the harness itself, past the proxy."""
        return self._told(self.postgres.url())

    def _told(self, database_url: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("HYGATE_", "DJANGO_"))}
        return kept | {
            "DJANGO_SETTINGS_MODULE": "hygate.settings",
            "HYGATE_SIMULATED": "1",
            "HYGATE_VAR_DIR": str(self.folder),
            "HYGATE_BASE_URL": self.base_url,
            "HYGATE_STRIPE_API_BASE": self.stripe_server.url,
            "HYGATE_SHELLY_URL": self.shelly_server.url,
            "DATABASE_URL": database_url,
            "BROKER_URL": f"redis://127.0.0.1:{self.broker_proxy.port}/0",
            "PYTHONUNBUFFERED": "1",
            # time zones of a scenario's own, before the system's
            "PYTHONTZPATH": os.pathsep.join([str(self.zones), *zoneinfo.TZPATH]),
            **self.numbers,
        }

    def _add(self, name: str, command: tuple[str, ...]) -> None:
        self.process[name] = Process(name, command, tree=self.tree, log=self.folder / f"{name}.log")

    def add_process(self, name: str, command: tuple[str, ...], **environment: str) -> None:
        """One more program beside the others (a second scheduler, a worker with another clock)."""
        self._add(name, command)
        self.process[name].start(self.environment | environment)

    def run(self, *names: str, **environment: str) -> None:
        for name in names:
            self.process[name].start(self.environment | environment)

    def kill(self, *names: str) -> None:
        for name in names:
            self.process[name].kill()

    def close(self) -> None:
        for name in reversed(self.process):
            if name != "broker":
                self.process[name].kill()
        if "broker" in self.process:
            self.process["broker"].kill()
        for server in (self.shelly_server, self.stripe_server):
            with suppress(Exception):
                server.stop()
        for proxy in (self.database_proxy, self.broker_proxy):
            with suppress(Exception):
                proxy.stop()
        self.postgres.close()

    # -- being ready

    def wait_ready(self, since: float) -> None:
        """Until the pages answer and a worker of every queue has looked at the database since ``since``."""
        wait_for(lambda: self.answers("/healthz"), WEB_WITHIN_S, "the pages answer")
        wait_for(lambda: self.workers_seen(since) >= len(programs.WORKERS), WEB_WITHIN_S, "the workers are ready")

    def answers(self, path: str) -> bool:
        try:
            with urllib.request.urlopen(self.base_url + path, timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def workers_seen(self, since: float, name: str = "worker:%") -> int:
        rows = self.sql(
            "SELECT count(*) FROM hygate_heartbeat WHERE name LIKE %s AND at >= to_timestamp(%s)", name, since
        )
        return int(rows[0][0])

    def sql(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """The claims ledger: read (or corrupt) the database directly, past the product and the proxy."""
        with psycopg.connect(self.postgres.url(), autocommit=True) as connection:
            cursor = connection.execute(statement, values)
            return list(cursor.fetchall()) if cursor.description else []

    # -- commands

    def _broker_command(self) -> tuple[str, ...]:
        broker = programs.broker(Place(self.folder), Ports(0, 0, 0, self.broker_port))
        if broker is None:
            raise RuntimeError("The embedded Valkey does not run on this platform; a broker is needed here.")
        return broker.command

    def _migrate(self) -> None:
        for command in ("migrate", "protect_audit"):
            subprocess.run(
                [sys.executable, "manage.py", command, "--verbosity", "0"],
                cwd=self.tree,
                env=self.own_environment,
                check=True,
                timeout=120,
            )


def _named(command: tuple[str, ...], number: int) -> tuple[str, ...]:
    return tuple(part.replace("@", f"-{number}@") if part.endswith("@%h") else part for part in command)


def wait_for(what: Callable[[], bool], within_s: float, why: str, every_s: float = 0.1) -> None:
    deadline = time.monotonic() + within_s
    while not what():
        if time.monotonic() > deadline:
            raise AssertionError(f"Not within {within_s:g} s: {why}")
        time.sleep(every_s)
