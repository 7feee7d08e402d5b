"""After an answer: what it means for the account, its commands and its devices, in one transaction."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q

from devices.models import Device, RelayAttempt, RelayCommand
from devices.relays import found, power, readings, rules, telling
from devices.relays.blocking import Blocked, block
from devices.relays.calls import Answer, Request
from devices.relays.changes import Changes
from devices.relays.circuit import is_answer
from devices.relays.commands import accounts_hurried_last, event_of, session_of
from devices.relays.models import PULSE, AttemptOutcome, CommandState
from devices.relays.outcomes import AboutToChange, RelayOutcome
from devices.relays.readings import Reading
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
    still = RelayCommand.objects.filter(pk=command.pk, state=CommandState.SENDING)
    if still.update(state=again, next_at=now, last_error="holder_lost"):
        command.state, command.next_at, command.last_error = again, now, "holder_lost"
    return command


def record(landed: Sequence[tuple[Request, Answer]], now: datetime) -> None:
    """Write what the answers mean for commands, devices and those who wanted them.

    Whoever subscribes takes its own locks first (``AboutToChange``): a session's row before its commands', everywhere.
    """
    pks = sorted({pk for request, _ in landed for pk in request.targets})
    about = list(RelayCommand.objects.filter(pk__in=pks).values_list("device", "wanted_by")) if pks else []
    wanted = sorted({wanted_by for _, wanted_by in about if wanted_by})
    read = [_reading(request, answer) for request, answer in landed if _is_reading(request, answer)]
    told = readings.unexpected(read)
    outcomes.publish(AboutToChange(tuple(wanted), tuple(sorted(told))))
    back = {request.account_id for request, answer in landed if request.is_probe and is_answer(answer.error)}
    _lock_devices({device for device, _ in about}, read, back)
    for account_id in sorted(back):
        _take_up_again(account_id, now)
    for request, answer in landed:
        if answer.found is not None:
            found.update_devices(request.account_id, answer.found, now)
            power.forget_old(request.account_id, now)
    readings.apply_all(read, told)
    if pks:
        _judge_all(pks, {pk: (request, answer) for request, answer in landed for pk in request.targets}, now)


def _judge_all(pks: Sequence[int], answers: Mapping[int, tuple[Request, Answer]], now: datetime) -> None:
    """What each command's answer says of it; their rows are locked from here on."""
    changes = Changes(now)
    rows = RelayCommand.objects.select_for_update(of=("self",)).select_related("device__location").filter(pk__in=pks)
    commands = list(rows.order_by("device_id"))
    armed = _armed_s([one for one in commands if one.on and answers[one.pk][0].kind == "read"])
    for command in commands:
        request, answer = answers[command.pk]
        if request.kind == "read":
            _read_back(command, request, answer, armed.get(command.pk), changes)
        else:
            _sent(command, request, answer, changes)
        changes.afterwards.append(partial(telling.watch_off, command, now))
    changes.write()


def _reading(request: Request, answer: Answer) -> Reading:
    whole = request.kind == "status"
    return Reading(request.account_id, answer.statuses, request.started_at, answer.finished_at, whole)


def _lock_devices(devices: Collection[int], read: Collection[Reading], accounts: Collection[int]) -> None:
    """All that will be written to, in the order in which whoever ends many sessions locks them."""
    wanted = Q(pk__in=devices) | Q(account__in=accounts, failed_last=True) | readings.covered(read)
    list(Device.objects.select_for_update(no_key=True).filter(wanted).order_by("pk").values_list("pk"))


def give_up_late(commands: Iterable[RelayCommand], now: datetime) -> None:
    """A pulse that could not leave in time is over, and its OFF follows; any other ON is watched by who wanted it."""
    waiting = [one for one in commands if one.reason == PULSE and one.state == CommandState.QUEUED]
    late = [one.pk for one in waiting if one.give_up_at is not None and one.give_up_at <= now]
    if not late:
        return
    with transaction.atomic(), accounts_hurried_last():
        changes = Changes(now)
        rows = RelayCommand.objects.select_for_update(of=("self",)).select_related("device").filter(pk__in=late)
        for command in rows.filter(state=CommandState.QUEUED).order_by("device_id"):
            _give_up(command, TOO_LATE, changes)
        changes.write()


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


def _sent(command: RelayCommand, request: Request, answer: Answer, changes: Changes) -> None:
    error = answer.error or answer.refused.get(request.targets[command.pk])
    _close_attempt(command, request, answer, error, changes, said="accepted")
    if command.state != CommandState.SENDING or command.attempts != request.numbers[command.pk]:
        return  # overtaken by a later wish, or taken over by another holder: this answer moves nothing any more
    if request.kind == "group" and isinstance(answer.error, BadRequest):
        changes.move(command, CommandState.QUEUED, next_at=changes.now, last_error=answer.error.name)
        return  # too many at once: the account's trouble, and no device's
    failed = error is not None and not isinstance(error, NoSuchRoute)
    if failed != command.device.failed_last:
        changes.devices[command.device_id]["failed_last"] = failed
    if error is None:
        first_read = _first_read(command, changes.now + timedelta(seconds=rules.LAGS_S))
        changes.move(command, CommandState.ACCEPTED, accepted_at=answer.finished_at, next_at=first_read)
    else:
        _after_error(command, error, changes)


