"""Wanting something of a relay: rows that the account's queue will send. Called inside the mover's transaction."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Case, F, Q, When
from django.db.models.functions import Least

from devices.models import Device, RelayCommand, ShellyAccount
from devices.relays import telling
from devices.relays.models import OPEN, CommandState
from devices.relays.rules import LATE_ON_S
from hygate import audit, clock
from hygate.due import wake

_waiting: ContextVar[dict[int, datetime] | None] = ContextVar("accounts_waiting", default=None)


def order_on(
    device: Device,
    *,
    reason: str,
    wanted_by: str,
    for_s: int | None = None,
    until: datetime | None = None,
    give_up_at: datetime | None = None,
    not_before: datetime | None = None,
) -> RelayCommand:
    """Want ``device`` on, for ``for_s`` seconds from its confirmation or until ``until``. Supersedes what was open.

    It is not sent before ``not_before``, nor after ``give_up_at``.
    """
    Device.objects.filter(pk=device.pk).update(must_be_off_since=None, off_confirmed_at=None)
    telling.off_is_not_wanted(device.pk)
    return _order(
        device,
        RelayCommand(
            on=True, reason=reason, wanted_by=wanted_by, on_for_s=for_s, on_until=until, give_up_at=give_up_at
        ),
        not_before=not_before,
    )


def order_off(device: Device, *, reason: str, wanted_by: str) -> RelayCommand:
    """Want ``device`` off, and keep wanting it until a reading proves it: nothing is sold there before."""
    now = clock.now()
    Device.objects.filter(pk=device.pk).update(
        off_expected_at=None,
        must_be_off_since=Case(When(must_be_off_since__isnull=True, then=now), default=F("must_be_off_since")),
    )
    return _order(device, RelayCommand(on=False, reason=reason, wanted_by=wanted_by))


def expect_off(device_id: int, at: datetime | None) -> None:
    """When the device will have to be switched off: no reading of its account starts shortly before."""
    Device.objects.filter(pk=device_id).update(off_expected_at=at)


def last_on_sent_at(device_id: int) -> datetime | None:
    """When an ON last left for this relay, whatever became of it."""
    sent = RelayCommand.objects.filter(device_id=device_id, on=True, last_sent_at__isnull=False)
    return sent.order_by("-id").values_list("last_sent_at", flat=True).first()


def retry_now(device: Device) -> bool:
    """Send the device's open command at once instead of waiting for its next round."""
    now = clock.now()
    waiting = RelayCommand.objects.filter(device=device, state=CommandState.QUEUED, next_at__gt=now)
    if not waiting.update(next_at=now, in_round=0):
        return False
    hurry_account(device.account_id, now)
    return True


def _order(device: Device, command: RelayCommand, *, not_before: datetime | None = None) -> RelayCommand:
    assert transaction.get_connection().in_atomic_block, "a wish for a relay belongs into the mover's transaction"
    now = clock.now()
    fresh = Device.objects.get(pk=device.pk)
    in_flight_at = _supersede(device, now)
    command.device, command.account_id = fresh, fresh.account_id
    command.created_at = now
    command.next_at = max(now, not_before) if not_before is not None else now
    command.mark_before, command.output_before = fresh.reading_mark, fresh.output
    if in_flight_at is not None and not command.on:
        late_s = settings.NUMBERS.command_timeout_s + LATE_ON_S
        command.confirm_from = in_flight_at + timedelta(seconds=late_s)
    command.save(force_insert=True)
    audit.write(
        f"relay_{'on' if command.on else 'off'}_wanted",
        session=session_of(command.wanted_by),
        device=device.pk,
        command=command.pk,
        reason=command.reason,
        for_s=command.on_for_s,
    )
    hurry_account(fresh.account_id, command.next_at)
    return command


def _supersede(device: Device, now: datetime) -> datetime | None:
    """Close what was open; answers when an ON of it was last sent, if one may still be acting."""
    in_flight_at: datetime | None = None
    for old in RelayCommand.objects.select_for_update().filter(device=device, state__in=OPEN):
        if old.on and old.state in (CommandState.SENDING, CommandState.ACCEPTED):
            in_flight_at = old.last_sent_at
        RelayCommand.objects.filter(pk=old.pk).update(state=CommandState.SUPERSEDED, closed_at=now)
        audit.write(
            "relay_command_superseded",
            session=session_of(old.wanted_by),
            device=device.pk,
            command=old.pk,
            on=old.on,
            state=old.state,
        )
    return in_flight_at


@contextmanager
def accounts_hurried_last() -> Iterator[None]:
    """Around the body of a transaction that moves many rows: accounts are locked at its end, in one order.

    Two transactions that each want OFF of devices on the same two accounts would otherwise wait for each other.
    """
    token = _waiting.set({})
    try:
        yield
        for account_id, at in sorted((_waiting.get() or {}).items()):
            _hurry(account_id, at)
    finally:
        _waiting.reset(token)


def hurry_account(account_id: int, at: datetime) -> None:
    """Something of this account is due at ``at``: never later than it was."""
    waiting = _waiting.get()
    if waiting is None:
        _hurry(account_id, at)
    else:
        waiting[account_id] = min(at, waiting.get(account_id, at))


def _hurry(account_id: int, at: datetime) -> None:
    """Locks the row that a release locks, so that no wish is ever forgotten."""
    ShellyAccount.objects.filter(pk=account_id).update(
        due_at=Case(When(Q(due_at__isnull=True), then=at), default=Least(F("due_at"), at))
    )
    wake(ShellyAccount(pk=account_id))


def session_of(wanted_by: str) -> int | None:
    """The session id in ``session:42``; the relay room knows no more of sessions than that."""
    kind, _, number = wanted_by.partition(":")
    return int(number) if kind == "session" and number.isdigit() else None
