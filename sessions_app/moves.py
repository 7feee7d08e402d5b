"""Moving a session: one ``transition()``, and what each move calls for in the same transaction."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction

from devices.energy import headroom as power
from devices.relays.blocking import Blocked, block
from devices.relays.commands import (
    OffWish,
    accounts_hurried_last,
    expect_off,
    on_covered_until,
    order_off,
    order_offs,
    order_on,
)
from hygate import audit, clock, clock_watch
from hygate.due import Claim, still_mine, wake
from hygate.each import update_each
from hygate.models import AuditEvent
from sessions_app import metering, money, rules
from sessions_app.mail import services as mail
from sessions_app.models import DeviceSession
from sessions_app.payments import settlement
from sessions_app.queue import line
from sessions_app.rules import Move
from sessions_app.states import MOVES, TERMINAL, Reason, State

ASKS_FOR_POWER = (State.GRACE, State.WAITING_FOR_POWER)
MOST_ENDS = 1000
POWERED = (State.STARTING, State.RUNNING, State.PAUSED)


class ForbiddenMove(Exception):
    """A move that the table of moves does not know: a programming error."""


def advance(claims: Sequence[Claim]) -> None:
    """The engine's entry: make every move that is due among ``claims``, in one transaction."""
    with transaction.atomic(), accounts_hurried_last():
        now = clock.now()
        mine = still_mine(claims)
        rows = DeviceSession.objects.select_for_update(of=("self",)).select_related("device__location").filter(mine)
        due = list(rows.order_by("device_id"))
        power.lock_sites(one.device for one in due if one.state in ASKS_FOR_POWER)
        ends = [one for one in due if rules.ends_plainly(one, now=now, numbers=settings.NUMBERS)]
        if len(ends) > 1:
            _end_together(ends, now)
            due = [one for one in due if one not in ends]
        for session in due:
            step(session, now=now, token=session.claim_token)


def moments(claims: Sequence[Claim]) -> dict[int, datetime]:
    """The engine's question: which ends go together with others on their account, also with some that are due next."""
    now, gap_s = clock.now(), settings.NUMBERS.gap_s
    claimed = {one.pk for one in claims if one.due_at > now}
    if not claimed or not gap_s:
        return {}
    until = max(one.due_at for one in claims) + timedelta(seconds=gap_s)
    running = DeviceSession.objects.filter(state=State.RUNNING, paused_at=None, due_at__gt=now, due_at__lte=until)
    ends = list(running.order_by("due_at").values_list("pk", "device__account_id", "due_at")[:MOST_ENDS])
    return rules.common_ends(((pk, account, end) for pk, account, end in ends if end), claimed, gap_s=gap_s)


def _end_together(sessions: Sequence[DeviceSession], now: datetime) -> None:
    """What ``transition`` to STOPPING does, for many sessions whose time is over, in a handful of statements.

    The rows are locked and were chosen by their claim tokens, so no one else can have moved them.
    """
    alike: dict[tuple[int, datetime | None], list[int]] = defaultdict(list)
    for session in sessions:
        session.state, session.delivered_s = State.STOPPING, _delivered(session, now)
        session.due_at = rules.due_at(session, now)
        alike[session.delivered_s, session.due_at].append(session.pk)
    ended = {"state": State.STOPPING, "off_requested_at": now, "claimed_until": None, "claim_token": uuid.uuid4()}
    for (delivered_s, due_at), pks in alike.items():
        DeviceSession.objects.filter(pk__in=pks).update(delivered_s=delivered_s, due_at=due_at, **ended)
    audit.write_all(_event(one, State.RUNNING, "hygate", "") for one in sessions)
    settlement.settle_sessions(sessions, now, by="hygate")
    order_offs([OffWish(one.device_id, "end", f"session:{one.pk}") for one in sessions])
    for session in sessions:
        _wake_if_due(session, now)


def may_start(session: DeviceSession, now: datetime) -> bool:
    """Whether a paid session may be switched on: the site can carry it, and our clock is not known to be wrong."""
    return power.headroom(session.device, now, session=session.pk).ok and not clock_watch.stops_starts()


