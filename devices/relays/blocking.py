"""Devices that Hygate takes out of sale by itself, because only a person at the machine can put them right."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from django.db import transaction

from devices.models import Device
from hygate import audit, clock
from hygate.alerts import close_alert, raise_alert
from hygate.models import Severity


class Blocked(StrEnum):
    FOUGHT_OVER = "fought_over"
    WELDED = "welded"
    NO_TIMER = "no_timer"
    NOT_AS_SET_UP = "not_as_set_up"
    POWER_UP = "power_up"
    TIMER_UNPROVEN = "timer_unproven"


@dataclass(frozen=True)
class Why:
    """``title`` follows the device's name; ``advice`` says what to do."""

    title: str
    advice: str


WHY: dict[str, Why] = {
    Blocked.FOUGHT_OVER: Why(
        "is switched off by something else",
        "Another controller (for example mySigen) switches this relay: remove it there. Then unblock the device.",
    ),
    Blocked.WELDED: Why(
        "draws power although its relay is off",
        "The relay's contact seems welded. Cut the power by the fuse, replace the relay, then unblock the device.",
    ),
    Blocked.NO_TIMER: Why(
        "cannot be given a timer",
        "Its Shelly server knows no v2 commands, so nothing would end the power if Hygate were down."
        " Check the server address of the account, then unblock the device.",
    ),
    Blocked.NOT_AS_SET_UP: Why(
        "is not the relay that was set up here",
        "The device was swapped, left the account, lost this channel or became a cover. Look at it in the Shelly app,"
        " sync, then unblock it or add the right channel.",
    ),
    Blocked.TIMER_UNPROVEN: Why(
        "does not show its own timer",
        "Nothing proves that it goes off by itself if Hygate is down, and it draws high power. Update its firmware in"
        " the Shelly app, then unblock the device: its next session shows whether the timer is there.",
    ),
    Blocked.POWER_UP: Why(
        "switches itself on when power returns",
        "After a power cut nobody would end it, for its timer is lost. Set its power-on default to off in the Shelly"
        " app, then unblock the device.",
    ),
}


def why(reason: str) -> Why:
    return WHY.get(reason, Why("is out of order", "Look at the device, then unblock it."))


def block(device_id: int, *, reason: Blocked, session: int | None = None) -> bool:
    """Take the device out of sale and tell a person, inside the transaction that notices; false if it was already."""
    assert transaction.get_connection().in_atomic_block, "a block belongs into the transaction that notices"
    now = clock.now()
    rows = Device.objects.filter(pk=device_id, blocked_since__isnull=True)
    if not rows.update(blocked_since=now, blocked_reason=reason):
        return False
    audit.write("device_blocked", session=session, device=device_id, reason=str(reason))
    name = Device.objects.values_list("name", flat=True).get(pk=device_id)
    said = why(reason)
    raise_alert(
        _alert_key(device_id),
        kind=f"blocked_{reason}",
        title=f"{name} {said.title}",
        advice=said.advice,
        severity=Severity.ERROR,
        help_anchor=f"blocked-{reason.replace('_', '-')}",
        session=session,
        device=device_id,
    )
    return True


def unblock(device: Device, *, by: str) -> bool:
    """A person has put it right: it is for sale again as soon as it reads well. False when it was not blocked.

    Readings from before prove nothing any more: a contact that is still welded needs two new ones to be blocked again.
    """
    with transaction.atomic():
        rows = Device.objects.filter(pk=device.pk, blocked_since__isnull=False)
        reason = rows.values_list("blocked_reason", flat=True).first()
        if not rows.update(blocked_since=None, blocked_reason="", off_confirmed_at=clock.now()):
            return False
        audit.write("device_unblocked", actor=by, device=device.pk, reason=reason)
        close_alert(_alert_key(device.pk), by=by)
    return True


def _alert_key(device_id: int) -> str:
    return f"blocked:{device_id}"
