"""What stands at the foot of a session's page: its receipt, the end for a calendar, a mail, a report."""

from __future__ import annotations

from django.utils.translation import gettext as _

from sessions_app.guest.shapes import Act, AddressForm
from sessions_app.guest.visit import Visit
from sessions_app.mail import services as mail
from sessions_app.states import LIVE, State

NOT_YET = (State.HELD, State.GRACE, State.WAITING_FOR_POWER)
"""Nothing was asked of the machine yet: there is nothing to report."""
ON = (State.RUNNING, State.PAUSED)


def links(visit: Visit) -> tuple[Act, ...]:
    found = []
    if has_receipt(visit) and not is_plain_end(visit):
        found.append(Act(_("See your receipt"), visit.url("receipt"), icon="receipt"))
    if has_calendar(visit):
        found.append(Act(_("Add the end to my calendar"), f"{visit.url()}done.ics", icon="calendar"))
    if can_report(visit):
        found.append(_report(visit))
    return tuple(found)


def _report(visit: Visit) -> Act:
    if not visit.report:
        return Act(_("Report a problem"), visit.url("report"), icon="flag")
    said = _("Your report %(reference)s")
    if visit.report_answered:
        said = _("Read the answer to your report %(reference)s")
    return Act(said % {"reference": visit.report}, visit.url(f"report/{visit.report}"), icon="flag")


def ask(visit: Visit) -> AddressForm | None:
    """*Tell me when it is done*, where mail can be sent; once asked for, that it will be."""
    if visit.session.state not in ON or not mail.can_ask():
        return None
    return done_form(visit, said=_("You get an e-mail when it is over.") if visit.told_when_over else "")


def done_form(visit: Visit, *, wrong: str = "", said: str = "") -> AddressForm:
    return AddressForm(
        url=visit.url("tell"),
        label=_("Tell me when it is done"),
        note=_("By e-mail. Used for this one message, then deleted."),
        button=_("Tell me"),
        wrong=wrong,
        said=said,
    )


def has_receipt(visit: Visit) -> bool:
    """The session is over, money was taken, and none is about to be (``receipts.lines.is_due`` asks it of the rows)."""
    return visit.session.state not in LIVE and bool(visit.till.captured) and not visit.till.reserved


def is_plain_end(visit: Visit) -> bool:
    """It ran its time, and all of it may be kept; what staff gives back afterwards does not make it another end.

    The page of such a session offers the receipt as its first button.
    """
    session, tab = visit.session, visit.till
    whole = session.delivered_s is None or session.delivered_s >= session.duration_s
    kept_all = tab.charge is None or tab.charge >= tab.price
    return session.state == State.COMPLETED and (whole or not session.reason) and kept_all


def has_calendar(visit: Visit) -> bool:
    session = visit.session
    return session.state == State.RUNNING and session.paused_at is None and session.ends_at is not None


def can_report(visit: Visit) -> bool:
    return visit.session.state not in NOT_YET
