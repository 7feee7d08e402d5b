"""What a receipt adds up to: integers in minor units, VAT taken out of prices that include it. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sessions_app.models import DeviceSession, Payment, Refund
from sessions_app.states import TERMINAL, PaymentStatus, Purpose, RefundStatus

WHOLE_BP = 10_000
"""Basis points of the net price: a rate of 2,000 is 20 %."""
VOID = (RefundStatus.FAILED, RefundStatus.COVERED)
"""Refunds that move no money; what they were to move is moved by others."""


@dataclass(frozen=True)
class Item:
    """One order that money was taken for, and what it became less by: minutes not delivered, money given back."""

    purpose: str
    plan_name: str
    duration_s: int
    price_minor: int
    vat_rate_bp: int
    undelivered_s: int = 0
    undelivered_minor: int = 0
    given_back_minor: int = 0

    @property
    def total_minor(self) -> int:
        return self.price_minor - self.undelivered_minor - self.given_back_minor


@dataclass(frozen=True)
class VatShare:
    """All that was sold at one rate; ``vat_minor`` is contained in ``gross_minor``."""

    rate_bp: int
    gross_minor: int

    @property
    def vat_minor(self) -> int:
        """gross × rate / (1 + rate), half a cent rounded up; rounded once for each rate, never for each line."""
        whole = WHOLE_BP + self.rate_bp
        return (2 * self.gross_minor * self.rate_bp + whole) // (2 * whole)

    @property
    def net_minor(self) -> int:
        return self.gross_minor - self.vat_minor


@dataclass(frozen=True)
class Charge:
    """What was taken, and from where ("Visa ending 4242"; empty where Stripe did not say)."""

    method: str
    amount_minor: int


@dataclass(frozen=True)
class Return:
    """What goes back; ``done`` as soon as the bank has it, ``owed`` while a refund has failed and no other is made."""

    amount_minor: int
    done: bool
    owed: bool = False


@dataclass(frozen=True)
class Bill:
    """``total_minor`` is what the guest pays in the end: the sums of items, VAT shares and money all equal it."""

    currency: str
    items: tuple[Item, ...]
    vat: tuple[VatShare, ...]
    charges: tuple[Charge, ...]
    returns: tuple[Return, ...]

    @property
    def total_minor(self) -> int:
        return sum(item.total_minor for item in self.items)

    @property
    def charged_minor(self) -> int:
        return sum(charge.amount_minor for charge in self.charges)

    @property
    def returned_minor(self) -> int:
        return sum(back.amount_minor for back in self.returns)


def is_due(session: DeviceSession, orders: Iterable[Payment]) -> bool:
    """Whether there is something to receipt: the session is over, money was taken, and no more is about to be."""
    orders = list(orders)
    about_to_be = any(one.status == PaymentStatus.AUTHORIZED and one.charge_minor != 0 for one in orders)
    return session.state in TERMINAL and not about_to_be and any(one.captured_minor for one in orders)


def lines_of(session: DeviceSession, orders: Sequence[Payment], refunds: Sequence[Refund]) -> Bill:
    """The bill of a session that is over; ``refunds`` are those of ``orders``. Orders that took nothing stay out."""
    taken = [one for one in sorted(orders, key=lambda one: one.pk) if one.captured_minor]
    missing = _undelivered(session, taken)
    items = tuple(_item(order, missing[order.pk]) for order in taken)
    return Bill(
        currency=taken[0].currency,
        items=items,
        vat=_shares(items),
        charges=tuple(Charge(order.method_detail, order.captured_minor) for order in taken),
        returns=tuple(back for order in taken for back in _returns(order, refunds)),
    )


def back_minor(order: Payment) -> int:
    """What of the money taken is not kept: promised already, or certain to be (a refund that failed is still owed)."""
    kept = order.captured_minor if order.charge_minor is None else min(order.charge_minor, order.captured_minor)
    return max(order.refund_promised_minor, order.captured_minor - kept)


def _undelivered(session: DeviceSession, orders: Iterable[Payment]) -> dict[int, int]:
    """Seconds of each order that were not delivered: they are used up in turn, those never applied not at all."""
    left, missing = session.delivered_s or 0, {}
    for order in orders:
        counts = order.purpose == Purpose.START or order.applied_at is not None
        share = min(left, order.duration_s) if counts else 0
        missing[order.pk] = order.duration_s - share
        left -= share
    return missing


def _item(order: Payment, undelivered_s: int) -> Item:
    less = order.amount_minor - order.captured_minor + back_minor(order)
    unpaid = 0 if order.charge_minor is None else order.amount_minor - order.charge_minor
    undelivered = min(less, unpaid) if undelivered_s else 0
    return Item(
        purpose=order.purpose,
        plan_name=order.plan_name,
        duration_s=order.duration_s,
        price_minor=order.amount_minor,
        vat_rate_bp=order.vat_rate_bp,
        undelivered_s=undelivered_s if undelivered else 0,
        undelivered_minor=undelivered,
        given_back_minor=less - undelivered,
    )


def _shares(items: Iterable[Item]) -> tuple[VatShare, ...]:
    gross: dict[int, int] = defaultdict(int)
    for item in items:
        gross[item.vat_rate_bp] += item.total_minor
    return tuple(VatShare(rate_bp, gross[rate_bp]) for rate_bp in sorted(gross))


def _returns(order: Payment, refunds: Iterable[Refund]) -> list[Return]:
    """The order's refunds; what goes back without a row that moves it is told as still to be sent."""
    own = [one for one in refunds if one.payment_id == order.pk and one.status not in VOID]
    rows = [Return(one.amount_minor, one.status == RefundStatus.SUCCEEDED) for one in sorted(own, key=lambda r: r.pk)]
    rest = back_minor(order) - sum(row.amount_minor for row in rows)
    failed = any(one.payment_id == order.pk and one.status == RefundStatus.FAILED for one in refunds)
    return [*rows, Return(rest, done=False, owed=failed)] if rest > 0 else rows
