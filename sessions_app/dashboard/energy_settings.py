"""Settings → Energy: sources with their secrets, *Test connection*, a site's limits, its read token, the proof."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from devices.energy import balance, live, proof, saving
from devices.energy.models import CLOUD_KINDS, EnergySource, SitePower, SourceKind
from devices.energy.reading import Reading
from devices.energy.sources.build import build
from devices.energy.sources.source import Found, SourceError, Unreachable
from devices.models import Location
from hygate.roles import administrator_only
from sessions_app import proving
from sessions_app.dashboard import energy, frame
from sessions_app.dashboard.devices import update
from sessions_app.dashboard.energy_forms import FORMS, EnergySourceForm, ProofForm, SiteForm
from sessions_app.dashboard.spelling import natural

HERE = "energy_settings"
TEST_WITHIN_S = 10.0


@dataclass(frozen=True)
class Site:
    location: Location
    power: SitePower | None
    sources: list[energy.Standing]


@require_safe
@administrator_only
def energy_settings(request: HttpRequest) -> HttpResponse:
    powers = {one.location_id: one for one in SitePower.objects.all()}
    sources = [energy.standing(one, None) for one in EnergySource.objects.defer("secrets").all()]
    sites = [
        Site(place, powers.get(place.pk), [one for one in sources if one.source.location_id == place.pk])
        for place in sorted(Location.objects.all(), key=lambda place: natural(place.name))
    ]
    return frame.page(request, "energy_settings.html", {"sites": sites, "kinds": SourceKind.choices}, here=HERE)


# -- sources


@administrator_only
def source_add(request: HttpRequest, kind: str) -> HttpResponse:
    form = form_of(kind)(request.POST or None)
    if form.is_valid():
        columns = form.columns() | {"kind": kind}
        made = saving.add_source(columns=columns, secrets=form.secrets(), by=frame.who(request))
        return frame.done(request, _back(), f"{made.name} is saved. Test its connection, then prove its sign.")
    return _add_dialog(request, kind, form)


def _add_dialog(
    request: HttpRequest, kind: str, form: EnergySourceForm, verdict: dict[str, Any] | None = None
) -> HttpResponse:
    return frame.dialog(
        request,
        form,
        title=f"Add a source: {SourceKind(kind).label}",
        submit="Save",
        back=_back(),
        here=HERE,
        action=reverse("dashboard:energy_source_add", args=[kind]),
        test=reverse("dashboard:energy_source_test_new", args=[kind]),
        verdict=verdict,
    )


@administrator_only
def source_edit(request: HttpRequest, pk: int) -> HttpResponse:
    one = get_object_or_404(EnergySource, pk=pk)
    kind = form_of(one.kind)
    form = kind(request.POST or None, initial=kind.values_of(one), source=one)
    if form.is_valid():
        saving.change_source(one, columns=form.columns(), secrets=form.secrets(), by=frame.who(request))
        return frame.done(request, _back(), f"{form.cleaned_data['name']} is saved.")
    return _edit_dialog(request, one, form)


def _edit_dialog(
    request: HttpRequest, one: EnergySource, form: EnergySourceForm, verdict: dict[str, Any] | None = None
) -> HttpResponse:
    return frame.dialog(
        request,
        form,
        title=f"Edit {one.name}",
        submit="Save",
        back=_back(),
        here=HERE,
        action=reverse("dashboard:energy_source_edit", args=[one.pk]),
        test=reverse("dashboard:energy_source_test", args=[one.pk]),
        verdict=verdict,
    )


@administrator_only
def source_delete(request: HttpRequest, pk: int) -> HttpResponse:
    one = get_object_or_404(EnergySource, pk=pk)
    if request.method == "POST":
        name = one.name
        saving.delete_source(one, by=frame.who(request))
        return frame.done(request, _back(), f"{name} is deleted.")
    text = "Its keys, its last reading and its history go with it. Without a source no high power is sold."
    return frame.dialog(
        request, None, title=f"Delete {one.name}?", submit="Delete", back=_back(), here=HERE, text=text, danger=True
    )


def form_of(kind: str) -> type[EnergySourceForm]:
    if kind not in FORMS:
        raise Http404
    return FORMS[kind]


def _back() -> str:
    return reverse("dashboard:energy_settings")


# -- Test connection


@require_POST
@administrator_only
def source_test_new(request: HttpRequest, kind: str) -> HttpResponse:
    form = form_of(kind)(request.POST)
    if not form.is_valid():
        return _answered(request, _missing(form)) or _add_dialog(request, kind, form)
    row = EnergySource(kind=kind, **form.columns())
    verdict = tried(row, form.secrets())
    return _answered(request, verdict) or _add_dialog(request, kind, _unbound(form), verdict)


@require_POST
@administrator_only
def source_test(request: HttpRequest, pk: int) -> HttpResponse:
    """What is typed, with the saved keys where none was; or what is saved, from the button on the page."""
    one = get_object_or_404(EnergySource, pk=pk)
    if "name" not in request.POST:
        verdict = tried(one, {})
        say = frame.done if verdict["tone"] == "ok" else frame.refused
        return _answered(request, verdict) or say(request, _back(), f"{verdict['title']}. {verdict['text']}")
    form = form_of(one.kind)(request.POST, source=one)
    if not form.is_valid():
        return _answered(request, _missing(form)) or _edit_dialog(request, one, form)
    for column, value in form.columns().items():
        setattr(one, column, value)
    verdict = tried(one, form.secrets())
    return _answered(request, verdict) or _edit_dialog(request, one, _unbound(form), verdict)


def _answered(request: HttpRequest, verdict: dict[str, Any]) -> HttpResponse | None:
    """The verdict alone for htmx; None where a whole page is wanted."""
    if request.headers.get("HX-Request") != "true":
        return None
    return render(request, "dashboard/_verdict.html", {"verdict": verdict})


def _unbound(form: EnergySourceForm) -> EnergySourceForm:
    return type(form)(initial=form.columns(), source=form.source)


def _missing(form: EnergySourceForm) -> dict[str, Any]:
    name, errors = next(iter(form.errors.items()))
    label = str(form.fields[name].label or name.replace("_", " ").capitalize()) if name in form.fields else "The form"
    return {"tone": "stop", "title": "Not tried", "text": f"{label}: {errors[0]}", "code": ""}


def tried(row: EnergySource, typed: dict[str, str]) -> dict[str, Any]:
    """One look with these settings, at most ten seconds; nothing is saved, and the verdict holds no secret."""
    known = energy.reading_of(row).fields if row.pk else {}
    secrets = (saving.known_secrets(row) if row.pk else {}) | {name: value for name, value in typed.items() if value}
    try:
        found = asyncio.run(_look(saving.unsaved(row, secrets), known))
    except SourceError as error:
        text = f"{error.sentence} {error.advice}".strip()
        return {"tone": "stop", "title": f"{row.name} does not deliver", "text": text, "code": error.code}
    return _told(row, found)


async def _look(row: EnergySource, known: Any) -> Found:
    try:
        async with asyncio.timeout(TEST_WITHIN_S):
            return await build(row, known=known).test()
    except TimeoutError:
        raise Unreachable("No whole answer came within ten seconds.", "Look at the network and try again.") from None


def _told(row: EnergySource, found: Found) -> dict[str, Any]:
    """What it delivers now and what that says of the sign; of a cloud, that it shows and does not admit."""
    numbers = "; ".join(_words(one) for one in energy.shown(Reading(found.fields)) if one.at is not None)
    parts = [*found.sentences, f"Now: {numbers}." if numbers else ""]
    if row.kind in CLOUD_KINDS:
        parts.append("" if row.cloud_admits else energy.SHOWS_ONLY)
        return _verdict(row, "ok", parts, "")
    sign = balance.judge(Reading(found.fields), load_has_own_meter=row.load_has_own_meter)
    if isinstance(sign, balance.Refused):
        return _verdict(row, "stop", [*parts, sign.sentence], "energy_sign")
    return _verdict(row, "ok", [*parts, f"Sign: {sign.sentence}"], "")


def _words(flow: energy.Flow) -> str:
    note = f" ({flow.note})" if flow.note else ""
    return f"{flow.name} {flow.words}{note}"


def _verdict(row: EnergySource, tone: str, parts: list[str], code: str) -> dict[str, Any]:
    title = f"{row.name} delivers" if tone == "ok" else f"{row.name} delivers, but with the wrong sign"
    return {"tone": tone, "title": title, "text": " ".join(filter(None, parts)), "code": code}


# -- the proof


@administrator_only
def source_proof(request: HttpRequest, pk: int) -> HttpResponse:
    """Begin; how it goes on stands on the Energy page."""
    one = get_object_or_404(EnergySource, pk=pk)
    form = ProofForm(request.POST if request.method == "POST" else None, source=one)
    if form.is_valid():
        device = form.cleaned_data["device"]
        try:
            proving.begin(source=one, device=device, by=frame.who(request))
        except proof.CannotProve as refusal:
            form.add_error("device", str(refusal))
        else:
            said = f"{device.name} is switched on for {proof.ON_FOR_S} seconds. The verdict appears here by itself."
            return frame.done(request, reverse("dashboard:energy"), said)
    text = (
        f"Hygate switches one free Device on for {proof.ON_FOR_S} seconds. Import must rise by its watts; the phase "
        "that moves is kept as the Device's. The relay's own timer and an OFF of ours end it, whatever happens."
    )
    title = f"Prove the sign of {one.name}"
    return frame.dialog(request, form, title=title, submit="Switch it on", back=_back(), here=HERE, text=text)


# -- a site


@administrator_only
def site(request: HttpRequest, pk: int) -> HttpResponse:
    """Limits and policy of a Location; its row is made with the first saving."""
    place = get_object_or_404(Location, pk=pk)
    power = SitePower.objects.filter(location=place).first() or SitePower(location=place)
    form = SiteForm(request.POST if request.method == "POST" else None, initial=SiteForm.values_of(power))
    if form.is_valid():
        power, _ = SitePower.objects.get_or_create(location=place)
        update(request, SitePower, power, form.columns(), kind="energy_limits_edited", location=pk)
        return frame.done(request, _back(), f"The limits of {place.name} are saved.")
    context = {"form": form, "location": place, "back": _back()}
    return frame.page(request, "energy_site.html", context, here=HERE, status=422 if form.is_bound else 200)


@administrator_only
def token(request: HttpRequest, pk: int) -> HttpResponse:
    """A new read token for a script, shown this once."""
    place = get_object_or_404(Location, pk=pk)
    title = f"Read token of {place.name}"
    if request.method == "POST":
        context = {"title": title, "token": live.new_token(place, by=frame.who(request)), "back": _back()}
        context["url"] = request.build_absolute_uri(reverse("energy_live", args=[pk]))
        if request.headers.get("HX-Request") == "true":
            return render(request, "dashboard/_energy_token.html", context)
        return frame.page(request, "energy_token.html", context, here=HERE)
    text = "With it a script may read this location's live numbers, and nothing else. The one before stops working."
    return frame.dialog(request, None, title=title, submit="Make a new token", back=_back(), here=HERE, text=text)
