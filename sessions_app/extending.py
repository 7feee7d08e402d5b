"""Extending: a guest buys more minutes for a session that is running. What may be bought, and its order.

The session's row is locked for every question that money depends on, so that the end and an extension never see each
other half done. What the money does when it comes is in ``payments/extensions`` (docs/adr/0013).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Exists, OuterRef

from devices.energy.headroom import goes_on
from devices.models import Device, UsagePlan
from hygate import audit, clock
from hygate.due import wake
from hygate.numbers import Numbers
from hygate.trying_again import made_again
from sessions_app import gates, money, selling
from sessions_app.gates import Gates
from sessions_app.models import DeviceSession, Payment, QueueEntry
from sessions_app.payments.parameters import checkout_parameters
from sessions_app.queue.models import IN_LINE
from sessions_app.states import PaymentStatus, Purpose, State

LONGEST_TOTAL_S = 7 * 86400
"""What a session may last where its plan names no limit: as long as the longest plan."""


class No(StrEnum):
    """Why nothing more can be bought."""

    NOT_RUNNING = "not_running"
    NOT_EXTENDABLE = "not_extendable"
    PENDING = "pending"
    TOO_LATE = "too_late"
    LONGEST = "longest"
    CLOSED = "closed"
    IN_LINE = "in_line"
    NO_POWER = "no_power"


class CannotExtend(Exception):
    """No minutes can be added now; ``why`` says for which reason. Nothing was ordered."""

    def __init__(self, why: No) -> None:
        super().__init__(why.value)
        self.why = why


@dataclass(frozen=True)
class Around:
    """What counts beside the session's own row. ``closed``: the site sells nothing on this device now."""

    pending: bool = False
    closed: bool = False
    in_line: bool = False
    power_ok: bool = True


@dataclass(frozen=True)
class Offer:
    """The plans that can be added now, or why none can."""

    plans: tuple[UsagePlan, ...] = ()
    why: No | None = None


# -- the rules, as pure functions


def refusal(session: DeviceSession, around: Around, now: datetime, numbers: Numbers) -> No | None:
    """Why this session cannot be made longer at ``now``, whatever the plan; null when it can.

    Only in time for a guest to pay: nobody types a card number in three seconds, and who pays after the end has paid
    for nothing and waits for the money to come back. So nothing is offered in the last ``extend_least_left_s``.
    """
    if session.state != State.RUNNING or session.paused_at is not None or session.ends_at is None:
        return No.NOT_RUNNING
    if not session.extendable:
        return No.NOT_EXTENDABLE
    if around.pending:
        return No.PENDING
    if session.ends_at - now < timedelta(seconds=numbers.extend_least_left_s):
        return No.TOO_LATE
    if around.closed:
        return No.CLOSED
    if around.in_line:
        return No.IN_LINE
    return None if around.power_ok else No.NO_POWER


def plan_refusal(session: DeviceSession, plan: UsagePlan, least_minor: int) -> No | None:
    """Why ``plan`` cannot be added to this session; ``least_minor`` is the least that Stripe charges."""
    sold = plan.device_id == session.device_id and plan.active and plan.extendable and plan.price_minor >= least_minor
    if not sold:
        return No.NOT_EXTENDABLE
    return None if fits(session, plan.duration_s) else No.LONGEST


def fits(session: DeviceSession, seconds: int) -> bool:
    """Whether the session stays within its limit with ``seconds`` more, extensions that were applied included."""
    most = LONGEST_TOTAL_S if session.max_total_s is None else session.max_total_s
    return session.duration_s + seconds <= most


def latest_end(session: DeviceSession) -> datetime | None:
    """How far the session can be extended; null where its plan names no limit."""
    if session.max_total_s is None or session.ends_at is None:
        return None
    return session.ends_at + timedelta(seconds=max(0, session.max_total_s - session.duration_s))


# -- what is offered


def offer(session: DeviceSession, now: datetime, site: Gates, payments: Sequence[Payment]) -> Offer:
    """What a guest who looks at the page now may add, in one query beside what the page has read already.

    A page that asks every few seconds must be cheap; the order asks everything afresh under its locks.
    """
    why = refusal(session, Around(pending=any(map(_is_pending, payments))), now, settings.NUMBERS)
    if why is not None:
        return Offer(why=why)
    if selling.is_closed(session.device, site, now):
        return Offer(why=No.CLOSED)
    in_line = QueueEntry.objects.filter(device=OuterRef("device"), place__in=IN_LINE)
    rows = session.device.plans.filter(active=True, extendable=True).annotate(is_waited_for=Exists(in_line))
    plans = {plan: plan.is_waited_for for plan in rows}
    found = Around(in_line=any(plans.values()), power_ok=goes_on(session.device, now, session=session.pk).ok)
    why = refusal(session, found, now, settings.NUMBERS)
    return Offer(why=why) if why is not None else chosen_from(session, plans)


