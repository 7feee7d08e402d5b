"""What guests and staff can do: each a transaction that checks the state, moves it, and says who did it.

Doing something when it is already over changes nothing and is no error: the answer says whether anything was done.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.db import transaction

from devices.energy import headroom as power
from devices.relays.commands import retry_now
from hygate import audit, clock
from hygate.due import wake
from hygate.trying_again import made_again
from sessions_app import extending, lengthening
from sessions_app.models import DeviceSession, Payment
from sessions_app.moves import POWERED, may_start, transition
from sessions_app.rules import Move
from sessions_app.states import LIVE, PaymentStatus, Reason, State

if TYPE_CHECKING:
    from hygate.models import User

REFERENCE_ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
MOST_FREE_MINUTES = 60
BEFORE_POWER = (State.GRACE, State.WAITING_FOR_POWER, State.STARTING)


def start_now(session: DeviceSession) -> bool:
    """The guest does not need the rest of the grace period."""

    def move(fresh: DeviceSession, now: datetime) -> bool:
        if fresh.state != State.GRACE:
            return False
        audit.write("start_now", actor="guest", session=fresh.pk, device=fresh.device_id)
        return _end_grace(fresh, now, "guest")

    return _locked(session, move)


def start_now_by_staff(session: DeviceSession, user: User, reason: str) -> bool:
    """Staff ends the grace period, for a guest who stands beside the machine without a phone."""

    def move(fresh: DeviceSession, now: datetime) -> bool:
        if fresh.state != State.GRACE:
            return False
        _staff_acted("start_now", fresh, user, reason)
        return _end_grace(fresh, now, actor(user))

    return _locked(session, move)


def _end_grace(fresh: DeviceSession, now: datetime, by: str) -> bool:
    power.lock_sites([fresh.device])
    ok = may_start(fresh, now)
    return transition(fresh, Move(State.STARTING if ok else State.WAITING_FOR_POWER), now=now, by=by)


def add_minutes(session: DeviceSession, user: User, reason: str, *, minutes: int, seen_s: int) -> bool:
    """Give a running session ``minutes`` more, free of charge; the relay's timer is armed anew as for an extension.

    ``seen_s`` is how many seconds the session had when the form was opened: a form is good for once. The settlement
    spreads what is delivered over what was paid, so minutes given are the last to be used and move no money.
    """
    if not 1 <= minutes <= MOST_FREE_MINUTES:
        return False

    def move(fresh: DeviceSession, now: datetime) -> bool:
        runs = fresh.state == State.RUNNING and fresh.paused_at is None
        is_over = fresh.ends_at is None or fresh.ends_at <= now
        if not runs or is_over or fresh.duration_s != seen_s or not extending.fits(fresh, minutes * 60):
            return False
        lengthening.lengthen(fresh, minutes * 60, now)
        assert fresh.ends_at is not None
        _staff_acted("minutes_added", fresh, user, reason, for_s=minutes * 60, ends_at=fresh.ends_at.isoformat())
        lengthening.arm_anew(fresh, reason="minutes_added")
        return True

    return _locked(session, move)


def cancel_by_guest(session: DeviceSession) -> bool:
    """Call the session off before power: nothing is charged. An ON on its way is followed by an OFF."""

    return _locked(session, _call_off)


def _call_off(fresh: DeviceSession, now: datetime) -> bool:
    if fresh.state == State.HELD:
        return _call_off_hold(fresh, now)
    if fresh.state not in BEFORE_POWER:
        return False
    return transition(fresh, Move(State.CANCELLED, Reason.STOPPED_BY_GUEST), now=now, by="guest")


def _call_off_hold(session: DeviceSession, now: datetime) -> bool:
    """The hold ends now, but the slot is freed only when Stripe has confirmed that the checkout is expired."""
    if session.reason:
        return False
    DeviceSession.objects.filter(pk=session.pk, state=State.HELD).update(
        reason=Reason.STOPPED_BY_GUEST, hold_expires_at=now
    )
    audit.write("stop_requested", actor="guest", session=session.pk, device=session.device_id, reason="hold")
    for payment in session.payments.filter(status=PaymentStatus.PENDING):
        Payment.objects.filter(pk=payment.pk).update(due_at=now, claimed_until=None)
        wake(payment)
    return True


def stop_by_guest(session: DeviceSession) -> bool:
    """*Stop early*: OFF now, and back what the plan gives back."""

    def move(fresh: DeviceSession, now: datetime) -> bool:
        if fresh.state not in (State.RUNNING, State.PAUSED):
            return _call_off(fresh, now)
        audit.write("stop_requested", actor="guest", session=fresh.pk, device=fresh.device_id)
        return transition(fresh, Move(State.STOPPING, Reason.STOPPED_BY_GUEST), now=now, by="guest")

    return _locked(session, move)


def stop_by_staff(session: DeviceSession, user: User, reason: str) -> bool:
    """Staff ends a session: OFF and settlement; what was not delivered is given back."""

    def move(fresh: DeviceSession, now: datetime) -> bool:
        if fresh.state not in (*BEFORE_POWER, State.RUNNING, State.PAUSED):
            return False
        _staff_acted("stop_requested", fresh, user, reason)
        stops = fresh.state in (State.RUNNING, State.PAUSED)
        to = Move(State.STOPPING if stops else State.CANCELLED, Reason.STOPPED_BY_STAFF)
        return transition(fresh, to, now=now, by=actor(user))

    return _locked(session, move)


def force_end(session: DeviceSession, user: User, reason: str) -> bool:
    """Close the session whatever its relay says. The device's duty to be off goes on."""

    def move(fresh: DeviceSession, now: datetime) -> bool:
        if fresh.state not in LIVE or fresh.state == State.HELD:
            return False
        _staff_acted("force_end", fresh, user, reason)
        return transition(fresh, Move(State.CANCELLED, Reason.FORCE_ENDED), now=now, by=actor(user))

    return _locked(session, move)


def mark_failed(session: DeviceSession, user: User, reason: str) -> bool:
    """The machine did not do what was paid for, whatever its relay said: power off, and every cent goes back."""

    def move(fresh: DeviceSession, now: datetime) -> bool:
        if fresh.state not in (*BEFORE_POWER, State.RUNNING, State.PAUSED):
            return False
        _staff_acted("marked_failed", fresh, user, reason)
        fresh.delivered_s = 0
        return transition(fresh, Move(State.CANCELLED, Reason.FORCE_ENDED), now=now, by=actor(user), delivered_s=0)

    return _locked(session, move)


def retry_activation(session: DeviceSession, user: User, reason: str) -> bool:
    """Send the ON again at once instead of waiting for its next round."""

    def move(fresh: DeviceSession, _now: datetime) -> bool:
        if fresh.state not in POWERED or not retry_now(fresh.device):
            return False
        _staff_acted("retry_activation", fresh, user, reason)
        return True

    return _locked(session, move)


def actor(user: User) -> str:
    """How the audit log names a person: no address, but traceable."""
    return f"user:{user.pk}"


def _staff_acted(kind: str, session: DeviceSession, user: User, reason: str, **data: Any) -> None:
    audit.write(kind, actor=actor(user), session=session.pk, device=session.device_id, reason=reason[:200], **data)


def _locked(session: DeviceSession, move: Callable[[DeviceSession, datetime], bool]) -> bool:
    def transact() -> bool:
        with transaction.atomic():
            fresh = (
                DeviceSession.objects.select_for_update(of=("self",))
                .select_related("device__location", "device__account")
                .get(pk=session.pk)
            )
            return move(fresh, clock.now())

    return made_again(transact)
