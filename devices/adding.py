"""Adding channels that a sync found as Devices: each with a code of its own, ready for its label."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db import transaction

from devices.models import Device, DeviceCode, DeviceKind, Location, ShellyAccount
from devices.relays.commands import hurry_account
from devices.relays.found import was_added
from devices.templates import PlanTemplate, add_plans
from hygate import audit, clock

ALPHABET = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"
"""No I, L, O, 0 or 1: a code is also typed from a scratched label."""
CODE_LENGTH = 6


@dataclass(frozen=True)
class Choice:
    """One channel that was picked from ``account.found``, and what it shall be called."""

    shelly_id: str
    channel: int
    name: str
    kind: str = DeviceKind.SOCKET
    place: str = ""
    rated_w: int | None = None
    plans: tuple[PlanTemplate, ...] = ()


class NotSellable(ValueError):
    """A channel that the last sync did not find, or found to be nothing that can be sold."""


def add_devices(
    account: ShellyAccount, choices: Iterable[Choice], location: Location, *, by: str = "hygate"
) -> list[Device]:
    """Create a Device with its code and its plans for each choice; those that exist already are left as they are.

    A reading of the account follows at once: until one has heard of them, guests cannot buy the new ones.
    """
    found = {(row["shelly_id"], row["channel"]): row for row in account.found if row["channel"] is not None}
    added = []
    with transaction.atomic():
        there = set(Device.objects.filter(account=account).values_list("shelly_id", "channel"))
        for choice in choices:
            key = (choice.shelly_id, choice.channel)
            row = found.get(key)
            if row is None or not row.get("sellable"):
                raise NotSellable(f"{choice.name} cannot be sold: sync again and pick it from the list.")
            if key not in there:
                there.add(key)
                added.append(_add(account, choice, location, row, by))
        if added:
            now = clock.now()
            ShellyAccount.objects.filter(pk=account.pk).update(status_due_at=now)
            hurry_account(account.pk, now)
    return added


def _add(account: ShellyAccount, choice: Choice, location: Location, row: dict[str, Any], by: str) -> Device:
    device = Device.objects.create(
        account=account,
        location=location,
        shelly_id=choice.shelly_id,
        channel=choice.channel,
        model=str(row.get("model") or "")[:40],
        generation=int(row.get("generation") or 2),
        name=choice.name,
        place=choice.place,
        kind=choice.kind,
        rated_w=choice.rated_w,
        online=bool(row.get("online")),
        output=row.get("output"),
    )
    code = DeviceCode.objects.create(device=device, code=new_code())
    was_added(account.pk, device.shelly_id, device.channel)
    audit.write("device_added", actor=by, device=device.pk, code=code.code, name=device.name)
    add_plans(device, choice.plans, by=by)
    return device


def new_code() -> str:
    """A code that no label has carried before."""
    while True:
        code = "".join(secrets.choice(ALPHABET) for _ in range(CODE_LENGTH))
        if not DeviceCode.objects.filter(code=code).exists():
            return code
