"""What a relay's outcome means for the session that wanted it. Runs inside the relay room's transaction."""

from __future__ import annotations

from datetime import timedelta

import structlog
from django.conf import settings
from django.db.models import Q

from devices.models import RelayCommand
from devices.relays.commands import expect_off, on_covered_until, order_on, session_of
from devices.relays.outcomes import AboutToChange, RelayOutcome, RelayOutcomes
from sessions_app import premature_off
from sessions_app.models import DeviceSession
from sessions_app.moves import finish_together, transition
from sessions_app.payments import settlement
from sessions_app.rules import Move
from sessions_app.states import Reason, State

REARM_SLACK_S = 5
log = structlog.get_logger(__name__)


def lock_sessions(change: AboutToChange) -> None:
    """A session's row is locked before its commands' and its device's, as every move of a session does it."""
    pks = [pk for pk in map(session_of, change.wanted_by) if pk is not None]
    if pks or change.devices:
        wanted = Q(pk__in=pks) | Q(device_id__in=change.devices, state=State.RUNNING)
        list(DeviceSession.objects.select_for_update().filter(wanted).order_by("device_id").values_list("pk"))


def on_relay_outcomes(told: RelayOutcomes) -> None:
    """Confirmed ON starts the guest's minutes; confirmed OFF closes; an ON that can never succeed gives back."""
    owned = {pk: one for one in told.each if (pk := session_of(one.wanted_by)) is not None}
    if not owned:
        return
    rows = DeviceSession.objects.select_for_update(of=("self",)).select_related("device__location").filter(pk__in=owned)
    sessions = list(rows.order_by("device_id"))
    if missing := owned.keys() - {one.pk for one in sessions}:
        log.warning("relay_outcome.no_session", commands=[owned[pk].command_id for pk in missing])
    finished = {one: owned[one.pk].at for one in sessions if _is_finished(one, owned[one.pk])}
    if finished:
        finish_together(finished)
    for session in sessions:
        outcome = owned[session.pk]
        if outcome.on and outcome.result == "confirmed":
            _confirmed_on(session, outcome)
        elif outcome.on:
            _failed_on(session, outcome)


def _is_finished(session: DeviceSession, outcome: RelayOutcome) -> bool:
    return not outcome.on and outcome.result == "confirmed" and session.state == State.STOPPING


def _confirmed_on(session: DeviceSession, outcome: RelayOutcome) -> None:
    """The minutes count from the confirmed ON: since when the relay is proven to give power, never from the asking.

    A timer that would end them early is armed anew with what is left.
    """
    if session.state == State.STARTING:
        started_at = outcome.on_since or outcome.at
        ends_at = started_at + timedelta(seconds=session.duration_s)
        transition(
            session,
            Move(State.RUNNING),
            now=outcome.at,
            started_at=started_at,
            ends_at=ends_at,
            timer_ends_at=outcome.timer_ends_at,
        )
    elif session.state == State.PAUSED:
        _power_back(session, outcome)
    elif session.state == State.RUNNING:
        if session.paused_at is not None:
            premature_off.came_back(session, max(outcome.on_since or outcome.at, session.paused_at))
        else:
            _credit_gap(session, outcome)
        DeviceSession.objects.filter(pk=session.pk).update(timer_ends_at=outcome.timer_ends_at)
        expect_off(session.device_id, session.ends_at)
    else:
        return
    if session.ends_at is not None and _too_short(outcome, session):
        # until the new timer is confirmed nobody knows when the relay's own ends: it proves nothing meanwhile
        DeviceSession.objects.filter(pk=session.pk).update(timer_ends_at=None)
        order_on(session.device, reason="rearm", wanted_by=outcome.wanted_by, until=session.ends_at)
    else:
        settlement.want_extensions(session, outcome.at)


def _credit_gap(session: DeviceSession, outcome: RelayOutcome) -> None:
    """A timer that was armed anew too late: the relay was off from the old one's end until this ON, and nobody looked.

    The minutes stood still then. Only where the ON itself left after the old timer had run out: one that left before
    reached a relay that was on, however late it is read back.
    """
    if session.timer_ends_at is not None:
        return
    covered_until = on_covered_until(session.device_id, before=outcome.command_id)
    sent_at = RelayCommand.objects.values_list("last_sent_at", flat=True).get(pk=outcome.command_id)
    if covered_until is None or sent_at is None or sent_at <= covered_until:
        return
    session.paused_at = covered_until
    premature_off.came_back(session, outcome.on_since or outcome.at)


def _power_back(session: DeviceSession, outcome: RelayOutcome) -> None:
    """A power hold is over since the relay was confirmed on: the minutes go on and end later by its length."""
    assert session.ends_at is not None
    assert session.paused_at is not None
    on_at = max(outcome.on_since or outcome.at, session.paused_at)
    ends_at, held_ms = premature_off.resumed(session.ends_at, session.paused_at, on_at)
    transition(
        session,
        Move(State.RUNNING),
        now=outcome.at,
        ends_at=ends_at,
        paused_ms=session.paused_ms + held_ms,
        paused_at=None,
        pause_ends_at=None,
        timer_ends_at=outcome.timer_ends_at,
    )


def _too_short(outcome: RelayOutcome, session: DeviceSession) -> bool:
    assert session.ends_at is not None
    if outcome.timer_ends_at is None:
        return False
    slack_s = min(REARM_SLACK_S, settings.NUMBERS.timer_margin_s - 1)
    return outcome.timer_ends_at < session.ends_at + timedelta(seconds=slack_s)


def _failed_on(session: DeviceSession, outcome: RelayOutcome) -> None:
    if session.state == State.STARTING:
        transition(session, Move(State.CANCELLED, Reason.START_FAILED), now=outcome.at)
    elif session.state == State.RUNNING and session.paused_at is not None:
        premature_off.re_on_failed(session, outcome)
