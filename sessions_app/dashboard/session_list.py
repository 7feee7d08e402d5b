"""The list of sessions: what it can be narrowed by, what finds one, and its CSV."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from html import escape
from typing import Any
from uuid import UUID

from django.db.models import Exists, OuterRef, Prefetch, Q
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.text import capfirst
from django.views.decorators.http import require_safe

from devices.models import Device, UsagePlan
from hygate import clock
from hygate.models import Alert
from hygate.roles import staff_only
from hygate.secrets import SecretUnreadable, unseal
from sessions_app import money
from sessions_app.dashboard import drawn, frame, lists, looks
from sessions_app.dashboard.lists import Choice, Choices, Column, Listing, between
from sessions_app.dashboard.looks import MONEY_TONES
from sessions_app.dashboard.spelling import amount, at
from sessions_app.guest.labels import canonical
from sessions_app.models import DeviceSession, Payment, Receipt
from sessions_app.states import ACTIVE, PaymentStatus, Purpose, Reason, State

HERE = "sessions"
LINK_END = re.compile(r"[A-Za-z0-9_-]{6}")
LINK_COLUMN = "sessions_app.devicesession.token"
LINKS_READ = 1000
"""How many of the newest sessions are asked for the end of their link: it is stored encrypted, so each is opened."""

ORDER_COLUMNS = ("purpose", "status", "amount_minor", "currency")
COLUMNS = (
    *("reference", "reason", "created_at", "plan_name", *looks.SESSION_COLUMNS),
    *(f"device__{column}" for column in ("name", "online", "output", "reading_at")),
    *("device__location__name", "device__location__timezone"),
)
"""What a line of the page shows; the file has more."""


@dataclass(frozen=True)
class Row:
    session: DeviceSession
    look: looks.Look
    order: Payment | None


def is_in(state: str) -> Q:
    return Q(state__in=ACTIVE) if state == "active" else Q(state=state)


def plans() -> Choices:
    return [(name, name) for name in UsagePlan.objects.order_by("name").values_list("name", flat=True).distinct()]


def is_paid(status: str) -> Q:
    return Q(Exists(Payment.objects.filter(session=OuterRef("pk"), status=status)))


def has_alert(which: str) -> Q:
    alerts = Alert.objects.filter(session=OuterRef("pk"))
    return Q(Exists(alerts.filter(closed_at__isnull=True) if which == "open" else alerts))


def finds(text: str) -> Q:
    """By what names a session, what Stripe calls its payment, or the end of the guest's link."""
    payments = Payment.objects.filter(Q(intent_id=text) | Q(checkout_id=text))
    where = named(text) | Q(pk__in=payments.values("session"))
    return where | Q(pk__in=with_link_end(text)) if LINK_END.fullmatch(text) else where


def named(text: str) -> Q:
    """By reference, receipt, device, or the code on its label (references and receipts know capitals only).

    Each is looked up by itself: joined, every session would be compared with all of them.
    """
    devices = Device.objects.filter(Q(name__icontains=text) | Q(codes__code=canonical(text)))
    receipts = Receipt.objects.filter(number__contains=text.upper())
    where = Q(reference__contains=text.upper()) | Q(device__in=devices.values("pk"))
    return where | Q(pk__in=receipts.values("session"))


def with_link_end(text: str) -> list[int]:
    """Sessions among the newest whose guest's link ends in ``text``. Nothing of a link is stored in clear for this."""
    rows = DeviceSession.objects.order_by("-pk").values_list("pk", "secret_id", "token")[:LINKS_READ]
    return [pk for pk, row, token in rows if _link(token, row).endswith(text)]


def _link(token: Any, row: UUID) -> str:
    """Empty where its key is gone: such a link opens nothing, and must not stand in the way of the others."""
    try:
        return unseal(token, column=LINK_COLUMN, row=row) if token else ""
    except SecretUnreadable:
        return ""


