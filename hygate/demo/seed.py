"""The demo's site: people, a place, an account and devices with plans. Adds what is missing, changes nothing else."""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings
from django.db import transaction

from devices.energy.models import SourceKind
from devices.models import (
    Device,
    DeviceCode,
    DeviceKind,
    EnergySource,
    Location,
    Phases,
    ShellyAccount,
    SitePower,
    UsagePlan,
)
from devices.relays.sync import sync_account
from hygate.models import Role, SiteSettings, User
from hygate.simulators.shelly import DEMO_KEY

PASSWORD = "hygate-demo"  # noqa: S105 - the demo's, printed on its first page
PEOPLE = {"admin@example.com": Role.ADMINISTRATOR, "operator@example.com": Role.OPERATOR}
VAT_BP = 2000
CODE = "DEMO1"
SHORT_S = 20


@dataclass(frozen=True)
class Plan:
    name: str
    duration_s: int
    price_minor: int
    grace_s: int = 120
    description: str = ""
    extendable: bool = False


@dataclass(frozen=True)
class Machine:
    code: str
    name: str
    kind: DeviceKind
    shelly_id: str
    channel: int
    rated_w: int
    place: str
    plans: tuple[Plan, ...]
    phases: str = Phases.L1


TRY = Plan("Quick try", SHORT_S, 250, grace_s=5, description="20 seconds, to see how it works")
WASHING = (
    Plan("Everyday, 60 min", 3600, 360, description="Cotton and mixed, up to 60 °C", extendable=True),
    Plan("Short, 30 min", 1800, 220, description="Lightly worn, 30 °C"),
)
DRYING = (Plan("Dry, 45 min", 2700, 250, extendable=True), Plan("Extra dry, 75 min", 4500, 390))
CHARGING = (Plan("Charge", 7200, 900, extendable=True), Plan("Long charge", 14400, 1700))
HEATING = (Plan("Sauna, 90 min", 5400, 1200, grace_s=60, extendable=True),)
CAMPING = (Plan("Power", 10800, 150, grace_s=60), Plan("Power, day and night", 86400, 650, grace_s=60))

LAUNDRY, SAUNA, EV, PITCH = "34987a10c4d0", "34945410c025", "a4cf1210c001", "e86bea10c070"
MACHINES = (
    Machine(CODE, "Washer 1", DeviceKind.WASHER, LAUNDRY, 0, 2050, "left of the door", (TRY, *WASHING)),
    Machine("DEMO2", "Washer 2", DeviceKind.WASHER, LAUNDRY, 1, 2050, "right of the door", WASHING),
    Machine("DEMO3", "Dryer 1", DeviceKind.DRYER, LAUNDRY, 2, 2400, "above Washer 1", DRYING),
    Machine("DEMO4", "Dryer 2", DeviceKind.DRYER, LAUNDRY, 3, 2400, "above Washer 2", DRYING),
    Machine("DEMO5", "EV socket 1", DeviceKind.EV, EV, 0, 11000, "car park", CHARGING, Phases.ALL),
    Machine("DEMO6", "Sauna", DeviceKind.SAUNA, SAUNA, 1, 2200, "behind the showers", HEATING),
    Machine("DEMO7", "Pitch 7 socket", DeviceKind.SOCKET, PITCH, 0, 830, "pitch 7", CAMPING),
)


def seed() -> None:
    """Idempotent. Raises ``ShellyError`` when the simulated cloud does not answer."""
    with transaction.atomic():
        SiteSettings.objects.get_or_create(pk=1, defaults={"company": "Seaside Camping"})
        for email, role in PEOPLE.items():
            _person(email, role)
        location, _ = Location.objects.get_or_create(
            name="Laundry room", defaults={"timezone": "Europe/Vienna", "currency": "eur"}
        )
        account, _ = ShellyAccount.objects.update_or_create(
            name="demo",
            defaults={"server_url": settings.SHELLY_DEFAULT_URL},
            create_defaults={"server_url": settings.SHELLY_DEFAULT_URL, "auth_key": DEMO_KEY},
        )
        _energy(location)
    missing = [one for one in MACHINES if not DeviceCode.objects.filter(code=one.code).exists()]
    if not missing:
        return
    found = {(row["shelly_id"], row["channel"]): row for row in sync_account(account)}
    with transaction.atomic():
        for machine in missing:
            row = found.get((machine.shelly_id, machine.channel), {})
            _device(machine, location, account, model=row.get("model", ""), generation=row.get("generation", 2))


def _energy(location: Location) -> None:
    """The simulated plant on the roof; the limits that it states itself are the site's."""
    SitePower.objects.get_or_create(location=location)
    here = {"address": "127.0.0.1", "port": settings.SIM_MODBUS_PORT}
    EnergySource.objects.update_or_create(
        location=location,
        name="Plant on the roof",
        defaults=here,
        create_defaults={**here, "kind": SourceKind.SIGENERGY_MODBUS},
    )


def _person(email: str, role: Role) -> None:
    if User.objects.filter(email=email).exists():
        return
    User.objects.create_user(email, PASSWORD, role=role, is_staff=True)


def _device(machine: Machine, location: Location, account: ShellyAccount, *, model: str, generation: int) -> None:
    device, is_new = Device.objects.get_or_create(
        account=account,
        shelly_id=machine.shelly_id,
        channel=machine.channel,
        defaults={
            "location": location,
            "name": machine.name,
            "place": machine.place,
            "kind": machine.kind,
            "rated_w": machine.rated_w,
            "phases": machine.phases,
            "model": model,
            "generation": generation,
        },
    )
    if not device.codes.filter(retired_at=None).exists():
        DeviceCode.objects.create(device=device, code=machine.code)
    if not is_new:
        return
    UsagePlan.objects.bulk_create(
        UsagePlan(
            device=device,
            name=plan.name,
            description=plan.description,
            duration_s=plan.duration_s,
            grace_s=plan.grace_s,
            price_minor=plan.price_minor,
            vat_rate_bp=VAT_BP,
            sort_order=order,
            extendable=plan.extendable,
            max_total_s=3 * plan.duration_s if plan.extendable else None,
        )
        for order, plan in enumerate(machine.plans)
    )
