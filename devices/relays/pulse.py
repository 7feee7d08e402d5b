"""The test pulse: one relay in maintenance goes on for three seconds, so that somebody at the machine can see it work.

1. ``begin`` writes the ON, with the shortest timer that still lets a reading see it (a few seconds more than the
   pulse). It is sent once: one that fails, or that no reading proves, is not sent again.
2. Whatever becomes of that ON, ``on_relay_outcomes`` writes the OFF in the same transaction: three seconds after the
   confirmed ON, at once for any other end. From there it is an OFF like every other, wanted until it is proven.

A pulse never meets a sale: it needs maintenance, which keeps guests out, and asks for sessions under the device's
lock, under which slots are held as well; from the ON to the proven OFF the device must be off, which keeps a sale out
even where somebody ends maintenance meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction

from devices.energy.headroom import headroom, lock_sites
from devices.models import AWAY, Device, RelayAttempt, RelayCommand
from devices.relays.commands import order_off, order_on
from devices.relays.models import OPEN, PULSE, AttemptKind, CommandState
from devices.relays.outcomes import RelayOutcome, RelayOutcomes
from hygate import audit, clock

ON_FOR_S = 3
LEAVES_WITHIN = timedelta(seconds=15)
"""An ON that could not leave by then is given up: whoever stands at the machine has stopped looking."""
OWNER = "pulse:"
OVER = "pulse_over"


class CannotPulse(Exception):
    """The relay is not to be switched now; the message is a sentence for people."""


def begin(device: Device, *, by: str, is_in_session: Callable[[int], bool]) -> RelayCommand:
    """Write the ON of a pulse; raises ``CannotPulse``. ``is_in_session`` is asked under the device's lock."""
    with transaction.atomic():
        lock_sites([device])
        rows = Device.objects.select_for_update(of=("self",)).select_related("location", "account")
        locked, now = rows.get(pk=device.pk), clock.now()
        command = RelayCommand.objects.filter(device=locked, state__in=OPEN).first()
        reason = "is in a session" if is_in_session(locked.pk) else why_not(locked, command)
        if reason:
            raise CannotPulse(f"{locked.name} {reason}.")
        answer = headroom(locked, now)
        if not answer.ok:
            raise CannotPulse(f"{locked.name} draws high power, and the site cannot carry it now. {answer.reason}")
        command = order_on(
            locked, reason=PULSE, wanted_by=f"{OWNER}{locked.pk}", for_s=ON_FOR_S, give_up_at=now + LEAVES_WITHIN
        )
        Device.objects.filter(pk=locked.pk).update(must_be_off_since=now)  # so that nothing is sold there meanwhile
        audit.write("pulse_asked", actor=by, device=locked.pk, command=command.pk, for_s=ON_FOR_S)
    return command


def why_not(device: Device, command: RelayCommand | None) -> str:
    """Why the relay is not to be switched now, to stand behind its name; empty where it may be.

    ``command`` is its open one.
    """
    if device.maintenance_since is None:
        return "is not in maintenance: put it there first, so that no guest can buy it meanwhile"
    if device.blocked_since is not None:
        return "is out of order: look at what is wrong, then unblock it"
    if device.vanished_at is not None:
        return "is no longer in its Shelly account"
    if command is not None or device.must_be_off_since is not None:
        return "has a command under way, or its OFF is not read back yet"
    if device.account.status in AWAY:
        return "cannot be reached: its Shelly account does not answer"
    if not device.online or device.output is None:
        return "is offline, or was never read"
    return "is on already" if device.output else ""


def on_relay_outcomes(told: RelayOutcomes) -> None:
    """The OFF that belongs to a pulse's ON, inside the transaction that confirms it or gives it up."""
    for outcome in told.each:
        if outcome.on and outcome.wanted_by.startswith(OWNER):
            _order_off(outcome)


def _order_off(outcome: RelayOutcome) -> None:
    device = Device.objects.get(pk=outcome.device_id)
    not_before = None
    if outcome.result == "confirmed":
        not_before = max(outcome.at, (outcome.on_since or outcome.at) + timedelta(seconds=ON_FOR_S))
    order_off(device, reason=OVER, wanted_by=outcome.wanted_by, not_before=not_before)


@dataclass(frozen=True)
class Line:
    """One thing that happened; ``tone`` as the dashboard's: ok, wait, hold."""

    at: datetime
    tone: str
    words: str
    ms: int | None = None


def last(device_id: int) -> list[RelayCommand]:
    """The device's last pulse: its ON, and its OFF as soon as that is wanted; empty where there never was one."""
    mine = RelayCommand.objects.filter(device=device_id, wanted_by=f"{OWNER}{device_id}")
    on = mine.filter(on=True).order_by("-id").first()
    return [] if on is None else [on, *mine.filter(on=False, pk__gt=on.pk).order_by("id")]


def told(commands: list[RelayCommand]) -> list[Line]:
    """The pulse as people read it, oldest first: asked, sent and answered, read back."""
    attempts = RelayAttempt.objects.filter(command__in=commands, kind=AttemptKind.SEND)
    sent = {command.pk: [one for one in attempts if one.command_id == command.pk] for command in commands}
    return [line for command in commands for line in _told(command, sent[command.pk])]


def _told(command: RelayCommand, attempts: list[RelayAttempt]) -> list[Line]:
    word = "ON" if command.on else "OFF"
    lines = [Line(command.created_at, "wait", f"{word} commanded")]
    for one in attempts:
        timer = f", timer {one.timer_s} s" if one.timer_s else ""
        said = f"{word} sent{timer}: {one.get_outcome_display().lower()}" + (f" ({one.error})" if one.error else "")
        lines.append(Line(one.sent_at, "hold" if one.error else "wait", said, one.latency_ms))
    if command.confirmed_at is not None:
        lines.append(Line(command.confirmed_at, "ok", f"{word} confirmed by a reading"))
    elif command.state == CommandState.FAILED:
        lines.append(
            Line(command.closed_at or command.created_at, "hold", f"{word} not confirmed ({command.last_error})")
        )
    elif command.state == CommandState.SUPERSEDED:
        lines.append(Line(command.closed_at or command.created_at, "hold", f"{word} overtaken by a later wish"))
    return lines
