"""The receipt: as a page, as a PDF, and by e-mail. Who has the link to the session has its receipt."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from sessions_app.guest.shapes import AddressForm
from sessions_app.guest.views import SeeOther, opened_by_link
from sessions_app.guest.visit import Visit
from sessions_app.mail import services as mail
from sessions_app.mail.forms import asked_for
from sessions_app.mail.models import MailKind
from sessions_app.models import GuestMail
from sessions_app.receipts import pdf
from sessions_app.receipts.paper import Paper, paper_of


@require_safe
@opened_by_link
def receipt(request: HttpRequest, visit: Visit) -> HttpResponse:
    """Where there is nothing to receipt (yet), the session's own page says why."""
    paper = paper_of(visit)
    return shown(request, visit, paper) if paper else SeeOther(visit.url())


@require_safe
@opened_by_link
def as_pdf(_request: HttpRequest, visit: Visit) -> HttpResponse:
    paper = paper_of(visit)
    if paper is None:
        return SeeOther(visit.url())
    response = HttpResponse(pdf.printed(paper), content_type="application/pdf")
    response["Content-Disposition"] = f'attachment; filename="{paper.number}.pdf"'
    return response


@require_POST
@opened_by_link
def by_mail(request: HttpRequest, visit: Visit) -> HttpResponse:
    paper = paper_of(visit)
    if paper is None or not mail.can_ask():
        return SeeOther(visit.url("receipt"))
    wrong = asked_for(request, MailKind.RECEIPT, session=visit.session)
    return shown(request, visit, paper, wrong=wrong, status=422) if wrong else SeeOther(visit.url("receipt"))


def shown(request: HttpRequest, visit: Visit, paper: Paper, *, wrong: str = "", status: int = 200) -> HttpResponse:
    context = {
        "page": paper,
        "visit": visit,
        "form": _form(visit, wrong) if mail.can_ask() else None,
        "sent": _sent(visit),
        "location": visit.device.location,
    }
    return render(request, "guest/receipt.html", context, status=status)


def _form(visit: Visit, wrong: str) -> AddressForm:
    return AddressForm(
        url=visit.url("receipt/mail"),
        label=_("Send it by e-mail"),
        note=_("Used for this receipt only, then deleted."),
        button=_("Send"),
        wrong=wrong,
    )


def _sent(visit: Visit) -> str:
    """What became of the last mail that was asked for. To whom it went, nobody knows any more."""
    last = GuestMail.objects.filter(session=visit.session, kind=MailKind.RECEIPT).first()
    if last is None:
        return ""
    if last.sent_at is not None:
        return _("Sent by e-mail at %(time)s.") % {"time": visit.at(last.sent_at)}
    if last.given_up_at is not None:
        return _("The e-mail could not be delivered. Check the address and send it again.")
    return _("The e-mail is on its way.")
