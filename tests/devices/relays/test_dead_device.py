"""A device that does not answer must not hold up the others of its account."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from devices.models import Device, RelayCommand, ShellyAccount
from devices.relays.steps import Step, Wait, next_step
from hygate.numbers import Numbers

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
NUMBERS = Numbers()


def off(*, failed_last: bool, due_s: float = 0.0) -> RelayCommand:
    device = Device(pk=1, shelly_id="e86b00000001", failed_last=failed_last)
    at = NOW - timedelta(seconds=due_s)
    return RelayCommand(pk=1, device=device, on=False, next_at=at, created_at=at)


def step(command: RelayCommand, *, others_end_in_s: float | None) -> Step | Wait:
    expected = None if others_end_in_s is None else NOW + timedelta(seconds=others_end_in_s)
    return next_step(ShellyAccount(pk=1), [command], expected, NOW, NUMBERS)


def test_an_off_that_may_hang_lets_an_end_that_is_due_meanwhile_go_first() -> None:
    found = step(off(failed_last=True), others_end_in_s=4)
    assert found == Wait(NOW + timedelta(seconds=4.5))


def test_an_off_of_a_sound_device_leaves_at_once_whatever_ends_next() -> None:
    assert isinstance(step(off(failed_last=False), others_end_in_s=4), Step)


def test_an_off_that_may_hang_leaves_at_once_when_no_end_is_near() -> None:
    assert isinstance(step(off(failed_last=True), others_end_in_s=7), Step)
    assert isinstance(step(off(failed_last=True), others_end_in_s=None), Step)


def test_an_off_that_may_hang_waits_for_others_no_longer_than_ten_seconds() -> None:
    assert step(off(failed_last=True, due_s=9), others_end_in_s=4) == Wait(NOW + timedelta(seconds=1))
    assert isinstance(step(off(failed_last=True, due_s=10), others_end_in_s=4), Step)
