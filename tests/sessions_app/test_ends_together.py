"""Sessions whose time is over at the same moment: moved together, each with all that one alone would get."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from devices.models import Device, RelayCommand
from devices.relays.models import CommandState
from hygate.due import Claim
from hygate.due.claims import claim
from hygate.due.registry import handler_for
from hygate.due.running import run
from hygate.due.sweep import sweep
from sessions_app import moves, rules
from sessions_app.models import DeviceSession, Payment
from sessions_app.states import PaymentStatus, Reason, State
from tests.conftest import START
from tests.world import STRIP, World, kinds_of

PRICE = 250
LABEL = "sessions_app.devicesession"
pytestmark = pytest.mark.django_db(transaction=True)


def running(world: World, number: int, *, ends_in_s: float = 0, **order: Any) -> DeviceSession:
    """A paid session on one socket of the strip, mostly one that ends now."""
    device = world.device if number == 0 else world.add_device(STRIP, number, f"Socket {number}", f"SOCKET{number}")
    ends_at = world.now + timedelta(seconds=ends_in_s)
    started_at = ends_at - timedelta(hours=1)
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


def test_ends_half_a_gap_apart_on_one_account_leave_in_one_request_with_the_later_one(world: World) -> None:
    """Two requests would make the second wait for the account's gap: the first is late by half of that instead."""
    near = [running(world, number, ends_in_s=0.9 + 0.5 * number) for number in range(2)]
    sweep(run)
    world.go(30)
    for session in near:
        session.refresh_from_db()
    assert {one.state for one in near} == {State.COMPLETED}
    assert {one.off_requested_at for one in near} == {near[1].ends_at}
    (asked,) = world.switched()
    assert len(asked["body"]["switch"]["ids"]) == 2


def test_ends_further_apart_leave_each_in_their_own_time(world: World) -> None:
    sessions = [running(world, number, ends_in_s=0.3 + 0.7 * number) for number in range(2)]
    sweep(run)
    for session in sessions:
        session.refresh_from_db()
        assert session.off_requested_at == session.ends_at


def test_where_an_account_has_no_gap_no_end_waits_for_another(world: World, settings: Any) -> None:
    settings.NUMBERS = replace(settings.NUMBERS, gap_s=0)
    sessions = [running(world, number, ends_in_s=0.2 + 0.1 * number) for number in range(2)]
    assert moves.moments(claims_of(sessions)) == {}


def claims_of(sessions: list[DeviceSession]) -> list[Claim]:
    return [Claim(LABEL, one.pk, uuid.uuid4(), one.due_at) for one in sessions if one.due_at]


def test_what_is_overdue_waits_for_nothing(world: World) -> None:
    late, soon = running(world, 0, ends_in_s=-0.1), running(world, 1, ends_in_s=0.1)
    assert moves.moments(claims_of([late, soon])) == {}


def moment(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def test_a_group_never_holds_its_first_end_for_more_than_about_half_a_gap() -> None:
    ends = [(number, 7, moment(0.4 * number)) for number in range(5)]
    found = rules.common_ends(ends, {0}, gap_s=1.0)
    assert found == {0: moment(0.4), 1: moment(0.4)}
    assert rules.common_ends(ends, {2, 4}, gap_s=1.0) == {2: moment(1.2), 3: moment(1.2)}


def test_ends_on_different_accounts_have_nothing_to_do_with_each_other() -> None:
    assert rules.common_ends([(1, 7, moment(0)), (2, 8, moment(0.1))], {1, 2}, gap_s=1.0) == {}


def test_many_sessions_close_in_no_more_statements_than_two(world: World) -> None:
    """Their relays were read back off together: one after the other they took seven statements each."""
    counts = []
    for numbers in (range(2), range(4, 10)):
        pks = [running(world, number).pk for number in numbers]
        DeviceSession.objects.filter(pk__in=pks).update(state=State.STOPPING, due_at=None)
        sessions = list(DeviceSession.objects.select_related("device").filter(pk__in=pks))
        with transaction.atomic(), CaptureQueriesContext(connection) as asked:
            moves.finish_together(dict.fromkeys(sessions, world.now))
        counts.append(len(asked))
        for one in sessions:
            one.refresh_from_db()
            assert (one.state, one.closed_at, one.due_at) == (State.COMPLETED, world.now, None)
            assert "session_completed" in kinds_of(one)
    assert counts[1] <= counts[0]


def test_a_session_that_was_stopped_closes_as_cancelled_beside_one_that_ran_its_time(world: World) -> None:
    ran, stopped = running(world, 0), running(world, 1)
    DeviceSession.objects.update(state=State.STOPPING, due_at=None, delivered_s=60)
    DeviceSession.objects.filter(pk=stopped.pk).update(reason=Reason.STOPPED_BY_GUEST)
    ran.refresh_from_db()
    stopped.refresh_from_db()
    with transaction.atomic():
        moves.finish_together({ran: world.now, stopped: world.now + timedelta(seconds=1)})
    ran.refresh_from_db()
    stopped.refresh_from_db()
    assert (ran.state, ran.closed_at) == (State.COMPLETED, world.now)
    assert (stopped.state, stopped.closed_at) == (State.CANCELLED, world.now + timedelta(seconds=1))
