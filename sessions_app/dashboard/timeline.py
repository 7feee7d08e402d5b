"""A session told from its audit events and its relay attempts, oldest first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from django.utils.dateparse import parse_datetime

from devices.models import RelayAttempt, RelayCommand
from devices.relays.models import AttemptKind, AttemptOutcome
from hygate.models import AuditEvent, User
from sessions_app.dashboard.spelling import amount, length
from sessions_app.mail.models import MailKind
from sessions_app.models import DeviceSession
from sessions_app.problems.models import Cause
from sessions_app.states import Reason

KINDS: dict[str, tuple[str, str, str]] = {
    # kind: title, icon, tone
    "slot_held": ("Slot held", "timer", "wait"),
    "queue_taken": ("Bought by who was first in line", "timer", "wait"),
    "checkout_opened": ("Checkout opened", "credit-card", "wait"),
    "payment_authorized": ("Payment authorised", "credit-card", "ok"),
    "payment_succeeded": ("Paid", "credit-card", "ok"),
    "payment_failed": ("Payment failed", "credit-card", "stop"),
    "payment_captured": ("Captured", "credit-card", "ok"),
    "payment_voided": ("Released, nothing charged", "credit-card", "idle"),
    "payment_mismatch": ("Stripe and Hygate disagree", "triangle-alert", "stop"),
    "row_quarantined": ("Set aside after repeated errors", "triangle-alert", "stop"),
    "alert_opened": ("Alert", "triangle-alert", "hold"),
    "alert_acknowledged": ("Alert acknowledged", "check", "wait"),
    "alert_closed": ("Alert closed", "circle-check", "ok"),
    "capture_failed": ("Capture refused", "credit-card", "stop"),
    "refund_owed": ("Refund owed", "undo-2", "hold"),
    "refund_pending": ("Refund pending at the bank", "undo-2", "wait"),
    "refund_requested": ("Refund requested", "undo-2", "wait"),
    "refund_succeeded": ("Refunded", "undo-2", "ok"),
    "refund_failed": ("Refund failed", "undo-2", "stop"),
    "settlement": ("Settled", "scale", "ok"),
    "session_held": ("Slot held", "timer", "wait"),
    "session_grace": ("Grace period", "timer", "wait"),
    "session_waiting_for_power": ("Waits for power", "zap-off", "hold"),
    "session_starting": ("Switching on", "power", "wait"),
    "session_running": ("Running", "timer", "ok"),
    "session_paused": ("Paused: power is short", "pause", "hold"),
    "session_stopping": ("Switching off", "power-off", "wait"),
    "session_completed": ("Completed", "circle-check", "ok"),
    "session_cancelled": ("Cancelled", "circle-x", "idle"),
    "extension_ordered": ("More time chosen", "credit-card", "wait"),
    "extension_dropped": ("More time not wanted any more", "smartphone", "idle"),
    "extended": ("Extended", "timer", "ok"),
    "minutes_added": ("Minutes added, free of charge", "timer", "ok"),
    "start_now": ("Start now", "smartphone", "wait"),
    "stop_requested": ("Stop asked for", "circle-stop", "hold"),
    "force_end": ("Force end", "octagon-x", "stop"),
    "marked_failed": ("Marked as failed", "circle-x", "stop"),
    "receipt_numbered": ("Receipt", "receipt", "idle"),
    "mail_asked": ("Mail asked for", "smartphone", "wait"),
    "mail_sent": ("Mail sent", "smartphone", "ok"),
    "mail_given_up": ("Mail could not be delivered", "triangle-alert", "hold"),
    "problem_reported": ("Problem reported", "triangle-alert", "hold"),
    "problem_noted": ("Problem: words added", "smartphone", "wait"),
    "problem_seen": ("Problem seen", "eye", "wait"),
    "problem_answered": ("Problem answered", "user-cog", "ok"),
    "problem_closed": ("Problem closed", "circle-check", "ok"),
    "retry_activation": ("Retry activation", "rotate-ccw", "wait"),
    "relay_on_wanted": ("ON wanted", "plug", "wait"),
    "relay_off_wanted": ("OFF wanted", "plug", "wait"),
    "shelly_on_sent": ("ON sent", "plug", "wait"),
    "shelly_on_success": ("ON accepted", "plug", "ok"),
    "shelly_on_failed": ("ON failed", "plug", "hold"),
    "shelly_off_sent": ("OFF sent", "plug", "wait"),
    "shelly_off_success": ("OFF accepted", "plug", "ok"),
    "shelly_off_failed": ("OFF failed", "plug", "hold"),
    "relay_on_confirmed": ("ON confirmed by read-back", "eye", "ok"),
    "relay_off_confirmed": ("OFF confirmed by read-back", "eye", "ok"),
    "light_asked": ("Light: asked for", "power", "wait"),
    "light_switched": ("Light switched, read back", "power", "ok"),
    "light_failed": ("Light not switched", "power-off", "hold"),
    "relay_command_superseded": ("Overtaken by a later wish", "plug", "idle"),
}
"""Known kinds of event; an unknown one is shown under its own name."""

NOTES = {
    "session_running": "the guest's minutes count from here",
    "session_starting": "power is asked for; the minutes do not count yet",
    "checkout_opened": "the guest is on Stripe's page",
    "relay_off_confirmed": "the relay is proven off",
}
PROOFS = {"reading": "a reading shows the relay off", "timer": "off by the relay's own timer; no reading has shown it"}
GUEST, STAFF = "smartphone", "user-cog"
SETTLERS = {"webhook": "Stripe's webhook", "page": "the success page", "reconciler": "the reconciler"}
A_ROUND = 3


@dataclass(frozen=True)
class Step:
    """One line. ``last_at`` and ``times`` are set where repeats were folded; ``error`` leads to the help page."""

    at: datetime
    title: str
    icon: str
    tone: str
    detail: str = ""
    ms: int | None = None
    times: int = 1
    last_at: datetime | None = None
    order: int = 0
    error: str = ""
    folds: bool = field(default=False, compare=False)


def of(session: DeviceSession, currency: str) -> list[Step]:
    commands = RelayCommand.objects.filter(wanted_by=f"session:{session.pk}")
    # whatever becomes of a session's command is written with the session
    events = list(AuditEvent.objects.filter(session=session.pk))
    known = {*commands.values_list("pk", flat=True), *(one.command for one in events if one.command)}
    attempts = list(RelayAttempt.objects.filter(command__in=known).select_related("command").order_by("sent_at", "id"))
    return told(events, attempts, currency, ZoneInfo(session.device.location.timezone), names_of(events))


def names_of(events: Iterable[AuditEvent]) -> dict[str, str]:
    """``user:7`` → a name, for those that took part."""
    numbers = {who.partition(":")[2] for one in events for who in (one.actor, str(one.data.get("by", "")))}
    people = User.objects.filter(pk__in=[int(number) for number in numbers if number.isdigit()])
    return {f"user:{person.pk}": str(person) for person in people} if any(n.isdigit() for n in numbers) else {}


def told(
    events: Sequence[AuditEvent],
    attempts: Sequence[RelayAttempt],
    currency: str,
    zone: ZoneInfo,
    names: dict[str, str],
) -> list[Step]:
    """Events and attempts as steps. An attempt's row says more than its audit events, which it replaces."""
    sent = {(one.command_id, one.number) for one in attempts if one.kind == AttemptKind.SEND}
    steps = [
        _event(one, currency, zone, names)
        for one in events
        if not (one.kind.startswith("shelly_") and (one.command, one.data.get("attempt")) in sent)
    ]
    steps += [_attempt(one) for one in attempts if one.kind == AttemptKind.SEND]
    steps += [_reading(one) for one in _unconfirming(attempts, events)]
    return _folded(sorted(steps, key=lambda step: (step.at, step.order)))


