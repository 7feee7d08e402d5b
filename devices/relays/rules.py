"""Deciding about one relay command, as pure functions: when to try again, what proves it, what its timer is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

from devices.relays.models import PULSE, RE_ON, RelayCommand
from devices.shelly.errors import BadKey, CommandFailed, NoSuchRoute, NoTimer, RateLimited, ShellyError
from devices.shelly.payload import ChannelReading
from hygate.numbers import Numbers

ROUND_BACKOFF_S = (5, 10, 20, 40)
READS_BEFORE_DOUBT = 3
READ_BACKOFF_S = (0.0, 1.5, 3.0)
LAGS_S = 0.5
"""What the cloud shows of a relay lags behind what it has accepted: a reading at once would prove nothing."""
LATE_ON_S = 5
"""How long after its time-out an ON in flight may still act."""
PULSE_MARGIN_S = 5
"""What a pulse's timer adds: long enough for one reading to see it on, short beside somebody at an open machine."""


def timer_s(command: RelayCommand, now: datetime, numbers: Numbers) -> int | None:
    """Seconds for the relay's own timer: what is left plus the margin, rounded up. Never with OFF."""
    if not command.on:
        return None
    if command.on_until is not None:
        left_s = max(0.0, (command.on_until - now).total_seconds())
    else:
        left_s = float(command.on_for_s or 0)
    margin_s = min(PULSE_MARGIN_S, numbers.timer_margin_s) if command.reason == PULSE else numbers.timer_margin_s
    return math.ceil(left_s) + margin_s


class Stale(ShellyError):
    """The process stood still between deciding and sending: what was decided may no longer hold."""

    name, retryable = "stale", True


class KeyUnreadable(BadKey):
    """The stored key does not open with ours: for the queue the same as a key that Shelly refuses."""

    name = "key_unreadable"
    says = (
        "The saved auth key cannot be decrypted; put the old key back into HYGATE_FIELD_KEYS or save the auth key anew."
    )


@dataclass(frozen=True)
class Retry:
    """The command stays wanted: next step at ``at``; ``read_first`` when it may have acted already."""

    at: datetime
    in_round: int
    rounds: int
    read_first: bool = False


@dataclass(frozen=True)
class GiveUp:
    """The command can never succeed as it is."""

    error: str


def after_error(command: RelayCommand, error: ShellyError, now: datetime, numbers: Numbers) -> Retry | GiveUp:
    """What follows a failed attempt: another in the round, the next round, a read, or the end.

    A rate limit is the account's trouble and a process that stood still is ours: neither costs a place in the round. An
    OFF is never given up, and one that the device itself failed is sent again without a reading first: once too often
    harms nobody, and readings wait until nothing is left to send.
    A server without v2 is asked by v1 at once, where OFF has a way and ON has none that is safe.
    """
    if isinstance(error, RateLimited | Stale):
        return Retry(now, command.in_round, command.rounds)
    if isinstance(error, NoSuchRoute) and command.on:
        return GiveUp(NoTimer.name)
    if isinstance(error, NoSuchRoute) and not goes_by_v1(command):
        return Retry(now, command.in_round, command.rounds)
    if command.on and (not error.retryable or isinstance(error, BadKey)):
        return GiveUp(error.name)
    if error.acted == "unknown" and (command.on or not isinstance(error, CommandFailed)):
        return Retry(now, command.in_round, command.rounds, read_first=True)
    if command.reason == PULSE:
        return GiveUp(error.name)
    return next_try(command, now, numbers)


def is_used_up(command: RelayCommand) -> bool:
    """Whether an ON that its readings did not prove is not to be sent again: a pulse, and a re-ON once accepted."""
    return command.reason == PULSE or (command.reason == RE_ON and command.accepted_at is not None)


def goes_by_v1(command: RelayCommand) -> bool:
    """The server's last word about this OFF was that it knows no v2."""
    return not command.on and command.last_error == NoSuchRoute.name


