"""Real worker processes against the test's own database and simulators."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.db import connection

ROOT = Path(__file__).resolve().parents[2]
THREADS = {"clock": 2, "relays": 8, "money": 4}


def database_url() -> str:
    """The address of the test's own database, for another process."""
    facts = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{facts['NAME']}"
    user, password = facts["USER"], f":{facts['PASSWORD']}" if facts["PASSWORD"] else ""
    return f"postgres://{user}{password}@{facts['HOST']}:{facts['PORT'] or 5432}/{facts['NAME']}"


class Workers:
    """Workers without a broker: each one's own watch sweeps. ``kill`` is SIGKILL, ``start`` begins anew."""

    def __init__(self, var: Path, **settings: Any) -> None:
        self.environment = os.environ | {
            "DJANGO_SETTINGS_MODULE": "hygate.settings",
            "HYGATE_SIMULATED": "1",
            "HYGATE_VAR_DIR": str(var),
            "DATABASE_URL": database_url(),
            "BROKER_URL": "",
            **{name: str(value) for name, value in settings.items()},
        }
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.log = (var / "workers.log").open("ab")

    def start(self, *queues: str) -> None:
        for queue in queues or ("relays", "money"):
            self.running[queue] = subprocess.Popen(
                [
                    *(sys.executable, "-m", "celery", "-A", "hygate", "worker", "-Q", queue, "-P", "threads"),
                    *("-c", str(THREADS[queue]), "-n", f"{queue}-{time.monotonic_ns()}@test"),
                    *("--without-gossip", "--without-mingle", "--without-heartbeat"),
                ],
                cwd=ROOT,
                env=self.environment,
                stdout=self.log,
                stderr=self.log,
            )

    def pid(self, queue: str) -> int:
        return self.running[queue].pid

    def dead(self, queue: str) -> bool:
        return self.running[queue].poll() is not None

    def kill(self) -> None:
        for process in self.running.values():
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
            process.wait(10)
        self.running.clear()

    def close(self) -> None:
        self.kill()
        self.log.close()


def wait_for(what: Callable[[], bool], within_s: float, why: str) -> None:
    deadline = time.monotonic() + within_s
    while not what():
        if time.monotonic() > deadline:
            raise AssertionError(f"Not within {within_s:g} s: {why}")
        time.sleep(0.05)
