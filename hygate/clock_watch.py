"""Looking after the clock: measuring it, holding off steps, comparing it with the world, and telling a person.

Every process that decides looks once every ten seconds, on a thread of its own:

1. The reference (PostgreSQL's clock; the machine's own with SQLite) is measured, half of the round trip taken off:
   the quickest of a few, followed no further than its round trip leaves no doubt. While the database is away, elapsed
   seconds go on from the last measurement.
2. A step of the reference, seen twice, is judged. When other workers' heartbeats agree with the reference, it was this
   process that stood still, and it follows. Otherwise the reference was set: all processes agree on a correction, by a
   row, and time goes on as before. No session ends for it, and none goes on for longer.
3. ``Date`` headers that are more than thirty seconds off become rows, and the one alert. While it is open as an error
   nothing new is started; every OFF goes on.
4. The correction ends when the reference is set back, or when nothing is under way and the world agrees with the
   reference.

The row ``clock`` holds the agreement; rows ``clock:<source>:<process>`` hold what is off.
"""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from django.apps import apps
from django.db import close_old_connections, connection, models, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import F
from django.db.utils import DatabaseError

from hygate import alerts, clock, clock_witness
from hygate.clock import Measurement, Verdict
from hygate.clock_witness import OFF_S, WEBHOOK
from hygate.models import Alert, Heartbeat, Severity

EVERY_S = 10.0
TRIES, SHARP_S = 5, 0.002
"""A measurement is tried again, so often at most, while its time may be off by more than so much."""
AGAIN_S = 1.0
"""After a suspicion we look again at once."""
ROUND_TRIP_MAX_S = 1.0
"""A measurement that took longer says too little: this process, or the way to the database, stood still meanwhile."""
BEAT_OLD_S = 10.0
"""A living worker's heartbeat is at most this old."""
EVIDENCE_S = 300.0
"""What is not seen any more for this long does not count any more."""
ROW = "clock"
ALERT = "clock"
SELECT_NOW = "SELECT extract(epoch FROM clock_timestamp())::float8"
PROCESS = f"{os.getpid()}-{secrets.token_hex(3)}"
ROOMS = ("hygate", "devices", "sessions_app")
NOT_SHIFTED = ("AuditEvent", "AuditContact", "User")
log = structlog.get_logger(__name__)

_under_way: list[Callable[[], bool]] = []


def under_way_while(question: Callable[[], bool]) -> None:
    """Say what must not meet a change of time: it waits until every question is answered with no."""
    _under_way.append(question)


def stops_starts() -> bool:
    """Whether the clock is known to be wrong: then nothing new is sold or started. OFFs never ask this."""
    return open_errors().exists()


def open_errors() -> models.QuerySet[Alert]:
    """The one alert that stops starts, while it is open: for who asks in a query of its own."""
    return Alert.objects.filter(key=ALERT, severity=Severity.ERROR, closed_at__isnull=True)


# -- measuring


def measure() -> Measurement | None:
    """The reference's time and what was agreed on; None when it took too long to be worth anything."""
    reference_s, at_s, within_s = _sharpest()
    if within_s * 2 > ROUND_TRIP_MAX_S:
        return None
    return Measurement(reference_s, at_s, *_agreed(), within_s=within_s)


def _sharpest() -> tuple[float, float, float]:
    """The reference's time, when it was read, by ``elapsed()``, and how far off that may be: the quickest of a few."""
    found = []
    for _ in range(TRIES):
        started_s = clock.elapsed()
        reference_s = _reference_s()
        ended_s = clock.elapsed()
        found.append((reference_s, (started_s + ended_s) / 2, (ended_s - started_s) / 2))
        if found[-1][2] <= SHARP_S:
            break
    return min(found, key=lambda one: one[2])


def _agreed() -> tuple[float, int]:
    """The correction that all processes add to the reference, in seconds, and how many agreements there were."""
    detail = Heartbeat.objects.filter(name=ROW).values_list("detail", flat=True).first() or {}
    return float(detail.get("correction_s", 0)), int(detail.get("epoch", 0))


def _reference_s() -> float:
    if connection.vendor != "postgresql":
        return time.time()
    with connection.cursor() as cursor:
        cursor.execute(SELECT_NOW)
        return float(cursor.fetchone()[0])


def on_connection(connection: BaseDatabaseWrapper, **_: Any) -> None:
    """The first connection of a process brings its first measurement: nothing is decided by an unmeasured clock."""
    if clock.held.is_measured or connection.alias != "default":
        return
    try:
        measured = measure()
    except DatabaseError:  # the table does not exist before the first migration
        return
    if measured is not None:
        clock.held.note(measured)


