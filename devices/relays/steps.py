"""What an account's queue does next: one pure function over its open commands. OFF, ON, reading, status, sync."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from devices.models import RelayCommand, ShellyAccount
from devices.relays.calls import Kind
from devices.relays.models import CommandState
from devices.relays.rules import gap_s, goes_by_v1
from hygate.numbers import Numbers

READ_BATCH = 10
READ_OVERDUE_S = 6.0
OLD_OFF_S = 10.0
OVERDUE_OFF_BLOCKS_S = 10.0
YIELDS_S = 10.0
AFTER_COMMAND_S = 0.5
LOOK_AGAIN = timedelta(seconds=0.2)


@dataclass(frozen=True)
class Step:
    """One request. ``send`` carries one command, ``group`` several OFFs, ``read`` commands to be read back.

    ``status`` reads the whole account; ``list`` asks for its names, and the next status completes a sync with them.
    """

    kind: Kind
    commands: tuple[RelayCommand, ...] = ()


@dataclass(frozen=True)
class Wait:
    """Nothing may leave now; look again at ``until`` (null = when something is wanted).

    ``hold``: only the gap is in the way, so that keeping the account for it delays nobody.
    """

    until: datetime | None
    hold: bool = False


def next_step(
    account: ShellyAccount,
    commands: Sequence[RelayCommand],
    off_expected_at: datetime | None,
    now: datetime,
    numbers: Numbers,
) -> Step | Wait:
    """The account's next request, or how long to wait.

    ``commands`` are its open ones; ``off_expected_at`` is when the next running relay will have to go off: no reading
    starts when a command will be due before that reading could have timed out. While the account's circuit is open,
    nothing leaves but a probe.
    """
    if off_expected_at is not None and off_expected_at < now - timedelta(seconds=OVERDUE_OFF_BLOCKS_S):
        off_expected_at = None
    if account.free_at is not None and account.free_at > now:
        return _gap(account, commands, account.free_at)
    if account.circuit_opened_at is not None:
        return Step("status")
    wanted = [one for one in commands if one.state == CommandState.QUEUED and not _too_late(one, now)]
    yielding = [one for one in wanted if _yields(one, off_expected_at, now, account, numbers)]
    queued = [one for one in wanted if one not in yielding]
    due = sorted((one for one in queued if one.next_at <= now), key=lambda one: _rank(one, now))
    if due:
        return _sending(due, account, numbers)
    step = _reading(account, commands, queued, off_expected_at, now, numbers)
    return _after_the_end(step, yielding, off_expected_at, now)


def _yields(
    command: RelayCommand, off_expected_at: datetime | None, now: datetime, account: ShellyAccount, numbers: Numbers
) -> bool:
    """A device that failed last time may hang for the whole time-out: it lets an end that is due by then go first.

    Not for longer than ten seconds, so that an account where something always ends keeps asking it.
    """
    if off_expected_at is None or not command.device.failed_last or command.next_at > now:
        return False
    hangs_for = timedelta(seconds=numbers.command_timeout_s + gap_s(account.wide_gap_until, now, numbers))
    return off_expected_at < now + hangs_for and now < command.next_at + timedelta(seconds=YIELDS_S)


def _after_the_end(
    step: Step | Wait, yielding: Sequence[RelayCommand], off_expected_at: datetime | None, now: datetime
) -> Step | Wait:
    """What yields is looked at again when the end has been asked for, or its patience is over."""
    if isinstance(step, Step) or not yielding or off_expected_at is None:
        return step
    patience_ends = min(one.next_at for one in yielding) + timedelta(seconds=YIELDS_S)
    again_at = max(min(off_expected_at + timedelta(seconds=AFTER_COMMAND_S), patience_ends), now + LOOK_AGAIN)
    return Wait(again_at if step.until is None else min(step.until, again_at))


def _too_late(command: RelayCommand, now: datetime) -> bool:
    """An ON whose start window is over is not sent any more; whoever wanted it is about to say OFF."""
    return command.on and command.give_up_at is not None and command.give_up_at <= now


def _gap(account: ShellyAccount, commands: Sequence[RelayCommand], free_at: datetime) -> Wait:
    if account.circuit_opened_at is not None:
        return Wait(free_at)
    moments = [one.next_at for one in commands if one.state in (CommandState.QUEUED, CommandState.ACCEPTED)]
    if any(moment <= free_at for moment in moments):
        return Wait(free_at, hold=True)
    moments += _reading_moments(account)
    return Wait(max(free_at, min(moments)) if moments else None)


def _reading_moments(account: ShellyAccount) -> list[datetime]:
    return [moment for moment in (account.status_due_at, account.sync_due_at) if moment is not None]


def _rank(command: RelayCommand, now: datetime) -> tuple[int, datetime]:
    """OFF before ON; what failed last time after the others, but an OFF not for longer than ten seconds."""
    doubtful = command.device.failed_last or command.in_round > 0 or command.rounds > 0
    if not command.on:
        old = (now - command.created_at).total_seconds() > OLD_OFF_S
        return (0 if not doubtful else 1 if old else 3, command.next_at)
    return (2 if not doubtful else 4, command.next_at)


def _sending(due: Sequence[RelayCommand], account: ShellyAccount, numbers: Numbers) -> Step:
    """The first in rank; with it, in one request, every other OFF that is due and did not fail last time."""
    first = due[0]
    size = max(1, min(account.groups_size, numbers.groups_size))
    together = [one for one in due if _may_travel_in_company(one)][:size]
    if first not in together or len(together) == 1:
        return Step("send", (first,))
    return Step("group", tuple(together))


def _may_travel_in_company(command: RelayCommand) -> bool:
    """What failed last time travels alone, so that it fails alone."""
    is_plain_off = not command.on and not goes_by_v1(command)
    return is_plain_off and not command.device.failed_last and command.in_round == 0


def _next_command_at(queued: Sequence[RelayCommand], off_expected_at: datetime | None) -> datetime | None:
    moments = [one.next_at for one in queued]
    if off_expected_at is not None:
        moments.append(off_expected_at)
    return min(moments, default=None)


def _reading(  # noqa: PLR0917 - the same facts as next_step has
    account: ShellyAccount,
    commands: Sequence[RelayCommand],
    queued: Sequence[RelayCommand],
    off_expected_at: datetime | None,
    now: datetime,
    numbers: Numbers,
) -> Step | Wait:
    command_at = _next_command_at(queued, off_expected_at)
    unread = sorted((one for one in commands if one.state == CommandState.ACCEPTED), key=lambda one: one.next_at)
    due = [one for one in unread if one.next_at <= now][:READ_BATCH]
    clear_for_s = gap_s(account.wide_gap_until, now, numbers) + numbers.read_timeout_s
    blocked = command_at is not None and command_at < now + timedelta(seconds=clear_for_s)
    overdue = bool(due) and (now - due[0].next_at).total_seconds() > READ_OVERDUE_S
    if due and (not blocked or overdue):
        return Step("read", tuple(due))
    if not due and not blocked and account.status_due_at is not None and account.status_due_at <= now:
        return Step("status")
    if not due and not blocked and account.sync_due_at is not None and account.sync_due_at <= now:
        return Step("list")
    clear_at = command_at + timedelta(seconds=AFTER_COMMAND_S) if blocked and command_at is not None else None
    return Wait(_look_again(account, unread, queued, clear_at, now))


def _look_again(
    account: ShellyAccount,
    unread: Sequence[RelayCommand],
    queued: Sequence[RelayCommand],
    clear_at: datetime | None,
    now: datetime,
) -> datetime | None:
    """The earliest moment at which something could leave; a blocked reading waits until the command has left."""
    moments = [one.next_at for one in unread] + _reading_moments(account)
    if clear_at is not None:
        moments = [max(moment, clear_at) for moment in moments]
    moments += [one.next_at for one in queued]
    later = [moment if moment > now else now + LOOK_AGAIN for moment in moments]
    return min(later, default=None)
