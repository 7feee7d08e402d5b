"""Shelly accounts: how each answers, its server and its key."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.http import require_safe

from devices.accounts import add_account, change_account
from devices.key_age import KeyAge, key_age
from devices.models import AccountStatus, ShellyAccount
from devices.relays.models import OPEN
from hygate import clock
from hygate.roles import administrator_only
from sessions_app.dashboard import frame
from sessions_app.dashboard.forms import AccountForm

HERE = "accounts"
TONES = {
    AccountStatus.OK: "ok",
    AccountStatus.BAD_KEY: "stop",
    AccountStatus.UNREACHABLE: "stop",
    AccountStatus.UNTRIED: "idle",
}


@require_safe
@administrator_only
def accounts(request: HttpRequest) -> HttpResponse:
    rows = ShellyAccount.objects.defer("auth_key", "found").annotate(
        count=Count("devices", distinct=True),
        waiting=Count("commands", filter=Q(commands__state__in=OPEN), distinct=True),
    )
    context = {"rows": [(row, TONES[AccountStatus(row.status)], age_of(row)) for row in rows]}
    return frame.page(request, "accounts.html", context, here=HERE)


def age_of(one: ShellyAccount) -> KeyAge:
    return key_age(one.key_saved_at, clock.now(), settings.NUMBERS)


@administrator_only
def add(request: HttpRequest) -> HttpResponse:
    form = AccountForm(request.POST or None, initial={"server_url": settings.SHELLY_DEFAULT_URL})
    if form.is_valid():
        account = add_account(**form.cleaned_data, by=frame.who(request))
        url = reverse("dashboard:account", args=[account.pk])
        return frame.done(request, url, f"{account.name} is saved. Sync it to see its channels.")
    return new_dialog(request, form)


def new_dialog(request: HttpRequest, form: AccountForm, verdict: dict[str, Any] | None = None) -> HttpResponse:
    return frame.dialog(
        request,
        form,
        title="Add a Shelly account",
        submit="Save",
        back=reverse("dashboard:accounts"),
        here=HERE,
        action=reverse("dashboard:account_add"),
        test=reverse("dashboard:account_test_new"),
        verdict=verdict,
    )


@administrator_only
def edit(request: HttpRequest, pk: int) -> HttpResponse:
    """Name, server, and a new key when one was typed; a new key or server counts as not tried yet."""
    one = get_object_or_404(ShellyAccount.objects.defer("found"), pk=pk)
    form = AccountForm(request.POST or None, initial={"name": one.name, "server_url": one.server_url}, account=one)
    if form.is_valid():
        change_account(one, **form.cleaned_data, by=frame.who(request))
        return frame.done(request, reverse("dashboard:account", args=[pk]), f"{form.cleaned_data['name']} is saved.")
    return edit_dialog(request, one, form)


def edit_dialog(
    request: HttpRequest, one: ShellyAccount, form: AccountForm, verdict: dict[str, Any] | None = None
) -> HttpResponse:
    return frame.dialog(
        request,
        form,
        title=f"Edit {one.name}",
        submit="Save",
        back=reverse("dashboard:account", args=[one.pk]),
        here=HERE,
        action=reverse("dashboard:account_edit", args=[one.pk]),
        test=reverse("dashboard:account_test", args=[one.pk]),
        verdict=verdict,
    )


def standing(one: ShellyAccount) -> dict[str, Any]:
    return {"tone": TONES[AccountStatus(one.status)], "age": age_of(one)}