def next_try(command: RelayCommand, now: datetime, numbers: Numbers) -> Retry:
    """Three attempts make a round; rounds are 5, 10, 20, 40 s apart, those of an OFF at most the cap.

    Against somebody who may be fighting for the relay, attempts themselves are as far apart as re-ONs.
    """
    if command.reason == RE_ON:
        return Retry(now + timedelta(seconds=numbers.re_on_apart_s), 0, command.rounds + 1)
    in_round = command.in_round + 1
    if in_round < numbers.attempts_per_round:
        return Retry(now + timedelta(seconds=numbers.attempt_pause_s), in_round, command.rounds)
    pause_s: float = ROUND_BACKOFF_S[min(command.rounds, len(ROUND_BACKOFF_S) - 1)]
    if not command.on:
        pause_s = min(pause_s, numbers.off_backoff_cap_s)
    return Retry(now + timedelta(seconds=pause_s), 0, command.rounds + 1)


def proves(command: RelayCommand, reading: ChannelReading, mark: str, fetched_at: datetime) -> bool:
    """Whether ``reading`` proves that the command was carried out.

    ON: it shows the output on, and it changed since before the command (another push, or another value; for a timer
    armed anew, a timer that ends later than the minutes do). OFF: it
    shows the output off and was fetched after the OFF was accepted, and after any ON in flight has had its time to
    act. A cloud that answers with old values can therefore never confirm an ON.
    """
    if reading.output is None or reading.output != command.on:
        return False
    if command.on:
        armed_anew = command.on_until is not None and (reading.timer_ends_at or command.on_until) > command.on_until
        return command.output_before is False or (bool(mark) and mark != command.mark_before) or armed_anew
    asked_at = command.accepted_at or command.last_sent_at
    if asked_at is None or fetched_at < asked_at:
        return False
    return command.confirm_from is None or fetched_at >= command.confirm_from


def next_read(command: RelayCommand, now: datetime) -> datetime | None:
    """When to read again after a reading that proved nothing; null once three have not."""
    if command.confirm_from is not None and now < command.confirm_from:
        return command.confirm_from
    if command.reads >= READS_BEFORE_DOUBT:
        return None
    return now + timedelta(seconds=READ_BACKOFF_S[min(command.reads, len(READ_BACKOFF_S) - 1)])


def timer_end(command: RelayCommand, armed_s: int | None, reading: ChannelReading) -> datetime | None:
    """When the relay's own timer switches it off: as the reading shows it, else from the last sending."""
    if not command.on or command.last_sent_at is None or armed_s is None:
        return None
    by_us = command.last_sent_at + timedelta(seconds=armed_s)
    shown = reading.timer_ends_at
    return shown if shown is not None and abs(shown - by_us) <= timedelta(seconds=armed_s) else by_us


def on_since(
    command: RelayCommand, armed_s: int | None, reading: ChannelReading, at: datetime, numbers: Numbers
) -> datetime:
    """From when a confirmed ON counts: the start of its timer as the reading shows it, else the reading itself.

    The start of the timer holds only for a prompt confirmation (one gap and one reading later): a guest who was shown
    "switching on" for longer must not lose those seconds. A start before we sent, or after we read, comes from a device
    whose clock is off and is not believed.
    """
    if reading.timer_ends_at is None or armed_s is None or command.last_sent_at is None:
        return at
    began = max(reading.timer_ends_at - timedelta(seconds=armed_s), command.last_sent_at)
    prompt = at - began <= timedelta(seconds=numbers.gap_s + numbers.read_timeout_s)
    return began if prompt and began <= at else at


def gap_s(wide_until: datetime | None, now: datetime, numbers: Numbers) -> float:
    """The pause an account needs from the end of its last answer."""
    if wide_until is not None and now < wide_until:
        return max(numbers.gap_s, numbers.wide_gap_s)
    return numbers.gap_s


def limited_pause_s(hits: int) -> float:
    """After a ``max_req``: 2, 4, 8 s."""
    return float(2 ** min(max(hits, 1), 3))
