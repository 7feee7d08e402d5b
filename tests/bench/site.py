"""The stack as the benchmarks need it: the product's own numbers, no proxies, a database that really writes."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from tests.bench.floor import RELAY_WORKERS
from tests.bench.simulator import SimulatorProcess
from tests.stack.stack import Stack

Database = Literal["postgresql", "sqlite"]
WEB_PROCESSES = 2
"""As many as docker-compose.yml starts: one for each core."""


class Site(Stack):
    """``Stack`` with both simulators in processes of their own, on PostgreSQL (with fsync) or on SQLite.

    ``numbers`` are the settings that differ from the product's defaults; two web processes, two workers for
    relays, one for each of the other queues.
    """

    def __init__(
        self,
        folder: Path,
        *,
        database: Database = "postgresql",
        numbers: dict[str, str] | None = None,
        settings: str = "hygate.settings",
        relays: int = RELAY_WORKERS,
    ) -> None:
        super().__init__(folder, relays=relays, web_workers=WEB_PROCESSES)
        self.database, self._settings = database, settings
        self.numbers = {"HYGATE_LOG_LEVEL": "WARNING"} | (numbers or {})
        self.postgres.configure("fsync=on")
        self.stripe_process = SimulatorProcess("stripe", webhook_url=f"{self.base_url}/api/stripe/webhook")

    def start(self) -> Site:
        self.stripe_process.start()
        super().start()
        return self

    def close(self) -> None:
        super().close()
        self.stripe_process.stop()

    @property
    def environment(self) -> dict[str, str]:
        return self.own_environment

    def _told(self, database_url: str) -> dict[str, str]:
        url = f"sqlite:///{self._sqlite}" if self.database == "sqlite" else database_url
        return super()._told(url) | {
            "DJANGO_SETTINGS_MODULE": self._settings,
            "HYGATE_STRIPE_API_BASE": self.stripe_process.url,
            "BROKER_URL": self.broker_url,
        }

    @property
    def broker_url(self) -> str:
        return f"redis://127.0.0.1:{self.broker_port}/0"

    @property
    def _sqlite(self) -> Path:
        return self.folder / "hygate.sqlite3"

    def workers_seen(self, since: float, name: str = "worker:%") -> int:
        if self.database == "postgresql":
            return super().workers_seen(since, name)
        moment = datetime.fromtimestamp(since, UTC).replace(tzinfo=None).isoformat(sep=" ")
        question = "SELECT count(*) FROM hygate_heartbeat WHERE name LIKE ? AND at >= ?"
        with closing(sqlite3.connect(self._sqlite, timeout=20)) as connection:
            return int(connection.execute(question, (name, moment)).fetchone()[0])

    def enter(self) -> None:
        """Make this very process one that knows the site: after this, models can be imported and rows written."""
        import django

        os.environ.update(self.own_environment)
        django.setup()
