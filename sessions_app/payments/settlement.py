"""Settling a session: how much each of its orders may keep, decided once, in the transaction that ends its power."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime

from django.db.models import Case, F, When

from hygate import audit
from hygate.due import wake
from hygate.models import AuditEvent
from sessions_app import money
from sessions_app.models import DeviceSession, Payment, Refund
from sessions_app.states import PaymentStatus, Purpose, Reason

UNDECIDED = (PaymentStatus.PENDING, PaymentStatus.AUTHORIZED)
TAKEN = (PaymentStatus.SUCCEEDED, PaymentStatus.PARTIALLY_REFUNDED, PaymentStatus.REFUNDED)


def want_capture(session: DeviceSession, now: datetime) -> None:
    """The relay is confirmed on: the start order's money is due."""
    for payment in session.payments.select_for_update().filter(purpose=Purpose.START, status=PaymentStatus.AUTHORIZED):
        Payment.objects.filter(pk=payment.pk).update(capture_wanted_at=now, **_now_due(now))
        wake(payment)


def want_extensions(session: DeviceSession, now: datetime) -> None:
    """The relay's timer covers the extended end, by a reading: what the extensions cost is due (money rule 9)."""
    rows = session.payments.select_for_update().filter(purpose=Purpose.EXTENSION, applied_at__isnull=False)
    for payment in rows.filter(capture_wanted_at__isnull=True).order_by("id"):
        is_held = payment.status == PaymentStatus.AUTHORIZED
        due = _now_due(now) if is_held else {}  # what cannot be held was taken when it was paid
        Payment.objects.filter(pk=payment.pk).update(capture_wanted_at=now, **due)
        if is_held:
            wake(payment)


def takes_part(order: Payment) -> bool:
    """Whether the order's minutes are among those of its session: an extension that came too late added none."""
    return order.purpose == Purpose.START or order.applied_at is not None


def settle_session(session: DeviceSession, now: datetime, *, by: str) -> None:
    """Rules 1 to 4: charge for what was delivered, give back the rest. Never waits for OFF to be confirmed."""
    _settle_orders(session, list(session.payments.select_for_update().order_by("id")), now, by=by)


def settle_sessions(sessions: Sequence[DeviceSession], now: datetime, *, by: str) -> None:
    """``settle_session`` for many, their orders locked together in one order."""
    orders = defaultdict(list)
    for order in Payment.objects.select_for_update().filter(session__in=sessions).order_by("id"):
        orders[order.session_id].append(order)
    plain: list[tuple[DeviceSession, Payment]] = []
    for session in sessions:
        if _is_all_delivered(session, orders[session.pk]):
            plain.append((session, orders[session.pk][0]))
        else:
            _settle_orders(session, orders[session.pk], now, by=by)
    _keep_all(plain, by=by)


def _is_all_delivered(session: DeviceSession, orders: Sequence[Payment]) -> bool:
    """One order, all of its money taken, all of its minutes delivered: nothing is to be called in or given back."""
    if len(orders) != 1 or session.delivered_s is None:
        return False
    order = orders[0]
    taken = order.status == PaymentStatus.SUCCEEDED and order.captured_minor == order.amount_minor
    return taken and order.charge_minor is None and session.delivered_s >= order.duration_s


def _keep_all(pairs: Sequence[tuple[DeviceSession, Payment]], *, by: str) -> None:
    """``settle_order`` for orders that keep their whole price, in two statements."""
    rows = Payment.objects.filter(pk__in=[order.pk for _, order in pairs], charge_minor__isnull=True)
    rows.update(charge_minor=F("amount_minor"))
    audit.write_all(_settled(order, order.amount_minor, session, by) for session, order in pairs)


def _settle_orders(session: DeviceSession, orders: Sequence[Payment], now: datetime, *, by: str) -> None:
    """What was delivered is spread over the orders that bought it; an extension that waits for its money is over."""
    bought = [order for order in orders if takes_part(order)]
    keeps = money.charges([(order.amount_minor, order.duration_s) for order in bought], session.delivered_s or 0)
    for order, kept in zip(bought, keeps, strict=True):
        charge = order.amount_minor if keeps_all(session) and is_confirmed(order) else kept
        settle_order(order, charge, now, session=session, by=by)
    for order in orders:
        if not takes_part(order) and order.status in UNDECIDED:
            settle_order(order, 0, now, session=session, by=by)


def keeps_all(session: DeviceSession) -> bool:
    """Rule 7: only a guest who stops early, on a plan that says so, gets nothing back for unused minutes. Whoever stops
    while the site gives no power did not stop early: what the site caused is given back."""
    stopped = session.reason == Reason.STOPPED_BY_GUEST and session.started_at is not None
    return stopped and not session.refund_unused and session.paused_at is None


def is_confirmed(order: Payment) -> bool:
    """Whether the relay was seen to cover the order's minutes (money rule 9): what nobody confirmed is not charged."""
    return order.purpose == Purpose.START or order.capture_wanted_at is not None


def settle_order(order: Payment, charge_minor: int, now: datetime, *, session: DeviceSession, by: str) -> None:
    """Write what ``order`` may keep; money that was taken beyond it becomes a Refund row here and now."""
    if order.charge_minor is not None:
        return
    due = _now_due(now) if order.status in UNDECIDED else {}
    Payment.objects.filter(pk=order.pk, charge_minor__isnull=True).update(charge_minor=charge_minor, **due)
    order.charge_minor = charge_minor
    audit.write_all([_settled(order, charge_minor, session, by)])
    owe_back(order, now, reason=session.reason or "unused")
    if due:
        wake(order)


def _settled(order: Payment, charge_minor: int, session: DeviceSession, by: str) -> AuditEvent:
    return audit.event(
        "settlement",
        actor=by,
        session=session.pk,
        payment=order.pk,
        device=session.device_id,
        delivered_s=session.delivered_s,
        charge_minor=charge_minor,
        back_minor=order.amount_minor - charge_minor,
        currency=order.currency,
    )


def owe_back(order: Payment, now: datetime, *, reason: str) -> Refund | None:
    """A Refund row over what was captured beyond the charge and is not yet promised; the one place that makes them."""
    if order.status not in TAKEN or order.charge_minor is None:
        return None
    back = order.captured_minor - order.refund_promised_minor - order.charge_minor
    if back <= 0:
        return None
    Payment.objects.filter(pk=order.pk).update(refund_promised_minor=F("refund_promised_minor") + back)
    order.refund_promised_minor += back
    refund = Refund.objects.create(payment=order, amount_minor=back, reason=reason[:40], due_at=now, created_at=now)
    audit.write(
        "refund_owed",
        session=order.session_id,
        payment=order.pk,
        amount_minor=back,
        currency=order.currency,
        reason=reason,
    )
    wake(refund)
    return refund


def _now_due(now: datetime) -> dict[str, object]:
    """Column values of an outsider's move: due at once, the present holder's claim void."""
    due = Case(When(due_at__isnull=False, due_at__lt=now, then=F("due_at")), default=now)
    return {"due_at": due, "claimed_until": None, "claim_token": None, "attempts": 0}
