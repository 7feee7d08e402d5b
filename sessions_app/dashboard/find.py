"""Find (Ctrl K): what somebody reads from a label, a receipt or the end of a guest's link leads to its page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from devices.models import Device, DeviceCode
from hygate import clock
from hygate.roles import staff_only
from sessions_app.dashboard import frame, looks, session_list
from sessions_app.dashboard.lists import MOST_FIND
from sessions_app.dashboard.spelling import at, natural
from sessions_app.guest.labels import canonical
from sessions_app.models import DeviceSession

HERE = "find"
LEAST, MOST = 2, 6
"""Letters that say anything, and rows of each kind that are shown."""


@dataclass(frozen=True)
class Hit:
    url: str
    icon: str
    title: str
    words: str


@require_safe
@staff_only
def find(request: HttpRequest) -> HttpResponse:
    """As the page's dialog, as what stands below its field, or as a page; there a sole hit is opened at once, and so is
    the device of a label's code, whatever else is called like that.
    """
    text = request.GET.get("find", "").replace("\x00", "").strip()[:MOST_FIND]
    hits = list(hits_for(text)) if len(text) >= LEAST else []
    context = {"find": text, "hits": hits, "asked": len(text) >= LEAST}
    if request.headers.get("HX-Request") == "true":
        below = request.headers.get("HX-Target") == "found"
        return render(request, "dashboard/_found_hits.html" if below else "dashboard/_find.html", context)
    if url := hits[0].url if len(hits) == 1 else _by_label(text):
        return frame.go(request, url)
    return frame.page(request, "find.html", context, here=HERE)


def hits_for(text: str) -> Iterator[Hit]:
    yield from _devices(text)
    yield from _sessions(text)


def _devices(text: str) -> Iterator[Hit]:
    """By name, place, or the code on the label, also one that was replaced."""
    where = Q(name__icontains=text) | Q(place__icontains=text) | Q(codes__code=canonical(text))
    rows = Device.objects.filter(where).select_related("location").defer("account").distinct()
    for one in sorted(rows, key=lambda device: natural(device.name))[:MOST]:
        place = one.place or one.location.name
        yield Hit(reverse("dashboard:device", args=[one.pk]), "layout-grid", one.name, place)


def _by_label(text: str) -> str:
    """The page of the device with exactly this code; empty where no label says that."""
    code = DeviceCode.objects.filter(code=canonical(text)).first()
    return reverse("dashboard:device", args=[code.device_id]) if code else ""


def _sessions(text: str) -> Iterator[Hit]:
    now = clock.now()
    rows = DeviceSession.objects.filter(session_list.finds(text)).select_related("device__location", "receipt")
    for one in rows.defer("token", "device__account").order_by("-pk")[:MOST]:
        receipt = getattr(one, "receipt", None)
        words = (
            one.device.name,
            looks.of_session(one, now).word,
            at(one.created_at, one.device.location.timezone, now),
            f"receipt {receipt.number}" if receipt is not None else "",
        )
        url = reverse("dashboard:session", args=[one.pk])
        yield Hit(url, "timer", f"Session {one.reference}", " · ".join(filter(None, words)))
