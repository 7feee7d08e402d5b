"""Alerts on the dashboard: what a person must do, as lines that say what, where it leads, and who has seen it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Case, F, IntegerField, QuerySet, Value, When
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from hygate import alerts
from hygate.models import Alert, Severity, User
from hygate.roles import may, staff_only
from sessions_app.dashboard import frame, troubleshooting
from sessions_app.problems.services import report_of

HERE = "overview"
ON_TOP, MOST = 8, 200
LOOKS = {Severity.ERROR: ("stop", "circle-alert", "Error"), Severity.WARNING: ("hold", "triangle-alert", "Warning")}
FILTERS = {"open": "Open", "closed": "Closed", "": "All"}
BACK = {"overview": "dashboard:overview", "alerts": "dashboard:alerts"}
SEVERE_FIRST = Case(When(severity=Severity.ERROR, then=Value(0)), default=Value(1), output_field=IntegerField())


@dataclass(frozen=True)
class Line:
    """One alert. Nothing in it changes while it is merely noticed again, so that a page can be compared."""

    pk: int
    tone: str
    icon: str
    word: str
    title: str
    advice: str
    url: str
    help_url: str
    opened_at: datetime
    seen: bool


@dataclass(frozen=True)
class Top:
    """What stands above everything: the open alerts, those that nobody has seen first; ``more`` did not fit."""

    lines: list[Line]
    more: int


def on_top(user: Any) -> Top:
    rows = list(_ordered(Alert.objects.filter(closed_at__isnull=True))[:MOST])
    return Top([line(alert, user) for alert in rows[:ON_TOP]], max(0, len(rows) - ON_TOP))


def _ordered(rows: QuerySet[Alert]) -> QuerySet[Alert]:
    return rows.order_by(
        F("closed_at").desc(nulls_first=True), F("acknowledged_at").asc(nulls_first=True), SEVERE_FIRST, "-opened_at"
    )


def line(alert: Alert, user: Any) -> Line:
    tone, icon, word = LOOKS[Severity(alert.severity)]
    return Line(
        alert.pk,
        "idle" if alert.closed_at else tone,
        "circle-check" if alert.closed_at else icon,
        word,
        alert.title,
        alert.advice,
        _url(alert, user),
        troubleshooting.link(alert.help_anchor or alert.kind),
        alert.opened_at,
        alert.acknowledged_at is not None,
    )


def _url(alert: Alert, user: Any) -> str:
    """Where the thing is: the nearest page that this person may open."""
    if (report := report_of(alert.key)) is not None:
        return reverse("dashboard:problem", args=[report])
    if alert.session is not None:
        return reverse("dashboard:session", args=[alert.session])
    if alert.payment is not None:
        return reverse("dashboard:payments")
    if alert.device is not None:
        return reverse("dashboard:device", args=[alert.device])
    if alert.account is not None and may(user, "administrator"):
        return reverse("dashboard:account", args=[alert.account])
    return ""


@require_safe
@staff_only
def listing(request: HttpRequest) -> HttpResponse:
    state = request.GET.get("state", "")
    rows = Alert.objects.all()
    if state in ("open", "closed"):
        rows = rows.filter(closed_at__isnull=state == "open")
    shown = frame.pages(request, _ordered(rows))
    names = _names(shown.object_list)
    context = {
        "shown": shown,
        "rows": [(alert, line(alert, request.user), names.get(alert.acknowledged_by, "")) for alert in shown],
        "chips": [(f"state={key}" if key else "", title, key == state) for key, title in FILTERS.items()],
        "state": state,
        "more": f"state={state}" if state else "",
    }
    return frame.page(request, "alerts.html", context, here=HERE)


def _names(rows: Any) -> dict[str, str]:
    """``user:7`` → a name, for those who have acknowledged."""
    numbers = {alert.acknowledged_by.partition(":")[2] for alert in rows}
    people = User.objects.filter(pk__in=[int(number) for number in numbers if number.isdigit()])
    return {f"user:{person.pk}": str(person) for person in people}


@require_POST
@staff_only
def acknowledge(request: HttpRequest, pk: int) -> HttpResponse:
    if alerts.acknowledge(pk, by=frame.who(request)):
        return frame.done(request, _back(request), "Acknowledged. The alert stays until it has healed.")
    return frame.refused(request, _back(request), "Somebody was quicker, or it has healed; nothing was done.")


@require_POST
@staff_only
def close(request: HttpRequest, pk: int) -> HttpResponse:
    if alerts.close_by_hand(pk, by=frame.who(request)):
        return frame.done(request, _back(request), "Closed. If it is still wrong, it comes back by itself.")
    return frame.refused(request, _back(request), "It was closed already; nothing was done.")


def _back(request: HttpRequest) -> str:
    return reverse(BACK.get(request.POST.get("back", ""), BACK["alerts"]))
