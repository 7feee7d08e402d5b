"""What a session does next, as a pure function of its row, the facts around it, and the time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from hygate.numbers import Numbers
from sessions_app.models import DeviceSession
from sessions_app.states import Reason, State

POWER_CHECK_S = 2
TIMER_PROOF_SLACK_S = 5
TOGETHER_OF_GAP = 0.55


@dataclass(frozen=True)
class Move:
    """Go to ``to``; ``reason`` says why it was not the plain way."""

    to: State
    reason: Reason | None = None


def decide(session: DeviceSession, *, power_ok: bool, now: datetime, numbers: Numbers) -> Move | None:
    """The move that is due at ``now``, or none.

    ``power_ok``: the site can carry the device (always true below the threshold). A start whose moment is longer past
    than the start window (a server that stood still) is not started any more but given back. While a relay that went
    off by itself is brought back (``paused_at`` in RUNNING), the minutes stand still and only that limit counts.
    """
    if session.state == State.GRACE and _past(session.grace_ends_at, now):
        return _after_grace(session, power_ok=power_ok, now=now, numbers=numbers)
    if session.state == State.WAITING_FOR_POWER:
        if _past(session.power_wait_ends_at, now):
            return Move(State.CANCELLED, Reason.NO_POWER)
        return Move(State.STARTING) if power_ok else None
    if session.state == State.STARTING and _past(session.start_window_ends_at, now):
        return Move(State.CANCELLED, Reason.START_FAILED)
    if session.state == State.RUNNING and session.paused_at is not None:
        return Move(State.STOPPING, Reason.RELAY_OFF) if _past(session.pause_ends_at, now) else None
    if session.state == State.RUNNING and _past(session.ends_at, now):
        return Move(State.STOPPING)
    if session.state == State.PAUSED and _past(session.pause_ends_at, now):
        return Move(State.STOPPING, Reason.NO_POWER)
    if session.state == State.STOPPING and _past(timer_proof_at(session), now):
        return finish(session)
    return None


def ends_plainly(session: DeviceSession, *, now: datetime, numbers: Numbers) -> bool:
    """Nothing has happened to it but that its time is over, and the relay's timer is known to have covered it."""
    is_covered = session.timer_ends_at is not None
    plain = session.state == State.RUNNING and session.paused_at is None and not session.reason and is_covered
    return plain and decide(session, power_ok=True, now=now, numbers=numbers) == Move(State.STOPPING)


def common_ends(
    ends: Iterable[tuple[int, int, datetime]], claimed: Collection[int], *, gap_s: float
) -> dict[int, datetime]:
    """Ends that go a little late, together with the next one on their account: by session, when.

    ``ends`` are sessions, their accounts and ends; groups without a ``claimed`` session are nobody's business yet. An
    account takes one request at a time and then none for ``gap_s``: of two ends half a second apart the second would be
    most of the gap late. In one request the first is late by that half second and the second not at all; where they lie
    further apart, the second's wait is the shorter one.
    """
    within = timedelta(seconds=TOGETHER_OF_GAP * gap_s)
    groups: dict[int, list[list[tuple[int, datetime]]]] = defaultdict(list)
    for session, account, end in sorted(ends, key=lambda one: one[2]):
        theirs = groups[account]
        if not theirs or end - theirs[-1][0][1] > within:
            theirs.append([])
        theirs[-1].append((session, end))
    together = [group for theirs in groups.values() for group in theirs if len(group) > 1]
    mine = [group for group in together if any(session in claimed for session, _ in group)]
    return {session: group[-1][1] for group in mine for session, _ in group}


def _past(moment: datetime | None, now: datetime) -> bool:
    return moment is not None and moment <= now


def _after_grace(session: DeviceSession, *, power_ok: bool, now: datetime, numbers: Numbers) -> Move:
    assert session.grace_ends_at is not None
    if now > session.grace_ends_at + timedelta(seconds=numbers.start_window_s):
        return Move(State.CANCELLED, Reason.START_FAILED)
    return Move(State.STARTING) if power_ok else Move(State.WAITING_FOR_POWER)


def finish(session: DeviceSession) -> Move:
    """How a stopping session closes: completed when it ran its time, cancelled with the reason it was stopped for."""
    if session.reason:
        return Move(State.CANCELLED, Reason(session.reason))
    return Move(State.COMPLETED)


def is_fought_over(session: DeviceSession, numbers: Numbers) -> bool:
    """Every re-ON was used and the relay went off again: something else switches it."""
    return session.reason == Reason.RELAY_OFF and session.re_ons >= numbers.re_ons > 0


def timer_proof_at(session: DeviceSession) -> datetime | None:
    """When the relay's own timer has ended power for certain, even if nobody can read the relay."""
    if session.timer_ends_at is None:
        return None
    return session.timer_ends_at + timedelta(seconds=TIMER_PROOF_SLACK_S)


def due_at(session: DeviceSession, now: datetime) -> datetime | None:
    """The earliest of the clocks that run in the session's state; null when only others can move it."""
    match session.state:
        case State.GRACE:
            return session.grace_ends_at
        case State.WAITING_FOR_POWER:
            look = now + timedelta(seconds=POWER_CHECK_S)
            return min(look, session.power_wait_ends_at) if session.power_wait_ends_at else look
        case State.STARTING:
            return session.start_window_ends_at
        case State.RUNNING:
            return session.ends_at if session.paused_at is None else session.pause_ends_at
        case State.PAUSED:
            return session.pause_ends_at
        case State.STOPPING:
            return timer_proof_at(session)
        case _:
            return None
