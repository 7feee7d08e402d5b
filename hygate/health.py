"""``/healthz``: the process answers. ``/readyz``: all is well (the database can be written, the scheduler lives)."""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.db import connection
from django.db.models import Max, Q
from django.db.utils import DatabaseError
from django.http import HttpRequest, JsonResponse

from hygate import clock
from hygate.due import sweep
from hygate.models import Heartbeat

SILENT_S = sweep.SILENT_S
_also: list[Callable[[], str]] = []


def ready_only_if(why_not: Callable[[], str]) -> None:
    """Ask this as well: it answers with a sentence while something of its room is not ready, else with nothing."""
    if why_not not in _also:
        _also.append(why_not)


def healthz(_request: HttpRequest) -> JsonResponse:
    return JsonResponse({"ok": True, "simulated": settings.SIMULATED})


def readyz(_request: HttpRequest) -> JsonResponse:
    try:
        connection.ensure_connection()
        if not is_writable():
            return _not_ready("The database can be read, but not written: nothing can be sold.")
        silence_s, beat_silence_s = sweep_silence_s(), sweep.silent_for_s()
        others = [said for why_not in _also if (said := why_not())]
    except DatabaseError:
        return _not_ready("The database does not answer.")
    if silence_s > SILENT_S:
        return _not_ready("No worker sweeps: sessions would not end in time.")
    if settings.BROKER_URL and beat_silence_s > SILENT_S:
        return _not_ready("The scheduler has stopped: the workers sweep by themselves, a few seconds later.")
    if others:
        return _not_ready(others[0])
    return JsonResponse({"ok": True, "sweep_silence_s": round(silence_s, 1)})


def _not_ready(why: str) -> JsonResponse:
    return JsonResponse({"ok": False, "why": why}, status=503)


def is_writable() -> bool:
    """Whether a transaction may write: PostgreSQL can be set, or fall back, to reading only."""
    if connection.vendor != "postgresql":
        return True
    with connection.cursor() as cursor:
        cursor.execute("SHOW transaction_read_only")
        return str(cursor.fetchone()[0]) == "off"


def sweep_silence_s() -> float:
    """Seconds since anybody swept: beat's sweep, or a worker's watch that would take over."""
    sweepers = Heartbeat.objects.filter(Q(name=sweep.HEARTBEAT) | Q(name__startswith="worker:"))
    last = sweepers.aggregate(last=Max("at"))["last"]
    return float("inf") if last is None else (clock.now() - last).total_seconds()
