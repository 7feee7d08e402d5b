"""The frame of every page: the menu that this person may see, the badge, messages, dialogs and pages of a list."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, cast

from django import forms
from django.contrib import messages
from django.core.paginator import Page, Paginator
from django.db.models import Count, F, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import resolve, reverse

from hygate import clock
from hygate.models import SiteSettings, User
from hygate.roles import Perm, may
from sessions_app.models import DeviceSession
from sessions_app.services import actor
from sessions_app.states import ACTIVE, State

A_PAGE = 50
MENU = (
    (
        "Now",
        (
            ("overview", "Dashboard", "activity"),
            ("devices", "Devices", "layout-grid"),
            ("sessions", "Sessions", "timer"),
            ("energy", "Energy", "sun"),
        ),
    ),
    ("Money", (("payments", "Payments", "receipt"),)),
    (
        "Set up",
        (
            ("locations", "Locations", "map-pin"),
            ("accounts", "Shelly accounts", "cloud"),
            ("stripe", "Stripe", "credit-card"),
            ("energy_settings", "Energy sources", "plug"),
            ("settings", "Settings", "settings"),
            ("team", "Team", "users"),
        ),
    ),
    ("Help", (("help", "Troubleshooting", "life-buoy"),)),
)
OF_SHELLY = ("devices",)
"""Entries that are not shown while Shelly is switched off (see ``modules``)."""


@dataclass(frozen=True)
class Entry:
    url: str
    title: str
    icon: str
    here: bool


@dataclass(frozen=True)
class Badge:
    active: int
    trouble: int


def page(request: HttpRequest, template: str, context: dict[str, Any], *, here: str, status: int = 200) -> HttpResponse:
    """Render a whole page; ``here`` is the menu entry that it belongs to."""
    frame = {"menu": menu(request, here), "badge": context.get("badge") or badge(), "here": here, "now": clock.now()}
    return render(request, f"dashboard/{template}", frame | context, status=status)


def menu(request: HttpRequest, here: str) -> list[tuple[str, list[Entry]]]:
    """Groups of entries, each only where the view behind it would let this person in."""
    groups = []
    hidden = () if SiteSettings.current().devices_enabled else OF_SHELLY
    for title, entries in MENU:
        shown = [
            Entry(url, name, icon, key == here)
            for key, name, icon in entries
            if key not in hidden and may(request.user, perm_of(url := reverse(f"dashboard:{key}")))
        ]
        if shown:
            groups.append((title, shown))
    return groups


def perm_of(url: str) -> Perm:
    perm: Perm = resolve(url).func.perm  # type: ignore[attr-defined]
    return perm


def who(request: HttpRequest) -> str:
    """How the audit log names the person behind ``request``."""
    return actor(cast(User, request.user))


def badge() -> Badge:
    """Active sessions, and how many of them stand without power although their guest paid for it."""
    off = Q(state=State.RUNNING, device__output=False, device__reading_at__gt=F("started_at"))
    found = DeviceSession.objects.filter(state__in=ACTIVE).aggregate(
        active=Count("pk"), trouble=Count("pk", filter=off)
    )
    return Badge(**found)


def dialog(
    request: HttpRequest,
    form: forms.BaseForm | None,
    *,
    title: str,
    submit: str,
    back: str,
    here: str,
    text: str = "",
    danger: bool = False,
    action: str = "",
    test: str = "",
    verdict: dict[str, Any] | None = None,
) -> HttpResponse:
    """A form in the page's dialog for htmx, on a page of its own for everyone else.

    ``test`` is where a second button sends what is typed without saving it; ``verdict`` is what came of that.
    """
    status = 422 if form is not None and form.is_bound else 200
    context: dict[str, Any] = {"form": form, "title": title, "submit": submit, "back": back, "text": text}
    context |= {"danger": danger, "action": action or request.path, "test": test, "verdict": verdict}
    if request.headers.get("HX-Request") == "true":
        return render(request, "dashboard/_dialog.html", context, status=status)
    return page(request, "dialog.html", context, here=here, status=status)


def done(request: HttpRequest, url: str, message: str = "") -> HttpResponse:
    """After a POST that did something: back to the page, which says it."""
    if message:
        messages.success(request, message)
    return go(request, url)


def refused(request: HttpRequest, url: str, message: str) -> HttpResponse:
    """After a POST that could not do anything (any more)."""
    messages.warning(request, message)
    return go(request, url)


def go(request: HttpRequest, url: str) -> HttpResponse:
    if request.headers.get("HX-Request") == "true":
        return HttpResponse(status=204, headers={"HX-Redirect": url})
    response = HttpResponseRedirect(url)
    response.status_code = 303
    return response


def pages(request: HttpRequest, rows: QuerySet[Any]) -> Page[Any]:
    return Paginator(rows, A_PAGE).get_page(request.GET.get("page"))


def mark(shown: Any) -> str:
    """Changes whenever what is shown changes; ``shown`` holds no ages or countdowns."""
    return hashlib.sha256(repr(shown).encode()).hexdigest()[:16]
