"""A relay that goes off by itself in a paid session: by a wall button, a reboot, or another controller.

The minutes stand still from the last fresh reading that showed it on until it is confirmed on again; ``ends_at`` moves
by that time. It is switched on again at most twice a session, ten seconds apart, so that a contactor does not flap
against somebody who wants it off (docs/adr/0009).
"""

from __future__ import annotations

import math
import uuid
from datetime import datetime, timedelta

from django.conf import settings

from devices.relays.commands import expect_off, last_on_sent_at, order_on
from devices.relays.models import RE_ON
from devices.relays.outcomes import RelayObserved, RelayOutcome
from devices.shelly.errors import NotConfirmed
from hygate import audit
from hygate.due import wake
from sessions_app import rules
from sessions_app.models import DeviceSession
from sessions_app.moves import transition
from sessions_app.rules import Move
from sessions_app.states import Reason, State

MILLISECOND = timedelta(milliseconds=1)


def resumed(ends_at: datetime, off_since: datetime, on_again_at: datetime) -> tuple[datetime, int]:
    """The end of the minutes and the milliseconds that they stood still, rounded up: both grow by the same.

    A clock that ran backwards between two readings moves nothing.
    """
    off_ms = max(0, -((off_since - on_again_at) // MILLISECOND))
    return ends_at + off_ms * MILLISECOND, off_ms


def on_relay_observed(observed: RelayObserved) -> None:
    """A fresh reading of a relay that ought to be on. Runs inside the relay room's transaction, session locked."""
    session = (
        DeviceSession.objects.select_for_update(of=("self",))
        .select_related("device__location")
        .filter(device_id=observed.device_id, state=State.RUNNING)
        .first()
    )
    if session is None:
        return
    if observed.output and session.paused_at is not None:
        came_back(session, observed.at)
        # whoever switched it on armed no timer that we know of: the old one proves nothing any more
        DeviceSession.objects.filter(pk=session.pk).update(timer_ends_at=None)
        order_on(session.device, reason="rearm", wanted_by=_owner(session), until=session.ends_at)
    elif not observed.output and session.paused_at is None:
        _went_off(session, observed)


def _went_off(session: DeviceSession, observed: RelayObserved) -> None:
    assert session.started_at is not None
    since = max(session.started_at, observed.shown_on_at or session.started_at)
    audit.write(
        "relay_went_off",
        session=session.pk,
        device=session.device_id,
        since=since.isoformat(),
        re_ons=session.re_ons,
    )
    _stand_still(session, since, observed.at)
    if settings.PREMATURE_OFF != "re_on" or session.re_ons >= settings.NUMBERS.re_ons:
        _end(session, observed.at)
    else:
        _switch_on_again(session)


def _stand_still(session: DeviceSession, since: datetime, now: datetime) -> None:
    session.paused_at = since
    session.pause_ends_at = now + timedelta(seconds=settings.NUMBERS.start_window_s)
    _write(session, now, "paused_at", "pause_ends_at")
    expect_off(session.device_id, session.pause_ends_at)


def _switch_on_again(session: DeviceSession) -> None:
    """Wanted for what is left, counted from its confirmation; not sent sooner than the written pause allows."""
    assert session.ends_at is not None
    assert session.paused_at is not None
    left_s = math.ceil((session.ends_at - session.paused_at).total_seconds())
    last = last_on_sent_at(session.device_id)
    DeviceSession.objects.filter(pk=session.pk).update(re_ons=session.re_ons + 1)
    session.re_ons += 1
    order_on(
        session.device,
        reason=RE_ON,
        wanted_by=_owner(session),
        for_s=max(1, left_s),
        give_up_at=session.pause_ends_at,
        not_before=last + timedelta(seconds=settings.NUMBERS.re_on_apart_s) if last is not None else None,
    )


def came_back(session: DeviceSession, at: datetime) -> None:
    """Power is confirmed again since ``at``: the minutes go on, and end later by the time that they stood still."""
    assert session.ends_at is not None
    assert session.paused_at is not None
    session.ends_at, off_ms = resumed(session.ends_at, session.paused_at, at)
    session.paused_ms += off_ms
    session.paused_at = session.pause_ends_at = None
    _write(session, at, "ends_at", "paused_ms", "paused_at", "pause_ends_at")
    expect_off(session.device_id, session.ends_at)
    audit.write("relay_came_back", session=session.pk, device=session.device_id, off_ms=off_ms)


def re_on_failed(session: DeviceSession, outcome: RelayOutcome) -> None:
    """No reading showed it on. Once more, if there is one left; else a late reading may still show it until the limit.

    What cannot succeed at all (a refused key, a device that is gone) ends the session at once.
    """
    if outcome.error != NotConfirmed.name:
        _end(session, outcome.at)
    elif session.re_ons < settings.NUMBERS.re_ons:
        _switch_on_again(session)


def _end(session: DeviceSession, now: datetime) -> None:
    """OFF, and the money back for everything after the last reading that showed power."""
    transition(session, Move(State.STOPPING, Reason.RELAY_OFF), now=now)


def _write(session: DeviceSession, now: datetime, *columns: str) -> None:
    """As an outsider to whoever holds a claim on the row: a new token, no lease, the next moment computed anew."""
    session.due_at = rules.due_at(session, now)
    session.claim_token, session.claimed_until = uuid.uuid4(), None
    session.save(update_fields=[*columns, "due_at", "claim_token", "claimed_until"])
    wake(session)


def _owner(session: DeviceSession) -> str:
    return f"session:{session.pk}"