def step(session: DeviceSession, *, now: datetime, token: uuid.UUID | None = None) -> bool:
    """Make the move that is due, if any; otherwise set the next moment to look."""
    # asked only where a start depends on it: whatever the energy side does, an end must never wait for its answer
    power_ok = session.state not in ASKS_FOR_POWER or may_start(session, now)
    move = rules.decide(session, power_ok=power_ok, now=now, numbers=settings.NUMBERS)
    if move is None:
        due = rules.due_at(session, now)
        DeviceSession.objects.filter(pk=session.pk, claim_token=token).update(due_at=due, claimed_until=None)
        return False
    proof = "timer" if session.state == State.STOPPING else ""
    return transition(session, move, now=now, token=token, proof=proof)


def transition(
    session: DeviceSession,
    move: Move,
    *,
    now: datetime,
    token: uuid.UUID | None = None,
    by: str = "hygate",
    proof: str = "",
    **columns: Any,
) -> bool:
    """Carry out ``move``; false when somebody else moved the session first (nothing is changed then).

    ``proof`` says what shows that the relay is off: a reading, or its own timer having run out.

    1. A conditional UPDATE from the state that was seen; a holder also matches its claim token. An outsider sets a
       new token and clears the lease, so that a sleeping holder's write matches nothing.
    2. In the same transaction: the audit event, the settlement where power ends, the wish for the relay.
    """
    assert transaction.get_connection().in_atomic_block, "a move belongs into a transaction"
    before = State(session.state)
    if move.to not in MOVES[before]:
        raise ForbiddenMove(f"{before} → {move.to} is not in the table of moves")
    columns |= _columns(session, move, now)
    for name, value in columns.items():
        setattr(session, name, value)
    session.state = move.to
    session.due_at = rules.due_at(session, now)
    rows = DeviceSession.objects.filter(pk=session.pk, state=before)
    if token is not None:
        rows = rows.filter(claim_token=token)
    session.claim_token = uuid.uuid4()
    moved = rows.update(
        state=move.to, due_at=session.due_at, claimed_until=None, claim_token=session.claim_token, **columns
    )
    if not moved:
        return False
    audit.write_all([_event(session, before, by, proof)])
    _consequences(session, before, now, by)
    if session.state in TERMINAL:
        _over([session], now)
    if _starts_at_once(session, now):
        step(session, now=now, token=session.claim_token)
    else:
        _wake_if_due(session, now)
    return True


def finish_together(sessions: Mapping[DeviceSession, datetime]) -> None:
    """What ``transition`` to a session's last state does, for many whose relays were read back off at these moments.

    The rows are stopping ones and locked.
    """
    changes: dict[int, dict[str, Any]] = {}
    for session, at in sessions.items():
        move = rules.finish(session)
        columns = _columns(session, move, at) | {"state": move.to, "due_at": None}
        for name, value in columns.items():
            setattr(session, name, value)
        changes[session.pk] = columns | {"claimed_until": None, "claim_token": uuid.uuid4()}
    update_each(DeviceSession, changes)
    audit.write_all(_event(one, State.STOPPING, "hygate", "reading") for one in sessions)
    _over(list(sessions), max(sessions.values()))


def _over(sessions: Sequence[DeviceSession], now: datetime) -> None:
    """Whoever waits for the watts, the devices or the news of these sessions, which are terminal now."""
    pks = [one.pk for one in sessions]
    power.release(pks, now)
    line.freed([one.device_id for one in sessions], now)
    mail.due_when_over(pks, now)


def _starts_at_once(session: DeviceSession, now: datetime) -> bool:
    """Whether it was sold without a grace: then what paid for it starts it, and no worker has to be woken in between.

    Not where watts are asked for: the site is locked before the payment, and by now that is locked.
    """
    over = session.grace_ends_at is not None and session.grace_ends_at <= now
    return session.state == State.GRACE and over and not session.device.is_high_power


def _wake_if_due(session: DeviceSession, now: datetime) -> None:
    if session.due_at is not None and session.due_at <= now + timedelta(seconds=settings.NUMBERS.sweep_ahead_s):
        wake(session)


def _columns(session: DeviceSession, move: Move, now: datetime) -> dict[str, Any]:
    """The clocks and marks that a move sets."""
    columns: dict[str, Any] = {}
    if move.reason is not None:
        columns["reason"] = move.reason
    match move.to:
        case State.GRACE:
            columns["grace_ends_at"] = now + timedelta(seconds=session.grace_s)
        case State.WAITING_FOR_POWER:
            columns["power_wait_ends_at"] = now + timedelta(seconds=settings.NUMBERS.longest_power_wait_s)
        case State.STARTING:
            columns["start_window_ends_at"] = now + timedelta(seconds=settings.NUMBERS.start_window_s)
        case State.PAUSED:
            columns["paused_at"] = min(now, _proven_until(session) or now)
            columns["timer_ends_at"] = None  # the OFF ends it: it proves nothing any more
            columns["pause_ends_at"] = now + timedelta(seconds=settings.NUMBERS.longest_pause_s)
        case State.STOPPING:
            columns["off_requested_at"] = now
        case State.COMPLETED | State.CANCELLED:
            columns["closed_at"] = now
    return columns | _delivery(session, move, now) | _energy(session, move)


