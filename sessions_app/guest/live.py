"""The pages of a session that is not over: paying, getting ready, switching on, running, switching off.

Every one says what is with the money before it says anything else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from devices.energy.headroom import place_in_queue
from hygate import clock_watch
from sessions_app.guest import extra_time, power, words
from sessions_app.guest.bringing_back import bringing_back
from sessions_app.guest.sentences import (
    before_power,
    given_back,
    programme_facts,
    reference,
    reserved_or_paid,
    settled,
    share_bar,
    stop_gives_back,
    stop_here,
    while_on,
)
from sessions_app.guest.shapes import Act, Chip, Fact, Line, Ring, SessionPage, Step, countdown_ring
from sessions_app.guest.visit import Visit
from sessions_app.states import State

SOON = timedelta(seconds=10)
"""So close to its end, a page asks every other second."""


def held(visit: Visit) -> SessionPage:
    if not visit.can_be_paid:
        return letting_go(visit)
    if not visit.till.checkout_url:
        return no_payment_page(visit)
    return SessionPage(
        state="held",
        chip=Chip("card", _("Checking")),
        money=Line(
            _("You cannot be charged twice."),
            _("%(device)s is kept for you until %(time)s.")
            % {"device": visit.name, "time": visit.at(visit.session.hold_expires_at)},
        ),
        headline=_("Checking your payment"),
        ring=Ring(look="spin", icon="card", clock="", under=visit.price),
        say=_("This takes a few seconds."),
        text=_(
            "The page moves on by itself. You may close it: the same link, or the label on the machine, brings you"
            " back here."
        ),
        status=_("Checking your payment. The page moves on by itself."),
        acts=(
            Act(_("Not paid yet? Continue to pay %(price)s") % {"price": visit.price}, visit.till.checkout_url, "line"),
            Act(_("Cancel and pay nothing"), visit.url("cancel"), "text", post=True),
        ),
        facts=(*programme_facts(visit), reference(visit)),
        pace="fast",
    )


def letting_go(visit: Visit) -> SessionPage:
    """Called off or run out; the slot is free as soon as Stripe confirms that nothing can be paid any more."""
    by_guest = bool(visit.session.reason)
    return SessionPage(
        state="stopped",
        chip=Chip("cut", _("Cancelled")) if by_guest else Chip("clock", _("Hold ran out")),
        answer=_("If a payment came in the last moment, it is given back whole.")
        if by_guest
        else _("The time to pay is over. If a payment came in the last moment, it shows here."),
        headline=_("Cancelled. You pay nothing.") if by_guest else _("You were not charged"),
        text=_("We close the payment page; then %(device)s is free again. That takes a moment.")
        % {"device": visit.name},
        facts=(reference(visit),),
        status=_("Cancelled. You pay nothing.") if by_guest else _("The time to pay is over."),
        pace="fast",
    )


def no_payment_page(visit: Visit) -> SessionPage:
    return SessionPage(
        state="no_payment_page",
        chip=Chip("card", _("Not paid yet")),
        answer=_("The payment page does not answer. %(device)s is kept for you until %(time)s.")
        % {"device": visit.name, "time": visit.at(visit.session.hold_expires_at)},
        headline=_("Nothing was charged"),
        acts=(
            Act(_("Try again"), visit.url("pay"), post=True),
            Act(_("Cancel and pay nothing"), visit.url("cancel"), "text", post=True),
        ),
        facts=(*programme_facts(visit), reference(visit)),
        status=_("The payment page does not answer. Nothing was charged."),
    )


def grace(visit: Visit) -> SessionPage:
    session = visit.session
    ends_at = session.grace_ends_at or visit.now
    time = visit.at(ends_at)
    return SessionPage(
        state="grace",
        chip=Chip(visit.kind.ready.icon, str(visit.kind.ready.chip)),
        money=before_power(visit, _("You pay once %(device)s is confirmed on.") % {"device": visit.name}),
        headline=_("Power comes at %(time)s") % {"time": time},
        ring=countdown_ring(
            icon="clock",
            under=str(visit.kind.ready.under_clock),
            ends_at=ends_at,
            total=timedelta(seconds=session.grace_s),
            now=visit.now,
        ),
        acts=(
            Act(_("Start now"), visit.url("start"), icon="bolt", post=True),
            Act(_("Cancel and pay nothing"), visit.url("cancel"), "text", post=True),
        ),
        note=Line("", str(visit.kind.ready.no_need_to_wait), visit.kind.ready.icon),
        facts=(*programme_facts(visit), reference(visit)),
        status=_("Power comes at %(time)s. You can start now.") % {"time": time},
        offline=_("%(device)s does not need your phone. Power comes at %(time)s.")
        % {"device": visit.name, "time": time},
        pace="fast" if ends_at - visit.now <= SOON else "calm",
    )


def waiting_for_power(visit: Visit) -> SessionPage:
    if clock_watch.stops_starts():
        return waiting_for_the_clock(visit)
    return _waiting(
        visit,
        chip=Chip("nobolt", _("Waiting for power")),
        why=_(
            "Sun, battery and grid cannot carry %(device)s right now. It goes on as soon as they can. Leave everything"
            " as it is; you can close this page."
        ),
        too_late=_("No power by %(time)s? Then we cancel, and you pay nothing."),
        place=_place(visit),
        status=_("Waiting for power. It starts by itself."),
    )


def waiting_for_the_clock(visit: Visit) -> SessionPage:
    """Paid, and not started because our clock is known to be wrong: the same wait, whatever power there is."""
    return _waiting(
        visit,
        chip=Chip("clock", _("Waiting to start")),
        why=_(
            "Our clock has to be right before we start %(device)s, so that you get every minute. The people here have"
            " been told. Leave everything as it is; you can close this page."
        ),
        too_late=_("Not on by %(time)s? Then we cancel, and you pay nothing."),
        status=_("Waiting for our clock. It starts by itself."),
    )


def _waiting(
    visit: Visit, *, chip: Chip, why: str, too_late: str, status: str, place: tuple[Fact, ...] = ()
) -> SessionPage:
    """Paid, and on hold before the start: what is waited for, and until when at the longest."""
    latest = visit.at(visit.session.power_wait_ends_at)
    return SessionPage(
        state="waiting_for_power",
        chip=chip,
        money=before_power(visit, _("You pay once %(device)s is confirmed on.") % {"device": visit.name}),
        headline=_("It starts by itself"),
        text=why % {"device": visit.name},
        acts=(Act(_("Stop waiting, pay nothing"), visit.url("cancel"), "line", post=True),),
        note=Line("", too_late % {"time": latest}) if latest else None,
        facts=(*place, *programme_facts(visit), reference(visit)),
        status=status,
    )


def _place(visit: Visit) -> tuple[Fact, ...]:
    """Where the session stands in its Location's queue for power; nothing when it has just left it."""
    place = place_in_queue(visit.session.pk)
    if place is None:
        return ()
    before = place - 1
    said = ngettext("%(count)s is before you", "%(count)s are before you", before) % {"count": before}
    return (Fact(_("Queue"), said if before else _("You are next")),)


