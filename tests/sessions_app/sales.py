"""A site with sales of any time, amount and currency, written straight into the tables: for lists and reports."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any

from django.test import Client

from devices.models import Device, DeviceCode, Location, ShellyAccount
from hygate import clock
from hygate.models import Role, SiteSettings, User
from sessions_app.models import DeviceSession, Payment, Refund
from sessions_app.states import PaymentStatus, RefundStatus, State

ENDING = "Zq7_-x"


class Shop:
    """Two locations in Vienna time, three devices; ``sell`` makes a session with its order."""

    def __init__(self) -> None:
        SiteSettings.objects.get_or_create(pk=1)
        self.house = Location.objects.create(name="Laundry house", timezone="Europe/Vienna")
        self.pier = Location.objects.create(name="Pier", timezone="Europe/Vienna", currency="chf")
        self.account = ShellyAccount.objects.create(name="demo", server_url="http://127.0.0.1:9", auth_key="key")
        self.washer = self.add_device("Washer 2", self.house)
        self.dryer = self.add_device("Washer 10", self.house)
        self.pole = self.add_device("Pole 1", self.pier)

    def add_device(self, name: str, location: Location) -> Device:
        number = Device.objects.count()
        relay = {"account": self.account, "shelly_id": "aabbcc", "channel": number}
        device = Device.objects.create(location=location, name=name, online=True, seen_at=clock.now(), **relay)
        DeviceCode.objects.create(device=device, code=f"CODE{number}")
        return device

    def sell(
        self,
        at: datetime | None = None,
        *,
        device: Device | None = None,
        price: int = 250,
        captured: int | None = None,
        refunded: int = 0,
        currency: str = "eur",
        vat_bp: int = 2000,
        payment: dict[str, Any] | None = None,
        **columns: Any,
    ) -> Payment:
        """A session that ran its time from ``at`` on; with ``captured=0`` nobody has paid."""
        at, number = at or clock.now(), DeviceSession.objects.count() + 1
        taken = price if captured is None else captured
        session = self._ran(at, number, device or self.washer, columns)
        made = Payment.objects.create(
            ref=f"S-{number:05d}-1",
            session=session,
            amount_minor=price,
            currency=currency,
            vat_rate_bp=vat_bp,
            duration_s=1800,
            plan_name="Quick wash",
            created_at=at,
            checkout_key=f"key-{number}",
            checkout_params="{}",
            **{
                "status": PaymentStatus.SUCCEEDED if taken else PaymentStatus.FAILED,
                "captured_minor": taken,
                "captured_at": at if taken else None,
                "refund_promised_minor": refunded,
                "refunded_minor": refunded,
                **(payment or {}),
            },
        )
        if refunded:
            self.refund(made, refunded, created_at=at)
        return made

    def _ran(self, at: datetime, number: int, device: Device, columns: dict[str, Any]) -> DeviceSession:
        ran: dict[str, Any] = {"state": State.COMPLETED, "started_at": at, "delivered_s": 1800, "closed_at": at}
        ran |= {"ends_at": at, "plan_name": "Quick wash"}
        return DeviceSession.objects.create(
            reference=f"S-{number:05d}",
            token_hash=hashlib.sha256(str(number).encode()).hexdigest(),
            token=f"the-link-of-{number}-{ENDING if number == 1 else 'abcdef'}",
            device=device,
            duration_s=1800,
            hold_expires_at=at,
            created_at=at,
            **ran | columns,
        )

    def refund(self, payment: Payment, amount: int, **columns: Any) -> Refund:
        given: dict[str, Any] = {"reason": "unused", "status": RefundStatus.SUCCEEDED}
        return Refund.objects.create(payment=payment, amount_minor=amount, **given | columns)


def browser(role: str = Role.OPERATOR) -> Client:
    client = Client()
    user, _ = User.objects.get_or_create(email=f"{role}@example.com", defaults={"role": role})
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def file_of(answer: Any) -> list[list[str]]:
    """The lines of a CSV answer, its head first."""
    import csv
    import io

    text = b"".join(answer.streaming_content).decode("utf-8-sig")
    return list(csv.reader(io.StringIO(text)))
