"""Plans to begin with: what a washer, a dryer, an EV socket, a sauna or a power socket is usually sold for.

The prices are a start that the operator types over; VAT is always the operator's own. A name holds its length in
minutes or not at all: guests read the length behind it, in their own language.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import Max

from devices.models import Device, DeviceKind, UsagePlan
from hygate import audit

EXTENDS_TO = 3
"""An extendable plan may be extended to this many times its own length."""


@dataclass(frozen=True)
class PlanTemplate:
    """One plan: seconds, and a price in minor units of a currency with two decimal places."""

    name: str
    duration_s: int
    grace_s: int
    price_minor: int
    description: str = ""
    extendable: bool = False
    vat_rate_bp: int = 0

    @property
    def minutes(self) -> int:
        return self.duration_s // 60

    @property
    def grace_minutes(self) -> int:
        return self.grace_s // 60


@dataclass(frozen=True)
class Template:
    """What a kind of device usually draws (its rated power in W, on the safe side) and is sold for."""

    kind: DeviceKind
    rated_w: int
    plans: tuple[PlanTemplate, ...]

    @property
    def title(self) -> str:
        return str(self.kind.label)


def _plan(
    name: str, minutes: int, price_minor: int, grace_minutes: int, about: str = "", *, more: bool
) -> PlanTemplate:
    return PlanTemplate(name, minutes * 60, grace_minutes * 60, price_minor, about, extendable=more)


TEMPLATES: dict[str, Template] = {
    DeviceKind.WASHER: Template(
        DeviceKind.WASHER,
        2200,
        (
            _plan("Short, 30 min", 30, 220, 5, "Lightly worn, 30 °C", more=True),
            _plan("Everyday, 60 min", 60, 360, 5, "Cotton and mixed, up to 60 °C", more=True),
            _plan("Long", 120, 480, 5, "Towels and bed linen, up to 90 °C", more=True),
        ),
    ),
    DeviceKind.DRYER: Template(
        DeviceKind.DRYER,
        2400,
        (
            _plan("Dry, 45 min", 45, 250, 5, more=True),
            _plan("Extra dry, 75 min", 75, 390, 5, more=True),
        ),
    ),
    DeviceKind.EV: Template(
        DeviceKind.EV,
        3700,
        (
            _plan("Top up", 60, 250, 5, more=True),
            _plan("Charge", 240, 900, 5, more=True),
            _plan("Overnight", 600, 1900, 5, more=False),
        ),
    ),
    DeviceKind.SAUNA: Template(
        DeviceKind.SAUNA,
        6000,
        (
            _plan("Sauna, 90 min", 90, 1200, 1, "30 minutes of it to heat up", more=True),
            _plan("Long sauna", 180, 2000, 1, "30 minutes of it to heat up", more=True),
        ),
    ),
    DeviceKind.SOCKET: Template(
        DeviceKind.SOCKET,
        2300,
        (
            _plan("Power", 180, 150, 1, more=True),
            _plan("Power for a day", 1440, 650, 1, more=True),
        ),
    ),
}


def add_plans(device: Device, plans: Sequence[PlanTemplate], *, by: str = "hygate") -> list[UsagePlan]:
    """Create ``plans`` behind those that the device has; names that it has already are left out."""
    with transaction.atomic():
        taken = set(device.plans.values_list("name", flat=True))
        last = device.plans.aggregate(last=Max("sort_order"))["last"]
        first = 0 if last is None else last + 1
        wanted = [plan for plan in plans if plan.name not in taken]
        return [_add(device, plan, first + number, by) for number, plan in enumerate(wanted)]


def _add(device: Device, plan: PlanTemplate, place: int, by: str) -> UsagePlan:
    columns: dict[str, Any] = {
        "name": plan.name,
        "description": plan.description,
        "duration_s": plan.duration_s,
        "grace_s": plan.grace_s,
        "price_minor": plan.price_minor,
        "vat_rate_bp": plan.vat_rate_bp,
        "extendable": plan.extendable,
        "max_total_s": EXTENDS_TO * plan.duration_s if plan.extendable else None,
    }
    made = UsagePlan.objects.create(device=device, sort_order=place, **columns)
    audit.write("plan_added", actor=by, device=device.pk, plan=made.pk, **columns)
    return made
