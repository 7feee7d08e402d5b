"""A refund that a person decides on, beside those that the settlement owes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import transaction
from django.db.models import F, Sum

from hygate import audit, clock
from hygate.due import wake
from hygate.models import SiteSettings
from sessions_app import money
from sessions_app.models import DeviceSession, Payment, Refund
from sessions_app.payments.settlement import TAKEN, takes_part
from sessions_app.states import RefundStatus

if TYPE_CHECKING:
    from hygate.models import User

NOT_PAID = (RefundStatus.FAILED, RefundStatus.COVERED)


class CannotRefund(Exception):
    """The message says to the person who asked why, and what is possible instead."""


class MovedOn(CannotRefund):
    """Something was paid back since the form was opened: a second click, or a colleague."""


def most_refundable(payment: Payment) -> int:
    """What was captured and is not promised to go back yet, in minor units."""
    return max(0, payment.captured_minor - payment.refund_promised_minor) if payment.status in TAKEN else 0


def unused_minor(payment: Payment) -> int:
    """The price of the minutes that were paid and not delivered, as far as it was taken and is not going back.

    Settlement has given it back already but where the plan keeps it. Zero while the session is not over.
    """
    session = payment.session
    if session.delivered_s is None or not takes_part(payment):
        return 0
    bought = [one for one in session.payments.order_by("id") if takes_part(one)]
    keeps = money.charges([(one.amount_minor, one.duration_s) for one in bought], session.delivered_s)
    kept = dict(zip((one.pk for one in bought), keeps, strict=True))[payment.pk]
    return min(most_refundable(payment), max(0, payment.captured_minor - kept - payment.refund_promised_minor))


def limit_for(payment: Payment, user: User) -> int:
    """The most that ``user`` may give back now: an operator the site's limit, less what staff gave before."""
    most = most_refundable(payment)
    if user.is_administrator:
        return most
    given = payment.refunds.filter(made_by__startswith="user:").exclude(status__in=NOT_PAID)
    spent: int = given.aggregate(sum=Sum("amount_minor"))["sum"] or 0
    return max(0, min(most, SiteSettings.current().refund_limit_minor - spent))


def refund(*, payment: Payment, amount_minor: int, user: User, reason: str, seen_promised_minor: int) -> Refund:
    """Owe ``amount_minor`` of ``payment`` to its guest; the money worker pays it back.

    ``seen_promised_minor`` is what was promised when the form was opened: it makes a form good for one refund only,
    however often and by however many people it is sent. Raises ``CannotRefund``.
    """
    with transaction.atomic():
        session = DeviceSession.objects.select_for_update().get(pk=payment.session_id)
        fresh = Payment.objects.select_for_update().get(pk=payment.pk)
        if fresh.refund_promised_minor != seen_promised_minor:
            raise MovedOn("Something was paid back meanwhile; nothing more was done. Look at the payment once more.")
        _refuse(fresh, amount_minor, user)
        return _owe(fresh, session.device_id, amount_minor, user, reason)


def _refuse(payment: Payment, amount_minor: int, user: User) -> None:
    if payment.status not in TAKEN:
        raise CannotRefund("Nothing is captured, so nothing can be paid back. Stopping the session releases the hold.")
    if not 1 <= amount_minor <= most_refundable(payment):
        raise CannotRefund("That is more than was taken and not yet paid back.")
    if amount_minor > limit_for(payment, user):
        raise CannotRefund("That is above what an operator may refund. Ask an administrator.")


def _owe(payment: Payment, device_id: int, amount_minor: int, user: User, reason: str) -> Refund:
    actor, now = f"user:{user.pk}", clock.now()
    Payment.objects.filter(pk=payment.pk).update(refund_promised_minor=F("refund_promised_minor") + amount_minor)
    made = Refund.objects.create(
        payment=payment, amount_minor=amount_minor, reason="staff", made_by=actor, due_at=now, created_at=now
    )
    audit.write(
        "refund_owed",
        actor=actor,
        session=payment.session_id,
        payment=payment.pk,
        device=device_id,
        amount_minor=amount_minor,
        currency=payment.currency,
        reason=reason[:200],
    )
    wake(made)
    return made