class Watch:
    """One process's looks at the clock. Not meant for two threads at once."""

    def __init__(self, elapsed: Callable[[], float] = clock.elapsed) -> None:
        self._elapsed = elapsed
        self._next_s = elapsed()
        self._first_seen: dict[str, tuple[datetime, float]] = {}

    def look_if_due(self) -> None:
        if self._elapsed() >= self._next_s:
            self._next_s = self._elapsed() + EVERY_S
            self.look()

    def look(self) -> None:
        """Raises ``DatabaseError`` while the database is away; the clock goes on."""
        measured = measure()
        if measured is not None:
            self._judge(measured)
        write_sightings()
        found = self._evidence()
        correction_s, epoch = _agreed()
        if measured is not None and measured.epoch == epoch and may_follow(correction_s, found):
            _give_up_correction(measured)
        else:
            tell(correction_s, found)

    def _judge(self, measured: Measurement) -> None:
        before = clock.held.epoch
        verdict = clock.held.note(measured)
        if clock.held.epoch != before:
            clock_witness.forget()
        if verdict is Verdict.SUSPECTED:
            self._next_s = self._elapsed() + AGAIN_S
        elif verdict is Verdict.STEPPED:
            judge_step(measured)

    def _evidence(self) -> list[Evidence]:
        """The rows that say that a clock is off. One that nobody renews is deleted, by our own count of its age."""
        rows = dict(Heartbeat.objects.filter(name__startswith=f"{ROW}:").values_list("name", "at"))
        now_s = self._elapsed()
        self._first_seen = {name: self._seen(name, at, now_s) for name, at in rows.items()}
        old = [name for name, (_, since_s) in self._first_seen.items() if now_s - since_s > EVIDENCE_S]
        Heartbeat.objects.filter(name__in=old).delete()
        return evidence()

    def _seen(self, name: str, at: datetime, now_s: float) -> tuple[datetime, float]:
        before = self._first_seen.get(name)
        return before if before is not None and before[0] == at else (at, now_s)


def start() -> None:
    """Look from a thread of its own: for processes that have no other watch, such as web."""
    threading.Thread(target=_watch, name="clock-watch", daemon=True).start()


def _watch() -> None:
    watch = Watch()
    while True:
        close_old_connections()
        try:
            watch.look_if_due()
        except DatabaseError as error:
            log.warning("clock.database", error=type(error).__name__)
            close_old_connections()
        clock.held.sleep(AGAIN_S)


# -- a step


def judge_step(measured: Measurement) -> None:
    """Who is wrong? If the other workers tell the reference's time, it was we who stood still."""
    held_s = clock.held.at(measured.at_s)
    log.warning("clock.stepped", by_s=round(measured.said_s - held_s, 1))
    if _others_tell(measured.said_s, rather_than=held_s):
        clock.held.follow(measured)
        clock_witness.forget()
        return
    correction_s = held_s - measured.reference_s
    _agree(measured, correction_s if abs(correction_s) >= clock.STEP_S else 0.0)


def _others_tell(said_s: float, *, rather_than: float) -> bool:
    """Whether a worker other than this process was seen at work just now by ``said_s``, and not by ``rather_than``."""
    beats = Heartbeat.objects.filter(name__startswith="worker:").exclude(detail__process=PROCESS)
    seen = [at.timestamp() for at in beats.values_list("at", flat=True)]
    return any(_is_fresh(at_s, said_s) for at_s in seen) and not any(_is_fresh(at_s, rather_than) for at_s in seen)


def _is_fresh(at_s: float, now_s: float) -> bool:
    return -clock.STEP_S <= now_s - at_s <= BEAT_OLD_S


def _agree(measured: Measurement, correction_s: float) -> bool:
    """Make ``correction_s`` everybody's, unless somebody was quicker; our own time goes on from where the sum says."""
    with transaction.atomic():
        Heartbeat.objects.get_or_create(name=ROW, defaults={"at": clock.now()})
        row = Heartbeat.objects.select_for_update().get(name=ROW)
        if int(row.detail.get("epoch", 0)) != measured.epoch:
            return False
        agreed = {"correction_s": round(correction_s, 3), "epoch": measured.epoch + 1}
        Heartbeat.objects.filter(name=ROW).update(at=clock.now(), detail=agreed)
    clock.held.follow(Measurement(measured.reference_s, measured.at_s, correction_s, measured.epoch + 1))
    return True


# -- the end of a correction


