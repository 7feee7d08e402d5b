"""The pages of a report: the causes to tap on, and what became of it. The money stands first on both."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from django.utils.translation import gettext as _

from sessions_app.guest import words
from sessions_app.guest.pages import complete, money_line
from sessions_app.guest.shapes import Act, Chip, SessionPage, Step
from sessions_app.guest.visit import Visit
from sessions_app.models import ProblemReport
from sessions_app.problems.models import Cause
from sessions_app.problems.services import ABOUT_A_SESSION


@dataclass(frozen=True)
class Choice:
    """One cause. ``told`` is the reference of an open report that says so already."""

    cause: str
    words: str
    under: str
    icon: str
    told: str = ""


def choices(visit: Visit, open_reports: dict[str, str]) -> list[Choice]:
    """``open_reports``: cause → reference."""
    told = {
        Cause.NO_POWER: (
            _("It has no power"),
            _("The page says on, %(device)s is dark") % {"device": visit.name},
            "nobolt",
        ),
        Cause.TOO_EARLY: (_("It stopped too early"), _("Power went away before the end"), "clock"),
        Cause.MACHINE: (_("The machine itself is faulty"), _("It leaks, is stuck or makes a noise"), "wrench"),
        Cause.AMOUNT: (_("The amount is wrong"), _("Charge, refund or receipt"), "card"),
        Cause.OTHER: (
            _("Something else"),
            _("%(company)s will have a look") % {"company": visit.company},
            "dots",
        ),
    }
    return [Choice(cause, *told[cause], told=open_reports.get(cause, "")) for cause in ABOUT_A_SESSION]


def ask(visit: Visit) -> SessionPage:
    page = SessionPage(
        state="report",
        chip=Chip("flag", _("Report")),
        money=money_line(visit),
        headline=_("What went wrong?"),
        pace="never",
    )
    return complete(visit, page)


def too_often(visit: Visit, wait_s: int) -> SessionPage:
    """Many reports came from one address: the next has to wait. What is with the money is said all the same."""
    page = SessionPage(
        state="report",
        chip=Chip("clock", _("Please wait")),
        money=money_line(visit),
        headline=_("Too many reports"),
        text=_(
            "Many problems were reported from your network just now. Tell the people on the spot, please, or try again"
            " in about %(wait)s."
        )
        % {"wait": words.about(timedelta(seconds=wait_s))},
        acts=(Act(_("Back to my session"), visit.url()),),
        pace="never",
    )
    return complete(visit, page)


def sent(visit: Visit, report: ProblemReport) -> SessionPage:
    """Kept true by the same script as a session's page: an answer appears by itself."""
    company = {"company": visit.company}
    said = _("%(company)s has answered.") if report.answer else _("Thank you, %(company)s knows")
    page = SessionPage(
        state="report",
        chip=_chip(report),
        money=money_line(visit),
        headline=(said % company).rstrip("."),
        steps=steps(visit, report),
        happened=report.note,
        text=report.answer,
        acts=(Act(_("Back to my session"), visit.url()), Act(_("Report something else"), visit.url("report"), "text")),
        status=said % company,
        title=_("Report %(reference)s") % {"reference": report.reference},
        pace="never" if report.closed_at is not None else "slow",
    )
    return complete(visit, page)


def _chip(report: ProblemReport) -> Chip:
    if report.answered_at is not None:
        return Chip("done", _("Answered"))
    if report.closed_at is not None:
        return Chip("done", _("Closed"))
    return Chip("check", _("Seen") if report.seen_at is not None else _("Report sent"))


def steps(visit: Visit, report: ProblemReport) -> tuple[Step, ...]:
    """Sent, seen, answered: each with its time, or as what comes next. A closed report waits for nothing."""
    said = {choice.cause: choice.words for choice in choices(visit, {})}
    company = {"company": visit.company}
    told = [Step("done", said.get(report.cause, _("Something else")), visit.at(report.created_at))]
    if report.seen_at is not None:
        told.append(Step("done", _("Seen by %(company)s") % company, visit.at(report.seen_at)))
    elif report.closed_at is None:
        told.append(Step("now", _("To be seen by %(company)s") % company))
    if report.answered_at is not None:
        told.append(Step("done", _("Answered"), visit.at(report.answered_at)))
    elif report.closed_at is None:
        told.append(Step("todo", _("Answered")))
    if report.closed_at is not None:
        told.append(Step("done", _("Closed"), visit.at(report.closed_at)))
    return tuple(told)
