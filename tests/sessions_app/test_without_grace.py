"""A plan without a grace: what pays for it starts it, and no worker is woken in between."""

from __future__ import annotations

from typing import Any

import pytest

from devices.models import Device, RelayCommand
from hygate.alerts import raise_alert
from hygate.due.claims import claim
from hygate.due.registry import handler_for
from hygate.due.running import run
from hygate.models import Severity
from sessions_app.models import DeviceSession, Payment
from sessions_app.payments import settling
from sessions_app.states import State
from tests.world import World, kinds_of


def buy(world: World, **plan: Any) -> DeviceSession:
    return world.buy(plan=world.add_plan(world.device, **plan))


def settle(session: DeviceSession) -> DeviceSession:
    """Stripe is read; nothing else has been done by anybody."""
    settling.nudge(session)
    handler = handler_for(Payment._meta.label_lower)
    run(handler, claim(handler, limit=1, pks=[session.payments.get().pk]))
    return DeviceSession.objects.get(pk=session.pk)


def test_a_session_without_grace_is_started_with_its_payment(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    woken: list[object] = []
    monkeypatch.setattr("sessions_app.moves.wake", woken.append)
    session = settle(buy(world, grace_s=0))
    assert session.state == State.STARTING
    assert [kind for kind in kinds_of(session) if kind.startswith("session_")][-2:] == [
        "session_grace",
        "session_starting",
    ]
    assert RelayCommand.objects.get(wanted_by=f"session:{session.pk}").on
    assert woken == []


def test_a_session_with_grace_waits_for_it(world: World) -> None:
    assert settle(buy(world, grace_s=5)).state == State.GRACE


def test_where_watts_are_asked_for_the_engine_starts_which_locks_the_site_first(world: World) -> None:
    session = buy(world, grace_s=0)
    Device.objects.filter(pk=world.device.pk).update(rated_w=9_000)
    found = settle(session)
    assert (found.state, found.due_at) == (State.GRACE, found.grace_ends_at)
    assert not RelayCommand.objects.filter(wanted_by=f"session:{session.pk}").exists()


def test_with_a_clock_known_to_be_wrong_nothing_starts_at_once(world: World) -> None:
    session = buy(world, grace_s=0)
    raise_alert("clock", kind="clock", title="x", advice="y", severity=Severity.ERROR, help_anchor="clock")
    assert settle(session).state == State.WAITING_FOR_POWER
