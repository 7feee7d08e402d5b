"""Whether every neighbour answers: the Shelly accounts, Stripe, the energy sources, the scheduler and the workers.

What no row of its own is read for comes in one statement (``facts``): the first page is asked for every two seconds.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db.models import CharField, DateTimeField, Max, OuterRef, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.urls import reverse

from devices.energy.models import EnergySource, SourceStatus
from devices.energy.watching import alive
from devices.key_age import key_age
from devices.models import AccountStatus, Device, Location, RelayCommand, ShellyAccount
from devices.relays.models import OPEN
from hygate import health
from hygate.context import SITE
from hygate.due import sweep
from hygate.models import Heartbeat, SiteSettings
from hygate.prepared import Prepared
from hygate.roles import may
from sessions_app.dashboard import frame
from sessions_app.models import StripeWatch, WebhookEvent
from sessions_app.payments import keys
from sessions_app.payments.gateway import RightMissing


@dataclass(frozen=True)
class Health:
    """One neighbour: ``at`` is counted on by the script, after ``words``; ``help`` names a row of the help page, and
    ``url`` is where it is mended, for who may."""

    name: str
    tone: str
    words: str
    at: datetime | None = None
    help: str = ""
    url: str = ""


@dataclass(frozen=True)
class Facts:
    """``swept_at`` is the last sweep that came by the broker, ``worked_at`` a worker's last sign of life."""

    zone: str
    devices: int
    offline: int
    kept: int
    webhook_at: datetime | None
    key_status: str
    swept_at: datetime | None
    worked_at: datetime | None
    watched_at: datetime | None


def facts(request: HttpRequest) -> Facts:
    """In the statement that counts what stands in the menu."""
    request.META[SITE] = request.META.get(SITE) or SiteSettings.current()
    row = request.META[frame.COUNTED] = frame.counted(request, _asked)
    assert row is not None, "somebody is logged in"
    return Facts(**{one.name: row[f"fact_{one.name}"] for one in fields(Facts)})


def _asked() -> dict[str, Any]:
    for_sale = Device.objects.filter(active=True)
    beats = Heartbeat.objects.order_by().annotate(_all=Value(1)).values("_all")
    asked = {
        "zone": Subquery(Location.objects.order_by("name", "pk").values("timezone")[:1], output_field=CharField()),
        "devices": frame.count(for_sale),
        "offline": frame.count(for_sale.filter(online=False)),
        "kept": frame.count(for_sale.filter(maintenance_since__isnull=False)),
        "webhook_at": Subquery(WebhookEvent.objects.order_by("-received_at").values("received_at")[:1]),
        "key_status": Subquery(StripeWatch.objects.filter(pk=1).values("key_status")),
        "swept_at": _last(beats.filter(name=sweep.HEARTBEAT)),
        "worked_at": _last(beats.filter(name__startswith="worker:")),
        "watched_at": _last(beats.filter(name=alive.HEARTBEAT)),
    }
    asked["zone"] = Coalesce(asked["zone"], Value("UTC"))
    asked["key_status"] = Coalesce(asked["key_status"], Value(""))
    return {f"fact_{name}": wanted for name, wanted in asked.items()}


def _last(beats: QuerySet[Any, Any]) -> Subquery:
    return Subquery(beats.annotate(_last=Max("at")).values("_last"), output_field=DateTimeField())


# -- each in a sentence


def integrations(found: Facts, user: Any, now: datetime) -> list[Health]:
    sources = _SOURCES.rows()
    watched = [watcher(found, now)] if sources else []
    energy = [energy_source(one, user) for one in sources]
    return [*shelly(user, now), stripe(found, user), *energy, *watched, *broker(found, now), sweeps(found, now)]


def _accounts() -> QuerySet[ShellyAccount]:
    waiting = RelayCommand.objects.filter(account=OuterRef("pk"), state__in=OPEN)
    return ShellyAccount.objects.defer("found", "auth_key").annotate(waiting=frame.count(waiting))


_ACCOUNTS = Prepared(_accounts)
_SOURCES = Prepared(lambda: EnergySource.objects.filter(active=True).defer("secrets", "proof", "told").order_by("name"))


def shelly(user: Any, now: datetime) -> Iterable[Health]:
    told = [_account(one, _url(user, "account", one.pk), now) for one in _ACCOUNTS.rows()]
    return told or [Health("Shelly", "idle", "no account yet", url=_url(user, "accounts"))]