def starting(visit: Visit) -> SessionPage:
    funded = Step("done", reserved_or_paid(visit), visit.at(visit.till.funded_at))
    told = visit.on_sent_at is not None
    return SessionPage(
        state="starting",
        chip=Chip("clock", _("Switching on")),
        money=before_power(visit, _("Still true until %(device)s answers.") % {"device": visit.name}),
        headline=_("%(device)s is switching on") % {"device": visit.name},
        ring=Ring(
            look="spin",
            icon="bolt",
            clock=words.countdown(visit.session.duration_s),
            under=_("not started yet"),
        ),
        steps=(
            funded,
            Step(
                "done" if told else "now",
                _("%(device)s told to switch on") % {"device": visit.name}
                if told
                else _("Telling %(device)s to switch on") % {"device": visit.name},
                visit.at(visit.on_sent_at, seconds=True),
            ),
            Step("now" if told else "todo", _("Waiting for %(device)s to confirm") % {"device": visit.name}),
            Step("todo", _("Your %(time)s begin") % {"time": visit.bought}),
        ),
        text=_("Usually 2 to 5 seconds. If there is no answer we ask again. If it stays silent, you pay nothing."),
        facts=(reference(visit),),
        status=_("Switching on. Your time has not started."),
        pace="fast",
    )