def _first_read(command: RelayCommand, now: datetime) -> datetime:
    return max(now, command.confirm_from) if command.confirm_from is not None else now


def _after_error(command: RelayCommand, error: ShellyError, changes: Changes) -> None:
    then = rules.after_error(command, error, changes.now, settings.NUMBERS)
    if isinstance(then, rules.GiveUp):
        _give_up(command, then.error, changes)
        return
    state = CommandState.ACCEPTED if then.read_first else CommandState.QUEUED
    at = _first_read(command, then.at) if then.read_first else then.at
    changes.move(command, state, next_at=at, in_round=then.in_round, rounds=then.rounds, last_error=error.name)


def _give_up(command: RelayCommand, error: str, changes: Changes) -> None:
    changes.move(command, CommandState.FAILED, closed_at=changes.now, last_error=error)
    changes.outcomes.append(
        RelayOutcome(command.pk, command.device_id, command.on, command.wanted_by, "failed", changes.now, error=error)
    )
    if error in NO_REPETITION_HELPS:
        _block(command, NO_REPETITION_HELPS[error], changes)


def _block(command: RelayCommand, reason: Blocked, changes: Changes) -> None:
    session = session_of(command.wanted_by)
    changes.afterwards.append(partial(block, command.device_id, reason=reason, session=session))


def _read_back(command: RelayCommand, request: Request, answer: Answer, armed_s: int | None, changes: Changes) -> None:
    """Compare the reading with the wish: confirmed, read again, or sent again."""
    status = answer.statuses.get(command.device.shelly_id)
    reading = status.channel(command.device.channel) if status is not None else None
    said = "missing" if reading is None else f"output={str(reading.output).lower()}"
    _close_attempt(command, request, answer, answer.error, changes, said=said)
    if command.state != CommandState.ACCEPTED:
        return
    if status is not None and reading is not None and rules.proves(command, reading, status.mark, request.started_at):
        _confirm(command, answer, reading, armed_s, changes)
        return
    if isinstance(answer.error, NoSuchRoute):
        changes.move(command, CommandState.ACCEPTED, next_at=changes.now, last_error=answer.error.name)
        return
    again_at = rules.next_read(command, changes.now)
    if again_at is not None and not _off_goes_blind(command, answer.error) and not _off_was_lost(command, reading):
        changes.move(command, CommandState.ACCEPTED, next_at=again_at)
        return
    if rules.is_used_up(command):
        _give_up(command, NotConfirmed.name, changes)
        return
    then = rules.next_try(command, changes.now, settings.NUMBERS)
    changes.move(
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


def _armed_s(commands: Sequence[RelayCommand]) -> dict[int, int]:
    """The timer that each was last sent with."""
    if not commands:
        return {}
    sent = RelayAttempt.objects.filter(command__in=commands, timer_s__isnull=False).order_by("id")
    return {command: timer_s for command, timer_s in sent.values_list("command_id", "timer_s") if timer_s is not None}


def _confirm(
    command: RelayCommand, answer: Answer, reading: ChannelReading, armed_s: int | None, changes: Changes
) -> None:
    """Proven. ``after_s`` in the audit says how long it took since it was wanted: of an OFF, the overrun."""
    at, shown_timer = answer.finished_at, reading.timer_ends_at is not None
    changes.move(command, CommandState.CONFIRMED, confirmed_at=at, closed_at=at, last_error="")
    if command.on:
        changes.devices[command.device_id] |= {"failed_last": False, "timer_unproven": not shown_timer}
    else:
        changes.devices[command.device_id] |= {"failed_last": False, "must_be_off_since": None, "off_confirmed_at": at}
    changes.events.append(
        event_of(
            command,
            f"relay_{'on' if command.on else 'off'}_confirmed",
            latency_ms=answer.latency_ms,
            after_s=round((at - command.created_at).total_seconds()),
            timer_shown=shown_timer,
        )
    )
    changes.outcomes.append(
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
        _block(command, Blocked.TIMER_UNPROVEN, changes)
    elif command.on:
        changes.afterwards.append(partial(telling.timer_seen, command.device, shown=shown_timer))
    else:
        changes.afterwards.append(partial(telling.off_is_over, command.device, at))


def _close_attempt(
    command: RelayCommand, request: Request, answer: Answer, error: ShellyError | None, changes: Changes, *, said: str
) -> None:
    """The attempt's answer, and its audit event for a command that was sent."""
    outcome = AttemptOutcome.OK
    if error is not None:
        outcome = AttemptOutcome.UNKNOWN if error.acted == "unknown" else AttemptOutcome.FAILED
    changes.attempts[request.attempt_ids[command.pk]] |= {
        "outcome": outcome,
        "error": error.name if error is not None else "",
        "answer": (said if error is None else str(error))[:MOST_ANSWER],
        "latency_ms": answer.latency_ms,
    }
    if request.kind == "read":
        return
    failed: dict[str, Any] = {} if error is None else {"error": error.name}
    changes.events.append(
        event_of(
            command,
            f"shelly_{'on' if command.on else 'off'}_{'success' if error is None else 'failed'}",
            attempt=request.numbers[command.pk],
            latency_ms=answer.latency_ms,
            **failed,
        )
    )
