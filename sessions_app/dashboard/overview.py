"""The first page: what runs, whether everything answers, what was paid."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Count, Max, Q, Sum
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from devices.key_age import key_age
from devices.models import AccountStatus, Device, ShellyAccount
from devices.relays.models import OPEN
from hygate import clock, health
from hygate.roles import staff_only
from sessions_app.dashboard import alerts, frame, looks
from sessions_app.dashboard.looks import RANK, Tile
from sessions_app.dashboard.spelling import amount
from sessions_app.models import DeviceSession, Payment, WebhookEvent
from sessions_app.payments import keys
from sessions_app.states import ACTIVE


@dataclass(frozen=True)
class Health:
    """One neighbour: ``at`` is counted on by the script, after ``words``; ``help`` names a row of the help page."""

    name: str
    tone: str
    words: str
    at: datetime | None = None
    help: str = ""


@require_safe
@staff_only
def overview(request: HttpRequest) -> HttpResponse:
    live = _live(clock.now(), request.user)
    return frame.page(request, "overview.html", live, here="overview")


@require_safe
@staff_only
def live(request: HttpRequest) -> HttpResponse:
    """The part that is asked for every two seconds: nothing (204) while it is what the browser has already."""
    context = _live(clock.now(), request.user)
    if request.GET.get("seen") == context["mark"]:
        return HttpResponse(status=204)
    return render(request, "dashboard/_live.html", context)


def _live(now: datetime, user: Any) -> dict[str, Any]:
    sessions = list(DeviceSession.objects.filter(state__in=ACTIVE).select_related("device__location"))
    tiles = sorted((looks.of_active(one, now) for one in sessions), key=lambda tile: _trouble_first(tile, now))
    trouble = sum(looks.read_off_while_running(one) for one in sessions if one.state == "running")
    payments = list(Payment.objects.select_related("session__device__location").exclude(status="PENDING")[:5])
    integrations, counts = _integrations(), _counts(now)
    open_alerts = alerts.on_top(user)
    seen = [
        open_alerts,
        tiles,
        integrations,
        counts,
        [(one.pk, one.status, one.captured_minor, one.refunded_minor) for one in payments],
    ]
    return {
        "now": now,
        "alerts": open_alerts,
        "tiles": tiles,
        "integrations": integrations,
        "counts": counts,
        "payments": payments,
        "badge": frame.Badge(len(sessions), trouble),
        "mark": frame.mark(seen),
    }


def _trouble_first(tile: Tile, now: datetime) -> tuple[int, float, str]:
    left_s = tile.look.remaining_s(now)
    return RANK[tile.look.tone], float("inf") if left_s is None else left_s, tile.name


def _counts(now: datetime) -> list[tuple[str, str]]:
    """The row of numbers above everything: a word and its value."""
    devices = Device.objects.filter(active=True).aggregate(
        all=Count("pk"),
        offline=Count("pk", filter=Q(online=False)),
        kept=Count("pk", filter=Q(maintenance_since__isnull=False)),
    )
    day = Payment.objects.filter(captured_at__gte=now - timedelta(hours=24)).values("currency")
    sums = day.annotate(taken=Sum("captured_minor") - Sum("refunded_minor"), sold=Count("pk")).order_by("currency")
    found = list(sums)
    taken = ", ".join(amount(row["taken"], row["currency"]) for row in found) or "–"
    return [
        ("taken in 24 hours", taken),
        ("sold in 24 hours", str(sum(row["sold"] for row in found))),
        ("devices for sale", str(devices["all"])),
        ("offline", str(devices["offline"])),
        ("in maintenance", str(devices["kept"])),
    ]


def _integrations() -> list[Health]:
    waiting = Count("commands", filter=Q(commands__state__in=OPEN))
    found = [_shelly(account) for account in ShellyAccount.objects.defer("found", "auth_key").annotate(waiting=waiting)]
    if not found:
        found = [Health("Shelly", "idle", "no account yet")]
    return [*found, _stripe(), _sweep()]


def _shelly(account: Any) -> Health:
    wait = f", {account.waiting} command{'' if account.waiting == 1 else 's'} waiting" if account.waiting else ""
    name = f"Shelly · {account.name}"
    age = key_age(account.key_saved_at, clock.now(), settings.NUMBERS)
    if account.status == AccountStatus.OK and age.level != "ok":
        return Health(name, age.level, f"answers, but its auth key is {age.days} days old; save a new one{wait}")
    match account.status:
        case AccountStatus.OK:
            speed = "" if account.last_latency_ms is None else f" in {_rounded(account.last_latency_ms)} ms"
            return Health(name, "ok", f"answers{speed}{wait}")
        case AccountStatus.BAD_KEY:
            return Health(name, "stop", f"the auth key is refused; save a new one{wait}", help="bad_key")
        case AccountStatus.UNREACHABLE:
            return Health(name, "stop", f"does not answer{wait}; last answer", account.last_ok_at, account.last_error)
    return Health(name, "idle", f"not tried yet{wait}")


def _rounded(latency_ms: int) -> int:
    """Two figures are enough, and the page changes less often."""
    return int(float(f"{latency_ms:.2g}"))


def _stripe() -> Health:
    last = WebhookEvent.objects.aggregate(last=Max("received_at"))["last"]
    key = keys.look()
    if not key.ok:
        return Health("Stripe", "stop", f"{key.title[0].lower()}{key.title[1:]}: {key.advice}", help=key.help_anchor)
    if last is None:
        return Health("Stripe", "idle", f"{key.kind}, no webhook yet")
    return Health("Stripe", "ok", f"{key.kind}, last webhook", last)


def _sweep() -> Health:
    silence_s = health.sweep_silence_s()
    if silence_s == float("inf"):
        return Health("Sweep", "stop", "no worker has run yet: sessions would not end in time", help="sweep_silent")
    if silence_s > health.SILENT_S:
        return Health("Sweep", "stop", "no worker sweeps: sessions would not end in time", help="sweep_silent")
    if silence_s > settings.NUMBERS.sweep_silence_s:
        return Health("Sweep", "hold", "more than 3 s behind")
    return Health("Sweep", "ok", "on time")
