"""The sweep: once a second, claim what is due and hand it out in chunks. Harmless when doubled."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import structlog
from django.conf import settings
from django.db import close_old_connections
from django.db.utils import DatabaseError

from hygate import alerts, clock, clock_watch, sealing
from hygate.due.claims import Claim, claim, hand_back, is_claimable
from hygate.due.registry import Handler, Queue, handler_for, handlers
from hygate.due.running import run
from hygate.due.wakeups import run_here_with, take_here_with
from hygate.models import Heartbeat, Severity

BATCH = 200
MOST_BATCHES = 10
LATER_S = 1.0
"""How much later than what the sweep claims a row may be due that is advanced together with some of it."""
TOGETHER_S, CROWDED_S, CROWD = 0.05, 0.2, 12
"""How far apart the moments of a chunk may lie: more where a sweep finds a crowd, for chunks cost more than rows."""
SOON_WAITS_S = (0.01, 0.02, 0.04, 0.08, 0.16)
"""Who is woken waits for a row that somebody is just writing, and for one that is due by the writer's clock."""
WORKER_BEAT_S = 5.0
THREADS, AT_ONCE = 16, 12
"""Of a worker's own threads for a queue, so many may be busy with wake-ups: the others are there for its sweep."""
HEARTBEAT = "sweep"
"""Written by the sweep that beat starts; the fallback's own sweeps do not count as it."""
SILENT_S = 30
"""Silence after which a person is told."""
log = structlog.get_logger(__name__)
Dispatch = Callable[[Handler, list[Claim]], None]


def sweep(dispatch: Dispatch, *, queues: Sequence[Queue] = tuple(Queue)) -> int:
    """Claim everything due until after the next sweep, dispatch it, then seal the audit log; answers how many rows."""
    found = 0
    for handler in handlers():
        if handler.queue not in queues:
            continue
        for _ in range(MOST_BATCHES):
            claims, moments = _claim_next(handler)
            found += len(claims)
            for chunk in chunks(claims, handler.chunk, moments):
                _dispatch(dispatch, handler, chunk)
            if len(claims) < BATCH:
                break
    _seal()
    return found


def _claim_next(handler: Handler) -> tuple[list[Claim], Mapping[int, datetime]]:
    """What is due until after the next sweep, and what is better advanced together with some of it, a little later."""
    ahead_s = settings.NUMBERS.sweep_ahead_s if handler.ahead else 0
    claims = claim(handler, limit=BATCH, ahead_s=ahead_s)
    moments = _moments(handler, claims) if claims else {}
    if others := moments.keys() - {one.pk for one in claims}:
        claims += claim(handler, limit=BATCH, ahead_s=ahead_s + LATER_S, pks=others)
    return claims, moments


def _seal() -> None:
    """After the work: a chain that cannot go on must not keep a relay from being switched off."""
    try:
        sealing.seal()
    except Exception:
        log.exception("sealing.failed")


def wake_rows(label: str, pks: Sequence[int], dispatch: Dispatch = run) -> None:
    """Claim and advance those of the named rows that are due: one chunk here and now, ``dispatch`` takes the others."""
    handler = handler_for(label)
    claims = _claim_woken(handler, pks)
    own, *others = chunks(claims, handler.chunk) or [[]]
    for chunk in others:
        _dispatch(dispatch, handler, chunk)
    run(handler, own)


def _claim_woken(handler: Handler, pks: Sequence[int]) -> list[Claim]:
    """Claim those of the named rows that are due, also those that somebody is just writing, and those just not due yet.

    Claiming passes over a locked row. Whoever woke it has committed, but another may hold it for a moment (a second
    webhook about the same order); and its clock may be a little ahead of ours. Then only the next sweep would find the
    row, up to a second later.
    """
    claims, left = _claim_first(handler, pks), set(pks)
    for wait_s in SOON_WAITS_S:
        left -= {one.pk for one in claims}
        if not left or not is_claimable(handler, left, within_s=clock.APART_S):
            break
        clock.sleep(wait_s)
        claims += claim(handler, limit=BATCH, pks=left)
    return claims


def _claim_first(handler: Handler, pks: Sequence[int]) -> list[Claim]:
    """The named rows, or a chunk of whatever is due, oldest first; a named row that is not in it is claimed next."""
    if handler.takes_along:
        return claim(handler, limit=handler.chunk)
    return claim(handler, limit=BATCH, pks=pks)


def _moments(handler: Handler, claims: Sequence[Claim]) -> Mapping[int, datetime]:
    """A wish and no duty: whatever goes wrong with it, rows are advanced when they are due."""
    try:
        return handler.moments(claims)
    except Exception:
        log.exception("sweep.no_moments", label=handler.label)
        return {}


def chunks(claims: Sequence[Claim], most: int, moments: Mapping[int, datetime] | None = None) -> list[list[Claim]]:
    """Claims in chunks of at most ``most`` whose moments lie close together: the chunk waits for its latest.

    A row's moment is when it is due, or what ``moments`` says. Overdue rows all go at once; only those still to come
    are kept apart.
    """
    now, within_s = clock.now(), TOGETHER_S if len(claims) <= CROWD else CROWDED_S
    of_row = {one.pk: (moments or {}).get(one.pk, one.due_at) for one in claims}
    grouped: list[list[Claim]] = []
    for one in sorted(claims, key=lambda one: (of_row[one.pk], one.due_at)):
        moment, last = of_row[one.pk], grouped[-1] if grouped else None
        is_apart = last is not None and (moment - of_row[last[0].pk]).total_seconds() > within_s and moment > now
        if last is None or len(last) >= most or is_apart:
            grouped.append([one])
        else:
            last.append(one)
    return grouped


