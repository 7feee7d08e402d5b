"""What an order does next, and what a reading of Stripe means for it, as pure functions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from hygate.numbers import Numbers
from sessions_app.models import Payment
from sessions_app.payments.gateway import Checkout
from sessions_app.states import PaymentStatus, Purpose, State

EXTENDS = (State.RUNNING, State.PAUSED)
"""States in which a session can be made longer."""


class Act(StrEnum):
    """One call to Stripe."""

    CREATE = "create"
    READ = "read"
    EXPIRE = "expire"
    CAPTURE = "capture"
    CANCEL = "cancel"


@dataclass(frozen=True)
class Next:
    """Do ``act`` now, or look again at ``at`` (null = nothing pending)."""

    act: Act | None = None
    at: datetime | None = None


def next_act(payment: Payment, *, session_state: str, hold_expires_at: datetime, now: datetime, n: Numbers) -> Next:
    """What an order that is due calls for.

    Pending: repeat a create whose answer was lost, expire when the hold is over, otherwise re-read. An extension lives
    by a clock of its own, and no longer than its session runs. Authorised: capture once the relay was confirmed on or
    the settlement says how much; cancel when that is nothing.
    """
    if payment.status == PaymentStatus.PENDING:
        over = session_state != State.HELD or hold_expires_at <= now
        if payment.purpose == Purpose.EXTENSION:
            over = _extension_is_over(payment, session_state, now, n)
        if payment.checkout_id is not None:
            return Next(Act.EXPIRE if over else Act.READ)
        answer_lost_at = payment.created_at + timedelta(seconds=n.lease_stripe_s)
        return Next(Act.CREATE) if over or answer_lost_at <= now else Next(at=answer_lost_at)
    if payment.status == PaymentStatus.AUTHORIZED:
        if payment.charge_minor == 0:
            return Next(Act.CANCEL)
        return Next(Act.CAPTURE if payment.is_decided else Act.READ)
    return Next()


def _extension_is_over(payment: Payment, session_state: str, now: datetime, n: Numbers) -> bool:
    """Nobody may pay it any more: dropped, its session is over, or it is as old as a hold may get."""
    too_old = payment.created_at + timedelta(seconds=n.hold_s) <= now
    return payment.charge_minor is not None or session_state not in EXTENDS or too_old


class Verdict(StrEnum):
    """What a reading of the Checkout Session says about an order."""

    OPEN = "open"
    FUNDED = "funded"
    PROCESSING = "processing"
    FAILED = "failed"
    EXPIRED = "expired"
    MISMATCH = "mismatch"
    CANCELED = "canceled"


def verdict(payment: Payment, checkout: Checkout) -> Verdict:
    """Decides on the PaymentIntent alone: ``succeeded`` or ``requires_capture`` is funded, everything else is not.

    Amount, currency and order must be ours; anything else is never a sale.
    """
    intent = checkout.intent
    if intent is not None and intent.funded:
        ours = (
            intent.amount_minor == payment.amount_minor
            and intent.currency == payment.currency
            and checkout.amount_minor == payment.amount_minor
            and checkout.currency == payment.currency
            and payment.ref in (intent.order, checkout.order)
            and intent.order in ("", payment.ref)
        )
        return Verdict.FUNDED if ours else Verdict.MISMATCH
    if intent is not None and intent.status == "canceled":
        return Verdict.CANCELED
    if intent is not None and intent.status == "processing":
        return Verdict.PROCESSING
    if checkout.status == "complete" and intent is not None and intent.status == "requires_payment_method":
        return Verdict.FAILED
    return Verdict.EXPIRED if checkout.status == "expired" else Verdict.OPEN


def back_off(attempts: int) -> float:
    """Seconds until a failed call is tried again: 1, 2, 4 … at most 60."""
    return float(min(2 ** min(attempts, 6), 60))
