"""From what a label says to the device it hangs on."""

from __future__ import annotations

import re
from datetime import datetime

from devices.models import Device, DeviceCode, UsagePlan
from sessions_app import selling
from sessions_app.guest.scan import Scanned, other
from sessions_app.guest.shapes import Other

OTHERS_AT_MOST = 4
NOT_OFFERED = ("not_for_sale", "disabled")


def canonical(code: str) -> str:
    """As it is stored: typed codes come with blanks, dashes and small letters."""
    return re.sub(r"[\s\-\u2010-\u2015_.]", "", code).upper()


def read(code: str) -> DeviceCode | None:
    return DeviceCode.objects.select_related("device__location", "device__account").filter(code=code).first()


def plans_of(device: Device) -> list[UsagePlan]:
    return list(device.plans.filter(active=True))


def others_like(device: Device, now: datetime) -> list[Other]:
    """A few more of its kind at the same place, the free ones first."""
    codes = DeviceCode.objects.select_related("device__location", "device__account").filter(
        retired_at=None,
        device__active=True,
        device__location=device.location_id,
        device__kind=device.kind,
        device__plans__active=True,
    )
    rows = []
    for code in codes.exclude(device=device).order_by("device__name").distinct()[:OTHERS_AT_MOST]:
        found = selling.availability(code.device, now)
        if found.kind in NOT_OFFERED:
            continue
        scanned = Scanned(device=code.device, code=code.code, now=now, until=found.until)
        rows.append(other(found.kind, scanned))
    return sorted(rows, key=lambda row: row.icon != "check")
