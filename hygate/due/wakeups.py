"""Wake-ups are hints: a transaction that makes a row due now says so on commit; losing all of them costs one sweep.

Nobody who wakes a row waits for the broker: hints go into a bounded queue that one daemon thread publishes, and are
dropped when it is full.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

import structlog
from django.db import transaction

from hygate.due.row import Due

log = structlog.get_logger(__name__)
Publisher = Callable[[str, list[int]], None]
Taker = Callable[[str, list[int]], list[int]]
"""Starts on what it can do at once, and answers the rest."""

MOST_WAITING = 2000
_hints: queue.Queue[tuple[str, int]] = queue.Queue(maxsize=MOST_WAITING)
_lock = threading.Lock()
_thread: threading.Thread | None = None
_publisher: Publisher | None = None
_runner: Publisher | None = None
_taker: Taker | None = None


def publish_with(publisher: Publisher | None) -> None:
    """Who carries hints to the workers; ``None`` (tests, commands without a broker) drops them."""
    global _publisher
    _publisher = publisher


def run_here_with(runner: Publisher | None) -> None:
    """Who takes hints that no broker carries: a worker runs its own, so that without one nothing waits for a sweep."""
    global _runner
    _runner = runner


def take_here_with(taker: Taker | None) -> None:
    """Who takes hints before any broker sees them: a worker those of its own queue, while it has threads free."""
    global _taker
    _taker = taker


def wake(row: Due) -> None:
    """Have ``row`` looked at as soon as the present transaction has been committed."""
    hint = (row._meta.label_lower, int(row.pk))
    transaction.on_commit(lambda: _enqueue(hint))


def _enqueue(hint: tuple[str, int]) -> None:
    if _publisher is None and _runner is None and _taker is None:
        return
    _start_thread()
    try:
        _hints.put_nowait(hint)
    except queue.Full:
        log.warning("wakeup.dropped", label=hint[0], pk=hint[1])


def _start_thread() -> None:
    global _thread
    with _lock:
        if _thread is None or not _thread.is_alive():
            _thread = threading.Thread(target=_carry, name="wake-ups", daemon=True)
            _thread.start()


def _carry() -> None:
    """Publish hints, those that lie waiting together in one message for each model."""
    while True:
        waiting: dict[str, list[int]] = {}
        label, pk = _hints.get()
        waiting[label] = [pk]
        while not _hints.empty() and sum(map(len, waiting.values())) < 200:
            label, pk = _hints.get_nowait()
            waiting.setdefault(label, []).append(pk)
        for label, pks in waiting.items():
            _publish(label, pks)


def _publish(label: str, pks: list[int]) -> None:
    publisher, runner, taker, rows = _publisher, _runner, _taker, sorted(set(pks))
    if taker is not None:
        rows = taker(label, rows)
    if not rows:
        return
    try:
        if publisher is not None:
            publisher(label, rows)
            return
    except Exception as error:  # noqa: BLE001 - whatever the broker raises, the sweep finds the row
        log.warning("wakeup.lost", label=label, rows=len(pks), error=type(error).__name__)
    if runner is not None:
        runner(label, rows)
