"""Reports as guests make and read them: about a session under its link, about a label under its code."""

from __future__ import annotations

from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import get_language
from django.views.decorators.http import require_http_methods

from devices.models import DeviceCode
from hygate import attempts
from hygate.attempts import Limit, TooOften
from hygate.logins import address_of
from sessions_app.guest import labels, more
from sessions_app.guest.views import SeeOther, answer, opened_by_link, private, unknown
from sessions_app.guest.visit import Visit
from sessions_app.models import ProblemReport
from sessions_app.problems import pages, services
from sessions_app.problems.models import Cause

PER_NETWORK_ADDRESS = Limit(5, 3600)
FROM_EVERYWHERE = Limit(60, 3600)
"""Anybody can report any code, known or not: a flood must not bury what is true."""
OF_SESSIONS = Limit(20, 3600)
"""For one address: reports under a link. Many guests share a network, and each has paid; a script has more to say."""


@require_http_methods(["GET", "HEAD", "POST"])
@opened_by_link
def report(request: HttpRequest, visit: Visit) -> HttpResponse:
    if not more.can_report(visit):
        return SeeOther(visit.url())
    if request.method == "POST":
        return _told(request, visit)
    told = ProblemReport.objects.filter(session=visit.session, closed_at=None).order_by("pk")
    choices = pages.choices(visit, dict(told.values_list("cause", "reference")))
    page = pages.ask(visit)
    return answer(request, page, template="report", location=visit.device.location, choices=choices, visit=visit)


def _told(request: HttpRequest, visit: Visit) -> HttpResponse:
    cause = request.POST.get("cause", "")
    if cause not in services.ABOUT_A_SESSION:
        return SeeOther(visit.url("report"))
    told = services.open_report(visit.session, Cause(cause))
    if told is not None:
        return SeeOther(visit.url(f"report/{told.reference}"))
    slot = attempts.take(f"report@{address_of(request)}", OF_SESSIONS)
    if isinstance(slot, TooOften):
        return _too_often(request, visit, slot)
    try:
        made = services.report(visit.session, Cause(cause), language=get_language() or "en")
    except services.TooMany:
        return SeeOther(visit.url(f"report/{visit.report}") if visit.report else visit.url())
    return SeeOther(visit.url(f"report/{made.reference}"))


def _too_often(request: HttpRequest, visit: Visit, refusal: TooOften) -> HttpResponse:
    page = pages.too_often(visit, refusal.wait_s)
    response = answer(request, page, template="session", status=429, location=visit.device.location)
    response["Retry-After"] = str(refusal.wait_s)
    return response


@require_http_methods(["GET", "HEAD", "POST"])
@opened_by_link
def sent(request: HttpRequest, visit: Visit, reference: str) -> HttpResponse:
    """One report of this session, and nobody else's; POST adds a few words to it, once."""
    rows = ProblemReport.objects.select_related("answered_by").defer("evidence")
    one = rows.filter(session=visit.session, reference=reference.replace("\x00", "")).first()
    if one is None:
        return unknown(request, link=True)
    if request.method == "POST":
        services.add_note(one, request.POST.get("note", "").replace("\x00", "").strip())
        return SeeOther(visit.url(f"report/{reference}"))
    page = pages.sent(visit, one)
    return answer(
        request,
        page,
        template="report_sent",
        location=visit.device.location,
        report=one,
        by=", ".join(filter(None, (one.answered_by.first_name if one.answered_by else "", visit.company))),
        answered=visit.at(one.answered_at),
    )


@require_http_methods(["GET", "HEAD", "POST"])
def label(request: HttpRequest, code: str) -> HttpResponse:
    """*This sticker looks odd*: for codes that we know, that were replaced, and that we never printed.

    The page is the same for all of them: it must not say which codes exist.
    """
    canonical = labels.canonical(code)
    if canonical != code:
        return redirect("guest:label_report", code=canonical) if canonical else unknown(request)
    refused = request.method == "POST" and isinstance(_slot(request), TooOften)
    if request.method == "POST" and not refused:
        found = DeviceCode.objects.select_related("device").filter(code=code).first()
        services.report_label(code, found.device if found else None, language=get_language() or "en")
        return private(SeeOther(f"{request.path}?sent=1"))
    context = {
        "code": code,
        "domain": urlsplit(settings.BASE_URL).netloc,
        "sent": request.GET.get("sent") == "1",
        "refused": refused,
    }
    return private(render(request, "guest/label_report.html", context, status=429 if refused else 200))


def _slot(request: HttpRequest) -> attempts.Slot | TooOften:
    own = attempts.take(f"label report@{address_of(request)}", PER_NETWORK_ADDRESS)
    return own if isinstance(own, TooOften) else attempts.take("label reports", FROM_EVERYWHERE)