def _unconfirming(attempts: Sequence[RelayAttempt], events: Sequence[AuditEvent]) -> list[RelayAttempt]:
    """Read-backs that are not told by ``relay_…_confirmed``: all but the last of a confirmed command."""
    confirmed = {one.command for one in events if one.kind in ("relay_on_confirmed", "relay_off_confirmed")}
    reads = [one for one in attempts if one.kind == AttemptKind.READ]
    last = {one.command_id: one.pk for one in reads}
    return [one for one in reads if not (one.command_id in confirmed and last[one.command_id] == one.pk)]


def _event(event: AuditEvent, currency: str, zone: ZoneInfo, names: dict[str, str]) -> Step:
    title, icon, tone = KINDS.get(event.kind, (event.kind.replace("_", " ").capitalize(), "activity", "idle"))
    data = event.data
    who = str(data.get("by") or event.actor)
    if "amount_minor" in data:
        title = f"{title} · {amount(int(data['amount_minor']), str(data.get('currency') or currency))}"
    if who.startswith("user:"):
        icon = STAFF if event.kind not in ("session_stopping", "session_cancelled") else icon
    elif who == "guest" and event.kind in ("start_now", "stop_requested"):
        icon = GUEST
    return Step(
        event.at,
        title,
        icon,
        tone,
        _detail(event, who, currency, zone, names),
        data.get("latency_ms"),
        order=event.pk,
        error=str(data.get("error") or ""),
    )


