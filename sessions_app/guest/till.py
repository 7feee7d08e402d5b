"""The money of one session, added up from its orders: what is held, taken, kept and given back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sessions_app.guest import words
from sessions_app.models import Payment
from sessions_app.payments import settlement
from sessions_app.states import PaymentStatus, Purpose

NEVER_FUNDED = (PaymentStatus.PENDING, PaymentStatus.FAILED)


@dataclass(frozen=True)
class Till:
    """Minor units of one currency. ``charge`` is None until it is settled what may be kept."""

    currency: str
    orders: tuple[tuple[int, int], ...]
    """Price and seconds of each, in the order they are used up."""
    promises: tuple[int, ...]
    """What goes back of each already, in the same order."""
    price: int
    reserved: int
    captured: int
    charge: int | None
    promised: int
    returned: int
    start_status: str
    funded_at: datetime | None
    checkout_url: str
    refused: bool
    """A refund did not go through, and no other is under way: a person has to see to it."""

    @property
    def back(self) -> int:
        """Taken, and given back: promised already, or certain to be once the settlement is carried out."""
        return max(self.promised, self.captured - self.charge if self.charge is not None else 0)

    @property
    def kept(self) -> int:
        """What the guest pays in the end."""
        if self.charge is not None and self.reserved:
            return self.charge
        return self.captured - self.back

    @property
    def is_pending(self) -> bool:
        return self.start_status == PaymentStatus.PENDING

    @property
    def is_reserved(self) -> bool:
        return self.start_status == PaymentStatus.AUTHORIZED

    @property
    def was_reserved(self) -> bool:
        """Held once and let go again without a charge."""
        return self.start_status == PaymentStatus.VOIDED

    def say(self, minor: int) -> str:
        return words.money(minor, self.currency)


def count(payments: Sequence[Payment], *, refused: frozenset[int]) -> Till:
    """Add up. An extension counts once its minutes were added: not while it is unpaid, nor when it came too late."""
    start = next(payment for payment in payments if payment.purpose == Purpose.START)
    counted = sorted((payment for payment in payments if settlement.takes_part(payment)), key=lambda one: one.pk)
    charges = [payment.charge_minor for payment in counted]
    return Till(
        currency=start.currency,
        orders=tuple((payment.amount_minor, payment.duration_s) for payment in counted),
        promises=tuple(payment.refund_promised_minor for payment in counted),
        price=sum(payment.amount_minor for payment in counted),
        reserved=sum(p.amount_minor for p in counted if p.status == PaymentStatus.AUTHORIZED),
        captured=sum(payment.captured_minor for payment in counted),
        charge=None if None in charges else sum(charge or 0 for charge in charges),
        promised=sum(payment.refund_promised_minor for payment in counted),
        returned=sum(payment.refunded_minor for payment in counted),
        start_status=start.status,
        funded_at=start.authorized_at or start.captured_at,
        checkout_url=start.checkout_url,
        refused=any(payment.pk in refused for payment in counted),
    )
