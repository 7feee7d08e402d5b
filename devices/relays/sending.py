"""Before a request leaves: its rows. Commands become ``sending``, attempts and audit rows are written."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import datetime

from django.conf import settings
from django.db.models import Count, DateTimeField, F
from django.db.models.functions import Coalesce

from devices.models import RelayAttempt, RelayCommand, ShellyAccount
from devices.relays.calls import Request, key_of
from devices.relays.commands import event_of
from devices.relays.models import AttemptKind, AttemptOutcome, CommandState
from devices.relays.rules import goes_by_v1, timer_s
from devices.relays.steps import Step
from devices.shelly.cloud import Target
from hygate import audit
from hygate.models import AuditEvent


def prepare_all(steps: Sequence[tuple[ShellyAccount, Step]], now: datetime) -> list[Request | None]:
    """Write the intent of every step, and answer the request that carries each out.

    A step is null when all of it was superseded meanwhile. A handful of statements for all accounts together.
    """
    reads = [command for _, step in steps if step.kind == "read" for command in step.commands]
    sends = [command for _, step in steps if step.kind != "read" for command in step.commands]
    alive = _alive([*reads, *sends])
    numbers = _count_reads([one for one in reads if one.pk in alive])
    numbers |= _count_sends([one for one in sends if one.pk in alive], now)
    armed = {account.pk: _armed_s(step, now) for account, step in steps}
    begun = [
        RelayAttempt(
            command=command,
            kind=AttemptKind.READ if step.kind == "read" else AttemptKind.SEND,
            number=numbers[command.pk],
            sent_at=now,
            timer_s=armed[account.pk],
            together=len(step.commands),
        )
        for account, step in steps
        for command in step.commands
        if command.pk in numbers
    ]
    _close_lost(begun)
    RelayAttempt.objects.bulk_create(begun)
    audit.write_all(_sent(attempt) for attempt in begun if attempt.kind == AttemptKind.SEND)
    attempts = {attempt.command_id: attempt for attempt in begun}
    return [_request(account, step, attempts, armed[account.pk], now) for account, step in steps]


def _close_lost(begun: Sequence[RelayAttempt]) -> None:
    """A command has one attempt at a time: one that is still open when the next begins has lost its holder."""
    again = [one.command_id for one in begun if one.number > 1]
    if again:
        lost = RelayAttempt.objects.filter(command__in=again, outcome=AttemptOutcome.PENDING)
        lost.update(outcome=AttemptOutcome.UNKNOWN, error="holder_lost")


def _armed_s(step: Step, now: datetime) -> int | None:
    return timer_s(step.commands[0], now, settings.NUMBERS) if step.kind == "send" else None


def _alive(commands: Sequence[RelayCommand]) -> set[int]:
    """Those that still are what they were when the step was decided, locked."""
    rows = RelayCommand.objects.select_for_update().filter(pk__in=[one.pk for one in commands]).order_by("device_id")
    states = dict(rows.values_list("pk", "state")) if commands else {}
    return {one.pk for one in commands if states.get(one.pk) == one.state}


def _count_reads(commands: Sequence[RelayCommand]) -> dict[int, int]:
    """Count the reading on each command; answers which of its readings it is."""
    if not commands:
        return {}
    RelayCommand.objects.filter(pk__in=[one.pk for one in commands]).update(reads=F("reads") + 1)
    earlier = RelayAttempt.objects.filter(command__in=commands, kind=AttemptKind.READ).order_by()
    counts = dict(earlier.values_list("command").annotate(Count("pk")))
    return {one.pk: counts.get(one.pk, 0) + 1 for one in commands}


def _count_sends(commands: Sequence[RelayCommand], now: datetime) -> dict[int, int]:
    """Count the attempt on each command; answers its number."""
    if not commands:
        return {}
    RelayCommand.objects.filter(pk__in=[one.pk for one in commands]).update(
        state=CommandState.SENDING,
        attempts=F("attempts") + 1,
        reads=0,
        last_sent_at=now,
        first_sent_at=Coalesce(F("first_sent_at"), now, output_field=DateTimeField()),
    )
    return {one.pk: one.attempts + 1 for one in commands}


def _sent(attempt: RelayAttempt) -> AuditEvent:
    command, kind = attempt.command, f"shelly_{'on' if attempt.command.on else 'off'}_sent"
    return event_of(command, kind, attempt=attempt.number, timer_s=attempt.timer_s, together=attempt.together)


def _request(
    account: ShellyAccount, step: Step, attempts: Mapping[int, RelayAttempt], armed_s: int | None, now: datetime
) -> Request | None:
    commands = [one for one in step.commands if one.pk in attempts]
    if step.commands and not commands:
        return None
    return Request(
        account_id=account.pk,
        server_url=account.server_url,
        auth_key=key_of(account),
        kind=step.kind,
        prepared_at=time.monotonic(),
        started_at=now,
        targets={one.pk: Target(one.device.shelly_id, one.device.channel) for one in commands},
        on=bool(commands and commands[0].on),
        timer_s=armed_s,
        attempt_ids={one.pk: attempts[one.pk].pk for one in commands},
        numbers={one.pk: attempts[one.pk].number for one in commands},
        is_probe=account.circuit_opened_at is not None,
        by_v1=any(goes_by_v1(one) for one in commands),
    )
