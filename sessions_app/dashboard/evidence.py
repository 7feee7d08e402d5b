"""Evidence for a dispute, as a PDF for the bank: what was bought, what the relay did, what went back.

Nothing in it opens a session: the guest's link is not even read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from django.db.models import Max, Min
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_safe

from hygate import clock
from hygate.models import AuditEvent, SiteSettings
from hygate.roles import staff_only
from sessions_app.dashboard import power_readings, timeline
from sessions_app.dashboard.lists import in_zone
from sessions_app.dashboard.power_readings import Power
from sessions_app.dashboard.spelling import amount, in_watts, length
from sessions_app.dashboard.timeline import Step
from sessions_app.models import DeviceSession, Payment, Refund
from sessions_app.receipts.paper import Row, minus
from sessions_app.receipts.pdf import SOFT, new_sheet, rule, write_line, write_row

if TYPE_CHECKING:
    from fpdf import FPDF


@dataclass(frozen=True)
class Evidence:
    """``steps`` are the whole session's, oldest first; ``seals`` are the first and last sealed event among them."""

    payment: Payment
    session: DeviceSession
    seller: str
    receipt: str
    orders: Sequence[Payment]
    refunds: Sequence[Refund]
    steps: Sequence[Step]
    power: Power | None
    seals: tuple[int, int] | None
    made_at: datetime

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.session.device.location.timezone)

    def at(self, moment: datetime | None) -> str:
        return f"{in_zone(moment, self.zone)}" if moment is not None else "–"


@require_safe
@staff_only
def evidence(_request: HttpRequest, pk: int) -> HttpResponse:
    payment = get_object_or_404(Payment.objects.defer("checkout_params"), pk=pk)
    headers = {"Content-Disposition": f'attachment; filename="evidence-{payment.ref}.pdf"', "Cache-Control": "no-store"}
    return HttpResponse(printed(collected(payment, clock.now())), content_type="application/pdf", headers=headers)


def collected(payment: Payment, now: datetime) -> Evidence:
    """Everything that is known; a receipt only where the guest was given its number."""
    rows = DeviceSession.objects.select_related("device__location", "receipt").defer("token", "device__account")
    session = rows.get(pk=payment.session_id)
    orders = list(session.payments.defer("checkout_params").order_by("pk"))
    receipt, site = getattr(session, "receipt", None), SiteSettings.current()
    ends = AuditEvent.objects.filter(session=session.pk).aggregate(first=Min("seq"), last=Max("seq"))
    return Evidence(
        payment=payment,
        session=session,
        seller=", ".join(filter(None, (site.legal_name or site.company, site.legal_address, site.vat_number))),
        receipt=receipt.number if receipt is not None else "",
        orders=[one for one in orders if one.captured_minor],
        refunds=list(Refund.objects.filter(payment__in=orders).order_by("pk")),
        steps=timeline.of(session, payment.currency),
        power=power_readings.measured(session, now),
        seals=(ends["first"], ends["last"]) if ends["first"] else None,
        made_at=now,
    )


def printed(found: Evidence) -> bytes:
    pdf = new_sheet(f"Evidence {found.payment.ref}", found.seller)
    write_line(pdf, found.seller, size=11, color=SOFT)
    write_line(pdf, f"Evidence for payment {found.payment.ref}", size=20, strong=True)
    write_line(pdf, f"Made on {found.at(found.made_at)}. All times: {found.zone.key}.", size=10, color=SOFT)
    for heading, rows in (("What was bought", _bought(found)), ("Money", _money(found))):
        _heading(pdf, heading)
        for row in rows:
            write_row(pdf, row)
    _heading(pdf, "What happened")
    for step in found.steps:
        _step(pdf, step, found)
    pdf.ln(4)
    write_line(pdf, _sealed(found.seals), size=9.5, color=SOFT)
    return bytes(pdf.output())


def _heading(pdf: FPDF, words: str) -> None:
    pdf.ln(5)
    write_line(pdf, words, size=13, strong=True)
    rule(pdf)


def _bought(found: Evidence) -> Iterator[Row]:
    session, device, payment = found.session, found.session.device, found.payment
    where = ", ".join(filter(None, (device.place, device.location.name)))
    bought = f"{payment.plan_name}, {length(payment.duration_s)}"
    yield Row(bought, amount(payment.amount_minor, payment.currency), where)
    yield Row("Machine", device.name)
    yield Row("Session", session.reference)
    yield Row("Power confirmed on", "", found.at(session.started_at))
    yield Row("Power to be off", "", found.at(session.off_requested_at or session.closed_at))
    if session.delivered_s is not None:
        yield Row("Delivered", length(session.delivered_s))
    if found.power is not None:
        count = len(found.power.samples)
        said = f"{in_watts(found.power.peak[1])} at most, by {count} reading{'s' if count > 1 else ''}"
        yield Row("Power drawn, on average", in_watts(found.power.average_w), said)


def _money(found: Evidence) -> Iterator[Row]:
    payment, currency = found.payment, found.payment.currency
    for said, value in (("Receipt", found.receipt), ("Stripe payment", payment.intent_id), ("Method", payment.method)):
        if value:
            yield Row(said, "", value)
    for order in found.orders:
        taken = amount(order.captured_minor, order.currency)
        yield Row(f"Charged, {order.method_detail or order.method}", taken, found.at(order.captured_at))
    for refund in found.refunds:
        said = f"Refund, {refund.get_status_display().lower()}"
        yield Row(said, minus(refund.amount_minor, currency), refund.stripe_id or "")


def _step(pdf: FPDF, step: Step, found: Evidence) -> None:
    """One line of the timeline: a relay attempt with its milliseconds on the right."""
    took = "" if step.ms is None else f"{step.ms} ms"
    times = f" ({step.times} times until {found.at(step.last_at)})" if step.times > 1 else ""
    write_row(pdf, Row(f"{found.at(step.at)}  {step.title}{times}", took, step.detail))


def _sealed(seals: tuple[int, int] | None) -> str:
    if seals is None:
        return "Nothing of this is sealed in the audit log yet."
    said = "Written as it happened, in an audit log whose events are sealed one over the other"
    return f"{said}: numbers {seals[0]:,} to {seals[1]:,} of it."
