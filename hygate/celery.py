"""Celery lends threads: the sweep, the chunks it hands out, and wake-ups. No business time lives here."""

from __future__ import annotations

import os
import threading
from typing import Any

from celery import Celery
from celery.signals import setup_logging, worker_init, worker_shutdown

from hygate import clock, memory

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hygate.settings")
app = Celery("hygate")
app.config_from_object("django.conf:settings", namespace="CELERY")

PILED_UP_S = 0.2
_sweeping = threading.Lock()
_swept_at = clock.elapsed() - PILED_UP_S


@setup_logging.connect
def _keep_our_logging(**_: Any) -> None:
    """Django's LOGGING stays in force: Celery's own would bypass the scrubbing of secrets."""


@worker_init.connect
def _start_fallback(sender: Any = None, **_: Any) -> None:
    from devices.shelly.wire import authorities
    from hygate.checks import refuse_bad_settings
    from hygate.due.registry import Queue
    from hygate.due.sweep import FallbackSweep
    from sessions_app.payments.providers import gateway

    refuse_bad_settings()
    queues = ",".join(sorted(str(queue) for queue in getattr(sender, "app", app).amqp.queues.consume_from))
    # loaded before the first guest waits for it
    if Queue.MONEY in queues.split(","):
        gateway()
    if Queue.RELAYS in queues.split(","):
        authorities()
    memory.keep_what_is_loaded()
    app.fallback = FallbackSweep(queues or "worker")
    app.fallback.start()


@worker_shutdown.connect
def _stop_fallback(**_: Any) -> None:
    fallback = getattr(app, "fallback", None)
    if fallback is not None:
        fallback.stop()


@app.task(name="hygate.sweep", ignore_result=True)
def sweep() -> None:
    """One sweep; of those that piled up while nobody took them, only the first does anything.

    Celery's ``expires`` compares the clocks of two machines, so nothing here uses it: where they differ, a worker would
    throw away everything that it is sent.
    """
    from hygate.due import sweep as sweeping

    if not _sweep_is_fresh():
        return
    sweeping.beat(sweeping.HEARTBEAT)
    sweeping.sweep(_send_chunk)


def _sweep_is_fresh() -> bool:
    """Whether the last sweep of this process began long enough ago."""
    global _swept_at
    with _sweeping:
        if clock.elapsed() - _swept_at < PILED_UP_S:
            return False
        _swept_at = clock.elapsed()
    return True


@app.task(name="hygate.run_chunk", ignore_result=True)
def run_chunk(label: str, claims: list[list[Any]], until: float) -> None:
    """Run a chunk unless its lease is over (``until``: Unix seconds by our clock): then another holder has the rows."""
    if clock.now().timestamp() > until:
        return
    from django.db import close_old_connections

    from hygate.due.claims import Claim, take
    from hygate.due.registry import handler_for
    from hygate.due.running import run

    close_old_connections()
    handler = handler_for(label)
    run(handler, take(handler, [Claim.from_json(label, parts) for parts in claims]))


@app.task(name="hygate.wake", ignore_result=True)
def wake(label: str, pks: list[int]) -> None:
    from hygate.due.sweep import wake_rows

    wake_rows(label, pks, _send_chunk)


def _send_chunk(handler: Any, chunk: list[Any]) -> None:
    run_chunk.apply_async(
        args=[handler.label, [one.as_json() for one in chunk], clock.now().timestamp() + handler.lease_s()],
        queue=str(handler.queue),
        retry=False,
    )


def publish_wake_up(label: str, pks: list[int]) -> None:
    """The publisher behind ``hygate.due.wake``; runs on its own thread, so a slow broker holds up nobody."""
    from hygate.due.registry import handler_for

    wake.apply_async(args=[label, pks], queue=str(handler_for(label).queue), retry=False)
