"""What a session page is made of: the session, its money, and what its relay was told. Read in two queries."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Exists, OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce

from devices.models import Device, DeviceCode, RelayCommand
from hygate.prepared import Prepared
from sessions_app import money
from sessions_app.extending import Offer
from sessions_app.guest import till, words
from sessions_app.guest.kinds import Kind
from sessions_app.guest.shapes import device_kind
from sessions_app.guest.till import Till
from sessions_app.mail.models import MailKind
from sessions_app.models import DeviceSession, GuestMail, Payment, ProblemReport, Refund
from sessions_app.states import Purpose, RefundStatus, State

UNDER_WAY = (RefundStatus.OWED, RefundStatus.REQUESTED, RefundStatus.PENDING)


@dataclass(frozen=True)
class Visit:
    session: DeviceSession
    order: Payment
    till: Till
    now: datetime
    token: str
    code: str = ""
    on_sent_at: datetime | None = None
    on_attempts: int = 0
    off_sent_at: datetime | None = None
    told_when_over: bool = False
    """Somebody who has this link is to be written to when the session is over."""
    report: str = ""
    """Reference of the newest report made under this link."""
    report_answered: bool = False
    payments: tuple[Payment, ...] = ()
    refused: frozenset[int] = frozenset()
    """The orders of which a refund did not go through, and no other is under way."""
    offer: Offer | None = None
    """What can be added to the running session, where the page was to say so."""

    @property
    def device(self) -> Device:
        return self.session.device

    @property
    def company(self) -> str:
        return self.session.device.location.name

    @property
    def name(self) -> str:
        return self.session.device.name

    @property
    def kind(self) -> Kind:
        return device_kind(self.session.device)

    @property
    def timezone(self) -> str:
        return self.session.device.location.timezone

    @property
    def can_be_paid(self) -> bool:
        """Held, and neither called off nor run out."""
        session = self.session
        return session.state == State.HELD and not session.reason and session.hold_expires_at > self.now

    @property
    def bought(self) -> str:
        return words.span(self.session.duration_s)

    @property
    def price(self) -> str:
        return self.till.say(self.till.price)

    @property
    def delivered_s(self) -> int:
        """Seconds of confirmed power: what the settlement counted, or what it would count now."""
        session = self.session
        if session.delivered_s is not None:
            return session.delivered_s
        if session.started_at is None:
            return 0
        return money.delivered_s(
            started_at=session.started_at,
            off_at=min(filter(None, (session.off_requested_at, session.paused_at, self.now))),
            paused_ms=session.paused_ms,
            bought_s=session.duration_s,
        )

    @property
    def off_at(self) -> datetime | None:
        """When power ended: with a pause that nothing followed, else when OFF was asked for."""
        session = self.session
        return session.paused_at or session.off_requested_at or session.closed_at

    def at(self, moment: datetime | None, *, seconds: bool = False) -> str:
        return words.at(moment, self.timezone, self.now, seconds=seconds) if moment else ""

    def url(self, step: str = "") -> str:
        return f"/session/{self.token}/{step}/" if step else f"/session/{self.token}/"

    @property
    def device_url(self) -> str:
        return f"/d/{self.code}/" if self.code else ""


def _sessions(token_hash: str, now: datetime) -> QuerySet[DeviceSession]:
    """The session of a link with all that its page says of device, relay, mail and report, in one row."""
    commands = RelayCommand.objects.filter(
        device=OuterRef("device"),
        created_at__gte=OuterRef("created_at"),
        created_at__lte=Coalesce(OuterRef("closed_at"), Value(now)),
    ).order_by("-id")
    reports = ProblemReport.objects.filter(session=OuterRef("pk")).order_by("-created_at", "-id")
    return (
        DeviceSession.objects.filter(token_hash=token_hash)
        .select_related("device__location", "device__account")
        .defer("device__account__auth_key")
        .annotate(
            code=Subquery(DeviceCode.objects.filter(device=OuterRef("device"), retired_at=None).values("code")[:1]),
            on_sent_at=Subquery(commands.filter(on=True).values("first_sent_at")[:1]),
            on_attempts=Subquery(commands.filter(on=True).values("attempts")[:1]),
            off_sent_at=Subquery(commands.filter(on=False).values("first_sent_at")[:1]),
            told_when_over=Exists(
                GuestMail.objects.filter(
                    session=OuterRef("pk"), kind=MailKind.DONE, sent_at__isnull=True, given_up_at__isnull=True
                )
            ),
            report=Subquery(reports.values("reference")[:1]),
            report_answered_at=Subquery(reports.values("answered_at")[:1]),
        )
    )


def is_refused() -> Q:
    """Of a payment: a refund of it did not go through, and no other is under way."""
    refunds = Refund.objects.filter(payment=OuterRef("pk"))
    return Q(Exists(refunds.filter(status=RefundStatus.FAILED)) & ~Exists(refunds.filter(status__in=UNDER_WAY)))


def _orders(session: int) -> QuerySet[Payment]:
    return Payment.objects.filter(session=session).annotate(is_refused=is_refused())


_BY_LINK: Prepared[Any] = Prepared(_sessions, token_hash=str, now=datetime)
_ORDERS: Prepared[Any] = Prepared(_orders, session=int)


def find(token: str, *, now: datetime) -> Visit | None:
    """The session that this link opens, or None. The token is never searched for, only its hash."""
    session = _BY_LINK.first(token_hash=hashed(token), now=now)
    if session is None:
        return None
    payments = _ORDERS.rows(session=session.pk)
    refused = frozenset(payment.pk for payment in payments if payment.is_refused)
    order = next((payment for payment in payments if payment.purpose == Purpose.START), None)
    if order is None:
        return _went_on(session, now)
    return Visit(
        session=session,
        order=order,
        till=till.count(payments, refused=refused),
        now=now,
        token=token,
        code=session.code or "",
        on_sent_at=session.on_sent_at,
        on_attempts=session.on_attempts or 0,
        off_sent_at=session.off_sent_at,
        told_when_over=session.told_when_over,
        report=session.report or "",
        report_answered=session.report_answered_at is not None,
        payments=tuple(payments),
        refused=refused,
    )


def _went_on(session: DeviceSession, now: datetime) -> Visit | None:
    """An order that was paid late took its money into a new session: the old link opens that one."""
    successor = DeviceSession.objects.filter(continues=session).first()
    return find(successor.token, now=now) if successor is not None else None


def hashed(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def version(parts: Sequence[object]) -> str:
    """Changes when the page has something new to say."""
    return hashlib.sha256("|".join(map(str, parts)).encode()).hexdigest()[:16]
