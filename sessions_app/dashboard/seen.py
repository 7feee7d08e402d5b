"""Devices and their sessions as pages of hundreds read them: tuples of the columns that are shown.

Five hundred models take three times as long. They are called as the models' columns are, so that whoever looks at one
of them takes either.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from django.db.models import QuerySet

from devices.models import Device, DeviceKind, Location, ShellyAccount
from hygate.prepared import Prepared
from sessions_app.models import DeviceSession
from sessions_app.states import ACTIVE, LIVE

KINDS = {str(kind): kind.label for kind in DeviceKind}


class SeenDevice(NamedTuple):
    pk: int
    name: str
    place: str
    kind: str
    location_id: int
    account_id: int
    shelly_id: str
    channel: int
    model: str
    rated_w: int | None
    active: bool
    online: bool
    output: bool | None
    watts: int | None
    seen_at: datetime | None
    reading_at: datetime | None
    must_be_off_since: datetime | None
    blocked_since: datetime | None
    vanished_at: datetime | None
    maintenance_since: datetime | None
    maintenance_until: datetime | None
    location: Location
    account: ShellyAccount

    def get_kind_display(self) -> str:
        return str(KINDS[self.kind])


class Named(NamedTuple):
    name: str


class UsedDevice(NamedTuple):
    """Of a device what the tile of its session shows."""

    name: str
    place: str
    online: bool
    output: bool | None
    reading_at: datetime | None
    location: Named


class SeenSession(NamedTuple):
    """What ``looks.of_session`` reads, and the device that it runs on."""

    pk: int
    device_id: int
    state: str
    duration_s: int
    started_at: datetime | None
    ends_at: datetime | None
    paused_at: datetime | None
    hold_expires_at: datetime
    grace_s: int
    grace_ends_at: datetime | None
    device: SeenDevice | UsedDevice


AnyDevice = Device | SeenDevice
AnySession = DeviceSession | SeenSession


def devices(rows: QuerySet[Device]) -> list[SeenDevice]:
    """``rows``, each with its location and its account, of which there are a handful. Three statements."""
    columns = SeenDevice._fields[:-2]
    place, owner = columns.index("location_id"), columns.index("account_id")
    found = list(rows.values_list(*columns))
    locations = Location.objects.in_bulk()
    accounts = ShellyAccount.objects.defer("auth_key", "found").in_bulk()
    return [SeenDevice._make((*one, locations[one[place]], accounts[one[owner]])) for one in found]


def live(devices: Sequence[SeenDevice]) -> dict[int, SeenSession]:
    """The session that each of ``devices`` is taken by, by the device's number. One statement."""
    known = {one.pk: one for one in devices}
    rows = DeviceSession.objects.filter(state__in=LIVE).values_list(*SeenSession._fields[:-1])
    return {row[1]: SeenSession._make((*row, known[row[1]])) for row in rows if row[1] in known}


def active() -> list[SeenSession]:
    """Every session that somebody has paid for and that is not over. One statement."""
    rows, own = _ACTIVE.rows(), len(SeenSession._fields) - 1
    return [SeenSession._make((*row[:own], UsedDevice._make((*row[own:-1], Named(row[-1]))))) for row in rows]


def _active() -> QuerySet[DeviceSession, tuple[Any, ...]]:
    of_device = (f"device__{column}" for column in UsedDevice._fields[:-1])
    columns = (*SeenSession._fields[:-1], *of_device, "device__location__name")
    return DeviceSession.objects.filter(state__in=ACTIVE).order_by().values_list(*columns)


_ACTIVE: Prepared[tuple[Any, ...]] = Prepared(_active)
