"""Rows made through the models: sessions that run and end when the benchmark says. Import after ``Site.enter()``."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db import transaction

from devices.models import AccountStatus, Device, DeviceCode, DeviceKind, Location, ShellyAccount, UsagePlan
from sessions_app.models import DeviceSession, Payment, StripeWatch
from sessions_app.selling import new_reference, token_hash
from sessions_app.states import TERMINAL, PaymentStatus, State
from tests.bench.simulator import device_id, key_of

DURATION_S = 3600
PRICE_MINOR = 250
AT_ONCE = 500
READ_EVERY_S = 30


@dataclass(frozen=True)
class Place:
    """One relay of the simulator: the number of its account and its own number there."""

    account: int
    device: int = 0

    @property
    def shelly_id(self) -> str:
        return device_id(self.account, self.device)


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def let_stripe_be() -> None:
    """No daily compare: the orders made here are in no Stripe."""
    never = datetime.now(UTC) + timedelta(days=1)
    StripeWatch.objects.update_or_create(
        pk=1, defaults={"compare_due_at": never, "events_due_at": never, "due_at": never, "claimed_until": None}
    )


def location() -> Location:
    return Location.objects.get_or_create(name="Bench", defaults={"timezone": "Europe/Vienna"})[0]


def add_accounts(url: str, count: int, *, run: str, first_read: datetime) -> list[ShellyAccount]:
    """``count`` accounts on the simulator at ``url``; their readings, every 30 s each, are spread over the 30 s.

    ``first_read`` lies after the sessions are there: a relay that is on without one would be switched off.
    """
    accounts = []
    for number in range(count):
        read_at = first_read + timedelta(seconds=READ_EVERY_S * number / count)
        accounts.append(
            ShellyAccount(
                name=f"{run} {number}",
                server_url=url,
                auth_key=key_of(number),
                status=AccountStatus.OK,
                status_due_at=read_at,
                due_at=read_at,
            )
        )
    return ShellyAccount.objects.bulk_create(accounts, batch_size=AT_ONCE)


def add_devices(accounts: Sequence[ShellyAccount], places: Sequence[Place], *, output: bool) -> list[Device]:
    """A device for each place, read a moment ago, and a code of its own."""
    now, here = datetime.now(UTC), location()
    devices = Device.objects.bulk_create(
        [
            Device(
                location=here,
                account=accounts[place.account],
                shelly_id=place.shelly_id,
                name=f"Plug {place.account}.{place.device}",
                kind=DeviceKind.SOCKET,
                online=True,
                output=output,
                reading_at=now,
                seen_at=now,
            )
            for place in places
        ],
        batch_size=AT_ONCE,
    )
    codes = [DeviceCode(device=device, code=secrets.token_hex(5).upper()) for device in devices]
    DeviceCode.objects.bulk_create(codes, batch_size=AT_ONCE)
    return devices


def add_plans(devices: Sequence[Device], *, duration_s: int = DURATION_S) -> list[UsagePlan]:
    plans = [UsagePlan(device=one, name="Hour", duration_s=duration_s, price_minor=PRICE_MINOR) for one in devices]
    return UsagePlan.objects.bulk_create(plans, batch_size=AT_ONCE)


def run_sessions(devices: Sequence[Device], ends: Sequence[float]) -> list[DeviceSession]:
    """A paid, running session on each device, ending at ``ends`` (Unix seconds): as the product leaves it there."""
    sessions = [_session(device, at(end), State.RUNNING) for device, end in zip(devices, ends, strict=True)]
    with transaction.atomic():
        made = DeviceSession.objects.bulk_create(sessions, batch_size=AT_ONCE)
        Payment.objects.bulk_create([_payment(one) for one in made], batch_size=AT_ONCE)
        for device, session in zip(devices, made, strict=True):
            device.off_expected_at = session.ends_at
        Device.objects.bulk_update(devices, ["off_expected_at"], batch_size=AT_ONCE)
    return made


def add_past_sessions(
    devices: Sequence[Device], *, each: int, apart: timedelta = timedelta(hours=2)
) -> list[DeviceSession]:
    """``each`` completed sessions on every device, ``apart`` from each other, an hour and more ago."""
    now = datetime.now(UTC)
    sessions = [
        _session(device, now - timedelta(hours=1) - number * apart, State.COMPLETED)
        for device in devices
        for number in range(each)
    ]
    made = DeviceSession.objects.bulk_create(sessions, batch_size=AT_ONCE)
    Payment.objects.bulk_create([_payment(one) for one in made], batch_size=AT_ONCE)
    return made


def _session(device: Device, ends_at: datetime, state: State) -> DeviceSession:
    started_at, token = ends_at - timedelta(seconds=DURATION_S), secrets.token_urlsafe(32)
    is_over = state in TERMINAL
    return DeviceSession(
        reference=new_reference(),
        token_hash=token_hash(token),
        token=token,
        device=device,
        plan_name="Hour",
        duration_s=DURATION_S,
        state=state,
        created_at=started_at,
        hold_expires_at=started_at,
        started_at=started_at,
        ends_at=ends_at,
        timer_ends_at=ends_at + timedelta(seconds=30),
        due_at=None if is_over else ends_at,
        delivered_s=DURATION_S if is_over else None,
        off_requested_at=ends_at if is_over else None,
        closed_at=ends_at if is_over else None,
    )


def _payment(session: DeviceSession) -> Payment:
    ref, is_over = f"{session.reference}-1", session.state in TERMINAL
    return Payment(
        ref=ref,
        session=session,
        status=PaymentStatus.SUCCEEDED,
        amount_minor=PRICE_MINOR,
        currency="eur",
        duration_s=session.duration_s,
        plan_name=session.plan_name,
        created_at=session.created_at,
        checkout_key=f"checkout:{ref}",
        checkout_params="{}",
        captured_minor=PRICE_MINOR,
        captured_at=session.started_at,
        authorized_at=session.started_at,
        charge_minor=PRICE_MINOR if is_over else None,
        closed_at=session.closed_at,
    )


def unfinished(sessions: Sequence[DeviceSession]) -> int:
    """How many of them are not over yet."""
    pks = [one.pk for one in sessions]
    return DeviceSession.objects.filter(pk__in=pks).exclude(state__in=TERMINAL).count()


def retire(accounts: Sequence[ShellyAccount]) -> None:
    """Nothing more is asked of these accounts: their simulator is about to go."""
    rows = ShellyAccount.objects.filter(pk__in=[one.pk for one in accounts])
    with transaction.atomic():
        list(rows.select_for_update(no_key=True).order_by("pk").values_list("pk"))
        rows.update(due_at=None, status_due_at=None, sync_due_at=None)
