"""What readings say about devices: live state, strays, relays that went off by themselves or cannot go off."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Q

from devices.models import Device, PowerSample, RelayCommand
from devices.relays import power, telling
from devices.relays.blocking import Blocked, block
from devices.relays.commands import order_off
from devices.relays.models import OPEN
from devices.relays.outcomes import RelayObserved
from devices.shelly.payload import ChannelReading, DeviceStatus
from hygate.due import outcomes
from hygate.each import update_each

MOST_MARK = 60
WELDED_W = 10
"""Watts through a relay that is off: more than any meter invents."""


@dataclass(frozen=True)
class Reading:
    """One answer about an account: asked for at ``asked_at``, whole at ``fetched_at``.

    ``whole``: it covers the account, so a device missing in it is not online.
    """

    account_id: int
    statuses: Mapping[str, DeviceStatus]
    asked_at: datetime
    fetched_at: datetime
    whole: bool = True


@dataclass(frozen=True)
class Seen:
    """A device as its row was before the reading, and the reading. ``is_fresh``: the device has spoken since."""

    device: Device
    reading: ChannelReading
    is_fresh: bool
    asked_at: datetime
    fetched_at: datetime


def covered(readings: Collection[Reading]) -> Q:
    """The devices that these readings speak of, and where an account was read in part, maybe a few more."""
    part = [one for one in readings if not one.whole]
    ids = {shelly_id for one in part for shelly_id in one.statuses}
    whole = Q(account__in=[one.account_id for one in readings if one.whole])
    return whole | Q(account__in=[one.account_id for one in part], shelly_id__in=ids)


def unexpected(readings: Sequence[Reading]) -> set[int]:
    """Devices that ought to be on and about which these readings have something to tell: off, or on again."""
    told: set[int] = set()
    if not readings:
        return told
    statuses = {one.account_id: one.statuses for one in readings}
    columns = ("pk", "account_id", "shelly_id", "channel", "output")
    expected = Device.objects.filter(covered(readings), off_expected_at__isnull=False).values_list(*columns)
    for pk, account_id, shelly_id, channel, output in expected:
        status = statuses[account_id].get(shelly_id)
        reading = status.channel(channel) if status is not None else None
        if reading is not None and (reading.output is False or (reading.output and not output)):
            told.add(pk)
    return told


def apply_all(readings: Sequence[Reading], told: Collection[int] = ()) -> None:
    """Write the readings, one of each account, then act on them. The devices' rows are locked.

    ``told``: of which devices ``unexpected`` said that there is something to tell; whoever cares has locked its own
    rows for these.
    """
    if not readings:
        return
    seen = _written(Device.objects.filter(covered(readings)).order_by("pk"), {one.account_id: one for one in readings})
    for one in seen:
        if one.device.pk in told:
            _tell(one)
    _duties(seen)
    for one in seen:
        if _is_welded(one):
            block(one.device.pk, reason=Blocked.WELDED)
    power.keep([sample for one in seen if (sample := _sample(one)) is not None])


def _written(devices: Iterable[Device], readings: Mapping[int, Reading]) -> list[Seen]:
    """Each device that has a reading; of those and of what has none, what is new is written."""
    seen, news = [], dict[int, dict[str, Any]]()
    for device in devices:
        read = readings[device.account_id]
        status = read.statuses.get(device.shelly_id)
        if status is None and not read.whole:
            continue
        reading = status.channel(device.channel) if status is not None else None
        changes = _changes(device, status, reading, read.fetched_at)
        news[device.pk] = {name: value for name, value in changes.items() if value != getattr(device, name)}
        if reading is not None:
            seen.append(Seen(device, reading, "reading_at" in changes, read.asked_at, read.fetched_at))
    update_each(Device, news)
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


def _sample(seen: Seen) -> PowerSample | None:
    """A point of the power curve: of a relay that is on or ought to be, where the device measures and has spoken."""
    watts, concerns = _watts(seen.reading), seen.reading.output or seen.device.off_expected_at is not None
    if watts is None or not seen.is_fresh or not concerns:
        return None
    return PowerSample(device=seen.device, at=seen.fetched_at, watts=watts)


def _tell(seen: Seen) -> None:
    """Publish that a relay which ought to be on is not, or is again; an old picture of it tells nothing.

    That it is on again while a command for it is open is for the command's own confirmation to say.
    """
    device, output = seen.device, seen.reading.output
    expected_until = device.off_expected_at
    if output is None or not seen.is_fresh or expected_until is None or seen.asked_at >= expected_until:
        return
    if output and _with_open_command([device.pk]):
        return
    shown_on_at = device.reading_at if device.output else None
    outcomes.publish(RelayObserved(device.pk, output, seen.fetched_at, shown_on_at))


def _duties(seen: Sequence[Seen]) -> None:
    """A relay that must be off and is not is switched off; one that is off and has no open command is done with.

    A relay that is on while nobody has paid (late ON, wall button, another app) must be off too, unless staff has the
    device in maintenance or does not sell it.
    """
    strays = [one for one in seen if one.reading.output and _is_stray(one.device, one.asked_at)]
    done = [one for one in seen if _is_done(one)]
    busy = _with_open_command([one.device.pk for one in (*strays, *done)])
    for one in strays:
        if one.device.pk not in busy:
            order_off(one.device, reason="stray_on", wanted_by="")
    for one in done:
        if one.device.pk not in busy:
            off = {"must_be_off_since": None, "off_confirmed_at": one.fetched_at}
            Device.objects.filter(pk=one.device.pk).update(**off)
            telling.off_is_over(one.device, one.fetched_at)


def _is_done(seen: Seen) -> bool:
    since = seen.device.must_be_off_since
    return seen.reading.output is False and since is not None and seen.asked_at >= since


def _with_open_command(devices: Collection[int]) -> set[int]:
    if not devices:
        return set()
    return set(RelayCommand.objects.filter(device__in=devices, state__in=OPEN).values_list("device_id", flat=True))


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