def _account(account: Any, url: str, now: datetime) -> Health:
    wait = f", {account.waiting} command{'' if account.waiting == 1 else 's'} waiting" if account.waiting else ""
    name = f"Shelly · {account.name}"
    age = key_age(account.key_saved_at, now, settings.NUMBERS)
    if account.status == AccountStatus.OK and age.level != "ok":
        words = f"answers, but its auth key is {age.days} days old; save a new one{wait}"
        return Health(name, age.level, words, help="key_age", url=url)
    match account.status:
        case AccountStatus.OK:
            speed = "" if account.last_latency_ms is None else f" in {_rounded(account.last_latency_ms)} ms"
            return Health(name, "ok", f"answers{speed}{wait}", url=url)
        case AccountStatus.BAD_KEY:
            return Health(name, "stop", f"the auth key is refused; save a new one{wait}", help="bad_key", url=url)
        case AccountStatus.UNREACHABLE:
            words = f"does not answer{wait}; last answer"
            return Health(name, "stop", words, account.last_ok_at, account.last_error, url)
    return Health(name, "idle", f"not tried yet{wait}", url=url)


def _rounded(latency_ms: int) -> int:
    """Two figures are enough, and the page changes less often."""
    return int(float(f"{latency_ms:.2g}"))


def stripe(found: Facts, user: Any) -> Health:
    key, url = keys.look(), _url(user, "stripe")
    if not key.ok:
        words = f"{key.title[0].lower()}{key.title[1:]}: {key.advice}"
        return Health("Stripe", "stop", words, help=key.help_anchor, url=url)
    if found.key_status:
        lacks = found.key_status == RightMissing.name
        words = "the key lacks a right: nothing is sold" if lacks else "the key is refused: nothing is sold"
        return Health("Stripe", "stop", words, help="right_missing" if lacks else "key_refused", url=url)
    if found.webhook_at is None:
        return Health("Stripe", "idle", f"{key.kind}, no webhook yet", url=url)
    return Health("Stripe", "ok", f"{key.kind}, last webhook", found.webhook_at, url=url)


def energy_source(source: EnergySource, user: Any) -> Health:
    name = f"Energy · {source.name}"
    url = _url(user, "energy_settings") or reverse("dashboard:energy")
    match source.status:
        case SourceStatus.OK:
            return Health(name, "ok", "delivers", url=url)
        case SourceStatus.REFUSED:
            return Health(name, "stop", "refuses its settings", help=source.last_error or "energy_refused", url=url)
        case SourceStatus.UNREACHABLE:
            words = "does not answer; last heard"
            return Health(name, "stop", words, source.last_ok_at, source.last_error or "energy_unreachable", url)
    return Health(name, "idle", "not tried yet", url=url)


def watcher(found: Facts, now: datetime) -> Health:
    if _silent_s(found.watched_at, now) > health.SILENT_S:
        words = "has stopped: no high power is sold, and nothing is shed"
        return Health("Energy watcher", "stop", words, help="energy_source")
    return Health("Energy watcher", "ok", "watches")


def broker(found: Facts, now: datetime) -> Iterable[Health]:
    """Judged by what comes through it: a web process never speaks to it. Without one the workers sweep alone."""
    if not settings.BROKER_URL:
        return
    silence_s = _silent_s(found.swept_at, now)
    if silence_s > health.SILENT_S:
        words = "nothing comes through; the workers do the work by themselves, a few seconds later"
        yield Health("Broker and scheduler", "stop", words, help="sweep_silent")
    elif silence_s > settings.NUMBERS.sweep_silence_s:
        yield Health("Broker and scheduler", "hold", "nothing has come through for some seconds", help="sweep_silent")
    else:
        yield Health("Broker and scheduler", "ok", "every second")


def sweeps(found: Facts, now: datetime) -> Health:
    silence_s = min(_silent_s(found.swept_at, now), _silent_s(found.worked_at, now))
    if silence_s == float("inf"):
        return Health("Sweep", "stop", "no worker has run yet: sessions would not end in time", help="sweep_silent")
    if silence_s > health.SILENT_S:
        return Health("Sweep", "stop", "no worker sweeps: sessions would not end in time", help="sweep_silent")
    if silence_s > sweep.WORKER_BEAT_S + settings.NUMBERS.sweep_silence_s:
        return Health("Sweep", "hold", "some seconds behind", help="sweep_silent")
    return Health("Sweep", "ok", "on time")


def _silent_s(last: datetime | None, now: datetime) -> float:
    return float("inf") if last is None else (now - last).total_seconds()


def _url(user: Any, name: str, *args: int) -> str:
    return reverse(f"dashboard:{name}", args=args) if may(user, "administrator") else ""
