"""Locations: the list, one of them with its devices, and changing it."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

from django.db import transaction
from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.http import require_safe

from devices.models import Location, UsagePlan
from hygate import audit, clock
from hygate.roles import administrator_only, staff_only
from sessions_app.dashboard import frame
from sessions_app.dashboard.devices import update
from sessions_app.dashboard.forms import LocationForm
from sessions_app.dashboard.grid import Narrowed, shown
from sessions_app.dashboard.spelling import natural

HERE = "locations"


@require_safe
@staff_only
def locations(request: HttpRequest) -> HttpResponse:
    rows = sorted(Location.objects.annotate(count=Count("devices")), key=lambda place: natural(place.name))
    return frame.page(request, "locations.html", {"rows": rows}, here=HERE)


@require_safe
@staff_only
def location(request: HttpRequest, pk: int) -> HttpResponse:
    """What guests are told about the place, and its part of the grid, live as on the Devices page."""
    place = get_object_or_404(Location, pk=pk)
    context = {"place": place, "there": f"{clock.now().astimezone(ZoneInfo(place.timezone)):%H:%M}"}
    return frame.page(request, "location.html", context | shown(Narrowed(location=str(pk))), here=HERE)


@administrator_only
def location_add(request: HttpRequest) -> HttpResponse:
    initial = {"timezone": "Europe/Vienna", "currency": "eur", "high_power_w": 2500}
    form = LocationForm(request.POST or None, initial=initial)
    if form.is_valid():
        with transaction.atomic():
            place = Location.objects.create(**form.cleaned_data)
            audit.write("location_added", actor=frame.who(request), location=place.pk, name=place.name)
        return frame.done(request, reverse("dashboard:location", args=[place.pk]), f"{place.name} is saved.")
    back = reverse("dashboard:locations")
    return frame.dialog(request, form, title="Add a location", submit="Save", back=back, here=HERE)


@staff_only
def location_edit(request: HttpRequest, pk: int) -> HttpResponse:
    """Operators rename; the rest of a location is for administrators."""
    place = get_object_or_404(Location, pk=pk)
    back = reverse("dashboard:location", args=[pk])
    initial = {name: getattr(place, name) for name in LocationForm.base_fields}
    rename_only = not getattr(request.user, "is_administrator", False)
    form = LocationForm(request.POST or None, initial=initial, rename_only=rename_only)
    if form.is_valid() and _reprices(place, form.cleaned_data):
        form.add_error("currency", f"Plans here are priced in {place.currency.upper()}: delete them first.")
    if form.is_valid():
        update(request, Location, place, form.cleaned_data, kind="location_edited", location=pk)
        return frame.done(request, back, f"{form.cleaned_data['name']} is saved.")
    return frame.dialog(request, form, title=f"Edit {place.name}", submit="Save", back=back, here=HERE)


def _reprices(place: Location, wanted: dict[str, Any]) -> bool:
    """Whether another currency would give plans other prices: theirs are numbers in the currency of the place."""
    is_other = wanted.get("currency", place.currency) != place.currency
    return is_other and UsagePlan.objects.filter(device__location=place).exists()
