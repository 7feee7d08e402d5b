"""What readings say about devices: live state, strays, and relays that have gone off as they should."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from devices.models import Device, RelayCommand
from devices.relays.commands import order_off
from devices.relays.models import OPEN
from devices.shelly.payload import ChannelReading, DeviceStatus

MOST_MARK = 60


def apply_all(
    account_id: int,
    statuses: Mapping[str, DeviceStatus],
    asked_at: datetime,
    fetched_at: datetime,
    *,
    whole: bool = True,
) -> None:
    """Write the readings of one answer. ``whole``: it covers the account, so a device missing in it is not online."""
    devices = Device.objects.filter(account_id=account_id)
    if not whole:
        devices = devices.filter(shelly_id__in=statuses)
    for device in devices.order_by("pk"):
        status = statuses.get(device.shelly_id)
        reading = status.channel(device.channel) if status is not None else None
        changes = _changes(device, status, reading, fetched_at)
        Device.objects.filter(pk=device.pk).update(**changes)
        if reading is not None:
            _duty(device, reading, asked_at)


def _changes(
    device: Device, status: DeviceStatus | None, reading: ChannelReading | None, fetched_at: datetime
) -> dict[str, Any]:
    if status is None:
        return {"online": False}
    changes: dict[str, Any] = {"online": status.online, "seen_at": fetched_at}
    if reading is None:
        return changes
    mark = status.mark[:MOST_MARK]
    if mark != device.reading_mark or reading.output != device.output:
        changes["reading_at"] = fetched_at
    return changes | {
        "reading_mark": mark,
        "output": reading.output,
        "watts": None if reading.watts is None else max(0, round(reading.watts)),
    }


def _duty(device: Device, reading: ChannelReading, asked_at: datetime) -> None:
    """A relay that must be off and is not is switched off; one that is off and has no open command is done with.

    A relay that is on while nobody has paid (late ON, wall button, another app) must be off too, unless staff has the
    device in maintenance or does not sell it.
    """
    if RelayCommand.objects.filter(device=device, state__in=OPEN).exists():
        return
    if reading.output and _is_stray(device, asked_at):
        order_off(device, reason="stray_on", wanted_by="")
    elif reading.output is False and device.must_be_off_since is not None and asked_at >= device.must_be_off_since:
        Device.objects.filter(pk=device.pk).update(must_be_off_since=None)


def _is_stray(device: Device, asked_at: datetime) -> bool:
    if device.must_be_off_since is not None:
        return asked_at >= device.must_be_off_since
    return device.off_expected_at is None and device.active and device.maintenance_since is None
