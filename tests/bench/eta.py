"""The contender: one Celery task for each end, sent long before with ``eta``, on Valkey and the threads pool.

It is given every advantage: no database, one HTTP client that keeps its connections, no results, no events, prefetching
without limit, as many threads as the product has for its calls.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import httpx
from celery import Celery

from tests.bench.ends import Call
from tests.bench.floor import SLOTS
from tests.bench.machine import ROOT
from tests.stack.processes import Process

READY_WITHIN_S = 30.0
VISIBLE_AGAIN_S = 3600
"""Must be longer than the furthest eta: a message that is not acknowledged by then is delivered again."""

app = Celery("eta", set_as_current=False)
app.conf.update(
    task_ignore_result=True,
    task_acks_late=True,
    task_default_queue="eta",
    worker_prefetch_multiplier=0,
    worker_send_task_events=False,
    worker_hijack_root_logger=False,
    worker_timer_precision=0.01,
    broker_transport_options={"visibility_timeout": VISIBLE_AGAIN_S},
    broker_connection_retry_on_startup=True,
)
_client = httpx.Client(limits=httpx.Limits(max_connections=SLOTS, max_keepalive_connections=SLOTS), timeout=5)


@app.task(name="bench.off")  # type: ignore[untyped-decorator]
def off(url: str, key: str, device: str) -> None:
    body = {"id": device, "channel": 0, "on": False}
    _client.post(f"{url}/v2/devices/api/set/switch", params={"auth_key": key}, json=body).raise_for_status()


@app.task(name="bench.ready")  # type: ignore[untyped-decorator]
def ready(path: str) -> None:
    """Tell whoever waits that the worker takes tasks."""
    Path(path).touch()


class EtaWorker:
    """One Celery worker for the contender's queue, on the broker's second database."""

    def __init__(self, folder: Path, broker_port: int) -> None:
        self._folder, self._broker = folder, f"redis://127.0.0.1:{broker_port}/1"
        quiet = ("--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "WARNING")
        python = sys.executable
        command = (python, "-m", "celery", "-A", "tests.bench.eta", "worker", "-Q", "eta", "-P", "threads")
        self._process = Process("eta", (*command, "-c", str(SLOTS), *quiet), tree=ROOT, log=folder / "eta.log")
        app.conf.update(broker_url=self._broker)

    def start(self) -> None:
        mark = self._folder / f"eta-ready-{time.monotonic_ns()}"
        without_django = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
        self._process.start(without_django | {"BROKER_URL": self._broker})
        ready.delay(str(mark))
        deadline = time.monotonic() + READY_WITHIN_S
        while not mark.exists():
            assert time.monotonic() < deadline, "The Celery eta worker does not take tasks"
            time.sleep(0.05)

    def kill(self) -> None:
        self._process.kill()

    def stop(self) -> None:
        self._process.stop()


def switch_off_at(url: str, ends: Mapping[Call, float]) -> None:
    """Send every task now, each with the eta of its end."""
    for call, end in ends.items():
        off.apply_async(args=[url, call.key, call.device], eta=datetime.fromtimestamp(end, UTC))
