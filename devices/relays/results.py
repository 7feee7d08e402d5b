"""After an answer: what it means for the account, its commands and its devices, in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings

from devices.models import AccountStatus, Device, RelayAttempt, RelayCommand, ShellyAccount
from devices.relays import readings, rules
from devices.relays.calls import Answer, Request
from devices.relays.commands import session_of
from devices.relays.models import AttemptOutcome, CommandState
from devices.relays.outcomes import AboutToChange, RelayOutcome
from devices.shelly.errors import BadKey, CloudDown, NotConfirmed, RateLimited, ShellyError, TimedOut
from devices.shelly.readings import ChannelReading
from hygate import audit
from hygate.due import outcomes

MOST_ANSWER = 300


def recovered(command: RelayCommand, now: datetime) -> RelayCommand:
    """A command that a dead holder left on its way: it may have acted, so it is read before anything is sent again."""
    if command.state != CommandState.SENDING:
        return command
    pending = RelayAttempt.objects.filter(command=command, outcome=AttemptOutcome.PENDING)
    pending.update(outcome=AttemptOutcome.UNKNOWN, error="holder_lost")
    _move(command, CommandState.ACCEPTED, next_at=now, last_error="holder_lost")
    return command


def record(landed: Sequence[tuple[Request, Answer]], now: datetime) -> None:
    """Write what the answers mean for commands, devices and those who wanted them.

    Whoever subscribes takes its own locks first (``AboutToChange``): a session's row before its commands', everywhere.
    """
    pks = sorted({pk for request, _ in landed for pk in request.targets})
    wanted = RelayCommand.objects.filter(pk__in=pks).exclude(wanted_by="").values_list("wanted_by", flat=True)
    outcomes.publish(AboutToChange(tuple(sorted(set(wanted)))))
    for request, answer in landed:
        if request.kind in ("read", "status") and answer.error is None:
            whole = request.kind == "status"
            readings.apply_all(request.account_id, answer.statuses, request.started_at, answer.finished_at, whole=whole)
    answers = {pk: (request, answer) for request, answer in landed for pk in request.targets}
    rows = RelayCommand.objects.select_for_update(of=("self",)).select_related("device").filter(pk__in=pks)
    for command in rows.order_by("device_id"):
        request, answer = answers[command.pk]
        if request.kind == "read":
            _read_back(command, request, answer, now)
        else:
            _sent(command, request, answer, now)


def pace_accounts(landed: Sequence[tuple[Request, Answer]], now: datetime) -> None:
    """Each account's pace and health after its answer."""
    for request, answer in sorted(landed, key=lambda pair: pair[0].account_id):
        _account(request, answer, now)


def _account(request: Request, answer: Answer, now: datetime) -> None:
    """The account's pace and health: the gap counts from the end of the answer, wider after a rate limit."""
    account = ShellyAccount.objects.select_for_update().get(pk=request.account_id)
    changes: dict[str, Any] = {"last_latency_ms": answer.latency_ms}
    error = answer.error
    if isinstance(error, RateLimited):
        hits = account.limit_hits + 1
        changes |= {
            "limit_hits": hits,
            "wide_gap_until": now + timedelta(seconds=settings.NUMBERS.wide_gap_for_s),
            "free_at": answer.finished_at + timedelta(seconds=rules.limited_pause_s(hits)),
        }
    else:
        gap_s = rules.gap_s(account.wide_gap_until, now, settings.NUMBERS)
        changes |= {"limit_hits": 0, "free_at": answer.finished_at + timedelta(seconds=gap_s)}
    if isinstance(error, BadKey):
        changes |= {"status": AccountStatus.BAD_KEY, "last_error": error.name}
    elif isinstance(error, TimedOut | CloudDown):
        silent = account.timeouts_in_row + 1
        changes |= {"timeouts_in_row": silent, "last_error": error.name}
        if silent >= 3:
            changes["status"] = AccountStatus.UNREACHABLE
    elif error is None:
        changes |= {"status": AccountStatus.OK, "last_ok_at": now, "timeouts_in_row": 0, "last_error": ""}
    if request.kind == "status":
        changes["status_due_at"] = now + timedelta(seconds=settings.NUMBERS.status_every_s)
    ShellyAccount.objects.filter(pk=account.pk).update(**changes)


def _sent(command: RelayCommand, request: Request, answer: Answer, now: datetime) -> None:
    error = answer.error or answer.refused.get(request.targets[command.pk])
    _close_attempt(command, request, answer, error, said="accepted")
    if command.state != CommandState.SENDING or command.attempts != request.numbers[command.pk]:
        return  # overtaken by a later wish, or taken over by another holder: this answer moves nothing any more
    Device.objects.filter(pk=command.device_id).update(failed_last=error is not None)
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
    again_at = rules.next_read(command, now)
    if again_at is not None:
        _move(command, CommandState.ACCEPTED, next_at=again_at)
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


def _armed_s(command: RelayCommand) -> int | None:
    last = RelayAttempt.objects.filter(command=command, timer_s__isnull=False).order_by("-id").first()
    return last.timer_s if last is not None else None


def _confirm(command: RelayCommand, answer: Answer, reading: ChannelReading) -> None:
    at, armed_s = answer.finished_at, _armed_s(command)
    shown_timer = reading.timer_ends_at is not None
    _move(command, CommandState.CONFIRMED, confirmed_at=at, closed_at=at, last_error="")
    if command.on:
        Device.objects.filter(pk=command.device_id).update(failed_last=False, timer_unproven=not shown_timer)
    else:
        Device.objects.filter(pk=command.device_id).update(failed_last=False, must_be_off_since=None)
    audit.write(
        f"relay_{'on' if command.on else 'off'}_confirmed",
        session=session_of(command.wanted_by),
        device=command.device_id,
        command=command.pk,
        latency_ms=answer.latency_ms,
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
