"""The codes on labels, replaced where a label was lost, copied or pasted over."""

from __future__ import annotations

from django.db import transaction

from devices.adding import new_code
from devices.models import Device, DeviceCode
from hygate import audit, clock


def rotate(device: Device, *, reason: str, by: str) -> DeviceCode:
    """A new code for ``device``. The old one stays, retired: its label says that it was replaced, and sells nothing."""
    with transaction.atomic():
        Device.objects.select_for_update().get(pk=device.pk)
        old = list(DeviceCode.objects.filter(device=device, retired_at=None).values_list("code", flat=True))
        DeviceCode.objects.filter(device=device, retired_at=None).update(retired_at=clock.now())
        made = DeviceCode.objects.create(device=device, code=new_code())
        audit.write("code_rotated", actor=by, device=device.pk, code=made.code, replaced=old, reason=reason)
    return made
