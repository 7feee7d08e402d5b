"""A device on sale, a session in any state, and what a page says in one line: for tests of what a guest reads."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from datetime import timedelta
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.utils.html import strip_tags

from devices.models import Device, DeviceCode, DeviceKind, Location, ShellyAccount, UsagePlan
from hygate import clock
from sessions_app.models import DeviceSession, Payment
from sessions_app.states import PaymentStatus

TOKEN = "a-token-that-nobody-guesses"
STRIPE = "https://checkout.stripe.com/c/pay/cs_test_1"
LINK = f"/session/{TOKEN}/"

Make = Callable[..., DeviceSession]
CAPTURED = {"status": PaymentStatus.SUCCEEDED, "captured_minor": 360}
PENDING = {"status": PaymentStatus.PENDING, "authorized_at": None}


@pytest.fixture(autouse=True)
def _static_files_need_no_collecting(settings: Any, tmp_path: Path) -> None:
    settings.STATIC_ROOT = str(tmp_path)


@pytest.fixture
def device(manual_clock: clock.ManualClock) -> Device:
    location = Location.objects.create(name="Seaside Camping", timezone="Europe/Vienna", contact_phone="+43 1 234")
    account = ShellyAccount.objects.create(name="demo", server_url="http://127.0.0.1:1", auth_key="key")
    made = Device.objects.create(
        location=location,
        account=account,
        shelly_id="abc",
        name="Washer 1",
        place="Laundry room",
        kind=DeviceKind.WASHER,
        online=True,
        seen_at=clock.now(),
    )
    DeviceCode.objects.create(device=made, code="W17Q4")
    return made


@pytest.fixture
def plan(device: Device) -> UsagePlan:
    return add_plan(device, "Everyday", 3600, 360)


def add_plan(device: Device, name: str, duration_s: int, price_minor: int, **more: Any) -> UsagePlan:
    return UsagePlan.objects.create(
        device=device, name=name, duration_s=duration_s, price_minor=price_minor, **{"grace_s": 300, **more}
    )


@pytest.fixture
def make(device: Device) -> Make:
    """A session in a state, with its start order: ``make(State.GRACE, pay={...}, grace_ends_at=...)``."""

    def session(state: str, *, pay: dict[str, Any] | None = None, **more: Any) -> DeviceSession:
        now = clock.now()
        fields: dict[str, Any] = {
            "reference": "S-7QK4",
            "token_hash": hashlib.sha256(TOKEN.encode()).hexdigest(),
            "token": TOKEN,
            "device": device,
            "plan_name": "Everyday",
            "duration_s": 3600,
            "grace_s": 300,
            "state": state,
            "created_at": now,
            "hold_expires_at": now + timedelta(minutes=10),
        }
        made = DeviceSession.objects.create(**{**fields, **more})
        order = {
            "status": PaymentStatus.AUTHORIZED,
            "authorized_at": now,
            "amount_minor": 360,
            "currency": "eur",
            "duration_s": made.duration_s,
            "plan_name": "Everyday",
            "checkout_url": STRIPE,
            "checkout_params": "{}",
        }
        Payment.objects.create(session=made, ref="S-7QK4-1", checkout_key="k", **{**order, **(pay or {})})
        return made

    return session


def ran(minutes: float = 36, **more: Any) -> dict[str, Any]:
    """The clocks of a session whose relay was on for so long, until now."""
    now = clock.now()
    started = now - timedelta(minutes=minutes)
    return {
        "started_at": started,
        "ends_at": started + timedelta(hours=1),
        "off_requested_at": now,
        "delivered_s": int(minutes * 60),
        **more,
    }


def words(response: Any) -> str:
    """What is to be read on a page, in one line."""
    body = re.sub(r"<head>.*?</head>", " ", response.content.decode(), flags=re.DOTALL)
    body = re.sub(r"</(?:p|dt|dd|li|h1|h2)>", " ", body)
    return re.sub(r"\s+", " ", unescape(strip_tags(body)).replace("\u00a0", " "))


def read(client: Client, path: str = LINK) -> str:
    response = client.get(path)
    assert response.status_code == 200
    return words(response)


def opened(payment: Payment) -> str:
    Payment.objects.filter(pk=payment.pk).update(checkout_url=STRIPE)
    return STRIPE


def given(promised: int, returned: int) -> dict[str, Any]:
    """Money that staff gives back."""
    return {**CAPTURED, "refund_promised_minor": promised, "refunded_minor": returned}
