"""Payments: the list with what it adds up to, what waits to go back, and one payment with everything about it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db.models import Count, Exists, OuterRef, Q, QuerySet, Sum
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_safe

from hygate import clock
from hygate.models import Alert, AuditEvent
from hygate.roles import staff_only
from sessions_app import money
from sessions_app.dashboard import drawn, frame, lists, session_list, timeline
from sessions_app.dashboard.lists import Choice, Column, Listing, between
from sessions_app.dashboard.looks import MONEY_TONES
from sessions_app.dashboard.spelling import amount, at
from sessions_app.models import DeviceSession, Payment, Refund
from sessions_app.payments import giving_back, keyring
from sessions_app.states import PaymentStatus, Purpose, Reason, RefundStatus

HERE = "payments"
REFUND_TONES = {
    RefundStatus.OWED: "hold",
    RefundStatus.REQUESTED: "wait",
    RefundStatus.PENDING: "wait",
    RefundStatus.SUCCEEDED: "ok",
    RefundStatus.FAILED: "stop",
    RefundStatus.COVERED: "idle",
}
WAITING = {RefundStatus.OWED: "owed", RefundStatus.REQUESTED: "requested", RefundStatus.PENDING: "at the bank"}
METHODS_READ = 1000
COLUMNS = (
    *("plan_name", "purpose", "amount_minor", "currency", "created_at", "status", "method", "method_detail"),
    *("captured_minor", "captured_at", "refunded_minor"),
    *("session__device__name", "session__device__location__timezone"),
)
"""What a line of the page shows; the file has more."""
OWED = (RefundStatus.OWED, RefundStatus.REQUESTED)
REFUND_FILTER = (
    ("stuck", "Owed for longer, or failed"),
    ("owed", "Owed"),
    ("pending", "Pending at the bank"),
    ("failed", "Failed"),
    ("succeeded", "Paid back"),
)


@dataclass(frozen=True)
class Total:
    """What the payments of a list add up to in one currency, in minor units; ``count`` of its ``rows`` took money."""

    currency: str
    rows: int
    count: int
    captured_minor: int
    refunded_minor: int

    @property
    def kept_minor(self) -> int:
        return self.captured_minor - self.refunded_minor


@dataclass(frozen=True)
class Line:
    """A payment with what is still to go back of it: tone and words, nothing when every refund has succeeded."""

    payment: Payment
    waits: Sequence[tuple[str, str]]


def has_refund(which: str) -> Q:
    own = Refund.objects.filter(payment=OuterRef("pk"))
    if which == "stuck":
        failed = frame.failed_refunds().values("payment")
        return Q(Exists(frame.late_refunds().filter(payment=OuterRef("pk")))) | Q(pk__in=failed)
    return Q(Exists(own.filter(status__in=OWED) if which == "owed" else own.filter(status=which)))


def methods() -> lists.Choices:
    """How guests paid lately: the newest payments stand for all, or each page would read every one."""
    newest = Payment.objects.order_by("-pk").values("method")[:METHODS_READ]
    return [(method, method) for method in sorted({row["method"] for row in newest} - {""})]


def finds(text: str) -> Q:
    sessions = DeviceSession.objects.filter(session_list.named(text))
    where = Q(session__in=sessions.values("pk")) | Q(ref__iexact=text) | Q(intent_id=text) | Q(checkout_id=text)
    return where | Q(pk__in=Refund.objects.filter(stripe_id=text).values("payment"))


def _major(column: str) -> Any:
    return lambda row: money.major(getattr(row, column), row.currency)


LISTING = Listing(
    name="payments",
    row=lambda row: _cells(row),  # noqa: PLW0108 - it stands further down
    columns=(
        Column("Device", order="session__device__name", csv=lambda row: row.session.device.name),
        Column("Location", csv=lambda row: row.session.device.location.name, shown=False),
        Column("Session", csv=lambda row: row.session.reference, shown=False),
        Column("Order", csv=lambda row: row.ref, shown=False),
        Column("Purpose", csv=lambda row: row.get_purpose_display(), shown=False),
        Column("Plan", csv=lambda row: row.plan_name, shown=False),
        Column("Price", order="amount_minor", css="end", csv=_major("amount_minor")),
        Column("Time", order="at", csv=lambda row: row.at),
        Column("Status", csv=lambda row: row.get_status_display()),
        Column("Method", css="desk", csv=lambda row: row.method_detail or row.method),
        Column("Captured", order="captured_minor", css="end desk", csv=_major("captured_minor")),
        Column("Refunded", order="refunded_minor", css="end desk", csv=_major("refunded_minor")),
        Column("Currency", csv=lambda row: row.currency.upper(), shown=False),
        Column("VAT rate, %", csv=lambda row: row.vat_rate_bp / 100, shown=False),
        Column("Captured at", csv=lambda row: row.captured_at, shown=False),
        Column("Stripe payment", csv=lambda row: row.intent_id, shown=False),
        Column("Stripe checkout", csv=lambda row: row.checkout_id, shown=False),
    ),
    filters=(
        Choice("status", "Status", PaymentStatus.choices, lambda status: Q(status=status)),
        Choice("refund", "Refund", REFUND_FILTER, has_refund),
        Choice("purpose", "Purpose", Purpose.choices, lambda purpose: Q(purpose=purpose)),
        Choice("method", "Method", methods, lambda method: Q(method=method)),
        Choice("location", "Location", (), lambda pk: Q(session__device__location=pk)),
        Choice("device", "Device", (), lambda pk: Q(session__device=pk)),
        *between("at"),
    ),
    find=finds,
    find_says="Session, receipt, device, label code or Stripe's number",
    order=("-pk",),
    nothing="No payment yet. The first one appears a second after a guest has paid.",
    no_match="No payment matches. Clear a filter.",
)


def all_payments() -> QuerySet[Payment]:
    """With ``at``: when the money came, or while none has, when the order was made. Reports count by the same time."""
    rows = Payment.objects.select_related("session__device__location")
    return rows.defer("checkout_params", "session__token").annotate(at=Coalesce("captured_at", "created_at"))


@require_safe
@staff_only
def payments(request: HttpRequest) -> HttpResponseBase:
    found = lists.found(request, LISTING, all_payments(), places=lists.places())
    if found.as_csv:
        return found.csv()
    sums = totals(found.rows)
    found.rows = found.rows.defer(None).only(*COLUMNS)
    context = found.context(told, count=sum(one.rows for one in sums)) | {"totals": sums, "owed": owed()}
    return frame.page(request, "payments.html", context, here=HERE)


def told(rows: Sequence[Payment]) -> Iterator[Line]:
    """The payments of one page; one statement for all of their refunds that somebody may have to look at."""
    failed = Exists(frame.failed_refunds().filter(payment=OuterRef("payment")))
    refunds = Refund.objects.filter(payment__in=[row.pk for row in rows]).annotate(stands=failed)
    waits: dict[int, list[tuple[str, str]]] = defaultdict(list)
    for one in refunds.filter(Q(status__in=WAITING) | Q(status=RefundStatus.FAILED, stands=True)).order_by("pk"):
        status = RefundStatus(one.status)
        waits[one.payment_id].append((REFUND_TONES[status], f"Refund {WAITING.get(status, 'failed')}"))
    return (Line(row, waits.get(row.pk, ())) for row in rows)


def _cells(row: Line) -> str:
    one: Any = row.payment  # with ``at``
    tone, zone = MONEY_TONES[PaymentStatus(one.status)], one.session.device.location.timezone
    bought = f"{one.plan_name}, extension" if one.purpose == Purpose.EXTENSION else one.plan_name
    states = " ".join(drawn.tag(*state) for state in ((tone, one.get_status_display()), *row.waits))
    return (
        f'<td><a class="whole" href="{drawn.url("payment", one.pk)}">{escape(one.session.device.name)}</a>'
        f'{drawn.small(bought)}</td><td class="end num pr">{escape(amount(one.amount_minor, one.currency))}</td>'
        f'<td class="soft num">{escape(at(one.at, zone, clock.now()))}</td><td class="pr">{states}</td>'
        f'<td class="desk">{escape(one.method_detail or one.method)}</td>'
        f"{_taken(one.captured_minor, one.currency)}{_taken(one.refunded_minor, one.currency)}"
    )


def _taken(minor: int, currency: str) -> str:
    return f'<td class="end num desk{"" if minor else " soft"}">{escape(amount(minor, currency))}</td>'


def totals(rows: QuerySet[Payment]) -> list[Total]:
    """The whole list that was found, not the page of it that is shown."""
    sums = (
        rows.order_by()
        .values("currency")
        .annotate(
            rows=Count("pk"),
            count=Count("pk", filter=Q(captured_minor__gt=0)),
            captured_minor=Sum("captured_minor"),
            refunded_minor=Sum("refunded_minor"),
        )
    )
    return [Total(**one) for one in sums.order_by("currency")]


def owed() -> list[str]:
    """What waits to go back, in words; nothing when every refund has succeeded."""
    rows = Refund.objects.exclude(status__in=(RefundStatus.SUCCEEDED, RefundStatus.COVERED))
    rows = rows.exclude(Q(status=RefundStatus.FAILED) & ~Q(payment__in=frame.failed_refunds().values("payment")))
    sums = rows.values("payment__currency", "status").annotate(sum=Sum("amount_minor"))
    return [
        f"{amount(one['sum'], one['payment__currency'])} {RefundStatus(one['status']).label.lower()}"
        for one in sums.order_by("payment__currency", "status")
    ]


# -- one payment


@dataclass(frozen=True)
class Back:
    """One refund in words: who wanted it and why."""

    refund: Refund
    tone: str
    why: str


@require_safe
@staff_only
def payment(request: HttpRequest, pk: int) -> HttpResponse:
    one = get_object_or_404(all_payments().select_related("session__receipt"), pk=pk)
    location = one.session.device.location
    events = list(AuditEvent.objects.filter(session=one.session_id, payment=pk))
    names = timeline.names_of(events)
    context = {
        "payment": one,
        "session": one.session,
        "receipt": getattr(one.session, "receipt", None),
        "zone": location.timezone,
        "tone": MONEY_TONES[PaymentStatus(one.status)],
        "backs": [_back(row, names) for row in one.refunds.order_by("created_at", "pk")],
        "stripe_url": stripe_url(one),
        "is_test": not is_live(one),
        "can_refund": bool(giving_back.most_refundable(one)),
        "steps": timeline.told(events, (), one.currency, ZoneInfo(location.timezone), names),
        "alerts": list(Alert.objects.filter(payment=pk, closed_at__isnull=True)),
    }
    return frame.page(request, "payment.html", context, here=HERE)


def _back(refund: Refund, names: Mapping[str, str]) -> Back:
    tone = REFUND_TONES[RefundStatus(refund.status)]
    if refund.made_by == "stripe":
        return Back(refund, tone, "made in Stripe's own dashboard")
    if refund.made_by.startswith("user:"):
        return Back(refund, tone, f"by {names.get(refund.made_by, 'a former colleague')}")
    known = refund.reason in Reason.values
    return Back(refund, tone, Reason(refund.reason).label.lower() if known else "minutes that were not delivered")


def is_live(payment: Payment) -> bool:
    """Whether real money moved. A checkout's own number says so; before there is one, the key in force does."""
    if payment.checkout_id:
        return payment.checkout_id.startswith("cs_live_")
    return keyring.in_force().is_live


def stripe_url(payment: Payment) -> str:
    """The payment on Stripe's dashboard; empty where there is none yet, and in a simulation."""
    if settings.SIMULATED or not payment.intent_id:
        return ""
    return f"https://dashboard.stripe.com/{'' if is_live(payment) else 'test/'}payments/{payment.intent_id}"
