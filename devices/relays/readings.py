"""What readings say about devices: live state, strays, relays that went off by themselves or cannot go off."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from devices.models import Device, PowerSample, RelayCommand
from devices.relays import power, telling
from devices.relays.blocking import Blocked, block
from devices.relays.commands import order_off
from devices.relays.models import OPEN
from devices.relays.outcomes import RelayObserved
from devices.shelly.payload import ChannelReading, DeviceStatus
from hygate.due import outcomes

MOST_MARK = 60
WELDED_W = 10
"""Watts through a relay that is off: more than any meter invents."""


@dataclass(frozen=True)
class Seen:
    """A device as its row was before the reading, and the reading. ``is_fresh``: the device has spoken since."""

    device: Device
    reading: ChannelReading
    is_fresh: bool


def unexpected(account_id: int, statuses: Mapping[str, DeviceStatus]) -> set[int]:
    """Devices that ought to be on and about which these readings have something to tell: off, or on again."""
    told = set()
    for device in Device.objects.filter(account_id=account_id, off_expected_at__isnull=False):
        status = statuses.get(device.shelly_id)
        reading = status.channel(device.channel) if status is not None else None
        if reading is not None and (reading.output is False or (reading.output and not device.output)):
            told.add(device.pk)
    return told


def apply_all(
    account_id: int,
    statuses: Mapping[str, DeviceStatus],
    asked_at: datetime,
    fetched_at: datetime,
    *,
    whole: bool = True,
    told: Collection[int] = (),
) -> None:
    """Write the readings of one answer, then act on them. The devices' rows are locked.

    ``whole``: it covers the account, so a device missing in it is not online. ``told``: of which devices ``unexpected``
    said that there is something to tell; whoever cares has locked its own rows for these.
    """
    devices = Device.objects.filter(account_id=account_id)
    if not whole:
        devices = devices.filter(shelly_id__in=statuses)
    seen = _written(devices.order_by("pk"), statuses, fetched_at)
    for one in seen:
        if one.device.pk in told:
            _tell(one, asked_at, fetched_at)
        _duty(one.device, one.reading, asked_at, fetched_at)
        if _is_welded(one):
            block(one.device.pk, reason=Blocked.WELDED)
    power.keep([sample for one in seen if (sample := _sample(one, fetched_at)) is not None])


def _written(devices: Iterable[Device], statuses: Mapping[str, DeviceStatus], fetched_at: datetime) -> list[Seen]:
    """Each device that has a reading. Those of which the same is new, mostly nothing, are written together."""
    seen, alike = [], defaultdict[tuple[tuple[str, Any], ...], list[int]](list)
    for device in devices:
        status = statuses.get(device.shelly_id)
        reading = status.channel(device.channel) if status is not None else None
        changes = _changes(device, status, reading, fetched_at)
        news = tuple((name, value) for name, value in changes.items() if value != getattr(device, name))
        alike[news].append(device.pk)
        if reading is not None:
            seen.append(Seen(device, reading, "reading_at" in changes))
    for news, pks in alike.items():
        if news:
            Device.objects.filter(pk__in=pks).update(**dict(news))
    return seen


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
        "watts": _watts(reading),
        "energy_wh": None if reading.energy_wh is None else max(0.0, reading.energy_wh),
    }


def _watts(reading: ChannelReading) -> int | None:
    return None if reading.watts is None else max(0, round(reading.watts))


def _sample(seen: Seen, fetched_at: datetime) -> PowerSample | None:
    """A point of the power curve: of a relay that is on or ought to be, where the device measures and has spoken."""
    watts, concerns = _watts(seen.reading), seen.reading.output or seen.device.off_expected_at is not None
    if watts is None or not seen.is_fresh or not concerns:
        return None
    return PowerSample(device=seen.device, at=fetched_at, watts=watts)


def _tell(seen: Seen, asked_at: datetime, fetched_at: datetime) -> None:
    """Publish that a relay which ought to be on is not, or is again; an old picture of it tells nothing.

    That it is on again while a command for it is open is for the command's own confirmation to say.
    """
    device, output = seen.device, seen.reading.output
    expected_until = device.off_expected_at
    if output is None or not seen.is_fresh or expected_until is None or asked_at >= expected_until:
        return
    if output and _has_open_command(device):
        return
    shown_on_at = device.reading_at if device.output else None
    outcomes.publish(RelayObserved(device.pk, output, fetched_at, shown_on_at))


def _duty(device: Device, reading: ChannelReading, asked_at: datetime, fetched_at: datetime) -> None:
    """A relay that must be off and is not is switched off; one that is off and has no open command is done with.

    A relay that is on while nobody has paid (late ON, wall button, another app) must be off too, unless staff has the
    device in maintenance or does not sell it.
    """
    stray = reading.output and _is_stray(device, asked_at)
    must_be_off_since = device.must_be_off_since
    done = reading.output is False and must_be_off_since is not None and asked_at >= must_be_off_since
    if not (stray or done) or _has_open_command(device):
        return
    if stray:
        order_off(device, reason="stray_on", wanted_by="")
    else:
        Device.objects.filter(pk=device.pk).update(must_be_off_since=None, off_confirmed_at=fetched_at)
        telling.off_is_over(device, fetched_at)


def _has_open_command(device: Device) -> bool:
    return RelayCommand.objects.filter(device=device, state__in=OPEN).exists()


def _is_stray(device: Device, asked_at: datetime) -> bool:
    if device.must_be_off_since is not None:
        return asked_at >= device.must_be_off_since
    return device.off_expected_at is None and device.active and device.maintenance_since is None


def _is_welded(seen: Seen) -> bool:
    """Two pushes of the device in a row, both after its OFF was confirmed, show it off and drawing power."""
    before, confirmed_at = seen.device, seen.device.off_confirmed_at
    if confirmed_at is None or before.reading_at is None or before.reading_at <= confirmed_at:
        return False
    shown_before = before.output is False and (before.watts or 0) >= WELDED_W
    shown_now = seen.reading.output is False and round(seen.reading.watts or 0) >= WELDED_W
    return seen.is_fresh and shown_before and shown_now