LISTING = Listing(
    name="sessions",
    row=lambda row: _cells(row),  # noqa: PLW0108 - it stands further down
    columns=(
        Column("Device", order="device__name", csv=lambda row: row.device.name),
        Column("Location", csv=lambda row: row.device.location.name, shown=False),
        Column("Session", css="desk", csv=lambda row: row.reference),
        Column("State", csv=lambda row: row.get_state_display()),
        Column("Reason", csv=lambda row: row.get_reason_display() if row.reason else "", shown=False),
        Column("Opened", order="created_at", csv=lambda row: row.created_at),
        Column("Started", csv=lambda row: row.started_at, shown=False),
        Column("Closed", csv=lambda row: row.closed_at, shown=False),
        Column("Plan", order="plan_name", css="desk", csv=lambda row: row.plan_name),
        Column("Seconds bought", csv=lambda row: row.duration_s, shown=False),
        Column("Seconds delivered", csv=lambda row: row.delivered_s, shown=False),
        Column("Price", css="end", csv=lambda row: _price(row)),  # noqa: PLW0108 - it stands further down
        Column("Captured", csv=lambda row: _sum(row, "captured_minor"), shown=False),
        Column("Refunded", csv=lambda row: _sum(row, "refunded_minor"), shown=False),
        Column("Currency", csv=lambda row: currency_of(row).upper(), shown=False),
        Column("Payment", css="desk", csv=lambda row: _status(row)),  # noqa: PLW0108 - it stands further down
    ),
    filters=(
        Choice("state", "State", (("active", "Active"), *State.choices), is_in),
        Choice("reason", "Reason", Reason.choices, lambda reason: Q(reason=reason)),
        Choice("location", "Location", (), lambda pk: Q(device__location=pk)),
        Choice("device", "Device", (), lambda pk: Q(device=pk)),
        Choice("plan", "Plan", plans, lambda name: Q(plan_name=name)),
        Choice("paid", "Payment", PaymentStatus.choices, is_paid),
        Choice("alert", "Alert", (("open", "Has an open alert"), ("any", "Ever had an alert")), has_alert),
        *between("created_at"),
    ),
    find=finds,
    find_says="Session, receipt, device, label code or the link's last six",
    order=("-pk",),
    nothing="No session yet. A session appears here as soon as a guest has chosen a plan.",
    no_match="No session matches. Clear a filter, or search by the last six characters of the guest's link,"
    " a receipt number or a device.",
)


def start_order(session: DeviceSession) -> Payment | None:
    """The session's first order, from what was prefetched."""
    return next((order for order in session.payments.all() if order.purpose == Purpose.START), None)


def _status(session: DeviceSession) -> str:
    order = start_order(session)
    return order.get_status_display() if order is not None else ""


def currency_of(session: DeviceSession) -> str:
    order = start_order(session)
    return order.currency if order is not None else session.device.location.currency


def _price(session: DeviceSession) -> Decimal:
    """Of the start, and of the extensions that were paid: one that was let go was never bought."""
    bought = (one for one in session.payments.all() if one.purpose == Purpose.START or one.captured_minor)
    return money.major(sum(one.amount_minor for one in bought), currency_of(session))


def _sum(session: DeviceSession, column: str) -> Decimal:
    """Over the start and every extension, in whole units of the currency."""
    return money.major(sum(getattr(order, column) for order in session.payments.all()), currency_of(session))


def told(rows: Sequence[DeviceSession]) -> Iterator[Row]:
    now = clock.now()
    return (Row(row, looks.of_session(row, now), start_order(row)) for row in rows)


def _cells(row: Row) -> str:
    one, look, order = row.session, row.look, row.order
    device, place = one.device, one.device.location
    state = drawn.tag(look.tone, "Interrupted" if look.tone == "stop" else capfirst(look.word))
    reason = drawn.small(one.get_reason_display() if one.reason else "", "soft small desk")
    paid = drawn.tag(MONEY_TONES[PaymentStatus(order.status)], order.get_status_display()) if order else ""
    price = escape(amount(order.amount_minor, order.currency)) if order else ""
    return (
        f'<td><a class="whole" href="{drawn.url("session", one.pk)}">{escape(device.name)}</a>'
        f'{drawn.small(place.name)}</td><td class="mono desk">{escape(one.reference)}</td>'
        f'<td class="pr">{state}{reason}</td>'
        f'<td class="num soft">{escape(at(one.created_at, place.timezone, clock.now()))}</td>'
        f'<td class="desk">{escape(one.plan_name)}</td><td class="end num pr">{price}</td><td class="desk">{paid}</td>'
    )


@require_safe
@staff_only
def sessions(request: HttpRequest) -> HttpResponseBase:
    rows = DeviceSession.objects.select_related("device__location").prefetch_related("payments")
    found = lists.found(request, LISTING, places=lists.places(), rows=rows.defer("token", "device__account"))
    if found.as_csv:
        return found.csv()
    orders = Prefetch("payments", Payment.objects.only("session", *ORDER_COLUMNS))
    found.rows = found.rows.prefetch_related(None).prefetch_related(orders).only(*COLUMNS)
    return frame.page(request, "sessions.html", found.context(told), here=HERE)