def _detail(event: AuditEvent, who: str, currency: str, zone: ZoneInfo, names: dict[str, str]) -> str:
    """What stands below the title: a note, who, why, then the numbers that the event brought."""
    data = event.data
    parts = [NOTES.get(event.kind, ""), _who(who, names), _why(str(data.get("reason") or "")), *_relay(data)]
    parts.append(PROOFS.get(str(data.get("proof") or ""), ""))
    if (ends_at := parse_datetime(str(data.get("ends_at") or ""))) is not None:
        parts.append(f"until {ends_at.astimezone(zone):%H:%M:%S}")
    if event.kind.startswith(("problem_", "mail_", "receipt_")):
        parts.append(_report_or_mail(data))
    if event.kind.startswith("alert_"):
        parts.append(str(data.get("title") or ""))
    if event.kind != "session_running":
        parts += _settled(data, str(data.get("currency") or currency))
    return " · ".join(part for part in (*parts, str(data.get("method") or "")) if part)


def _report_or_mail(data: dict[str, Any]) -> str:
    """Which report, mail or receipt it is."""
    cause, mail = str(data.get("cause") or ""), str(data.get("mail") or "")
    told = Cause(cause).label if cause in Cause.values else MailKind(mail).label if mail in MailKind.values else ""
    return " · ".join(filter(None, (told, str(data.get("report") or data.get("number") or ""))))


def _who(who: str, names: dict[str, str]) -> str:
    if who.startswith("user:"):
        return f"by {names.get(who, 'a former colleague')}"
    return "by the guest" if who == "guest" else f"learned from {SETTLERS[who]}" if who in SETTLERS else ""


def _why(reason: str) -> str:
    return Reason(reason).label if reason in Reason.values else _words(reason)


def _relay(data: dict[str, Any]) -> list[str]:
    length_s, timer_s, error = data.get("for_s"), data.get("timer_s"), data.get("error")
    return [
        f"for {length(int(length_s))}" if length_s else "",
        f"timer {int(timer_s):,} s in the relay" if timer_s else "",
        _words(str(error)) if error else "",
    ]


def _settled(data: dict[str, Any], currency: str) -> list[str]:
    delivered, kept, back = (data.get(name) for name in ("delivered_s", "charge_minor", "back_minor"))
    return [
        "" if delivered is None else f"{length(int(delivered))} delivered",
        "" if kept is None else f"{amount(int(kept), currency)} kept",
        f"{amount(int(back), currency)} back" if back else "",
    ]


def _attempt(attempt: RelayAttempt) -> Step:
    """One request that asked the relay to move, with its answer."""
    wish = "ON" if attempt.command.on else "OFF"
    nth = f"attempt {attempt.number}" + (f" of {A_ROUND}" if attempt.number <= A_ROUND else "")
    parts = []
    if attempt.timer_s:
        parts.append(f"timer {attempt.timer_s:,} s armed in the relay")
    if attempt.together > 1:
        parts.append(f"together with {attempt.together - 1} other{'s' if attempt.together > 2 else ''}")
    if attempt.error:
        parts.append(_words(attempt.error))
    if attempt.answer:
        parts.append(attempt.answer)
    tone = {AttemptOutcome.OK: "ok", AttemptOutcome.PENDING: "wait"}.get(AttemptOutcome(attempt.outcome), "hold")
    if attempt.outcome == AttemptOutcome.UNKNOWN:
        parts.append("may have acted")
    elif attempt.outcome == AttemptOutcome.PENDING:
        parts.append("no answer yet")
    said = " · ".join(parts)
    return Step(attempt.sent_at, f"{wish} asked, {nth}", "plug", tone, said, attempt.latency_ms, error=attempt.error)


def _reading(attempt: RelayAttempt) -> Step:
    wish = "ON" if attempt.command.on else "OFF"
    why = _words(attempt.error) if attempt.error else attempt.answer
    title = f"Read back: not {wish} yet"
    return Step(attempt.sent_at, title, "eye", "hold", why, attempt.latency_ms, error=attempt.error, folds=True)


def _folded(steps: list[Step]) -> list[Step]:
    """Readings in a row that say the same become one line with their number."""
    told: list[Step] = []
    for step in steps:
        last = told[-1] if told else None
        if last and step.folds and (last.title, last.detail) == (step.title, step.detail):
            told[-1] = replace(last, times=last.times + 1, last_at=step.at, ms=step.ms)
        else:
            told.append(step)
    return told


def _words(name: str) -> str:
    return name.replace("_", " ")
