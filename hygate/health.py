"""``/healthz``: the process answers. ``/readyz``: it can sell (database there, somebody sweeps)."""

from __future__ import annotations

from django.conf import settings
from django.db import connection
from django.db.models import Max, Q
from django.db.utils import DatabaseError
from django.http import HttpRequest, JsonResponse

from hygate import clock
from hygate.due import sweep
from hygate.models import Heartbeat

SILENT_S = sweep.SILENT_S


def healthz(_request: HttpRequest) -> JsonResponse:
    return JsonResponse({"ok": True, "simulated": settings.SIMULATED})


def readyz(_request: HttpRequest) -> JsonResponse:
    try:
        connection.ensure_connection()
        silence_s = sweep_silence_s()
    except DatabaseError:
        return JsonResponse({"ok": False, "why": "The database does not answer."}, status=503)
    if silence_s > SILENT_S:
        return JsonResponse({"ok": False, "why": "No worker sweeps: sessions would not end in time."}, status=503)
    return JsonResponse({"ok": True, "sweep_silence_s": round(silence_s, 1)})


def sweep_silence_s() -> float:
    """Seconds since anybody swept: beat's sweep, or a worker's watch that would take over."""
    sweepers = Heartbeat.objects.filter(Q(name=sweep.HEARTBEAT) | Q(name__startswith="worker:"))
    last = sweepers.aggregate(last=Max("at"))["last"]
    return float("inf") if last is None else (clock.now() - last).total_seconds()
