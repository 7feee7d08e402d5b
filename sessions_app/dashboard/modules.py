"""Parts of the dashboard that can be switched off: gone from the menu (``frame``), and their pages say so (here)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from hygate.context import SITE
from hygate.models import SiteSettings
from sessions_app.dashboard import frame, live
from sessions_app.models import DeviceSession
from sessions_app.states import ACTIVE

DEVICE_PAGES = ("dashboard/devices/", "dashboard/plans/", "dashboard/labels/")


class SwitchedOff:
    """Stands before every page of the Devices module. Who is not logged in goes to the login first, as ever."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, *_: Any) -> HttpResponse | None:
        match = request.resolver_match
        if match is None or not match.route.startswith(DEVICE_PAGES) or not request.user.is_authenticated:
            return None
        site = request.META[SITE] = request.META.get(SITE) or SiteSettings.current()
        return None if site.devices_enabled else said(request)


def said(request: HttpRequest) -> HttpResponse:
    """The page in place of the module; a POST is refused (409), for nothing was done."""
    if request.headers.get("HX-Request") == "true" and request.method in ("GET", "HEAD"):
        return _whole_page(request)
    running = DeviceSession.objects.filter(state__in=ACTIVE).count()
    status = 200 if request.method in ("GET", "HEAD") else 409
    return frame.page(request, "switched_off.html", {"running": running}, here="devices", status=status)


def _whole_page(request: HttpRequest) -> HttpResponse:
    """A whole page is no part of another: what is live stands still, whoever opens a dialog is led to the page."""
    if live.SEEN in request.headers:
        return HttpResponse(status=204)
    return HttpResponse(status=204, headers={"HX-Redirect": reverse("dashboard:devices")})
