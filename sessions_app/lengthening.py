"""Moving the end of a session that has power: minutes that a guest bought, or that staff gives.

Called in a transaction that holds the session's row; ``arm_anew`` comes after everything that locks a payment.
"""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta

from django.conf import settings

from devices.relays.commands import expect_off, order_on
from hygate.due import wake
from sessions_app import rules
from sessions_app.models import DeviceSession
from sessions_app.states import State


def lengthen(session: DeviceSession, seconds: int, now: datetime) -> bool:
    """Move the end by ``seconds``; answers whether the relay's timer must be armed anew (``arm_anew``).

    It must not while the session stands still: the ON that resumes it is armed with what is left then. Until the new
    timer is read back nobody knows when the relay goes off by itself, so it proves nothing.
    """
    assert session.ends_at is not None
    session.duration_s += seconds
    session.ends_at += timedelta(seconds=seconds)
    arms = session.state == State.RUNNING and session.paused_at is None
    if arms:
        session.timer_ends_at = None
    _write(session, now)
    return arms


def arm_anew(session: DeviceSession, *, reason: str) -> None:
    expect_off(session.device_id, session.ends_at)
    order_on(session.device, reason=reason, wanted_by=f"session:{session.pk}", until=session.ends_at)


def _write(session: DeviceSession, now: datetime) -> None:
    """As an outsider to whoever holds a claim on the row, which may be the worker that waits for the old end."""
    session.due_at = rules.due_at(session, now)
    session.claim_token, session.claimed_until = uuid.uuid4(), None
    session.save(update_fields=["duration_s", "ends_at", "timer_ends_at", "due_at", "claim_token", "claimed_until"])
    if session.due_at is not None and session.due_at <= now + timedelta(seconds=settings.NUMBERS.sweep_ahead_s):
        wake(session)
