"""Wanting something of a relay: rows that the account's queue will send. Called inside the mover's transaction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Case, F, Q, QuerySet, When
from django.db.models.functions import Least

from devices.models import Device, RelayAttempt, RelayCommand, ShellyAccount
from devices.relays import telling
from devices.relays.models import OPEN, CommandState
from devices.relays.rules import LATE_ON_S
from hygate import audit, clock
from hygate.due import wake
from hygate.models import AuditEvent

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


def order_off(device: Device, *, reason: str, wanted_by: str, not_before: datetime | None = None) -> RelayCommand:
    """Want ``device`` off, and keep wanting it until a reading proves it: nothing is sold there before.

    It is not sent before ``not_before``: an OFF that is written down with the ON it belongs to, and outlives its asker.
    """
    _must_be_off([device.pk], clock.now())
    return _order(device, RelayCommand(on=False, reason=reason, wanted_by=wanted_by), not_before=not_before)


@dataclass(frozen=True)
class OffWish:
    """One OFF that is wanted together with others."""

    device_id: int
    reason: str
    wanted_by: str


def order_offs(wishes: Sequence[OffWish]) -> None:
    """``order_off`` for many devices, each once, in a handful of statements: many sessions end at the same moment."""
    now, pks = clock.now(), [wish.device_id for wish in wishes]
    devices = {one.pk: one for one in Device.objects.select_for_update(no_key=True).filter(pk__in=pks).order_by("pk")}
    _must_be_off(pks, now)
    busy = set(RelayCommand.objects.filter(device__in=pks, state__in=OPEN).values_list("device_id", flat=True))
    commands = []
    for wish in wishes:
        device = devices[wish.device_id]
        in_flight_at = _supersede(device, now) if device.pk in busy else None
        command = RelayCommand(on=False, reason=wish.reason, wanted_by=wish.wanted_by)
        commands.append(_written_out(command, device, now, in_flight_at))
    RelayCommand.objects.bulk_create(commands)
    audit.write_all(_wanted(command) for command in commands)
    for command in commands:
        hurry_account(command.account_id, command.next_at)


def _must_be_off(pks: Sequence[int], now: datetime) -> None:
    Device.objects.filter(pk__in=pks).update(
        off_expected_at=None,
        must_be_off_since=Case(When(must_be_off_since__isnull=True, then=now), default=F("must_be_off_since")),
    )


def expect_off(device_id: int, at: datetime | None) -> None:
    """When the device will have to be switched off: no reading of its account starts shortly before."""
    Device.objects.filter(pk=device_id).update(off_expected_at=at)


def last_on_sent_at(device_id: int) -> datetime | None:
    """When an ON last left for this relay, whatever became of it."""
    sent = RelayCommand.objects.filter(device_id=device_id, on=True, last_sent_at__isnull=False)
    return sent.order_by("-id").values_list("last_sent_at", flat=True).first()


def on_covered_until(device_id: int, *, before: int | None = None) -> datetime | None:
    """Until when the timer of the last ON that was read back keeps the relay on, counted from its sending.

    ``before``: only commands older than that one. Null where no ON was ever read back.
    """
    proven = RelayCommand.objects.filter(device_id=device_id, on=True, state=CommandState.CONFIRMED)
    if before is not None:
        proven = proven.filter(pk__lt=before)
    tries = RelayAttempt.objects.filter(command=proven.order_by("-id").first(), timer_s__isnull=False)
    last = tries.order_by("-id").first()
    return last.sent_at + timedelta(seconds=last.timer_s or 0) if last is not None else None


def for_later(now: datetime) -> QuerySet[RelayCommand]:
    """The open commands that wait for their next round."""
    return RelayCommand.objects.filter(state=CommandState.QUEUED, next_at__gt=now)


def retry_now(device: Device) -> bool:
    """Send the device's open command at once instead of waiting for its next round."""
    now = clock.now()
    if not for_later(now).filter(device=device).update(next_at=now, in_round=0):
        return False
    hurry_account(device.account_id, now)
    return True


