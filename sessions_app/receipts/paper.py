"""A receipt in words: the same rows for the page, the PDF and the mail."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from django.utils.formats import date_format
from django.utils.translation import gettext as _

from sessions_app.guest import words
from sessions_app.guest.shapes import Line
from sessions_app.guest.visit import Visit
from sessions_app.models import Payment, Receipt, Refund
from sessions_app.receipts.lines import Bill, Item, Return, VatShare, is_due, lines_of
from sessions_app.receipts.services import number
from sessions_app.states import Purpose

DAY = "j F Y"
"""12 May 2027: Django's own English form begins with the month, which half of the English readers do not."""
ENDING = re.compile(r"(.+) ending (\w{2,6})")


@dataclass(frozen=True)
class Row:
    """``look`` is sum or soft, or nothing."""

    what: str
    amount: str
    under: str = ""
    look: str = ""


@dataclass(frozen=True)
class Paper:
    """``groups`` are what was bought, what it comes to, and how it was paid."""

    number: str
    dated: str
    money: Line
    groups: tuple[tuple[Row, ...], ...]
    seller: tuple[str, ...]
    company: str
    timezone: str

    @property
    def zone(self) -> str:
        return words.zone(self.timezone)


def paper_of(visit: Visit) -> Paper | None:
    """The receipt of a session that is over and took money, numbered now if it was not yet; None for any other."""
    orders = list(Payment.objects.filter(session=visit.session).defer("checkout_params").order_by("pk"))
    if not is_due(visit.session, orders):
        return None
    refunds = list(Refund.objects.filter(payment__in=orders))
    return written(visit, number(visit.session, visit.now), lines_of(visit.session, orders, refunds))


def written(visit: Visit, receipt: Receipt, bill: Bill) -> Paper:
    there = receipt.issued_at.astimezone(ZoneInfo(visit.timezone))
    return Paper(
        number=receipt.number,
        dated=f"{day_of(there)}, {words.at(receipt.issued_at, visit.timezone)}",
        money=_money(bill),
        groups=(
            tuple(row for item in bill.items for row in _rows_of(item, bill.currency, visit, receipt)),
            (Row(_("Total"), words.money(bill.total_minor, bill.currency), look="sum"), *_vat(bill)),
            _paid(bill),
        ),
        seller=_seller(receipt, visit),
        company=visit.company,
        timezone=visit.timezone,
    )


def day_of(there: datetime) -> str:
    """12 May 2027, as the language has it; Italian writes its months small, which Django's own form does not."""
    said = date_format(there, DAY if words.language() == "en" else "DATE_FORMAT")
    return said.lower() if words.language() == "it" else said


def _money(bill: Bill) -> Line:
    paid = _("You paid %(amount)s.") % {"amount": words.money(bill.total_minor, bill.currency)}
    facts = {
        "charged": words.money(bill.charged_minor, bill.currency),
        "back": words.money(bill.returned_minor, bill.currency),
    }
    if not bill.returns:
        return Line(paid, _("Nothing more will be charged."))
    if all(back.done for back in bill.returns):
        return Line(paid, _("%(charged)s charged, %(back)s sent back.") % facts)
    if any(back.owed for back in bill.returns):
        owed = sum(back.amount_minor for back in bill.returns if back.owed)
        said = {**facts, "owed": words.money(owed, bill.currency)}
        return Line(paid, _("%(charged)s charged. We still owe you %(owed)s.") % said)
    return Line(paid, _("%(charged)s charged, %(back)s on its way back to you.") % facts)


def _rows_of(item: Item, currency: str, visit: Visit, receipt: Receipt) -> list[Row]:
    name = words.programme(item.plan_name, item.duration_s)
    what = _("Extension: %(programme)s") % {"programme": name} if item.purpose == Purpose.EXTENSION else name
    where = ", ".join(filter(None, (visit.name, visit.device.place)))
    rows = [Row(what, words.money(item.price_minor, currency), where)]
    if item.undelivered_minor:
        missing = _("%(time)s not delivered") % {"time": words.span(item.undelivered_s)}
        rows.append(Row(missing, minus(item.undelivered_minor, currency), _on_and_off(visit, receipt)))
    if item.given_back_minor:
        rows.append(Row(_("Given back"), minus(item.given_back_minor, currency)))
    return rows


def _on_and_off(visit: Visit, receipt: Receipt) -> str:
    session = visit.session
    if session.started_at is None:
        return _("It was never on.")
    off_at = visit.off_at or session.started_at
    at = {
        "on": words.at(session.started_at, visit.timezone, receipt.issued_at, seconds=True),
        "off": words.at(off_at, visit.timezone, receipt.issued_at, seconds=True),
    }
    return _("On %(on)s, off %(off)s") % at


def _vat(bill: Bill) -> list[Row]:
    """Net and VAT of each rate; nothing where no VAT is in the price."""
    if not any(share.rate_bp for share in bill.vat):
        return []
    rows = []
    for share in bill.vat:
        rate = {"rate": percent(share)}
        net = _("Net") if len(bill.vat) == 1 else _("Net at %(rate)s") % rate
        rows.append(Row(net, words.money(share.net_minor, bill.currency), look="soft"))
        rows.append(Row(_("VAT %(rate)s") % rate, words.money(share.vat_minor, bill.currency), look="soft"))
    return rows


def percent(share: VatShare) -> str:
    """2000 is 20%, 550 is 5.5%; with the decimal sign of the language."""
    decimals = 0 if share.rate_bp % 100 == 0 else 1 if share.rate_bp % 10 == 0 else 2
    return _("%(number)s%%") % {"number": words.number(Decimal(share.rate_bp) / 100, decimals)}


def _paid(bill: Bill) -> tuple[Row, ...]:
    charged = [Row(method(one.method), words.money(one.amount_minor, bill.currency)) for one in bill.charges]
    back = [Row(_way(one), minus(one.amount_minor, bill.currency)) for one in bill.returns]
    return (*charged, *back)


def _way(back: Return) -> str:
    if back.owed:
        return _("Refund, still owed to you")
    return _("Refund, sent") if back.done else _("Refund, on its way")


def method(detail: str) -> str:
    """ "Visa ending 4242", as it is stored, in the reader's language."""
    found = ENDING.fullmatch(detail)
    if found is None:
        return detail or _("Paid online")
    return _("%(method)s ending %(digits)s") % {"method": found[1], "digits": found[2]}


def minus(minor: int, currency: str) -> str:
    return f"\u2212{words.money(minor, currency)}"


def _seller(receipt: Receipt, visit: Visit) -> tuple[str, ...]:
    seller = receipt.seller
    name = ", ".join(filter(None, (seller.get("name", ""), seller.get("address", ""))))
    vat = _("VAT no. %(number)s") % {"number": seller["vat_number"]} if seller.get("vat_number") else ""
    session = _("Session %(reference)s") % {"reference": visit.session.reference}
    return tuple(filter(None, (name, vat, seller.get("contact", ""), session)))
