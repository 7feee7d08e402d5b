"""A worker that died with a command on its way: what its successor does first."""

from __future__ import annotations

from typing import Any

import pytest

from devices.models import RelayAttempt, RelayCommand, ShellyAccount
from devices.relays import results
from devices.relays.models import AttemptKind, AttemptOutcome, CommandState
from tests.world import World

pytestmark = pytest.mark.django_db(transaction=True)


def on_its_way(world: World, **wish: Any) -> RelayCommand:
    command = RelayCommand.objects.create(
        account=world.account, device=world.device, reason="test", state=CommandState.SENDING, attempts=1,
        last_sent_at=world.now, **wish,
    )  # fmt: skip
    RelayAttempt.objects.create(command=command, number=1, sent_at=world.now)
    return command


def test_an_off_is_sent_again_at_once(world: World) -> None:
    command = results.recovered(on_its_way(world, on=False), world.now)
    assert (command.state, command.next_at) == (CommandState.QUEUED, world.now)
    assert command.tries.get().outcome == AttemptOutcome.UNKNOWN


def test_an_on_is_read_before_it_is_sent_again(world: World) -> None:
    command = results.recovered(on_its_way(world, on=True, on_for_s=60), world.now)
    assert command.state == CommandState.ACCEPTED


def test_the_successor_carries_a_lost_off_through_without_reading_first(world: World) -> None:
    command = on_its_way(world, on=False)
    ShellyAccount.objects.update(due_at=world.now)
    world.go(5)
    command.refresh_from_db()
    assert command.state == CommandState.CONFIRMED
    assert [one.kind for one in command.tries.order_by("pk")][:2] == [AttemptKind.SEND, AttemptKind.SEND]