def _delivery(session: DeviceSession, move: Move, now: datetime) -> dict[str, Any]:
    """What was delivered, counted once, where power ends. An end in its time that did not deliver all says why."""
    if move.to not in (State.STOPPING, State.CANCELLED) or session.delivered_s is not None:
        return {}
    delivered_s = _delivered(session, now)
    if move == Move(State.STOPPING) and delivered_s < session.duration_s:
        return {"delivered_s": delivered_s, "reason": Reason.RECONCILIATION}
    return {"delivered_s": delivered_s}


def _energy(session: DeviceSession, move: Move) -> dict[str, float | None]:
    """Where the device's counter stood at the confirmed ON, and what was used by the close."""
    counter_wh = session.device.energy_wh
    if move.to == State.RUNNING and session.state == State.STARTING:
        return {"energy_from_wh": counter_wh}
    if move.to in TERMINAL:
        return {"energy_wh": metering.used_wh(session.energy_from_wh, counter_wh)}
    return {}


def _delivered(session: DeviceSession, now: datetime) -> int:
    if session.started_at is None:
        return 0
    off_at = min(filter(None, (now, session.paused_at, _proven_until(session))))
    return money.delivered_s(
        started_at=session.started_at, off_at=off_at, paused_ms=session.paused_ms, bought_s=session.duration_s
    )


def _proven_until(session: DeviceSession) -> datetime | None:
    """Until when the relay was on for certain while a timer that was to be armed anew has not been read back.

    An extension whose ON never arrived ends with the timer before it: what nobody confirmed is not charged.
    """
    if session.state != State.RUNNING or session.paused_at is not None or session.timer_ends_at is not None:
        return None
    return on_covered_until(session.device_id)


def _consequences(session: DeviceSession, before: State, now: datetime, by: str) -> None:
    owner = f"session:{session.pk}"
    _promise(session, now)
    if session.state == State.STARTING:
        order_on(
            session.device,
            reason="start",
            wanted_by=owner,
            for_s=session.duration_s,
            give_up_at=session.start_window_ends_at,
        )
    elif session.state == State.RUNNING:
        expect_off(session.device_id, session.ends_at)
        settlement.want_capture(session, now)
    elif session.state == State.PAUSED:
        expect_off(session.device_id, None)
        order_off(session.device, reason="power_hold", wanted_by=owner)
    elif session.state == State.STOPPING:
        settlement.settle_session(session, now, by=by)
        order_off(session.device, reason=session.reason or "end", wanted_by=owner)
        if rules.is_fought_over(session, settings.NUMBERS):
            block(session.device_id, reason=Blocked.FOUGHT_OVER, session=session.pk)
    elif session.state == State.CANCELLED and before != State.STOPPING:
        settlement.settle_session(session, now, by=by)
        if before in POWERED:
            order_off(session.device, reason=session.reason, wanted_by=owner)


def _promise(session: DeviceSession, now: datetime) -> None:
    """What the move means for the watts that were promised to the session."""
    if session.state == State.WAITING_FOR_POWER:
        power.waits(session.pk, now)
    elif session.state == State.STARTING:
        power.switched(session.pk, now)
    elif session.state == State.RUNNING:
        power.runs(session.pk, session.started_at or now, now)
    elif session.state == State.PAUSED:
        power.pauses(session.pk, now)


def _event(session: DeviceSession, before: State, by: str, proof: str) -> AuditEvent:
    data: dict[str, Any] = {"from": before, "to": session.state}
    if proof:
        data["proof"] = proof
    if session.reason:
        data["reason"] = session.reason
    if session.state == State.RUNNING and session.ends_at is not None:
        data["ends_at"] = session.ends_at.isoformat()
    if session.delivered_s is not None:
        data["delivered_s"] = session.delivered_s
    return audit.event(f"session_{session.state}", actor=by, session=session.pk, device=session.device_id, **data)