def _order(device: Device, command: RelayCommand, *, not_before: datetime | None = None) -> RelayCommand:
    assert transaction.get_connection().in_atomic_block, "a wish for a relay belongs into the mover's transaction"
    now = clock.now()
    fresh = Device.objects.get(pk=device.pk)
    in_flight_at = _supersede(device, now)
    _written_out(command, fresh, now, in_flight_at)
    if not_before is not None:
        command.next_at = max(now, not_before)
    command.save(force_insert=True)
    audit.write_all([_wanted(command)])
    hurry_account(fresh.account_id, command.next_at)
    return command


def _written_out(command: RelayCommand, device: Device, now: datetime, in_flight_at: datetime | None) -> RelayCommand:
    """``command`` with what follows from the device as it is read now, and from an ON that may still be acting."""
    command.device, command.account_id = device, device.account_id
    command.created_at = command.next_at = now
    command.mark_before, command.output_before = device.reading_mark, device.output
    if in_flight_at is not None and not command.on:
        late_s = settings.NUMBERS.command_timeout_s + LATE_ON_S
        command.confirm_from = in_flight_at + timedelta(seconds=late_s)
    return command


def _wanted(command: RelayCommand) -> AuditEvent:
    kind = f"relay_{'on' if command.on else 'off'}_wanted"
    return event_of(command, kind, reason=command.reason, for_s=command.on_for_s)


def _supersede(device: Device, now: datetime) -> datetime | None:
    """Close what was open; answers when an ON of it was last sent, if one may still be acting."""
    in_flight_at: datetime | None = None
    for old in RelayCommand.objects.select_for_update().filter(device=device, state__in=OPEN):
        if old.on and old.state in (CommandState.SENDING, CommandState.ACCEPTED):
            in_flight_at = old.last_sent_at
        RelayCommand.objects.filter(pk=old.pk).update(state=CommandState.SUPERSEDED, closed_at=now)
        audit.write_all([event_of(old, "relay_command_superseded", on=old.on, state=old.state)])
    return in_flight_at


@contextmanager
def accounts_hurried_last() -> Iterator[None]:
    """Around the body of a transaction that moves many rows: accounts are locked at its end, in one order.

    Two transactions that each want OFF of devices on the same two accounts would otherwise wait for each other.
    """
    token = _waiting.set({})
    try:
        yield
        _hurry(_waiting.get() or {})
    finally:
        _waiting.reset(token)


def hurry_account(account_id: int, at: datetime) -> None:
    """Something of this account is due at ``at``: never later than it was."""
    waiting = _waiting.get()
    if waiting is None:
        _hurry({account_id: at})
    else:
        waiting[account_id] = min(at, waiting.get(account_id, at))


def _hurry(moments: Mapping[int, datetime]) -> None:
    """Locks the rows that a release locks, in one order, so that no wish is ever forgotten."""
    rows = ShellyAccount.objects.filter(pk__in=sorted(moments))
    if len(moments) > 1:
        list(rows.select_for_update(no_key=True).order_by("pk").values_list("pk"))
    for at in sorted(set(moments.values())):
        together = ShellyAccount.objects.filter(pk__in=[pk for pk, moment in moments.items() if moment == at])
        together.update(due_at=Case(When(Q(due_at__isnull=True), then=at), default=Least(F("due_at"), at)))
    for pk in sorted(moments):
        wake(ShellyAccount(pk=pk))


def event_of(command: RelayCommand, kind: str, **data: Any) -> AuditEvent:
    """What happened to ``command``, for the audit log."""
    session = session_of(command.wanted_by)
    return audit.event(kind, session=session, device=command.device_id, command=command.pk, **data)


def session_of(wanted_by: str) -> int | None:
    """The session id in ``session:42``; the relay room knows no more of sessions than that."""
    kind, _, number = wanted_by.partition(":")
    return int(number) if kind == "session" and number.isdigit() else None
