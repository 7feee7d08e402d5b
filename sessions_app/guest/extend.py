"""Adding time: the page with the choices, the way to Stripe, and why it cannot be bought now."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from devices.models import UsagePlan
from sessions_app import extending, gates
from sessions_app.extending import CannotExtend, No, Offer
from sessions_app.guest import extra_time, words
from sessions_app.guest.pages import complete
from sessions_app.guest.sentences import reference, while_on
from sessions_app.guest.shapes import Act, Chip, Line, PlanChoice, SessionPage
from sessions_app.guest.views import SeeOther, answer, opened_by_link, pay_for
from sessions_app.guest.visit import Visit
from sessions_app.payments.rules import EXTENDS


@dataclass(frozen=True)
class Choices:
    """The plans to choose from; ``only`` where there is no choice."""

    plans: tuple[PlanChoice, ...]
    points: tuple[Line, ...]
    pay_note: str

    @property
    def only(self) -> PlanChoice | None:
        return self.plans[0] if len(self.plans) == 1 else None


# -- views


@require_http_methods(["GET", "HEAD", "POST"])
@opened_by_link
def extend(request: HttpRequest, visit: Visit) -> HttpResponse:
    """GET shows what can be added, POST orders it and leads to Stripe. One that waits to be paid is paid first."""
    if visit.session.state not in EXTENDS:
        return SeeOther(visit.url())
    if request.method == "POST":
        return _ordered(request, visit)
    if extra_time.waiting(visit) is not None:
        return SeeOther(visit.url())
    offer = extending.offer(visit.session, visit.now, gates.of(request), visit.payments)
    if offer.why is not None:
        return _refused(request, visit, offer.why)
    page = complete(visit, page_of(visit))
    shown = choices(visit, offer)
    return answer(request, page, template="extend", location=visit.device.location, choices=shown, visit=visit)


def _ordered(request: HttpRequest, visit: Visit) -> HttpResponse:
    wanted = request.POST.get("plan", "")
    plans = visit.device.plans.filter(active=True)
    try:
        payment = extending.order(visit.session, next((one for one in plans if str(one.pk) == wanted), None))
    except CannotExtend as refusal:
        return _refused(request, visit, refusal.why, status=409)
    return pay_for(request, payment, visit.token)


def _refused(request: HttpRequest, visit: Visit, why: No, *, status: int = 200) -> HttpResponse:
    page = complete(visit, refusal(visit, why))
    return answer(request, page, template="session", status=status, location=visit.device.location)


@require_POST
@opened_by_link
def drop(_request: HttpRequest, visit: Visit) -> HttpResponse:
    extending.drop(visit.session)
    return SeeOther(visit.url())


# -- words


def page_of(visit: Visit) -> SessionPage:
    return SessionPage(
        state="running",
        chip=Chip("bolt", _("Power on")),
        money=while_on(visit),
        headline=_("Add time to %(device)s") % {"device": visit.name},
        say=_("On until %(time)s") % {"time": visit.at(visit.session.ends_at)},
        pace="never",
    )


def choices(visit: Visit, offer: Offer) -> Choices:
    names = {"device": visit.name}
    return Choices(
        plans=tuple(_choice(visit, plan, checked=plan is offer.plans[0]) for plan in offer.plans),
        points=(
            Line(_("It runs on without a break,"), _("as soon as the payment is through."), "bolt"),
            Line(_("Your payment comes too late?"), _("Then all of it comes back to you."), "back"),
            Line(_("No power, no charge."), _("You pay once %(device)s has confirmed the new end.") % names, "card"),
        ),
        pay_note=_("VAT included") if any(plan.vat_rate_bp for plan in offer.plans) else "",
    )


def _choice(visit: Visit, plan: UsagePlan, *, checked: bool) -> PlanChoice:
    price = words.money(plan.price_minor, visit.till.currency)
    ends_at = visit.session.ends_at + timedelta(seconds=plan.duration_s) if visit.session.ends_at else None
    return PlanChoice(
        id=plan.pk,
        title=words.programme(plan.name, plan.duration_s),
        description=_("On until %(time)s") % {"time": visit.at(ends_at)},
        price=price,
        pay=_("Pay %(price)s, add %(time)s") % {"price": price, "time": words.span(plan.duration_s)},
        checked=checked,
    )


def refusal(visit: Visit, why: No) -> SessionPage:
    """Nothing was ordered: that first, then why, and the way back."""
    page = SessionPage(
        state="running",
        chip=Chip("clock", _("No extra time")),
        headline=_("Nothing was charged"),
        answer=extra_time.why_not(visit, why),
        acts=(Act(_("Back to my session"), visit.url(), "line"),),
        facts=(reference(visit),),
        pace="never",
    )
    return replace(page, status=f"{page.headline}. {page.answer}")
