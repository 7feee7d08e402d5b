"""*Test connection*: Shelly and Stripe with what is typed, saved or in force; and Stripe's keys, which go in here."""

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
from sessions_app.dashboard.forms import AccountForm, StripeForm
from sessions_app.models import WebhookEvent
from sessions_app.payments import key_seen, keyring, keys


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
    saved, in_force = keyring.saved(), keyring.in_force()
    context = {
        "key": keys.look(),
        "key_is_saved": bool(saved.key),
        "secrets": len(in_force.webhook_secrets),
        "secrets_are_saved": bool(saved.webhook_secrets),
        "webhook_url": settings.BASE_URL + reverse("stripe_webhook"),
        "last_webhook": WebhookEvent.objects.aggregate(last=Max("received_at"))["last"],
    }
    return frame.page(request, "stripe.html", context, here="stripe")


@administrator_only
def stripe_keys(request: HttpRequest) -> HttpResponse:
    """A key goes in force once Stripe has taken it: a wrong one would close sales."""
    form = StripeForm(request.POST or None, saved=keyring.saved().is_any)
    if form.is_valid():
        back, typed = reverse("dashboard:stripe"), form.cleaned_data
        if typed.get("take_back"):
            keyring.take_back(by=frame.who(request))
            return frame.done(request, back, "The keys of the environment are in force again.")
        said = keys.check_key(typed["key"]) if typed["key"] else None
        if said is None or said.ok:
            keyring.save(key=typed["key"], webhook_secrets=typed["webhook_secrets"], by=frame.who(request))
            return frame.done(request, back, f"Saved. {said.title}." if said else "Saved.")
        form.add_error("key", f"{said.title}: {said.sentence} Nothing was saved.")
    return frame.dialog(
        request, form, title="Stripe's keys", submit="Save", back=reverse("dashboard:stripe"), here="stripe"
    )


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
