"""*Test connection*: Shelly with what is typed or saved, Stripe with the key in force. Nothing is saved here."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db.models import Max
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from devices.models import ShellyAccount
from devices.relays import connection
from hygate import clock
from hygate.roles import administrator_only
from sessions_app.dashboard import accounts, frame
from sessions_app.dashboard.forms import AccountForm
from sessions_app.models import WebhookEvent
from sessions_app.payments import key_seen, keys


@require_POST
@administrator_only
def try_account(request: HttpRequest, pk: int | None = None) -> HttpResponse:
    """Try the server and key of the form; what was not typed is taken from the saved account."""
    one = get_object_or_404(ShellyAccount.objects.defer("found"), pk=pk) if pk is not None else None
    typed = "server_url" in request.POST
    said = connection.test_connection(
        server_url=request.POST.get("server_url", one.server_url if one else ""),
        auth_key=request.POST.get("auth_key", "").strip(),
        account=one,
    )
    verdict = _shown(said)
    if request.headers.get("HX-Request") == "true":
        return render(request, "dashboard/_verdict.html", {"verdict": verdict})
    if not typed and one is not None:
        say = frame.done if said.ok else frame.refused
        return say(request, reverse("dashboard:account", args=[one.pk]), f"{verdict['title']}. {verdict['text']}")
    again = {name: request.POST.get(name, "") for name in ("name", "server_url")}
    if one is not None:
        return accounts.edit_dialog(request, one, AccountForm(initial=again, account=one), verdict)
    return accounts.new_dialog(request, AccountForm(initial=again), verdict)


def _shown(said: connection.Verdict | keys.KeyVerdict) -> dict[str, Any]:
    text = f"{said.sentence} {said.advice}".strip()
    latency_ms = getattr(said, "latency_ms", None)
    if said.ok and latency_ms is not None:
        text = f"{text} It answered in {latency_ms} ms."
    return {
        "tone": "ok" if said.ok else "stop",
        "title": said.title,
        "text": text,
        "code": said.help_anchor.replace("-", "_"),
    }


@require_safe
@administrator_only
def stripe(request: HttpRequest) -> HttpResponse:
    """The key in force by its look, and how Stripe's events find their way here."""
    context = {
        "key": keys.look(),
        "secrets": len(settings.STRIPE_WEBHOOK_SECRETS),
        "webhook_url": settings.BASE_URL + reverse("stripe_webhook"),
        "last_webhook": WebhookEvent.objects.aggregate(last=Max("received_at"))["last"],
    }
    return frame.page(request, "stripe.html", context, here="stripe")


@require_POST
@administrator_only
def try_stripe(request: HttpRequest) -> HttpResponse:
    """Five small readings, one for each right that Hygate needs."""
    said = keys.check_key()
    if said.ok:
        key_seen.remember(clock.now())
    verdict = _shown(said)
    if request.headers.get("HX-Request") == "true":
        return render(request, "dashboard/_verdict.html", {"verdict": verdict})
    say = frame.done if said.ok else frame.refused
    return say(request, reverse("dashboard:stripe"), f"{verdict['title']}. {verdict['text']}")
