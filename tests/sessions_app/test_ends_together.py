"""Sessions whose time is over at the same moment: moved together, each with all that one alone would get."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from devices.models import Device, RelayCommand
from devices.relays.models import CommandState
from hygate.due.claims import claim
from hygate.due.registry import handler_for
from sessions_app import moves
from sessions_app.models import DeviceSession, Payment
from sessions_app.states import PaymentStatus, State
from tests.world import STRIP, World, kinds_of

PRICE = 250
LABEL = "sessions_app.devicesession"
pytestmark = pytest.mark.django_db(transaction=True)


def running(world: World, number: int, **order: Any) -> DeviceSession:
    """A paid session on one socket of the strip that ends now."""
    device = world.device if number == 0 else world.add_device(STRIP, number, f"Socket {number}", f"SOCKET{number}")
    ends_at, started_at = world.now, world.now - timedelta(hours=1)
    session = DeviceSession.objects.create(
        reference=f"END{number}", token_hash=f"hash {number}", token="t", device=device, plan_name="Hour",
        duration_s=3600, state=State.RUNNING, created_at=started_at, hold_expires_at=started_at,
        started_at=started_at, ends_at=ends_at, due_at=ends_at, timer_ends_at=ends_at + timedelta(seconds=30),
    )  # fmt: skip
    facts = {"amount_minor": PRICE, "captured_minor": PRICE, "status": PaymentStatus.SUCCEEDED} | order
    Payment.objects.create(
        ref=f"END{number}-1", session=session, currency="eur", duration_s=3600, plan_name="Hour",
        checkout_key=f"key {number}", checkout_params="{}", **facts,
    )  # fmt: skip
    return session


def end_all() -> int:
    """Make the moves that are due; answers how many statements that took."""
    with CaptureQueriesContext(connection) as asked:
        moves.advance(claim(handler_for(LABEL), limit=50))
    return len(asked)


def test_each_gets_its_off_its_settlement_and_its_audit(world: World) -> None:
    sessions = [running(world, number) for number in range(4)]
    end_all()
    for session in sessions:
        session.refresh_from_db()
        assert (session.state, session.delivered_s, session.off_requested_at) == (State.STOPPING, 3600, world.now)
        assert session.due_at == world.now + timedelta(seconds=35)
        assert session.payments.get().charge_minor == PRICE
        assert kinds_of(session) == ["session_stopping", "settlement", "relay_off_wanted"]
        command = RelayCommand.objects.get(wanted_by=f"session:{session.pk}")
        assert (command.on, command.state, command.device_id) == (False, CommandState.QUEUED, session.device_id)
        assert Device.objects.get(pk=session.device_id).must_be_off_since == world.now


def test_an_order_that_is_not_captured_yet_is_settled_by_its_own_rule(world: World) -> None:
    running(world, 0)
    late = running(world, 1, status=PaymentStatus.AUTHORIZED, captured_minor=0)
    end_all()
    order = late.payments.get()
    assert (order.charge_minor, order.due_at) == (PRICE, world.now)


def test_an_open_on_is_superseded_by_the_off(world: World) -> None:
    sessions = [running(world, number) for number in range(2)]
    rearm = RelayCommand.objects.create(
        account=world.account, device=sessions[0].device, on=True, reason="rearm", on_until=world.now,
        state=CommandState.SENDING, last_sent_at=world.now,
    )  # fmt: skip
    end_all()
    rearm.refresh_from_db()
    off = RelayCommand.objects.get(device=sessions[0].device, on=False)
    assert rearm.state == CommandState.SUPERSEDED
    assert off.confirm_from is not None and off.confirm_from > world.now


def test_four_ends_take_no_more_statements_than_two(world: World) -> None:
    for number in range(2):
        running(world, number)
    two = end_all()
    DeviceSession.objects.update(state=State.COMPLETED, due_at=None)
    for number in range(4, 8):
        running(world, number)
    assert end_all() <= two


def test_a_session_that_another_holder_has_taken_is_left_alone(world: World) -> None:
    sessions = [running(world, number) for number in range(3)]
    claims = claim(handler_for(LABEL), limit=50)
    taken = DeviceSession.objects.filter(pk=sessions[1].pk)
    taken.update(claim_token="00000000-0000-0000-0000-000000000001")
    moves.advance(claims)
    assert [DeviceSession.objects.get(pk=one.pk).state for one in sessions] == [
        State.STOPPING, State.RUNNING, State.STOPPING,
    ]  # fmt: skip
