"""The frame of every page: the menu that this person may see, the badge, messages, dialogs and pages of a list."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache, lru_cache, partial
from typing import Any, cast

from django import forms
from django.contrib import messages
from django.core.paginator import Page, Paginator
from django.db.models import Count, F, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import resolve, reverse

from hygate import clock
from hygate.context import SITE
from hygate.models import Alert, SiteSettings, User
from hygate.prepared import Prepared
from hygate.roles import Perm, may
from sessions_app import setting_up
from sessions_app.models import DeviceSession, Refund
from sessions_app.services import actor
from sessions_app.setting_up import Progress
from sessions_app.states import ACTIVE, RefundStatus, State

A_PAGE = 50
REFUND_LATE_S = 60
COUNTED = "hygate.counted"
"""A refund is asked for within seconds; what is owed for longer stands out."""
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
    ("Money", (("payments", "Payments", "receipt"), ("reports", "Reports", "chart-column"))),
    (
        "Set up",
        (
            ("locations", "Locations", "map-pin"),
            ("settings", "Settings", "settings"),
            ("audit", "Audit log", "scroll-text"),
        ),
    ),
    ("Help", (("help", "Troubleshooting", "life-buoy"),)),
)
TABS = (
    ("settings", "General"),
    ("branding", "Branding"),
    ("accounts", "Shelly"),
    ("stripe", "Stripe"),
    ("energy_settings", "Energy"),
    ("security", "Security"),
    ("team", "Team"),
)
"""The pages of Settings: one entry of the menu, and a row of links on each of them."""
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
    """``late``: refunds that are owed for longer or have failed. ``setup``: for administrators, until it is over."""

    active: int
    trouble: int
    late: int
    setup: Progress | None = None


def page(request: HttpRequest, template: str, context: dict[str, Any], *, here: str, status: int = 200) -> HttpResponse:
    """Render a whole page; ``here`` is the menu entry that it belongs to."""
    frame = {"menu": menu(request, here), "tabs": tabs(here), "badge": badge(request), "here": here, "now": clock.now()}
    return render(request, f"dashboard/{template}", frame | context, status=status)


def tabs(here: str) -> list[Entry]:
    """On a page of Settings, its neighbours; nothing elsewhere."""
    if here not in dict(TABS):
        return []
    return [Entry(reverse(f"dashboard:{key}"), name, "", key == here) for key, name in TABS]


def menu(request: HttpRequest, here: str) -> list[tuple[str, list[Entry]]]:
    """Groups of entries, each only where the view behind it would let this person in."""
    groups = []
    site = request.META[SITE] = request.META.get(SITE) or SiteSettings.current()
    hidden = () if site.devices_enabled else OF_SHELLY
    for title, entries in MENU:
        shown = [
            Entry(url, name, icon, key == ("settings" if here in dict(TABS) else here))
            for key, name, icon in entries
            if key not in hidden and may(request.user, perm_of(url := reverse(f"dashboard:{key}")))
        ]
        if shown:
            groups.append((title, shown))
    return groups


@lru_cache(maxsize=64)
def perm_of(url: str) -> Perm:
    """Of the view behind ``url``, an entry of the menu."""
    perm: Perm = resolve(url).func.perm  # type: ignore[attr-defined]
    return perm


def who(request: HttpRequest) -> str:
    """How the audit log names the person behind ``request``."""
    return actor(cast(User, request.user))


def badge(request: HttpRequest | None = None) -> Badge:
    """What the menu counts, in one statement: active sessions, how many of them stand without power although their
    guest paid for it, money that should have gone back, and for administrators what is still to be set up.

    A page that has asked already, in a statement of its own, keeps the answer in its ``META`` (``COUNTED``).
    """
    row = (request and request.META.get(COUNTED)) or counted(request) or defaultdict(int)
    progress = setting_up.progress(request.META[SITE], row) if request and "company" in row else None
    setup = None if progress is None or progress.is_over else progress
    return Badge(row["active"], row["trouble"], row["owed"] + row["failed"], setup)


def counted(request: HttpRequest | None, more: Callable[[], dict[str, Any]] = dict) -> dict[str, Any] | None:
    """What ``badge`` counts and what ``more`` asks, which may hold nothing that changes within a process.

    Put into SQL once, but for the days of the setup: its steps depend on the keys in force. Null where nobody is yet.
    """
    late = clock.now() - timedelta(seconds=REFUND_LATE_S)
    site: SiteSettings | None = request.META[SITE] if request and may(request.user, "administrator") else None
    if site is None or site.setup_closed_at is not None:
        return _prepared(more).first(late=late)
    return _counting(late, lambda: more() | setting_up.asked()).first()


@cache
def _prepared(more: Callable[[], dict[str, Any]]) -> Prepared[Any]:
    return Prepared(partial(_counting, more=more), late=datetime)


def _counting(late: datetime, more: Callable[[], dict[str, Any]]) -> QuerySet[User, Any]:
    sessions = DeviceSession.objects.filter(state__in=ACTIVE)
    off = sessions.filter(state=State.RUNNING, device__output=False, device__reading_at__gt=F("started_at"))
    counts = {"active": sessions, "trouble": off, "owed": late_refunds(late), "failed": failed_refunds()}
    wanted = {name: count(rows) for name, rows in counts.items()} | more()
    return User.objects.order_by("pk").values(**wanted)[:1]


def count(rows: QuerySet[Any]) -> Coalesce:
    """The number of ``rows`` as a part of another statement."""
    counted = rows.order_by().annotate(_one=Value(1)).values("_one").annotate(_n=Count("pk")).values("_n")
    return Coalesce(Subquery(counted), 0)


def late_refunds(late: datetime | None = None) -> QuerySet[Refund]:
    """Refunds that are still only owed although there was time to ask Stripe for them (those from before ``late``)."""
    late = late or clock.now() - timedelta(seconds=REFUND_LATE_S)
    return Refund.objects.filter(status__in=(RefundStatus.OWED, RefundStatus.REQUESTED), created_at__lt=late)


def failed_refunds() -> QuerySet[Alert]:
    """The open alerts of refunds that failed: one made good by a later refund, or closed by hand, is none any more."""
    return Alert.objects.filter(kind="refund_failed", payment__isnull=False, closed_at__isnull=True)


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


class _EitherEnd(Paginator):  # type: ignore[type-arg]
    """Reads the later pages from the last row on: the database walks over all rows that come before a page."""

    def page(self, number: int | str) -> Page[Any]:
        number, rows = self.validate_number(number), cast("QuerySet[Any]", self.object_list)
        first, after = (number - 1) * self.per_page, min(number * self.per_page, self.count)
        if 2 * first < self.count:
            return Page(rows[first:after], number, self)
        return Page(list(rows.reverse()[self.count - after : self.count - first])[::-1], number, self)


def pages(request: HttpRequest, rows: QuerySet[Any], count: int | None = None) -> Page[Any]:
    """``count`` saves the statement that counts the rows, where the caller has counted them already."""
    paginator = _EitherEnd(rows, A_PAGE)
    if count is not None:
        vars(paginator)["count"] = count
    return paginator.get_page(request.GET.get("page"))


def mark(shown: Any) -> str:
    """Changes whenever what is shown changes; ``shown`` holds no ages or countdowns."""
    return hashlib.sha256(repr(shown).encode()).hexdigest()[:16]
