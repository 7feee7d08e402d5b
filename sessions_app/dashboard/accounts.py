"""Shelly accounts (their key, what a sync found, adding channels) and locations."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from devices.accounts import add_account, change_account
from devices.adding import Choice, NotSellable, add_devices
from devices.commissioning import check_power_up
from devices.key_age import KeyAge, key_age
from devices.models import AccountStatus, Device, DeviceKind, Location, ShellyAccount
from devices.relays.models import OPEN
from devices.relays.sync import sync_account
from devices.shelly.errors import ShellyError
from hygate import audit, clock
from hygate.roles import administrator_only, staff_only
from sessions_app.dashboard import frame
from sessions_app.dashboard.devices import update
from sessions_app.dashboard.forms import AccountForm, LocationForm
from sessions_app.dashboard.spelling import natural

HERE = "accounts"
GUESSES = (("wash", "washer"), ("dry", "dryer"), ("ev", "ev"), ("charg", "ev"), ("wallbox", "ev"), ("sauna", "sauna"))
TONES = {
    AccountStatus.OK: "ok",
    AccountStatus.BAD_KEY: "stop",
    AccountStatus.UNREACHABLE: "stop",
    AccountStatus.UNTRIED: "idle",
}


@dataclass(frozen=True)
class Row:
    """One channel that the sync found, with what was typed about it."""

    index: int
    shelly_id: str
    channel: int | None
    shelly_name: str
    model: str
    online: bool
    output: bool | None
    sellable: bool
    reason: str
    added_as: str
    name: str
    kind: str
    picked: bool = False
    error: str = ""

    @property
    def can_pick(self) -> bool:
        return self.sellable and not self.added_as


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


@require_safe
@administrator_only
def account(request: HttpRequest, pk: int) -> HttpResponse:
    one = get_object_or_404(ShellyAccount.objects.defer("auth_key"), pk=pk)
    return frame.page(request, "account.html", _found(one) | _standing(one), here=HERE)


def _standing(one: ShellyAccount) -> dict[str, Any]:
    return {"tone": TONES[AccountStatus(one.status)], "age": age_of(one)}


@require_POST
@administrator_only
def sync(request: HttpRequest, pk: int) -> HttpResponse:
    """Ask Shelly now (two requests, a second apart), outside of any transaction; the verdict is swapped in."""
    one = get_object_or_404(ShellyAccount, pk=pk)
    try:
        rows = sync_account(one)
    except ShellyError as error:
        verdict = {
            "tone": "stop",
            "title": f"{one.name} could not be synced",
            "text": sentence(error),
            "code": error.name,
        }
    else:
        verdict = {"tone": "ok", "title": _counted(rows), "text": "", "code": ""}
    if request.headers.get("HX-Request") != "true":
        say = frame.done if verdict["tone"] == "ok" else frame.refused
        return say(request, reverse("dashboard:account", args=[pk]), f"{verdict['title']}. {verdict['text']}".strip())
    fresh = ShellyAccount.objects.defer("auth_key").get(pk=pk)
    return render(request, "dashboard/_found.html", _found(fresh) | {"verdict": verdict})


def sentence(error: ShellyError) -> str:
    """What to tell people; a kind of error without a sentence of its own brings it as its detail."""
    return error.says if "says" in vars(type(error)) else error.detail or error.says


def _counted(rows: list[dict[str, Any]]) -> str:
    devices, offline = len({row["shelly_id"] for row in rows}), sum(not row["online"] for row in rows)
    channels = f"{len(rows)} channel{'' if len(rows) == 1 else 's'}"
    return f"Shelly answered: {devices} device{'' if devices == 1 else 's'} with {channels}, {offline} of them offline"


def _found(one: ShellyAccount, typed: Any = None, errors: dict[int, str] | None = None) -> dict[str, Any]:
    added: dict[tuple[str, int | None], str] = {
        (row.shelly_id, row.channel): row.name for row in Device.objects.filter(account=one)
    }
    rows = [_row(index, row, added, typed, errors or {}) for index, row in enumerate(one.found)]
    rows.sort(key=lambda row: (not row.can_pick, natural(row.shelly_name), row.shelly_id, row.channel or 0))
    return {
        "account": one,
        "rows": rows,
        "any_free": any(row.can_pick for row in rows),
        "locations": list(Location.objects.all()),
        "chosen": str(typed.get("location", "")) if typed else "",
        "kinds": DeviceKind.choices,
    }


def _row(
    index: int, row: dict[str, Any], added: dict[tuple[str, int | None], str], typed: Any, errors: dict[int, str]
) -> Row:
    name = str(row.get("name") or f"{row['shelly_id']}/{row['channel'] or 0}")
    made = Row(
        index=index,
        shelly_id=row["shelly_id"],
        channel=row["channel"],
        shelly_name=name,
        model=str(row.get("model") or ""),
        online=bool(row.get("online")),
        output=row.get("output"),
        sellable=bool(row.get("sellable")),
        reason=str(row.get("reason") or ("" if row.get("sellable") else "cannot be sold")),
        added_as=added.get((row["shelly_id"], row["channel"]), ""),
        name=name[:60],
        kind=next((kind for word, kind in GUESSES if name.lower().startswith(word)), DeviceKind.SOCKET.value),
    )
    if typed is None:
        return made
    return replace(
        made,
        name=typed.get(f"name-{index}", made.name),
        kind=typed.get(f"kind-{index}", made.kind),
        picked=str(index) in typed.getlist("pick"),
        error=errors.get(index, ""),
    )


@require_POST
@administrator_only
def add_channels(request: HttpRequest, pk: int) -> HttpResponse:
    one = get_object_or_404(ShellyAccount.objects.defer("auth_key"), pk=pk)
    context = _found(one, request.POST)
    picked = [row for row in context["rows"] if row.picked and row.can_pick]
    place = next((place for place in context["locations"] if str(place.pk) == context["chosen"]), None)
    errors = {
        row.index: "Give it a name of at most 60 letters." for row in picked if not 0 < len(row.name.strip()) <= 60
    }
    errors |= {row.index: "Pick a kind." for row in picked if row.kind not in DeviceKind.values}
    problem = "" if picked else "Pick at least one channel."
    problem = problem or ("" if place else "Pick the location.")
    if place and not problem and not errors:
        try:
            choices = [Choice(row.shelly_id, row.channel or 0, row.name.strip(), row.kind) for row in picked]
            made = add_devices(one, choices, place, by=frame.who(request))
        except NotSellable as error:
            problem = str(error)
        else:
            check_power_up(made)
            names = ", ".join(device.name for device in made) or "Nothing new"
            return frame.done(request, reverse("dashboard:devices"), f"Added: {names}. Now give each a plan.")
    context = _found(one, request.POST, errors) | {"problem": problem or "One row needs a look."}
    return frame.page(request, "account.html", context | _standing(one), here=HERE, status=422)


@require_safe
@staff_only
def locations(request: HttpRequest) -> HttpResponse:
    rows = sorted(Location.objects.annotate(count=Count("devices")), key=lambda place: natural(place.name))
    return frame.page(request, "locations.html", {"rows": rows}, here="locations")


@administrator_only
def location_add(request: HttpRequest) -> HttpResponse:
    initial = {"timezone": "Europe/Vienna", "currency": "eur", "high_power_w": 2500}
    form = LocationForm(request.POST or None, initial=initial)
    back = reverse("dashboard:locations")
    if form.is_valid():
        with transaction.atomic():
            place = Location.objects.create(**form.cleaned_data)
            audit.write("location_added", actor=frame.who(request), location=place.pk, name=place.name)
        return frame.done(request, back, f"{place.name} is saved.")
    return frame.dialog(request, form, title="Add a location", submit="Save", back=back, here="locations")


@staff_only
def location_edit(request: HttpRequest, pk: int) -> HttpResponse:
    """Operators rename; the rest of a location is for administrators."""
    place = get_object_or_404(Location, pk=pk)
    back = reverse("dashboard:locations")
    initial = {name: getattr(place, name) for name in LocationForm.base_fields}
    rename_only = not getattr(request.user, "is_administrator", False)
    form = LocationForm(request.POST or None, initial=initial, rename_only=rename_only)
    if form.is_valid():
        update(request, Location, place, form.cleaned_data, kind="location_edited", location=pk)
        return frame.done(request, back, f"{form.cleaned_data['name']} is saved.")
    return frame.dialog(request, form, title=f"Edit {place.name}", submit="Save", back=back, here="locations")