def running(visit: Visit) -> SessionPage:
    session, device = visit.session, visit.device
    if session.paused_at is not None:
        return bringing_back(visit)
    if not device.online and device.seen_at is not None:
        return unreachable(visit)
    ends_at = session.ends_at or visit.now
    time = visit.at(ends_at)
    return SessionPage(
        state="running",
        chip=Chip("bolt", _("Power on")),
        money=while_on(visit),
        headline=_("On until %(time)s") % {"time": time},
        ring=countdown_ring(
            icon="bolt",
            under=_("left"),
            ends_at=ends_at,
            total=timedelta(seconds=session.duration_s),
            now=visit.now,
        ),
        acts=(*extra_time.acts(visit), Act(_("Stop early"), visit.url("stop"), "line", "stop")),
        note=extra_time.note(visit),
        facts=(
            *power.now_and_used(visit),
            Fact(_("Confirmed on"), visit.at(session.started_at, seconds=True)),
            *programme_facts(visit)[:1],
            *extra_time.facts(visit),
            reference(visit),
        ),
        status=_("Power is on until %(time)s.") % {"time": time},
        offline=_("%(device)s does not need your phone. It has its own timer and ends at %(time)s.")
        % {"device": visit.name, "time": time},
        pace=_pace_while_on(visit, ends_at),
    )


def _pace_while_on(visit: Visit, ends_at: datetime) -> str:
    """Fast near the end and while extra minutes are being settled; slow until the money of the start is taken."""
    if ends_at - visit.now <= SOON or extra_time.is_looked_up(visit) or (visit.till.captured and visit.till.reserved):
        return "fast"
    return "slow" if visit.till.reserved else "calm"


def unreachable(visit: Visit) -> SessionPage:
    """Running, as far as anybody knows: the relay stopped answering."""
    session = visit.session
    seen, ends = visit.at(visit.device.seen_at), visit.at(session.ends_at)
    answer = _("Whatever we cannot confirm comes back to you without asking.")
    return SessionPage(
        state="unreachable",
        chip=Chip("reach", _("Out of reach")),
        headline=_("You pay only for confirmed minutes"),
        answer=f"{given_back(visit)}. {answer}" if visit.till.back else answer,
        happened=_(
            "%(device)s was on at %(seen)s and has not answered since. If it still runs, all is well: its own timer"
            " ends it at %(ends)s. There is nothing to do; we keep asking."
        )
        % {"device": visit.name, "seen": seen, "ends": ends},
        acts=(Act(_("Stop early"), visit.url("stop"), "line", "stop"),),
        facts=(
            Fact(_("Last seen"), visit.at(visit.device.seen_at, seconds=True)),
            Fact(_("Ends at"), ends),
            Fact(_("Paid"), visit.price),
            reference(visit),
        ),
        status=_("%(device)s is out of reach. You pay only for confirmed minutes.") % {"device": visit.name},
    )


def paused(visit: Visit) -> SessionPage:
    session = visit.session
    left_s = session.duration_s - visit.delivered_s
    left = words.span(left_s)
    since, latest = visit.at(session.paused_at), visit.at(session.pause_ends_at)
    return SessionPage(
        state="paused",
        chip=Chip("pause", _("Power hold")),
        money=Line(_("Standing still costs nothing."), while_on(visit).first + " " + while_on(visit).rest),
        headline=_("Your %(time)s are safe") % {"time": left},
        ring=Ring(
            look="still",
            icon="pause",
            clock=words.countdown(left_s),
            under=_("standing still"),
            percent=100 * left_s / session.duration_s,
        ),
        say=_("It goes on by itself."),
        text=_(
            "Since %(time)s the site uses all that sun, battery and grid can give. Your %(left)s run on from where"
            " they stopped."
        )
        % {"time": since, "left": left},
        acts=(stop_here(visit),),
        note=Line(
            "",
            _("No power by %(time)s? Then your session ends, and what you did not use comes back without asking.")
            % {"time": latest},
        )
        if latest
        else None,
        facts=(
            Fact(
                _("Delivered"), _("%(used)s of %(all)s") % {"used": words.span(visit.delivered_s), "all": visit.bought}
            ),
            Fact(_("Standing still since"), since),
            reference(visit),
        ),
        status=_("Power hold. Your %(time)s are safe.") % {"time": left},
    )


