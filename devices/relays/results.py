"""After an answer: what it means for the account, its commands and its devices, in one transaction."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q

from devices.models import Device, RelayAttempt, RelayCommand
from devices.relays import found, power, readings, rules, telling
from devices.relays.blocking import Blocked, block
from devices.relays.calls import Answer, Request
from devices.relays.circuit import is_answer
from devices.relays.commands import accounts_hurried_last, session_of
from devices.relays.models import PULSE, AttemptOutcome, CommandState
from devices.relays.outcomes import AboutToChange, RelayOutcome
from devices.shelly.errors import (
    BadRequest,
    DeviceNotFound,
    NoPermission,
    NoSuchRoute,
    NotConfirmed,
    NoTimer,
    RateLimited,
    ShellyError,
    WrongChannel,
    WrongProfile,
)
from devices.shelly.readings import ChannelReading
from hygate import audit
from hygate.due import outcomes

MOST_ANSWER = 300
TOO_LATE = "too_late"
NO_REPETITION_HELPS = {
    NoTimer.name: Blocked.NO_TIMER,
    WrongChannel.name: Blocked.NOT_AS_SET_UP,
    WrongProfile.name: Blocked.NOT_AS_SET_UP,
    DeviceNotFound.name: Blocked.NOT_AS_SET_UP,
    NoPermission.name: Blocked.NOT_AS_SET_UP,
}
"""Errors of an ON that the next guest would meet too: the device is not sold until a person has looked."""


def recovered(command: RelayCommand, now: datetime) -> RelayCommand:
    """A command that a dead holder left on its way may have acted: an ON is read before anything is sent again.

    An OFF is sent again at once: it can do no harm twice, and readings of a relay that is still on would cost seconds.
    """
    if command.state != CommandState.SENDING:
        return command
    pending = RelayAttempt.objects.filter(command=command, outcome=AttemptOutcome.PENDING)
    pending.update(outcome=AttemptOutcome.UNKNOWN, error="holder_lost")
    again = CommandState.ACCEPTED if command.on else CommandState.QUEUED
    _move(command, again, next_at=now, last_error="holder_lost")
    return command


def record(landed: Sequence[tuple[Request, Answer]], now: datetime) -> None:
    """Write what the answers mean for commands, devices and those who wanted them.

    Whoever subscribes takes its own locks first (``AboutToChange``): a session's row before its commands', everywhere.
    """
    pks = sorted({pk for request, _ in landed for pk in request.targets})
    about = list(RelayCommand.objects.filter(pk__in=pks).values_list("device", "wanted_by"))
    wanted = sorted({wanted_by for _, wanted_by in about if wanted_by})
    read = [(request, answer) for request, answer in landed if _is_reading(request, answer)]
    told = {pk for request, answer in read for pk in readings.unexpected(request.account_id, answer.statuses)}
    outcomes.publish(AboutToChange(tuple(wanted), tuple(sorted(told))))
    back = {request.account_id for request, answer in landed if request.is_probe and is_answer(answer.error)}
    _lock_devices({device for device, _ in about}, read, back)
    for account_id in sorted(back):
        _take_up_again(account_id, now)
    for request, answer in read:
        whole = request.kind == "status"
        if answer.found is not None:
            found.update_devices(request.account_id, answer.found, now)
            power.forget_old(request.account_id, now)
        readings.apply_all(
            request.account_id, answer.statuses, request.started_at, answer.finished_at, whole=whole, told=told
        )
    answers = {pk: (request, answer) for request, answer in landed for pk in request.targets}
    rows = RelayCommand.objects.select_for_update(of=("self",)).select_related("device").filter(pk__in=pks)
    for command in rows.order_by("device_id"):
        request, answer = answers[command.pk]
        if request.kind == "read":
            _read_back(command, request, answer, now)
        else:
            _sent(command, request, answer, now)
        telling.watch_off(command, now)


def _lock_devices(devices: Collection[int], read: Iterable[tuple[Request, Answer]], accounts: Collection[int]) -> None:
    """All that will be written to, in the order in which whoever ends many sessions locks them."""
    wanted = Q(pk__in=devices) | Q(account__in=accounts, failed_last=True)
    for request, answer in read:
        of_account = Q(account=request.account_id)
        wanted |= of_account if request.kind == "status" else of_account & Q(shelly_id__in=answer.statuses)
    list(Device.objects.select_for_update(no_key=True).filter(wanted).order_by("pk").values_list("pk"))


def give_up_late(commands: Iterable[RelayCommand], now: datetime) -> None:
    """A pulse that could not leave in time is over, and its OFF follows; any other ON is watched by who wanted it."""
    waiting = [one for one in commands if one.reason == PULSE and one.state == CommandState.QUEUED]
    late = [one.pk for one in waiting if one.give_up_at is not None and one.give_up_at <= now]
    if not late:
        return
    with transaction.atomic(), accounts_hurried_last():
        rows = RelayCommand.objects.select_for_update(of=("self",)).select_related("device").filter(pk__in=late)
        for command in rows.filter(state=CommandState.QUEUED).order_by("device_id"):
            _give_up(command, TOO_LATE, now)


def _is_reading(request: Request, answer: Answer) -> bool:
    return request.kind in ("read", "status") and answer.error is None


def _take_up_again(account_id: int, now: datetime) -> None:
    """The cloud is back: what it was silent about is no device's failure, and what waited is due now.

    An OFF that may have acted is sent again instead of being read first; an ON is read first, as always.
    """
    Device.objects.filter(account_id=account_id, failed_last=True).update(failed_last=False)
    tried = RelayCommand.objects.filter(account_id=account_id, attempts__gt=0)
    unsure = tried.filter(on=False, state=CommandState.ACCEPTED).exclude(last_error="")
    unsure.update(state=CommandState.QUEUED, next_at=now, in_round=0, rounds=0)
    tried.filter(state=CommandState.QUEUED).update(next_at=now, in_round=0, rounds=0)


def _sent(command: RelayCommand, request: Request, answer: Answer, now: datetime) -> None:
    error = answer.error or answer.refused.get(request.targets[command.pk])
    _close_attempt(command, request, answer, error, said="accepted")
    if command.state != CommandState.SENDING or command.attempts != request.numbers[command.pk]:
        return  # overtaken by a later wish, or taken over by another holder: this answer moves nothing any more
    if request.kind == "group" and isinstance(answer.error, BadRequest):
        _move(command, CommandState.QUEUED, next_at=now, last_error=answer.error.name)
        return  # too many at once: the account's trouble, and no device's
    failed = error is not None and not isinstance(error, NoSuchRoute)
    if failed != command.device.failed_last:
        Device.objects.filter(pk=command.device_id).update(failed_last=failed)
    if error is None:
        _move(command, CommandState.ACCEPTED, accepted_at=answer.finished_at, next_at=_first_read(command, now))
    else:
        _after_error(command, error, now)


def _first_read(command: RelayCommand, now: datetime) -> datetime:
    return max(now, command.confirm_from) if command.confirm_from is not None else now


def _after_error(command: RelayCommand, error: ShellyError, now: datetime) -> None:
    then = rules.after_error(command, error, now, settings.NUMBERS)
    if isinstance(then, rules.GiveUp):
        _give_up(command, then.error, now)
        return
    state = CommandState.ACCEPTED if then.read_first else CommandState.QUEUED
    at = _first_read(command, then.at) if then.read_first else then.at
    _move(command, state, next_at=at, in_round=then.in_round, rounds=then.rounds, last_error=error.name)


def _give_up(command: RelayCommand, error: str, now: datetime) -> None:
    _move(command, CommandState.FAILED, closed_at=now, last_error=error)
    outcomes.publish(
        RelayOutcome(command.pk, command.device_id, command.on, command.wanted_by, "failed", now, error=error)
    )
    if error in NO_REPETITION_HELPS:
        block(command.device_id, reason=NO_REPETITION_HELPS[error], session=session_of(command.wanted_by))


def _read_back(command: RelayCommand, request: Request, answer: Answer, now: datetime) -> None:
    """Compare the reading with the wish: confirmed, read again, or sent again."""
    status = answer.statuses.get(command.device.shelly_id)
    reading = status.channel(command.device.channel) if status is not None else None
    said = "missing" if reading is None else f"output={str(reading.output).lower()}"
    _close_attempt(command, request, answer, answer.error, said=said)
    if command.state != CommandState.ACCEPTED:
        return
    if status is not None and reading is not None and rules.proves(command, reading, status.mark, request.started_at):
        _confirm(command, answer, reading)
        return
    if isinstance(answer.error, NoSuchRoute):
        _move(command, CommandState.ACCEPTED, next_at=now, last_error=answer.error.name)
        return
    again_at = rules.next_read(command, now)
    if again_at is not None and not _off_goes_blind(command, answer.error) and not _off_was_lost(command, reading):
        _move(command, CommandState.ACCEPTED, next_at=again_at)
        return
    if rules.is_used_up(command):
        _give_up(command, NotConfirmed.name, now)
        return
    then = rules.next_try(command, now, settings.NUMBERS)
    _move(
        command,
        CommandState.QUEUED,
        next_at=then.at,
        in_round=then.in_round,
        rounds=then.rounds,
        last_error=NotConfirmed.name,
    )


def _off_goes_blind(command: RelayCommand, error: ShellyError | None) -> bool:
    """An OFF that cannot be read back is sent again instead: once too often harms nobody, ten seconds later may."""
    return not command.on and error is not None and not isinstance(error, RateLimited)


def _off_was_lost(command: RelayCommand, reading: ChannelReading | None) -> bool:
    """An OFF that nobody accepted and whose relay reads on goes again; one that was accepted may just show late."""
    if command.on or reading is None or not reading.output:
        return False
    sent_at = command.last_sent_at
    return command.accepted_at is None or (sent_at is not None and command.accepted_at < sent_at)


def _armed_s(command: RelayCommand) -> int | None:
    last = RelayAttempt.objects.filter(command=command, timer_s__isnull=False).order_by("-id").first()
    return last.timer_s if last is not None else None


def _confirm(command: RelayCommand, answer: Answer, reading: ChannelReading) -> None:
    """Proven. ``after_s`` in the audit says how long it took since it was wanted: of an OFF, the overrun."""
    at, armed_s = answer.finished_at, _armed_s(command)
    shown_timer = reading.timer_ends_at is not None
    _move(command, CommandState.CONFIRMED, confirmed_at=at, closed_at=at, last_error="")
    if command.on:
        Device.objects.filter(pk=command.device_id).update(failed_last=False, timer_unproven=not shown_timer)
    else:
        Device.objects.filter(pk=command.device_id).update(
            failed_last=False, must_be_off_since=None, off_confirmed_at=at
        )
    audit.write(
        f"relay_{'on' if command.on else 'off'}_confirmed",
        session=session_of(command.wanted_by),
        device=command.device_id,
        command=command.pk,
        latency_ms=answer.latency_ms,
        after_s=round((at - command.created_at).total_seconds()),
        timer_shown=shown_timer,
    )
    outcomes.publish(
        RelayOutcome(
            command.pk,
            command.device_id,
            command.on,
            command.wanted_by,
            "confirmed",
            at,
            on_since=rules.on_since(command, armed_s, reading, at, settings.NUMBERS) if command.on else None,
            timer_ends_at=rules.timer_end(command, armed_s, reading),
        )
    )
    if command.on and not shown_timer and command.device.is_high_power:
        block(command.device_id, reason=Blocked.TIMER_UNPROVEN, session=session_of(command.wanted_by))
    elif command.on:
        telling.timer_seen(command.device, shown=shown_timer)
    else:
        telling.off_is_over(command.device, at)


def _close_attempt(
    command: RelayCommand, request: Request, answer: Answer, error: ShellyError | None, *, said: str
) -> None:
    """The attempt's answer, and its audit event for a command that was sent."""
    outcome = AttemptOutcome.OK
    if error is not None:
        outcome = AttemptOutcome.UNKNOWN if error.acted == "unknown" else AttemptOutcome.FAILED
    RelayAttempt.objects.filter(pk=request.attempt_ids[command.pk]).update(
        outcome=outcome,
        error=error.name if error is not None else "",
        answer=(said if error is None else str(error))[:MOST_ANSWER],
        latency_ms=answer.latency_ms,
    )
    if request.kind == "read":
        return
    audit.write(
        f"shelly_{'on' if command.on else 'off'}_{'success' if error is None else 'failed'}",
        session=session_of(command.wanted_by),
        device=command.device_id,
        command=command.pk,
        attempt=request.numbers[command.pk],
        latency_ms=answer.latency_ms,
        **({"error": error.name} if error is not None else {}),
    )


def _move(command: RelayCommand, state: CommandState, **changes: Any) -> None:
    """Conditional: a command that was superseded meanwhile stays so."""
    moved = RelayCommand.objects.filter(pk=command.pk, state=command.state).update(state=state, **changes)
    if moved:
        command.state = state
        for name, value in changes.items():
            setattr(command, name, value)
