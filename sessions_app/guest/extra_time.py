"""Extra minutes on the pages of their session: to be bought, waiting for money, added, or come too late."""

from __future__ import annotations

from dataclasses import replace

from django.utils.translation import gettext as _

from sessions_app import extending
from sessions_app.extending import No
from sessions_app.guest import words
from sessions_app.guest.shapes import Act, Fact, Line, SessionPage
from sessions_app.guest.visit import Visit
from sessions_app.models import Payment
from sessions_app.payments.rules import EXTENDS
from sessions_app.states import PaymentStatus, Purpose

IN_THE_WAY = {No.IN_LINE: "people", No.NO_POWER: "nobolt"}
"""What takes the button for more time away while the session runs, with its icon: said there, unasked."""


def waiting(visit: Visit) -> Payment | None:
    """The extension that can still be paid, or whose payment is being looked up."""
    pending = (one for one in _extensions(visit) if one.status == PaymentStatus.PENDING and one.charge_minor is None)
    return next(pending, None)


def acts(visit: Visit) -> tuple[Act, ...]:
    """What can be done about extra minutes on the running page: buy them, or pay or drop those that were chosen."""
    order = waiting(visit)
    if order is not None:
        pay = _("Not paid yet? Continue to pay %(price)s") % _terms(order)
        go_on = Act(pay, order.checkout_url, "line") if order.checkout_url else Act(pay, visit.url("extend"), post=True)
        return (go_on, Act(_("No extra time, pay nothing for it"), visit.url("extend/cancel"), "text", post=True))
    plans = visit.offer.plans if visit.offer is not None else ()
    if len(plans) == 1:
        said = {
            "time": words.span(plans[0].duration_s),
            "price": words.money(plans[0].price_minor, visit.till.currency),
        }
        return (Act(_("Add %(time)s for %(price)s") % said, visit.url("extend"), icon="plus"),)
    return (Act(_("Add time"), visit.url("extend"), icon="plus"),) if plans else ()


def note(visit: Visit) -> Line | None:
    """The money of the extra minutes that were chosen and are not there yet; or who or what is in their way."""
    order = waiting(visit)
    if order is None:
        why = visit.offer.why if visit.offer is not None else None
        return Line("", why_not(visit, why), IN_THE_WAY[why]) if why in IN_THE_WAY else None
    if is_looked_up(visit):
        return Line("", _("We look up your payment of %(price)s for %(time)s more.") % _terms(order), "card")
    said = _("%(time)s more for %(price)s: not paid yet. Nothing is charged until you pay.")
    return Line("", said % _terms(order), "card")


def why_not(visit: Visit, why: No) -> str:
    """Why no time can be added, in a sentence."""
    names = {"device": visit.name, "most": words.span(visit.session.max_total_s or extending.LONGEST_TOTAL_S)}
    sentences = {
        No.NOT_RUNNING: _("Time can be added while %(device)s is on, and it stands still at the moment."),
        No.NOT_EXTENDABLE: _("Nothing can be added to this programme."),
        No.PENDING: _("The payment page of the extra time is being closed. Look again in a moment."),
        No.TOO_LATE: _("It ends too soon to pay for more. You can buy again when %(device)s is free."),
        No.LONGEST: _("%(device)s can be bought for %(most)s at most."),
        No.CLOSED: _("We cannot sell time on %(device)s right now. What you bought goes on."),
        No.IN_LINE: _("Somebody waits for %(device)s, so it is free again at the time you see."),
        No.NO_POWER: _("There is not enough power to let %(device)s run longer."),
    }
    return sentences[why] % names


def is_looked_up(visit: Visit) -> bool:
    """The guest came back from the payment page, and nobody knows yet what happened there."""
    order = waiting(visit)
    return order is not None and order.settled_by == "page"


def facts(visit: Visit) -> tuple[Fact, ...]:
    """By how much the session was extended, and how far it can be."""
    found = []
    added_s = extending.seconds_added(visit.payments)
    if added_s:
        found.append(Fact(_("Extended by"), words.span(added_s)))
    latest = extending.latest_end(visit.session) if visit.offer is not None and visit.offer.plans else None
    if latest is not None:
        found.append(Fact(_("Can be extended to"), visit.at(latest)))
    return tuple(found)


def told(visit: Visit, page: SessionPage) -> SessionPage:
    """``page`` with the sentence about an extension that was paid and not added, before all others."""
    said = too_late(visit)
    if not said:
        return page
    pace = "slow" if page.pace == "never" and _is_unsettled(visit) else page.pace
    if page.answer is not None or page.money is None:
        return replace(page, answer=f"{said} {page.answer or ''}".strip(), pace=pace)
    return replace(page, money=Line(said, f"{page.money.first} {page.money.rest}", page.money.icon), pace=pace)


def too_late(visit: Visit) -> str:
    """What becomes of the money of the newest extension that came too late; empty when there is none."""
    order = next((one for one in reversed(_extensions(visit)) if _is_late(one, visit)), None)
    if order is None:
        return ""
    terms = _terms(order)
    if order.status == PaymentStatus.PENDING:
        return _("If your %(price)s for %(time)s more came through, it goes back to you whole.") % terms
    if order.captured_minor and order.refunded_minor >= order.captured_minor:
        return _("%(price)s was paid back to you: %(time)s more came too late.") % terms
    if order.captured_minor and order.pk in visit.refused:
        return _("We still owe you %(price)s: %(time)s more came too late.") % terms
    if order.captured_minor:
        return _("%(price)s is on its way back to you: %(time)s more came too late.") % terms
    return _("You were not charged %(price)s: %(time)s more came too late.") % terms


def _is_late(order: Payment, visit: Visit) -> bool:
    if order.applied_at is not None:
        return False
    if order.status == PaymentStatus.PENDING:
        return order.settled_by == "page" and visit.session.state not in EXTENDS
    return order.authorized_at is not None


def _is_unsettled(visit: Visit) -> bool:
    return any(
        one.status in (PaymentStatus.PENDING, PaymentStatus.AUTHORIZED)
        or one.refunded_minor < one.refund_promised_minor
        for one in _extensions(visit)
    )


def _extensions(visit: Visit) -> list[Payment]:
    return sorted((one for one in visit.payments if one.purpose == Purpose.EXTENSION), key=lambda one: one.pk)


def _terms(order: Payment) -> dict[str, str]:
    return {"price": words.money(order.amount_minor, order.currency), "time": words.span(order.duration_s)}