def stopping(visit: Visit) -> SessionPage:
    """The time is over, the money is settled, and the relay has not confirmed OFF yet."""
    session = visit.session
    to_its_end = session.reason == "" and visit.delivered_s >= session.duration_s
    told = visit.off_sent_at is not None
    return SessionPage(
        state="stopping",
        chip=Chip("clock", _("Switching off")),
        money=settled(visit),
        headline=_("Time is up") if to_its_end else _("%(device)s is switching off") % {"device": visit.name},
        ring=Ring(look="spin", icon="", clock="0:00", under=_("waiting for OFF")),
        steps=(
            Step(
                "done",
                _("%(time)s delivered") % {"time": words.span(visit.delivered_s)},
                visit.at(session.off_requested_at, seconds=True),
            ),
            Step(
                "done" if told else "now",
                _("%(device)s told to switch off") % {"device": visit.name}
                if told
                else _("Telling %(device)s to switch off") % {"device": visit.name},
                visit.at(visit.off_sent_at, seconds=True),
            ),
            Step("now" if told else "todo", _("Waiting for %(device)s to confirm") % {"device": visit.name}),
        ),
        text=_(
            "Usually a few seconds. %(device)s also has its own timer, so it goes off even if it does not answer us."
        )
        % {"device": visit.name},
        facts=(reference(visit),),
        status=_("Waiting for %(device)s to confirm that it is off.") % {"device": visit.name},
        pace="fast",
    )


def stop_question(visit: Visit) -> SessionPage:
    """Asked before anything is stopped: what comes back if it is."""
    session, tab = visit.session, visit.till
    back, used_s = stop_gives_back(visit), visit.delivered_s
    left = words.span(session.duration_s - used_s)
    left_of = _("%(left)s of your %(all)s are left.") % {"left": left, "all": visit.bought}
    if tab.back:
        left_of = f"{given_back(visit)}. {left_of}"
    amount = {"back": tab.say(back)}
    page = SessionPage(
        state="running" if session.state == State.RUNNING else "paused",
        chip=Chip("bolt", _("Power on")) if session.state == State.RUNNING else Chip("pause", _("Power hold")),
        headline=_("You get %(back)s back if you stop now") % amount,
        answer=left_of,
        bar=None if tab.back else share_bar(visit, used_s, tab.price - back, back),
        warning=str(visit.kind.when_cut),
        acts=(
            Act(_("Stop now, get %(back)s back") % amount, visit.url("stop"), "stop", "stop", post=True),
            Act(_("Keep it running"), visit.url(), "line"),
        ),
        under_acts=_("The amount is counted when you tap, in your favour. It reaches your account in 5 to 10 days."),
        title=_("Stop early?"),
    )
    if back:
        return page
    keeps_price = not session.refund_unused and not tab.back
    return replace(
        page,
        headline=_("Nothing comes back if you stop now"),
        answer=_("This plan keeps its price. %(left)s") % {"left": left_of} if keeps_price else left_of,
        bar=None,
        acts=(Act(_("Stop now"), visit.url("stop"), "stop", "stop", post=True), page.acts[1]),
        under_acts="",
    )


PAGES: dict[str, Callable[[Visit], SessionPage]] = {
    State.HELD: held,
    State.GRACE: grace,
    State.WAITING_FOR_POWER: waiting_for_power,
    State.STARTING: starting,
    State.RUNNING: running,
    State.PAUSED: paused,
    State.STOPPING: stopping,
}
