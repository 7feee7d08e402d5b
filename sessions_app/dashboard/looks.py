"""What a session or a device looks like at a glance: a tone, an icon and a word, always together."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple, cast
from zoneinfo import ZoneInfo

from django.conf import settings

from devices.models import AWAY, Device, RelayCommand, ShellyAccount
from sessions_app import selling
from sessions_app.dashboard.seen import AnyDevice, AnySession
from sessions_app.states import PaymentStatus, State

SOON_S = 60
MONEY_TONES = {
    PaymentStatus.PENDING: "idle",
    PaymentStatus.AUTHORIZED: "wait",
    PaymentStatus.SUCCEEDED: "ok",
    PaymentStatus.FAILED: "stop",
    PaymentStatus.VOIDED: "idle",
    PaymentStatus.REFUNDED: "hold",
    PaymentStatus.PARTIALLY_REFUNDED: "hold",
}
SESSION_COLUMNS = (
    *("state", "duration_s", "started_at", "ends_at", "paused_at"),
    *("hold_expires_at", "grace_s", "grace_ends_at"),
)
"""What ``of_session`` reads of a session: a page of hundreds needs no more of it."""
RANK = {"stop": 0, "hold": 1, "ok": 2, "wait": 3, "idle": 4}


class Look(NamedTuple):
    """``ends_at`` counts down; ``left_s`` stands still (a pause); neither: no time is shown."""

    tone: str
    icon: str
    word: str
    ends_at: datetime | None = None
    left_s: int | None = None
    total_s: int = 0

    def remaining_s(self, now: datetime) -> float | None:
        return (self.ends_at - now).total_seconds() if self.ends_at else self.left_s


OVER = {
    State.COMPLETED: Look("idle", "circle-check", "completed"),
    State.CANCELLED: Look("idle", "circle-x", "cancelled"),
}


def of_session(session: AnySession, now: datetime) -> Look:
    match session.state:
        case State.HELD:
            return Look("wait", "credit-card", "guest is paying", session.hold_expires_at)
        case State.GRACE:
            return Look("wait", "clock", "grace", session.grace_ends_at, total_s=session.grace_s)
        case State.WAITING_FOR_POWER:
            return Look("hold", "triangle-alert", "waits for power")
        case State.STARTING:
            return Look("wait", "power", "starting")
        case State.RUNNING:
            return _running(session, now)
        case State.PAUSED:
            left_s = _frozen_s(session)
            return Look("hold", "pause", "paused: power", left_s=left_s, total_s=session.duration_s)
        case State.STOPPING:
            return Look("wait", "power-off", "stopping", left_s=0)
    return OVER[State(session.state)]


def _running(session: AnySession, now: datetime) -> Look:
    ends_at, total_s, device = session.ends_at, session.duration_s, session.device
    if session.paused_at is not None:
        return Look("stop", "circle-alert", "relay went off: brought back", left_s=_frozen_s(session), total_s=total_s)
    if read_off_while_running(session):
        return Look("stop", "circle-alert", "interrupted: relay read back OFF", ends_at, total_s=total_s)
    if not device.online:
        return Look("hold", "wifi-off", "running, relay offline", ends_at, total_s=total_s)
    if ends_at is not None and (ends_at - now).total_seconds() < SOON_S:
        return Look("hold", "triangle-alert", "ends soon", ends_at, total_s=total_s)
    return Look("ok", "zap", "running", ends_at, total_s=total_s)


def read_off_while_running(session: AnySession) -> bool:
    """Whether a reading made after the start shows a paid relay off."""
    device, started_at = session.device, session.started_at
    return bool(device.output is False and device.reading_at and started_at and device.reading_at > started_at)


def _frozen_s(session: AnySession) -> int:
    if session.ends_at is None or session.paused_at is None:
        return 0
    return max(0, int((session.ends_at - session.paused_at).total_seconds()))


def of_free_device(device: AnyDevice, now: datetime) -> Look:
    """``free`` only where a guest can buy as well; a device that guests do not reach is no free one."""
    if device.blocked_since is not None:
        return Look("stop", "ban", "out of order")
    if device.vanished_at is not None:
        return Look("stop", "circle-x", "no longer in the account")
    if device.maintenance_since is not None:
        return Look("idle", "wrench", "maintenance")
    if not device.active:
        return Look("idle", "ban", "not for sale")
    if not device.online:
        return Look("stop", "wifi-off", "offline")
    if not selling.is_reachable(cast(Device, device), now):
        waits = device.seen_at is None and _answers(device.account, now)
        return Look("idle", "hourglass", "not read yet") if waits else Look("stop", "wifi-off", "out of reach")
    if device.must_be_off_since is not None:
        return Look("hold", "triangle-alert", "OFF not read back yet")
    if device.output:
        return Look("hold", "triangle-alert", "on without a session")
    return Look("idle", "circle-check", "free")


def _answers(account: ShellyAccount, now: datetime) -> bool:
    """So the first reading of a device that was just added is about to come."""
    patience = timedelta(seconds=settings.NUMBERS.offline_after_s)
    return account.status not in AWAY and account.last_ok_at is not None and now - account.last_ok_at <= patience


class Tile(NamedTuple):
    """One device or session as a link. Nothing in it depends on the second, so that it can be compared."""

    url: str
    name: str
    place: str
    look: Look
    watts: int | None = None
    contact_at: datetime | None = None
    late: bool = False
    asked: str = ""
    note: str = ""


def of_device(device: AnyDevice, session: AnySession | None, command: RelayCommand | None, now: datetime) -> Tile:
    look = of_session(session, now) if session else of_free_device(device, now)
    patience = timedelta(seconds=3 * settings.NUMBERS.status_every_s)
    note = ""
    if look.icon == "wrench" and device.maintenance_until:
        note = f"until {device.maintenance_until.astimezone(zone_of(device)):%d %b, %H:%M}"
    return Tile(
        url=f"/dashboard/devices/{device.pk}/",
        name=device.name,
        place=device.place,
        look=look,
        watts=device.watts if device.output else None,
        contact_at=device.seen_at,
        late=device.seen_at is not None and now - device.seen_at > patience,
        asked=("asked ON" if command.on else "asked OFF") if command else "",
        note=note,
    )


def zone_of(device: AnyDevice) -> ZoneInfo:
    return ZoneInfo(device.location.timezone)


def of_active(session: AnySession, now: datetime) -> Tile:
    device = session.device
    return Tile(
        url=f"/dashboard/sessions/{session.pk}/",
        name=device.name,
        place=device.place or device.location.name,
        look=of_session(session, now),
    )
