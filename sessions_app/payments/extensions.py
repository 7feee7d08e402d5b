"""The money of an extension: its seconds join the session in the transaction that sees it funded, or it goes back.

Money rule 9: captured when the relay's timer, armed anew, is read back; given back whole when the session was over
first. Everything here runs with the session's row locked, so that the end comes before or after, never between.
"""

from __future__ import annotations

from datetime import datetime

from hygate import audit
from sessions_app import extending, lengthening
from sessions_app.models import DeviceSession, Payment
from sessions_app.states import Purpose, State


def is_unwanted(payment: Payment) -> bool:
    """An extension that added nothing: what becomes of its money is no business of the session's."""
    return payment.purpose == Purpose.EXTENSION and payment.applied_at is None


def apply(payment: Payment, session: DeviceSession, now: datetime) -> bool:
    """Add the seconds of a funded extension; false when it came too late, and then nothing has changed.

    While the session stands still (a power hold, or a relay that is being switched on again) only its end moves: the
    ON that resumes it is armed with what is left. Otherwise the relay's timer is armed anew at once; until that is read
    back nobody knows when the relay goes off by itself, so it proves nothing.
    """
    if payment.charge_minor is not None or not _still_runs(session, now):
        return False
    if not extending.fits(session, payment.duration_s):
        return False
    arms = lengthening.lengthen(session, payment.duration_s, now)
    assert session.ends_at is not None
    Payment.objects.filter(pk=payment.pk).update(applied_at=now)
    payment.applied_at = now
    audit.write(
        "extended",
        session=session.pk,
        payment=payment.pk,
        device=session.device_id,
        for_s=payment.duration_s,
        ends_at=session.ends_at.isoformat(),
    )
    if arms:
        lengthening.arm_anew(session, reason="extend")
    return True


def _still_runs(session: DeviceSession, now: datetime) -> bool:
    """Minutes that are over are over, also while the worker that ends the session is a moment late."""
    if session.state == State.PAUSED or (session.state == State.RUNNING and session.paused_at is not None):
        return True
    return session.state == State.RUNNING and session.ends_at is not None and session.ends_at > now
