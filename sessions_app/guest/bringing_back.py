"""The page while a relay that went off by itself is switched on again: the minutes stand still, and it says so."""

from __future__ import annotations

from django.utils.translation import gettext as _

from sessions_app.guest import words
from sessions_app.guest.sentences import reference, stop_here, while_on
from sessions_app.guest.shapes import Chip, Fact, Line, Ring, SessionPage
from sessions_app.guest.visit import Visit


def bringing_back(visit: Visit) -> SessionPage:
    session = visit.session
    left_s = session.duration_s - visit.delivered_s
    left = words.span(left_s)
    return SessionPage(
        state="paused",
        chip=Chip("nobolt", _("Power went off")),
        money=Line(_("Minutes without power cost nothing."), while_on(visit).first + " " + while_on(visit).rest),
        headline=_("Your %(time)s are safe") % {"time": left},
        ring=Ring(
            look="still",
            icon="nobolt",
            clock=words.countdown(left_s),
            under=_("standing still"),
            percent=100 * left_s / session.duration_s,
        ),
        say=_("We are switching it on again."),
        text=_(
            "%(device)s went off by itself, not by us. Your time stands still until it is on again; if it does not come"
            " back by %(time)s, what you did not get is paid back without asking."
        )
        % {"device": visit.name, "time": visit.at(session.pause_ends_at)},
        acts=(stop_here(visit),),
        facts=(Fact(_("Last seen on"), visit.at(session.paused_at, seconds=True)), reference(visit)),
        status=_("Power went off by itself. We are switching it on again; your time stands still."),
        pace="fast",
    )
