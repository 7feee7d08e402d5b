"""*Tell me when it is done* and *when it is my turn*: the address that was sent; the form alone when it was refused."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from devices.models import Device
from sessions_app.guest import line, line_views, more
from sessions_app.guest.line import Waiter
from sessions_app.guest.shapes import Act, AddressForm
from sessions_app.guest.views import SeeOther, opened_by_link
from sessions_app.guest.visit import Visit
from sessions_app.mail.forms import asked_for
from sessions_app.mail.models import MailKind


@require_http_methods(["GET", "HEAD", "POST"])
@opened_by_link
def tell(request: HttpRequest, visit: Visit) -> HttpResponse:
    if more.ask(visit) is None:
        return SeeOther(visit.url())
    wrong = ""
    if request.method == "POST":
        wrong = asked_for(request, MailKind.DONE, session=visit.session)
        if not wrong:
            return SeeOther(visit.url())
    back = Act(_("Back to my session"), visit.url(), "text")
    return _alone(request, visit.device, more.done_form(visit, wrong=wrong), back)


@require_http_methods(["GET", "HEAD", "POST"])
@line_views.opened_by_link
def tell_turn(request: HttpRequest, waiter: Waiter) -> HttpResponse:
    if line.ask(waiter) is None:
        return SeeOther(waiter.url())
    wrong = ""
    if request.method == "POST":
        wrong = asked_for(request, MailKind.TURN, entry=waiter.entry)
        if not wrong:
            return SeeOther(waiter.url())
    back = Act(_("Back to my place in line"), waiter.url(), "text")
    return _alone(request, waiter.device, line.turn_form(waiter, wrong=wrong), back)


def _alone(request: HttpRequest, device: Device, form: AddressForm, back: Act) -> HttpResponse:
    context = {"device": device, "form": form, "back": back, "location": device.location}
    return render(request, "guest/tell.html", context, status=422 if form.wrong else 200)