def may_follow(correction_s: float, found: Sequence[Evidence]) -> bool:
    """Whether time may step to the reference: the world agrees with it and not with us, and nothing is under way.

    A step so small that the world cannot tell is taken as soon as nothing is under way.
    """
    if not correction_s or any(question() for question in _under_way):
        return False
    theirs = [one.off_s + correction_s for one in found if one.is_hard]
    agrees = bool(theirs) and all(abs(off_s) <= OFF_S for off_s in theirs)
    return agrees or (not theirs and abs(correction_s) <= OFF_S)


def _give_up_correction(measured: Measurement) -> None:
    """Step to the reference. Moments that lie ahead of it were written by the old time, and move with it."""
    step = timedelta(seconds=-measured.correction_s)
    with transaction.atomic():
        if not _agree(measured, 0.0):
            return
        if step < timedelta(0):
            _shift(step, after=datetime.fromtimestamp(measured.reference_s, tz=UTC))
        Heartbeat.objects.filter(name__startswith=f"{ROW}:").delete()
    clock_witness.forget()
    alerts.close_alert(ALERT)
    log.warning("clock.followed", by_s=step.total_seconds())


def _shift(step: timedelta, *, after: datetime) -> None:
    """Move every moment later than ``after`` by ``step``: nobody waits an hour for what was a second away."""
    for room in ROOMS:
        for model in apps.get_app_config(room).get_models():
            if model.__name__ in NOT_SHIFTED:
                continue
            for field in model._meta.concrete_fields:
                if isinstance(field, models.DateTimeField):
                    rows = model._default_manager.filter(**{f"{field.name}__gt": after})
                    rows.update(**{field.name: F(field.name) + step})


# -- the world's opinion


@dataclass(frozen=True)
class Evidence:
    """``source`` (shelly, stripe, webhook) is ``off_s`` ahead of us."""

    source: str
    off_s: float

    @property
    def is_hard(self) -> bool:
        return self.source != WEBHOOK


def write_sightings() -> None:
    """What this process has seen since the last look: off becomes a row, right again deletes it."""
    for source, seen in clock_witness.take().items():
        name = f"{ROW}:{source}:{PROCESS}"
        if seen.is_off:
            Heartbeat.objects.update_or_create(
                name=name, defaults={"at": clock.now(), "detail": {"source": source, "off_s": seen.off_s}}
            )
        elif seen.times == 0:
            Heartbeat.objects.filter(name=name).delete()


def evidence() -> list[Evidence]:
    rows = Heartbeat.objects.filter(name__startswith=f"{ROW}:").order_by("name").values_list("detail", flat=True)
    return [Evidence(str(detail["source"]), float(detail["off_s"])) for detail in rows]


def tell(correction_s: float, found: Sequence[Evidence]) -> None:
    """Open, change or close the one alert, to say what is so now."""
    said = _said(correction_s, found)
    told = Alert.objects.filter(key=ALERT, closed_at__isnull=True).values_list("severity", "title").first()
    if said is None:
        if told is not None:
            alerts.close_alert(ALERT)
    elif told != (said.severity, said.title):
        alerts.raise_alert(
            ALERT, kind="clock", title=said.title, advice=said.advice, severity=said.severity, help_anchor="clock"
        )


@dataclass(frozen=True)
class Said:
    severity: str
    title: str
    advice: str


def _said(correction_s: float, found: Sequence[Evidence]) -> Said | None:
    hard = [one for one in found if one.is_hard]
    if hard:
        worst = max(hard, key=lambda one: abs(one.off_s))
        title = "The clock is wrong: nothing new is sold or started"
        advice = f"{worst.source.title()} says that it is {_by(worst.off_s)}. {SET_IT} Running sessions end on time."
        return Said(Severity.ERROR, title, advice)
    if correction_s:
        title = "The clock of the database, or of this server, was set while Hygate ran"
        advice = f"It was set {_by(correction_s)}. {SET_IT} Sessions keep their length; Hygate counts on by itself."
        return Said(Severity.WARNING, title, advice)
    if found:
        title = "A genuine webhook carried a time far from ours"
        advice = f"By its stamp our clock is {_by(found[0].off_s)}. {SET_IT} Payments are found without it, later."
        return Said(Severity.WARNING, title, advice)
    return None


SET_IT = "Let a time service (NTP) set the clock of the database's machine and of this one."


def _by(off_s: float) -> str:
    """``off_s``: the right time minus ours."""
    return f"{abs(off_s):.0f} s {'behind' if off_s > 0 else 'ahead'}"