def _dispatch(dispatch: Dispatch, handler: Handler, chunk: list[Claim]) -> None:
    try:
        dispatch(handler, chunk)
    except Exception as error:  # noqa: BLE001 - the broker is down: the fallback sweep must find the rows free
        log.warning("sweep.not_dispatched", label=handler.label, error=type(error).__name__)
        hand_back(handler, chunk)


def beat(name: str, **detail: object) -> None:
    Heartbeat.objects.update_or_create(name=name, defaults={"at": clock.now(), "detail": detail})


def silent_for_s(name: str = HEARTBEAT) -> float:
    """Seconds since the heartbeat; infinite when there never was one."""
    last = Heartbeat.objects.filter(name=name).values_list("at", flat=True).first()
    return float("inf") if last is None else (clock.now() - last).total_seconds()


class FallbackSweep:
    """Every worker's own watch: when nobody has swept for three seconds, it sweeps and runs the rows itself.

    So a dead beat, a dead broker or a dead clock worker cost a few seconds, and never a session. Each queue has threads
    of its own here too: a Stripe that hangs holds up no relay.

    They also take the wake-ups of the worker's own queues (``name``: those, with commas): what a chunk makes due goes
    on here, without the way over the broker and back.
    """

    def __init__(self, name: str, threads: int = THREADS) -> None:
        self._name = name
        self._own_queues = name.split(",")
        self._places = threading.BoundedSemaphore(min(AT_ONCE, threads))
        self._pools = {
            queue: ThreadPoolExecutor(max_workers=threads, thread_name_prefix=f"fallback-{queue}") for queue in Queue
        }
        self._stop = threading.Event()
        self._beaten_at = -WORKER_BEAT_S
        self._watching_since = clock.now()
        self._alarmed: bool | None = None
        self._clock_watch = clock_watch.Watch()

    def start(self) -> None:
        run_here_with(self._wake_here)
        take_here_with(self._take)
        threading.Thread(target=self._watch, name="fallback-sweep", daemon=True).start()

    def stop(self) -> None:
        self._stop.set()

    def _watch(self) -> None:
        while not self._stop.is_set():
            started = time.monotonic()
            try:
                self._look()
            except DatabaseError as error:
                log.warning("fallback.database", error=type(error).__name__)
                close_old_connections()
            self._stop.wait(max(0.05, settings.NUMBERS.sweep_s - (time.monotonic() - started)))

    def _look(self) -> None:
        close_old_connections()
        self._look_at_clock()
        if time.monotonic() - self._beaten_at > WORKER_BEAT_S:
            beat(f"worker:{self._name}", process=clock_watch.PROCESS)
            self._beaten_at = time.monotonic()
        silence_s = silent_for_s()
        if silence_s > settings.NUMBERS.sweep_silence_s:
            sweep(self._run_here)
        self._tell(silence_s)

    def _look_at_clock(self) -> None:
        """Whatever goes wrong in it but the database, the sweep goes on."""
        try:
            self._clock_watch.look_if_due()
        except DatabaseError:
            raise
        except Exception:
            log.exception("clock.failed")

    def _tell(self, silence_s: float) -> None:
        """Where there is a broker, beat sweeps; say so when it does not, and when it does again.

        We only speak of a silence that we heard ourselves: a worker that has just started knows nothing yet.
        """
        heard_s = min(silence_s, (clock.now() - self._watching_since).total_seconds())
        silent = bool(settings.BROKER_URL) and heard_s > SILENT_S
        if silent == self._alarmed:
            return
        if silent:
            alerts.raise_alert(
                "sweep",
                kind="sweep_silent",
                title="The scheduler has stopped",
                advice="Start beat, the clock worker and the broker again. Meanwhile the other workers do the work,"
                " a few seconds later.",
                severity=Severity.ERROR,
                help_anchor="sweep-silent",
            )
        elif silence_s <= settings.NUMBERS.sweep_silence_s or not settings.BROKER_URL:
            alerts.close_alert("sweep")
        else:
            return
        self._alarmed = silent

    def _take(self, label: str, pks: list[int]) -> list[int]:
        """Start on wake-ups of our own queues while a thread is free; answers those that the broker has to carry."""
        handler, left = handler_for(label), pks
        while left and handler.queue in self._own_queues and self._places.acquire(blocking=False):
            mine, left = left[: handler.chunk], left[handler.chunk :]
            self._pools[handler.queue].submit(self._taken, label, mine)
        return left

    def _taken(self, label: str, pks: list[int]) -> None:
        try:
            _woken(label, pks, self._run_here)
        finally:
            self._places.release()

    def _wake_here(self, label: str, pks: list[int]) -> None:
        self._pools[handler_for(label).queue].submit(_woken, label, pks, self._run_here)

    def _run_here(self, handler: Handler, chunk: list[Claim]) -> None:
        self._pools[handler.queue].submit(run, handler, chunk)


def _woken(label: str, pks: list[int], dispatch: Dispatch) -> None:
    """``wake_rows`` on a thread whose exceptions nobody would see: the sweep finds the rows anyway."""
    try:
        wake_rows(label, pks, dispatch)
    except DatabaseError as error:
        log.warning("wakeup.database", error=type(error).__name__)
        close_old_connections()
