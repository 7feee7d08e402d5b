"""What the mails say: plain text, the money first, one link. Called inside the guest's language."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.utils.translation import gettext as _

from sessions_app.guest import pages, visit, words
from sessions_app.mail.models import GuestMail, MailKind
from sessions_app.receipts import pdf
from sessions_app.receipts.paper import paper_of

File = tuple[str, bytes, str]


@dataclass(frozen=True)
class Text:
    """``files`` are name, content and media type."""

    subject: str
    body: str
    files: tuple[File, ...] = ()


def of(mail: GuestMail, now: datetime) -> Text | None:
    """The words of ``mail``; None where what it was to tell of is not there."""
    if mail.kind == MailKind.TURN:
        return _turn(mail, now)
    found = visit.find(mail.session.token, now=now) if mail.session is not None else None
    if found is None:
        return None
    return _receipt(found) if mail.kind == MailKind.RECEIPT else _done(found)


def _receipt(found: visit.Visit) -> Text | None:
    paper = paper_of(found)
    if paper is None:
        return None
    body = _lines(
        f"{paper.money.first} {paper.money.rest}",
        _("Your receipt for %(device)s is attached. It also stays under your link:") % {"device": found.name},
        f"{_link(found)}receipt/",
    )
    file = (f"{paper.number}.pdf", pdf.printed(paper), "application/pdf")
    return Text(_("Receipt %(number)s") % {"number": paper.number}, body, (file,))


def _done(found: visit.Visit) -> Text:
    """What the session's own page says first: how it ended, and what is with the money."""
    page, money = pages.session_page(found), pages.money_line(found)
    headline = page.headline if page.headline.endswith(".") else f"{page.headline}."
    body = _lines(
        f"{money.first} {money.rest}".strip(),
        f"{found.name}: {headline}" if page.money else page.happened,
        _("Receipt and all details are under your link:"),
        _link(found),
    )
    return Text(_("%(device)s: your session is over") % {"device": found.name}, body)


def _turn(mail: GuestMail, now: datetime) -> Text | None:
    entry = mail.entry
    if entry is None or entry.offer_ends_at is None:
        return None
    device = entry.device
    facts = {"device": device.name, "time": words.at(entry.offer_ends_at, device.location.timezone, now)}
    body = _lines(
        _("Nothing is charged yet. %(device)s is kept for you until %(time)s.") % facts,
        _("Choose a programme here:"),
        f"{settings.BASE_URL}/line/{entry.token}/",
    )
    return Text(_("It is your turn: %(device)s") % facts, body)


def _link(found: visit.Visit) -> str:
    return f"{settings.BASE_URL}{found.url()}"


def _lines(*paragraphs: str) -> str:
    told = [*filter(None, paragraphs), _("You get this one message because you asked for it. Your address is deleted.")]
    return "\n\n".join(told).replace("\u00a0", " ") + "\n"