def chosen_from(session: DeviceSession, plans: Iterable[UsagePlan]) -> Offer:
    """The plans that fit, in the operator's order; where none does, whether any would have without the limit."""
    least = money.minimum_minor(session.device.location.currency)
    whys = [(plan, plan_refusal(session, plan, least)) for plan in plans]
    fitting = tuple(plan for plan, why in whys if why is None)
    if fitting:
        return Offer(fitting)
    return Offer(why=No.LONGEST if any(why == No.LONGEST for _, why in whys) else No.NOT_EXTENDABLE)


def around(session: DeviceSession, now: datetime) -> Around:
    device = session.device
    if selling.is_closed(device, gates.read(), now):
        return Around(closed=True)
    return Around(
        pending=pending(session) is not None,
        in_line=QueueEntry.objects.filter(device=device, place__in=IN_LINE).exists(),
        power_ok=goes_on(device, now, session=session.pk).ok,
    )


def _is_pending(payment: Payment) -> bool:
    return payment.purpose == Purpose.EXTENSION and payment.status == PaymentStatus.PENDING


def pending(session: DeviceSession) -> Payment | None:
    """The extension that waits for its money, dropped ones included until Stripe has closed their page."""
    return session.payments.filter(purpose=Purpose.EXTENSION, status=PaymentStatus.PENDING).first()


# -- the order


def order(session: DeviceSession, plan: UsagePlan | None) -> Payment:
    """The order of an extension, to be paid at Checkout: a new one for ``plan``, or the one that waits to be paid.

    However often a guest taps, there is one order and one payment page. Raises ``CannotExtend``.
    """

    def transact() -> Payment:
        with transaction.atomic():
            return _order(_locked(session), plan, clock.now())

    try:
        return made_again(transact)
    except IntegrityError as error:
        raise CannotExtend(No.PENDING) from error


def _locked(session: DeviceSession) -> DeviceSession:
    rows = DeviceSession.objects.select_for_update(of=("self",)).select_related("device__location", "device__account")
    return rows.get(pk=session.pk)


def _order(session: DeviceSession, plan: UsagePlan | None, now: datetime) -> Payment:
    waiting = pending(session)
    if waiting is not None and waiting.charge_minor is None:
        return waiting
    why = refusal(session, around(session, now), now, settings.NUMBERS)
    if why is not None:
        raise CannotExtend(why)
    if plan is None:
        raise CannotExtend(No.NOT_EXTENDABLE)
    why = plan_refusal(session, plan, money.minimum_minor(session.device.location.currency))
    if why is not None:
        raise CannotExtend(why)
    return _written(session, plan, session.device, now)


def _written(session: DeviceSession, plan: UsagePlan, device: Device, now: datetime) -> Payment:
    """The order's row, with its own snapshot of the plan, its key and Checkout's exact parameters."""
    ref = f"{session.reference}-{session.payments.count() + 1}"
    payment = Payment(
        ref=ref,
        session=session,
        purpose=Purpose.EXTENSION,
        amount_minor=plan.price_minor,
        currency=session.payments.get(purpose=Purpose.START).currency,
        vat_rate_bp=plan.vat_rate_bp,
        duration_s=plan.duration_s,
        plan_name=plan.name,
        created_at=now,
        checkout_key=f"order:{ref}:checkout:1",
        due_at=now + timedelta(seconds=settings.NUMBERS.lease_stripe_s),
    )
    label = f"{device.name}: + {plan.name}"
    payment.checkout_params = json.dumps(
        checkout_parameters(payment, session.reference, token=session.token, label=label, now=now)
    )
    payment.save(force_insert=True)
    audit.write(
        "extension_ordered",
        actor="guest",
        session=session.pk,
        payment=payment.pk,
        device=device.pk,
        amount_minor=payment.amount_minor,
        currency=payment.currency,
        for_s=payment.duration_s,
    )
    return payment


def drop(session: DeviceSession) -> bool:
    """The guest does not want the minutes that wait to be paid: their payment page is closed, late money goes back."""

    def transact() -> bool:
        with transaction.atomic():
            fresh = _locked(session)
            waiting = pending(fresh)
            return waiting is not None and _dropped(waiting, fresh, clock.now())

    return made_again(transact)


def _dropped(payment: Payment, session: DeviceSession, now: datetime) -> bool:
    wanted = Payment.objects.filter(pk=payment.pk, status=PaymentStatus.PENDING, charge_minor__isnull=True)
    if not wanted.update(charge_minor=0, due_at=now, claimed_until=None, claim_token=None, attempts=0):
        return False
    audit.write("extension_dropped", actor="guest", session=session.pk, payment=payment.pk, device=session.device_id)
    wake(payment)
    return True


def seconds_added(payments: Sequence[Payment]) -> int:
    """What extensions have added to their session."""
    return sum(one.duration_s for one in payments if one.purpose == Purpose.EXTENSION and one.applied_at is not None)
