"""From what a label says to the device it hangs on."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from datetime import datetime

from django.db.models import Exists, F, OuterRef, QuerySet
from django.db.models.lookups import IsNull

from devices.models import Device, DeviceCode, UsagePlan
from hygate.prepared import Prepared
from sessions_app import selling
from sessions_app.gates import Gates
from sessions_app.guest.scan import FREE, Scanned, other
from sessions_app.guest.shapes import Other
from sessions_app.selling import Known, Standing

OTHERS_AT_MOST = 4
LOOKED_AT_AT_MOST = 24
"""Whether a device of high power is free takes queries of its own: a large site is not asked for all of them."""
NOT_OFFERED = ("not_for_sale", "disabled")


@dataclass(frozen=True)
class Label:
    """A label's code, the device it hangs on, and who has that device, read in one query."""

    code: str
    device: Device
    retired_at: datetime | None
    standing: Standing


def canonical(code: str) -> str:
    """As it is stored: typed codes come with blanks, dashes and small letters."""
    return re.sub(r"[\s\-\u2010-\u2015_.\x00-\x1f\x7f]", "", code).upper()


def read(code: str) -> Label | None:
    row = _BY_CODE.first(code=code)
    return None if row is None else _label(row)


def _codes() -> QuerySet[DeviceCode]:
    rows = DeviceCode.objects.select_related("device__location", "device__account")
    return rows.annotate(**selling.standing_columns("device"))


def _others(device: int, location: int, kind: str) -> QuerySet[DeviceCode]:
    """The idle ones come first."""
    codes = _codes().filter(
        Exists(UsagePlan.objects.filter(device=OuterRef("device"), active=True)),
        retired_at=None,
        device__active=True,
        device__location=location,
        device__kind=kind,
    )
    return codes.exclude(device=device).order_by(IsNull(F("live"), False), "device__name")[:LOOKED_AT_AT_MOST]


_BY_CODE = Prepared(lambda code: _codes().filter(code=code), code=str)
_OTHERS = Prepared(_others, device=int, location=int, kind=str)
_PLANS = Prepared(lambda device: UsagePlan.objects.filter(device=device, active=True), device=int)


def _label(row: DeviceCode) -> Label:
    standing = Standing(**{field.name: getattr(row, field.name) for field in fields(Standing)})
    return Label(row.code, row.device, row.retired_at, standing)


def plans_of(device: Device) -> list[UsagePlan]:
    return _PLANS.rows(device=device.pk)


def others_like(device: Device, now: datetime, gates: Gates) -> list[Other]:
    """A few more of its kind at the same place. The free ones come first, also where they are far down the list."""
    free: list[Other] = []
    not_now: list[Other] = []
    for one in map(_label, _OTHERS.rows(device=device.pk, location=device.location_id, kind=device.kind)):
        found = selling.availability(one.device, now, Known(gates, one.standing))
        if found.kind in NOT_OFFERED:
            continue
        row = other(found.kind, Scanned(device=one.device, code=one.code, now=now, until=found.until))
        (free if found.kind == FREE else not_now).append(row)
        if len(free) == OTHERS_AT_MOST:
            break
    return [*free, *not_now][:OTHERS_AT_MOST]
