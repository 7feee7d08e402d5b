"""The pages of a session that is over. Why it ended picks the reason's words; the money's facts pick the headline."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from hygate.models import AuditEvent
from sessions_app import rules
from sessions_app.guest import more, power, words
from sessions_app.guest.sentences import given_back, is_still_owed, reference, refund_refused, share_bar
from sessions_app.guest.shapes import Act, Bar, Chip, Fact, Line, Ring, SessionPage, Step
from sessions_app.guest.visit import Visit
from sessions_app.states import Reason


def over(visit: Visit) -> SessionPage:
    session = visit.session
    if session.started_at is None:
        return never_on(visit)
    return complete(visit) if more.is_plain_end(visit) else cut_short(visit)


def complete(visit: Visit) -> SessionPage:
    session = visit.session
    done_at, tab = visit.at(session.off_requested_at or session.ends_at), visit.till
    price = tab.price if tab.back else tab.kept
    paid = _("%(price)s paid for %(time)s.") % {"price": tab.say(price), "time": visit.bought}
    money = Line(paid, _("All of them were delivered."))
    if tab.back:
        money = Line(f"{given_back(visit)}.", f"{refund_refused()} {paid}" if is_still_owed(visit) else paid)
    return SessionPage(
        state="completed",
        chip=Chip("done", _("Finished")),
        money=money,
        headline=_("Done at %(time)s") % {"time": done_at},
        ring=Ring(look="full", icon="check"),
        acts=(see_receipt(visit), *(replace(act, look="line") for act in again(visit, str(visit.kind.again))))
        if more.has_receipt(visit)
        else again(visit, str(visit.kind.again)),
        steps=refund_steps(visit),
        facts=(
            Fact(_("On"), visit.at(session.started_at, seconds=True)),
            _went_off(visit) or Fact(_("Confirmed off"), visit.at(session.closed_at, seconds=True)),
            *power.used(visit),
            reference(visit),
        ),
        status=_("Done at %(time)s.") % {"time": done_at},
        pace="slow" if tab.returned < tab.promised else "never",
    )


def _went_off(visit: Visit) -> Fact | None:
    """Where nobody could read the relay, what is known instead: its own timer ended power, and when."""
    if not is_off_by_timer_alone(visit):
        return None
    return Fact(_("Off by its own timer"), visit.at(visit.session.timer_ends_at, seconds=True))


def is_off_by_timer_alone(visit: Visit) -> bool:
    """Whether the session was closed without a reading that shows the relay off.

    The move's own event says so; it is asked for only where a timer had run out by then.
    """
    session, proven_at = visit.session, rules.timer_proof_at(visit.session)
    if proven_at is None or session.closed_at is None or session.closed_at < proven_at:
        return False
    return AuditEvent.objects.filter(session=session.pk, kind=f"session_{session.state}", data__proof="timer").exists()


# -- ended after the power had been on


@dataclass(frozen=True)
class Cut:
    """``broke``: not what the guest wanted, so the stage is red."""

    what: str
    broke: bool = True


def why_cut(visit: Visit) -> Cut:
    session, name = visit.session, {"device": visit.name, "company": visit.company}
    off_at = {**name, "time": visit.at(session.off_requested_at or session.closed_at)}
    dark_at = {**name, "time": visit.at(visit.off_at)}
    sentences = {
        Reason.STOPPED_BY_GUEST: Cut(_("You stopped %(device)s at %(time)s.") % off_at, broke=False),
        Reason.STOPPED_BY_STAFF: Cut(_("%(company)s stopped %(device)s at %(time)s.") % off_at),
        Reason.FORCE_ENDED: Cut(_("%(company)s ended this session at %(time)s.") % off_at),
        Reason.RELAY_OFF: Cut(_("%(device)s lost power at %(time)s and did not come back on.") % dark_at),
        Reason.NO_POWER: Cut(_("The site had no more power to give at %(time)s.") % dark_at),
        Reason.RECONCILIATION: Cut(
            _("We could not confirm that %(device)s stayed on after %(time)s.") % {**name, "time": _proven_until(visit)}
        ),
        Reason.PAYMENT_FAILED: Cut(
            _("Your bank did not release the money, so %(device)s was switched off at %(time)s.") % off_at
        ),
        Reason.REVERSED: Cut(_("The payment was taken back, so %(device)s was switched off at %(time)s.") % off_at),
    }
    plain = Cut(_("%(device)s went off at %(time)s.") % off_at)
    return sentences.get(Reason(session.reason), plain) if session.reason else plain


def _proven_until(visit: Visit) -> str:
    """Until when power was confirmed: the delivered seconds after the confirmed ON, and the pauses between."""
    session = visit.session
    on_for = timedelta(seconds=visit.delivered_s, milliseconds=session.paused_ms)
    return visit.at(session.started_at + on_for if session.started_at else session.off_requested_at)


def cut_short(visit: Visit) -> SessionPage:
    session, tab, cut = visit.session, visit.till, why_cut(visit)
    used, back = words.span(visit.delivered_s), tab.price - tab.kept
    headline = money_headline(visit)
    got = _("You paid for %(all)s and used %(used)s.") % {"all": visit.bought, "used": used}
    if cut.broke:
        got = _("You paid for %(all)s and got %(used)s. We do not keep money for minutes you did not get.") % {
            "all": visit.bought,
            "used": used,
        }
    if not tab.kept:
        got = _("%(device)s was on for %(used)s, free of charge.") % {"device": visit.name, "used": used}
    elif not back:
        got = (
            _("You used %(used)s of %(all)s. This plan keeps its price when you stop early.")
            if not cut.broke and not session.refund_unused
            else _("You used %(used)s of %(all)s.")
        ) % {"used": used, "all": visit.bought}
    return SessionPage(
        state="interrupted" if cut.broke else "stopped",
        chip=Chip("cut", _("Stopped early")),
        headline=headline,
        answer=f"{refund_refused()} {got}" if is_still_owed(visit) else got,
        bar=bar_of(visit, back),
        happened=cut.what,
        acts=again(visit, _("Use %(device)s again") % {"device": visit.name}),
        steps=refund_steps(visit, cut),
        facts=(
            Fact(_("On"), visit.at(session.started_at, seconds=True)),
            _went_off(visit) or Fact(_("Off"), visit.at(visit.off_at, seconds=True)),
            *power.used(visit),
            reference(visit),
        ),
        status=_("Stopped early. %(headline)s.") % {"headline": headline},
        pace="slow" if tab.returned < tab.promised or tab.is_reserved else "never",
    )


def bar_of(visit: Visit, back: int) -> Bar | None:
    if not back or not visit.till.kept:
        return None
    rest = "" if visit.till.back else _("%(time)s not charged")
    if is_still_owed(visit):
        rest = _("%(time)s owed to you")
    return share_bar(visit, visit.delivered_s, visit.till.kept, back, rest)


# -- ended before there was power


def never_on(visit: Visit) -> SessionPage:
    """Whatever happened, the guest pays nothing, also where the settlement still comes; the page says where it is."""
    visit = replace(visit, till=replace(visit.till, charge=0))
    page = WHY_NEVER_ON.get(visit.session.reason, ended_before)(visit)
    tab = visit.till
    page = replace(
        page,
        headline=page.headline or money_headline(visit),
        answer=" ".join(filter(None, (page.answer, where_the_money_is(visit)))),
        facts=(*page.facts, reference(visit)),
        pace="slow" if tab.returned < tab.promised or tab.is_reserved else "never",
    )
    said = page.headline.rstrip(".")
    return replace(page, status=f"{said}." if said.startswith(page.chip.word) else f"{page.chip.word}. {said}.")


def start_failed(visit: Visit) -> SessionPage:
    name = {"device": visit.name}
    happened, tried = _tries(visit.on_attempts, name)
    ended_at = visit.at(visit.session.closed_at, seconds=True)
    steps = [Step("fail", tried, ended_at)]
    if visit.till.funded_at:
        first = _("%(price)s paid") if visit.till.captured else _("%(price)s reserved")
        steps.insert(0, Step("done", first % {"price": visit.price}, visit.at(visit.till.funded_at)))
    if visit.till.was_reserved:
        steps.append(Step("done", _("Reservation released"), ended_at))
    elif visit.till.is_reserved:
        steps.append(Step("now", _("Releasing the reservation")))
    return SessionPage(
        state="start_failed",
        chip=Chip("cross", _("Did not start")),
        headline="",
        happened=happened,
        acts=again(visit, _("Try %(device)s again") % name),
        steps=(*steps, *refund_steps(visit)),
    )


def _tries(asked: int, name: dict[str, str]) -> tuple[str, str]:
    """What happened in a sentence, and as a step. Not asked at all: we came too late ourselves."""
    if not asked:
        why = _("We could not ask %(device)s to switch on in time, so no time and no money was used.") % name
        return why, _("Not asked in time")
    tries = ngettext("We asked once", "We asked %(n)d times", asked) % {"n": asked}
    why = _("%(device)s did not switch on. %(tries)s and it never confirmed, so no time and no money was used.")
    no_answer = ngettext("Asked once, no answer", "Asked %(n)d times, no answer", asked) % {"n": asked}
    return why % {**name, "tries": tries}, no_answer


def hold_expired(visit: Visit) -> SessionPage:
    late = visit.till.funded_at is not None
    why = _("Your payment came after the hold had run out.") if late else _("The hold ran out before a payment came.")
    return SessionPage(
        state="expired",
        chip=Chip("clock", _("Hold ran out")),
        headline="",
        answer=why,
        acts=again(visit, _("Choose again")),
        steps=refund_steps(visit),
    )


def payment_failed(visit: Visit) -> SessionPage:
    return SessionPage(
        state="expired",
        chip=Chip("card", _("Not paid")),
        headline="",
        answer=_("The payment was not completed."),
        acts=again(visit, _("Try again")),
        steps=refund_steps(visit),
    )


def cancelled_by_guest(visit: Visit) -> SessionPage:
    return SessionPage(
        state="stopped",
        chip=Chip("cut", _("Cancelled")),
        headline="" if visit.till.captured else _("Cancelled. You pay nothing."),
        acts=again(visit, _("Choose again")),
        steps=refund_steps(visit),
    )


def no_power(visit: Visit) -> SessionPage:
    return SessionPage(
        state="waiting_for_power",
        chip=Chip("nobolt", _("Not enough power")),
        headline="",
        happened=_("The site had no power to give to %(device)s in time.") % {"device": visit.name},
        acts=again(visit, _("Look again")),
        steps=refund_steps(visit),
    )


def ended_before(visit: Visit) -> SessionPage:
    what = _("This session ended before it began.")
    if visit.session.reason in (Reason.STOPPED_BY_STAFF, Reason.FORCE_ENDED):
        what = _("%(company)s ended this session before it began.")
    return SessionPage(
        state="interrupted",
        chip=Chip("cut", _("Ended")),
        headline="",
        happened=what % {"company": visit.company},
        acts=again(visit, _("Choose again")),
        steps=refund_steps(visit),
    )


WHY_NEVER_ON: dict[str, Callable[[Visit], SessionPage]] = {
    Reason.START_FAILED: start_failed,
    Reason.HOLD_EXPIRED: hold_expired,
    Reason.PAYMENT_FAILED: payment_failed,
    Reason.STOPPED_BY_GUEST: cancelled_by_guest,
    Reason.NO_POWER: no_power,
}


# -- the money, from its facts alone


def money_headline(visit: Visit) -> str:
    tab = visit.till
    if tab.back:
        return given_back(visit)
    if tab.captured or (tab.reserved and tab.charge):
        kept = _("You paid %(kept)s") if tab.captured else _("You pay %(kept)s")
        return kept % {"kept": tab.say(tab.kept)}
    return _("You were not charged")


def where_the_money_is(visit: Visit) -> str:
    tab = visit.till
    price = {"price": visit.price}
    if tab.was_reserved and tab.funded_at:
        return _("The %(price)s we had reserved is released. Your bank may show it for a few days more.") % price
    if tab.is_reserved:
        return _("The %(price)s we had reserved is being released.") % price
    if tab.back and tab.returned < tab.back:
        return refund_refused() if is_still_owed(visit) else _("You do not need to do anything.")
    return ""


def refund_steps(visit: Visit, cut: Cut | None = None) -> tuple[Step, ...]:
    """Where a refund is on its way. Empty when none is owed."""
    tab = visit.till
    if not tab.back:
        return ()
    sent = tab.returned >= tab.back
    amount = {"back": tab.say(tab.back)}
    off = [_off_step(visit, cut)] if cut else []
    if is_still_owed(visit):
        owed = {"back": tab.say(tab.back - tab.returned)}
        return (
            *off,
            Step("fail", _("%(back)s did not reach your bank") % owed),
            Step("now", _("%(company)s sees to it") % {"company": visit.company}),
        )
    return (
        *off,
        Step("done", _("%(back)s sent to your bank") % amount)
        if sent
        else Step("now", _("Sending %(back)s to your bank") % amount),
        Step("now" if sent else "todo", _("On your account, usually in 5 to 10 days")),
    )


def _off_step(visit: Visit, cut: Cut) -> Step:
    """Off, or only told to go off: what nobody read is not called done."""
    said = _("%(device)s told to switch off") if is_off_by_timer_alone(visit) else _("%(device)s off")
    return Step("fail" if cut.broke else "done", said % {"device": visit.name}, visit.at(visit.off_at, seconds=True))


def see_receipt(visit: Visit) -> Act:
    return Act(_("See your receipt"), visit.url("receipt"))


def again(visit: Visit, button: str) -> tuple[Act, ...]:
    return (Act(button, visit.device_url),) if visit.device_url else ()
