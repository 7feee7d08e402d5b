"""*Tell me when it is done*: the address that the form sends, and the form alone where it was not taken."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_http_methods

from sessions_app.guest import more
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
    context = {"visit": visit, "form": more.done_form(visit, wrong=wrong), "location": visit.device.location}
    return render(request, "guest/tell.html", context, status=422 if wrong else 200)
