"""The addresses of the line: join it from a device's page; see one's place, choose, stay longer, leave."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from hygate import attempts, clock
from hygate.attempts import Limit, TooOften
from hygate.logins import address_of
from sessions_app import selling
from sessions_app.guest import cookie, labels, line, unpaid, views
from sessions_app.guest.labels import Label
from sessions_app.guest.line import Waiter
from sessions_app.guest.views import SeeOther
from sessions_app.queue import services
from sessions_app.states import Purpose

JOINS = Limit(6, 3600)
"""For one address and one device: enough for those who share a network, too few to fill a line."""

LineView = Callable[[HttpRequest, Waiter], HttpResponse]


@require_http_methods(["GET", "HEAD", "POST"])
def join(request: HttpRequest, code: str) -> HttpResponse:
    """One tap. A phone that waits here already, or has the device, is led to what it has."""
    if labels.canonical(code) != code:
        return (
            redirect("guest:device", code=labels.canonical(code)) if labels.canonical(code) else views.unknown(request)
        )
    label = labels.read(code)
    if label is None:
        return views.unknown(request)
    has_it = cookie.own_link(request, label.standing.link_hash) is not None
    if request.method != "POST" or label.retired_at is not None or has_it:
        return views.private(SeeOther(f"/d/{code}/"))
    mine = line.own_place(request, label.device)
    return views.private(SeeOther(f"/line/{mine}/") if mine else _join(request, label))


def _join(request: HttpRequest, label: Label) -> HttpResponse:
    slot = attempts.take(f"line:{label.device.pk}@{address_of(request)}", JOINS)
    if isinstance(slot, TooOften):
        return _too_many(request, label, slot)
    try:
        entry = services.join(label.device)
    except services.CannotJoin:
        slot.give_back()
        return SeeOther(f"/d/{label.code}/")  # its page says what is: free, full, or not for sale
    return cookie.remember(request, SeeOther(f"/line/{entry.token}/"), entry.token)


def _too_many(request: HttpRequest, label: Label, refusal: TooOften) -> HttpResponse:
    page = line.too_many(label.device, refusal.wait_s, label.code, clock.now())
    response = views.answer(request, page, template="session", status=429, location=label.device.location)
    response["Retry-After"] = str(refusal.wait_s)
    return response


def opened_by_link(view: LineView) -> Callable[[HttpRequest, str], HttpResponse]:
    """The token opens its own place in line; a place that became a purchase leads to its session."""

    @wraps(view)
    def opened(request: HttpRequest, token: str) -> HttpResponse:
        waiter = line.find(token, now=clock.now())
        if waiter is None:
            return views.unknown(request, link=True)
        session = waiter.entry.session
        if session is not None:
            return views.private(SeeOther(f"/session/{session.token}/"))
        return views.private(view(request, waiter))

    return opened


@require_safe
@opened_by_link
def place(request: HttpRequest, waiter: Waiter) -> HttpResponse:
    response = views.answer(request, line.page(waiter), template="session", location=waiter.device.location)
    if waiter.entry.is_in_line and waiter.token not in cookie.tokens(request):
        cookie.remember(request, response, waiter.token)
    return response


@require_http_methods(["GET", "HEAD", "POST"])
@opened_by_link
def choose(request: HttpRequest, waiter: Waiter) -> HttpResponse:
    """The plans, for whom the device is kept for; the link alone is enough, on any phone."""
    plans = labels.plans_of(waiter.device) if waiter.may_choose and waiter.code else []
    if not plans:
        return SeeOther(waiter.url())
    if request.method == "POST":
        return _buy(request, waiter)
    return views.scan_answer(request, line.choosing(waiter, plans), waiter.scanned)


def _buy(request: HttpRequest, waiter: Waiter) -> HttpResponse:
    plan = next((one for one in labels.plans_of(waiter.device) if str(one.pk) == request.POST.get("plan")), None)
    if plan is None:
        return SeeOther(waiter.url("choose"))
    if unpaid.is_too_often(waiter.device, address_of(request)):
        return views.wait_to_buy(request, waiter.scanned)
    try:
        session = selling.hold_slot(device=waiter.device, plan=plan, entry=waiter.entry)
    except selling.CannotBuy:
        return SeeOther(waiter.url())  # its page says why
    unpaid.remember(session, address_of(request))
    return views.pay_for(request, session.payments.get(purpose=Purpose.START), session.token)


@require_POST
@opened_by_link
def longer(_request: HttpRequest, waiter: Waiter) -> HttpResponse:
    services.prolong(waiter.entry)
    return SeeOther(waiter.url())


@require_POST
@opened_by_link
def leave(_request: HttpRequest, waiter: Waiter) -> HttpResponse:
    services.leave(waiter.entry)
    return SeeOther(waiter.url())
