"""The guest's addresses: parse, call, render."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import wraps

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseNotModified, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.utils.cache import patch_cache_control
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from devices import qr
from hygate import branding, clock
from hygate.logins import address_of
from sessions_app import extending, gates, selling, services
from sessions_app.guest import brand, calendar, cookie, labels, line, more, pages, power, scan, unpaid
from sessions_app.guest.scan import FREE, Scanned
from sessions_app.guest.shapes import ScanPage, SessionPage
from sessions_app.guest.visit import Visit, find
from sessions_app.models import Payment
from sessions_app.payments import checkout, settling
from sessions_app.queue.services import WAITED_FOR
from sessions_app.selling import Known, Standing
from sessions_app.states import Purpose, State

STOPPABLE = (State.RUNNING, State.PAUSED)
A_DAY = 86400

SessionView = Callable[..., HttpResponse]


class SeeOther(HttpResponseRedirect):
    """303: whatever was asked, the answer is read over there. Also to another origin: Stripe's payment page."""

    status_code = 303


def answer(
    request: HttpRequest, page: ScanPage | SessionPage, *, template: str, status: int = 200, **more: object
) -> HttpResponse:
    """The whole page, or for the page's own script only its middle, and nothing when nothing is new."""
    etag = f'W/"{page.version}"'
    asks_again = request.headers.get("X-Requested-With") == "hygate"
    if asks_again and request.headers.get("If-None-Match") == etag:
        response: HttpResponse = HttpResponseNotModified()
    else:
        name = f"guest/{template}_main.html" if asks_again else f"guest/{template}.html"
        response = render(request, name, {"page": page, **more}, status=status)
    response["ETag"] = etag
    if figures := {fact.live: fact.value for fact in getattr(page, "facts", ()) if fact.live}:
        response[power.HEADER] = power.header(figures)
    response["X-Hygate-Now"] = str(int(clock.now().timestamp() * 1000))
    return private(response)


def private(response: HttpResponse) -> HttpResponse:
    """Nothing of it is kept, indexed, or told to anybody else."""
    response["Cache-Control"] = "no-store"
    response["Referrer-Policy"] = "no-referrer"
    response["X-Robots-Tag"] = "noindex"
    return response


def unknown(request: HttpRequest, *, link: bool = False) -> HttpResponse:
    return private(render(request, "guest/unknown.html", {"link": link}, status=404))


# -- the label


@require_http_methods(["GET", "HEAD", "POST"])
def device(request: HttpRequest, code: str) -> HttpResponse:
    if labels.canonical(code) != code:
        return redirect("guest:device", code=labels.canonical(code)) if labels.canonical(code) else unknown(request)
    label = labels.read(code)
    if label is None:
        return unknown(request)
    scanned = Scanned(device=label.device, code=code, now=clock.now())
    if label.retired_at is not None:
        return scan_answer(request, scan.retired(scanned), scanned, status=410)
    mine = cookie.own_link(request, label.standing.link_hash)
    if request.method == "POST":
        return SeeOther(scanned.url) if mine else buy(request, scanned)
    return own(request, scanned, find(mine, now=scanned.now)) if mine else look(request, scanned, label.standing)


def look(request: HttpRequest, scanned: Scanned, standing: Standing) -> HttpResponse:
    found = selling.availability(scanned.device, scanned.now, Known(gates.of(request), standing))
    plans = labels.plans_of(scanned.device) if found.kind == FREE else []
    if plans:
        return scan_answer(request, scan.for_sale(scanned, plans), scanned)
    place = line.own_place(request, scanned.device) if standing.first is not None else None
    if place is not None:
        return private(SeeOther(f"/line/{place}/"))
    kind = "not_for_sale" if found.kind == FREE else found.kind
    return cannot_buy(request, replace(scanned, until=found.until), kind, waiting=standing.waiting or 0)


def own(request: HttpRequest, scanned: Scanned, visit: Visit | None) -> HttpResponse:
    if visit is None or not visit.can_be_paid:
        return SeeOther(visit.url() if visit else scanned.url)
    page = scan.yours(scanned, visit.order, visit.url(), visit.session.hold_expires_at)
    return scan_answer(request, page, scanned)


def cannot_buy(
    request: HttpRequest, scanned: Scanned, kind: str, *, status: int = 200, waiting: int | None = None
) -> HttpResponse:
    """``waiting``: how many stand in line; where that is known, and waiting helps, the page offers to wait."""
    others = labels.others_like(scanned.device, scanned.now, gates.of(request)) if kind != "disabled" else []
    page = scan.cannot_buy(kind, scanned, others)
    if waiting is not None and kind in WAITED_FOR:
        page = line.with_wait(page, scanned, waiting)
    return scan_answer(request, page, scanned, status=status)


def scan_answer(request: HttpRequest, page: ScanPage, scanned: Scanned, status: int = 200) -> HttpResponse:
    return answer(request, page, template="scan", status=status, location=scanned.device.location)


def buy(request: HttpRequest, scanned: Scanned) -> HttpResponse:
    plan = next((plan for plan in labels.plans_of(scanned.device) if str(plan.pk) == request.POST.get("plan")), None)
    if plan is None:
        return SeeOther(scanned.url)
    if unpaid.is_too_often(scanned.device, address_of(request)):
        return wait_to_buy(request, scanned)
    try:
        session = selling.hold_slot(device=scanned.device, plan=plan)
    except selling.CannotBuy as refusal:
        place = line.own_place(request, scanned.device) if refusal.kind == "kept" else None
        if place is not None:
            return private(SeeOther(f"/line/{place}/"))
        return cannot_buy(request, replace(scanned, until=refusal.until), refusal.kind, status=409)
    unpaid.remember(session, address_of(request))
    return pay_for(request, session.payments.get(purpose=Purpose.START), session.token)


