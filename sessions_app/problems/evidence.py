"""What the relay did and showed, as it stood when a guest reported: kept, for the rows behind it are tidied up."""

from __future__ import annotations

from datetime import datetime

from devices.models import Device, RelayAttempt, RelayCommand
from devices.relays.models import AttemptKind
from hygate.logs import scrub
from sessions_app.models import DeviceSession

Line = dict[str, str]
"""``at`` (ISO, UTC), ``what``, ``answer``."""
MOST = 200
"""Lines kept: the newest, where a relay was asked more often."""


def of_session(session: DeviceSession, now: datetime) -> list[Line]:
    """Every wish for the relay, every attempt with its answer, every read-back, and what was last read of it."""
    commands = list(RelayCommand.objects.filter(wanted_by=f"session:{session.pk}"))
    tries = RelayAttempt.objects.filter(command__in=commands).select_related("command")
    lines = [line for command in commands for line in _of_command(command)] + [_of_attempt(one) for one in tries]
    lines.sort(key=lambda line: line["at"])
    return [*lines[-MOST:], *of_device(session.device, now)]


def of_device(device: Device, now: datetime) -> list[Line]:
    """The latest reading of the relay and what Hygate knew of it at the moment of the report."""
    read = "nothing was read yet"
    if device.reading_at is not None:
        output = {True: "on", False: "off"}.get(device.output, "unknown")  # type: ignore[arg-type]
        watts = "" if device.watts is None else f", {device.watts} W"
        read = f"output {output}{watts}"
    lines = [_line(device.reading_at or now, "Last reading", read)]
    lines.append(_line(now, "Reported", "relay online" if device.online else "relay offline"))
    return lines


def _of_command(command: RelayCommand) -> list[Line]:
    wish = "ON" if command.on else "OFF"
    lines = [_line(command.created_at, f"{wish} wanted", command.reason.replace("_", " "))]
    if command.confirmed_at is not None:
        lines.append(_line(command.confirmed_at, f"{wish} confirmed by read-back", ""))
    elif command.closed_at is not None:
        lines.append(_line(command.closed_at, f"{wish} {command.state}", command.last_error.replace("_", " ")))
    return lines


def _of_attempt(attempt: RelayAttempt) -> Line:
    wish = "ON" if attempt.command.on else "OFF"
    what = f"{wish} sent, attempt {attempt.number}" if attempt.kind == AttemptKind.SEND else f"Read back after {wish}"
    took = "" if attempt.latency_ms is None else f"{attempt.latency_ms} ms"
    said = (attempt.outcome, attempt.error.replace("_", " "), scrub(attempt.answer), took)
    return _line(attempt.sent_at, what, " · ".join(filter(None, said)))


def _line(at: datetime, what: str, answer: str) -> Line:
    return {"at": at.isoformat(), "what": what, "answer": answer}
