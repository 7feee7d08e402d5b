"""The first page: what runs, whether everything answers, what was paid."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_safe

from hygate import clock
from hygate.prepared import Prepared
from hygate.roles import staff_only
from sessions_app.dashboard import alerts, frame, live, looks, seen, setup
from sessions_app.dashboard.integrations import Facts, facts, integrations
from sessions_app.dashboard.looks import RANK, Tile
from sessions_app.dashboard.takings import takings
from sessions_app.models import Payment

LATEST = 5
PAYMENT_COLUMNS = (
    *("amount_minor", "currency", "created_at", "status", "method", "method_detail"),
    *("captured_minor", "refunded_minor"),
)


@require_safe
@staff_only
def overview(request: HttpRequest) -> HttpResponse:
    if setup.belongs_here(request):
        return frame.go(request, reverse("dashboard:setup"))
    return frame.page(request, "overview.html", _live(clock.now(), request), here="overview")


@require_safe
@staff_only
def overview_live(request: HttpRequest) -> HttpResponse:
    """The part that is asked for every two seconds: nothing (204) while it is what the browser has already."""
    return live.answer(request, "_live.html", _live(clock.now(), request))


def _live(now: datetime, request: HttpRequest) -> dict[str, Any]:
    tiles = sorted((looks.of_active(one, now) for one in seen.active()), key=lambda tile: _trouble_first(tile, now))
    payments = _LATEST.rows()
    found = facts(request)
    taken = takings(request, now, ZoneInfo(found.zone))
    neighbours, counts = integrations(found, request.user, now), [*taken.figures, *_counts(found)]
    open_alerts = alerts.on_top(request.user)
    shown = [
        open_alerts,
        tiles,
        neighbours,
        counts,
        [(one.pk, one.status, one.captured_minor, one.refunded_minor) for one in payments],
    ]
    return {
        "now": now,
        "alerts": open_alerts,
        "tiles": tiles,
        "integrations": neighbours,
        "counts": counts,
        "takings": taken,
        "payments": payments,
        "mark": frame.mark(shown),
    }


def _payments() -> QuerySet[Payment]:
    """The latest, with no more than their lines show."""
    rows = Payment.objects.select_related("session__device__location").exclude(status="PENDING").order_by("-pk")
    of_session = ("device", "device__name", "device__location__timezone")
    return rows.only(*PAYMENT_COLUMNS, *(f"session__{column}" for column in of_session))[:LATEST]


_LATEST = Prepared(_payments)


def _trouble_first(tile: Tile, now: datetime) -> tuple[int, float, str]:
    left_s = tile.look.remaining_s(now)
    return RANK[tile.look.tone], float("inf") if left_s is None else left_s, tile.name


def _counts(found: Facts) -> list[tuple[str, str]]:
    """The row of numbers above everything: a word and its value."""
    words = ("devices for sale", found.devices), ("offline", found.offline), ("in maintenance", found.kept)
    return [(word, str(value)) for word, value in words]