def wait_to_buy(request: HttpRequest, scanned: Scanned) -> HttpResponse:
    page = unpaid.page(scanned.device, scanned.code, scanned.now)
    response = answer(request, page, template="session", status=429, location=scanned.device.location)
    response["Retry-After"] = str(unpaid.wait_s())
    return response


def pay_for(request: HttpRequest, order: Payment, token: str) -> HttpResponse:
    """On to Stripe; when Stripe does not answer, to the session page, which says so and offers to try again."""
    try:
        url = checkout.open_checkout(order)
    except checkout.CheckoutUnavailable:
        url = f"/session/{token}/"
    return private(cookie.remember(request, SeeOther(url), token))


# -- the link


def opened_by_link(view: SessionView) -> SessionView:
    """The token in the path is the permission: it opens its own session, and anything else is a page unknown."""

    @wraps(view)
    def opened(request: HttpRequest, token: str, **more: str) -> HttpResponse:
        visit = find(token, now=clock.now())
        return private(view(request, visit, **more)) if visit else unknown(request, link=True)

    return opened


@require_safe
@opened_by_link
def session(request: HttpRequest, visit: Visit) -> HttpResponse:
    if visit.session.state == State.RUNNING and visit.session.extendable:
        found = extending.offer(visit.session, visit.now, gates.of(request), visit.payments)
        visit = replace(visit, offer=found)
    page = pages.session_page(visit)
    response = answer(request, page, template="session", location=visit.device.location)
    if visit.session.is_live and visit.token not in cookie.tokens(request):
        cookie.remember(request, response, visit.token)
    return response


@require_safe
@opened_by_link
def paid(request: HttpRequest, visit: Visit) -> HttpResponse:
    """Back from Stripe: only a hint to look the order up now."""
    settling.nudge(visit.session)
    return cookie.remember(request, SeeOther(visit.url()), visit.token)


@require_safe
@opened_by_link
def back(request: HttpRequest, visit: Visit) -> HttpResponse:
    """Left Stripe without paying: the label's page offers to go on or to cancel. Reading changes nothing.

    Who wanted more time for a session that is on finds both on its own page.
    """
    held = visit.session.state == State.HELD and visit.device_url
    return cookie.remember(request, SeeOther(held or visit.url()), visit.token)


@require_safe
@opened_by_link
def done_ics(_request: HttpRequest, visit: Visit) -> HttpResponse:
    """The end of a running session for a calendar; when it has none (any more), the session's page says why."""
    if not more.has_calendar(visit) or visit.session.ends_at is None:
        return SeeOther(visit.url())
    response = HttpResponse(calendar.of(visit, visit.session.ends_at), content_type="text/calendar; charset=utf-8")
    response["Content-Disposition"] = 'attachment; filename="done.ics"'
    return response


@require_POST
@opened_by_link
def pay(request: HttpRequest, visit: Visit) -> HttpResponse:
    if not visit.can_be_paid:
        return SeeOther(visit.url())
    return pay_for(request, visit.order, visit.token)


@require_POST
@opened_by_link
def start(_request: HttpRequest, visit: Visit) -> HttpResponse:
    services.start_now(visit.session)
    return SeeOther(visit.url())


@require_POST
@opened_by_link
def cancel(_request: HttpRequest, visit: Visit) -> HttpResponse:
    services.cancel_by_guest(visit.session)
    return SeeOther(visit.url())


@require_http_methods(["GET", "HEAD", "POST"])
@opened_by_link
def stop(request: HttpRequest, visit: Visit) -> HttpResponse:
    if request.method == "POST":
        services.stop_by_guest(visit.session)
    elif visit.session.state in STOPPABLE:
        return answer(request, pages.stop_page(visit), template="session", location=visit.device.location)
    return SeeOther(visit.url())


# -- files


@require_safe
def brand_css(_request: HttpRequest, color: str) -> HttpResponse:
    """One colour; the address carries it, so it can be kept for good."""
    response = HttpResponse(brand.stylesheet(f"#{color}"), content_type="text/css; charset=utf-8")
    patch_cache_control(response, public=True, max_age=30 * A_DAY, immutable=True)
    return response


@require_safe
def logo(_request: HttpRequest, name: str) -> HttpResponse:
    """The operator's logo; its name is made from its contents, so it can be kept for good as well."""
    image = branding.served(name)
    if image is None:
        return HttpResponse(status=404)
    response = HttpResponse(image, content_type="image/webp")
    patch_cache_control(response, public=True, max_age=30 * A_DAY, immutable=True)
    return response


@require_safe
def qr_code(_request: HttpRequest, code: str, form: str) -> HttpResponse:
    label = labels.read(labels.canonical(code))
    if label is None or label.retired_at is not None:
        return HttpResponse(status=404)
    url = f"{settings.BASE_URL}/d/{label.code}/"
    body, kind = (qr.png(url), "image/png") if form == "png" else (qr.svg(url), "image/svg+xml")
    response = HttpResponse(body, content_type=kind)
    patch_cache_control(response, public=True, max_age=A_DAY)
    return response
