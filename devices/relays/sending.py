"""Before a request leaves: its rows. Commands become ``sending``, attempts and audit rows are written."""

from __future__ import annotations

import time
from datetime import datetime

from django.conf import settings
from django.db.models import F

from devices.models import RelayAttempt, RelayCommand, ShellyAccount
from devices.relays.calls import Request, key_of
from devices.relays.commands import session_of
from devices.relays.models import AttemptKind, CommandState
from devices.relays.rules import goes_by_v1, timer_s
from devices.relays.steps import Step
from devices.shelly.cloud import Target
from hygate import audit


def prepare(account: ShellyAccount, step: Step, now: datetime) -> Request | None:
    """Write the intent of ``step`` and answer the request that carries it out; null when all of it was superseded."""
    armed_s = timer_s(step.commands[0], now, settings.NUMBERS) if step.kind == "send" else None
    is_read = step.kind == "read"
    begun = {
        command.pk: attempt
        for command in step.commands
        if (attempt := _begin(command, now, is_read=is_read, armed_s=armed_s, together=len(step.commands)))
    }
    if step.commands and not begun:
        return None
    commands = [one for one in step.commands if one.pk in begun]
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
        attempt_ids={pk: attempt.pk for pk, attempt in begun.items()},
        numbers={pk: attempt.number for pk, attempt in begun.items()},
        is_probe=account.circuit_opened_at is not None,
        by_v1=any(goes_by_v1(one) for one in commands),
    )


def _begin(
    command: RelayCommand, now: datetime, *, is_read: bool, armed_s: int | None, together: int
) -> RelayAttempt | None:
    """Count the attempt on the command and write its row before anything is sent; null when it was superseded."""
    mine = RelayCommand.objects.filter(pk=command.pk, state=command.state)
    if is_read:
        if not mine.update(reads=F("reads") + 1):
            return None
        number = RelayAttempt.objects.filter(command=command, kind=AttemptKind.READ).count() + 1
    else:
        number = command.attempts + 1
        first = {} if command.first_sent_at else {"first_sent_at": now}
        if not mine.update(state=CommandState.SENDING, attempts=number, reads=0, last_sent_at=now, **first):
            return None
        audit.write(
            f"shelly_{'on' if command.on else 'off'}_sent",
            session=session_of(command.wanted_by),
            device=command.device_id,
            command=command.pk,
            attempt=number,
            timer_s=armed_s,
            together=together,
        )
    return RelayAttempt.objects.create(
        command=command,
        kind=AttemptKind.READ if is_read else AttemptKind.SEND,
        number=number,
        sent_at=now,
        timer_s=armed_s,
        together=together,
    )
