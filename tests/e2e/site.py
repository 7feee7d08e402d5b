"""The stack with a pseudo-language, things to buy, and sessions put into any state by their rows."""

from __future__ import annotations

import itertools
import os
import secrets
import threading
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests import loopback
from tests.stack.stack import ROOT, Stack, wait_for
from tools import messages

if TYPE_CHECKING:
    from devices.models import Device
    from sessions_app.models import DeviceSession

KEY = "e2e-key"
ADMIN, OPERATOR, PASSWORD = "admin@example.com", "operator@example.com", "a-desk-by-the-sea"
PLANS: tuple[dict[str, Any], ...] = (
    {"name": "Quick, 30 min", "description": "Lightly worn, up to 4 kg", "duration_s": 1800, "price_minor": 250},
    {"name": "Everyday, 60 min", "description": "Cotton and mixed", "duration_s": 3600, "price_minor": 360},
    {"name": "Deep clean, 90 min", "description": "Towels, 60 °C", "duration_s": 5400, "price_minor": 480},
)


@dataclass(frozen=True)
class Thing:
    """A device that can be bought, and where its relay hangs in the simulator."""

    device: Device
    code: str
    shelly_id: str


class Site(Stack):
    """``thing()`` is a real relay that is for sale; ``staged()`` a session that only rows tell of."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, relays=1, numbers={"HYGATE_START_WINDOW_S": "8", "HYGATE_HOLD_S": "600"})
        self._count = itertools.count(1)
        self._adding = threading.Lock()
        self.logins: dict[str, Any] = {}
        """What a browser keeps of a login, by address: one is enough for all that follow."""
        self.others: list[Stack] = []
        """Further stacks of a journey; they end with this one at the latest."""

    def _told(self, database_url: str) -> dict[str, str]:
        return super()._told(database_url) | {"DJANGO_SETTINGS_MODULE": "tests.e2e.settings"}

    def start(self) -> Site:
        messages.write(messages.pseudo(messages.spoken()), messages.po(messages.PSEUDO, self.folder / "locale"))
        super().start()
        return self

    def close(self) -> None:
        for one in self.others:
            one.close()
        super().close()

    def enter(self) -> None:
        """Make this very process one that knows the site. The browser's driver runs an event loop in our thread."""
        import django

        os.environ.update(self.own_environment | {"DJANGO_ALLOW_ASYNC_UNSAFE": "1"})
        django.setup()
        from hygate.models import Role, SiteSettings, User

        for email, role in ((ADMIN, Role.ADMINISTRATOR), (OPERATOR, Role.OPERATOR)):
            User.objects.create_user(email, PASSWORD, role=role, is_staff=True)
        SiteSettings.objects.update_or_create(
            pk=1,
            defaults={
                "company": "Seaside Camping", "contact_phone": "+43 1 234 567", "legal_name": "Seaside Camping Ltd",
                "legal_address": "Shore Road 1, 1010 Vienna", "vat_number": "ATU12345678",
            },
        )  # fmt: skip
        self.shelly_server.call(lambda: self.shelly.add_account(KEY, "e2e"))

    # -- real relays

    def thing(self, name: str = "Washer 1", *, plans: tuple[dict[str, Any], ...] = PLANS, **fields: Any) -> Thing:
        """A relay in the simulator with its rows, read and for sale when this returns. Grace is two minutes."""
        from devices.models import ShellyAccount
        from hygate import clock

        shelly_id = f"e2e0{next(self._count):08x}"
        self.shelly_server.call(lambda: self.shelly.add_device(KEY, shelly_id, "SNPL-00112EU", channels=1, watts=(60,)))
        with self._adding:
            account, _ = ShellyAccount.objects.get_or_create(
                name="e2e", defaults={"server_url": self.shelly_server.url, "auth_key": KEY}
            )
            device = self._device(name, account=account, shelly_id=shelly_id, plans=plans, **fields)
        ShellyAccount.objects.filter(pk=account.pk).update(due_at=clock.now(), status_due_at=clock.now())

        def is_read() -> bool:
            device.refresh_from_db()
            return device.online

        wait_for(is_read, 40, f"{name} is read by its cloud")
        return Thing(device, device.codes.get(retired_at=None).code, shelly_id)

    def _device(self, name: str, *, plans: tuple[dict[str, Any], ...], **fields: Any) -> Device:
        from devices.models import Device, DeviceCode, DeviceKind, Location, UsagePlan

        where = {"timezone": "Europe/Vienna", "contact_phone": "+43 1 234 567"}
        location, _ = Location.objects.get_or_create(name="Seaside Camping", defaults=where)
        wanted = {
            "location": location, "name": name, "place": "Laundry room, by the pool", "kind": DeviceKind.WASHER,
            "model": "SNPL-00112EU", "generation": 2,
        }  # fmt: skip
        device = Device.objects.create(**{**wanted, **fields})
        DeviceCode.objects.create(device=device, code=f"W{next(self._count):04d}")
        for order, plan in enumerate(plans):
            UsagePlan.objects.create(
                device=device, sort_order=order, **{"grace_s": 120, "vat_rate_bp": 2000, "extendable": True, **plan}
            )
        return device

    # -- rows alone

    def shown(self, name: str = "Washer 1", *, plans: tuple[dict[str, Any], ...] = PLANS, **fields: Any) -> Device:
        """A device that no cloud knows: it stays as its row says."""
        from devices.models import ShellyAccount
        from hygate import clock

        seen = {"online": True, "output": False, "seen_at": clock.now() + timedelta(days=1), "reading_at": clock.now()}
        with self._adding:
            account, _ = ShellyAccount.objects.get_or_create(
                name="staged", defaults={"server_url": "http://127.0.0.1:9", "auth_key": "nobody"}
            )
            ShellyAccount.objects.filter(pk=account.pk).update(due_at=None, status_due_at=None, sync_due_at=None)
            named = {"account": account, "shelly_id": f"staged{next(self._count)}"}
            return self._device(name, plans=plans, **named, **{**seen, **fields})

    def staged(self, state: str, *, pay: dict[str, Any] | None = None, on: Device | None = None, **fields: Any) -> str:
        """The path of a session in ``state``, with its order; nothing is due, so nothing moves it."""
        return f"/session/{self.staged_session(state, pay=pay, on=on, **fields).token}/"

    def staged_session(
        self, state: str, *, pay: dict[str, Any] | None = None, on: Device | None = None, **fields: Any
    ) -> DeviceSession:
        from hygate import clock
        from sessions_app.models import DeviceSession, Payment
        from sessions_app.selling import new_reference, token_hash
        from sessions_app.states import PaymentStatus

        now, token, reference = clock.now(), secrets.token_urlsafe(32), new_reference()
        wanted = {
            "plan_name": "Everyday, 60 min", "duration_s": 3600, "grace_s": 300, "created_at": now,
            "hold_expires_at": now + timedelta(minutes=10),
        }  # fmt: skip
        session = DeviceSession.objects.create(
            reference=reference, token=token, token_hash=token_hash(token), state=state,
            device=on or self.shown(), **{**wanted, **fields},
        )  # fmt: skip
        order = {
            "status": PaymentStatus.AUTHORIZED, "authorized_at": now, "amount_minor": 360, "currency": "eur",
            "vat_rate_bp": 2000, "duration_s": session.duration_s, "plan_name": session.plan_name,
            "checkout_params": "{}", "checkout_url": f"{self.stripe_server.url}/c/pay/staged",
        }  # fmt: skip
        Payment.objects.create(
            session=session, ref=f"{reference}-1", checkout_key=f"checkout:{reference}-1", **{**order, **(pay or {})}
        )
        return session

    # -- the world around

    def stripe_control(self, path: str, **spec: Any) -> None:
        """Stripe's own doing, which no guest and no operator asked for."""
        _post(f"{self.stripe_server.url}/_ctl/{path}", spec)

    def shelly_control(self, path: str, **spec: Any) -> None:
        _post(f"{self.shelly_server.url}/_ctl/{path}", spec)

    # -- what really happened

    def session_of(self, link: str) -> DeviceSession:
        from sessions_app.models import DeviceSession
        from sessions_app.selling import token_hash

        return DeviceSession.objects.get(token_hash=token_hash(link.partition("/session/")[2].partition("/")[0]))

    def money(self, link: str) -> list[tuple[str, int]]:
        """What Stripe's ledger says of the session's orders: (kind, amount)."""
        refs = {one.ref for one in self.session_of(link).payments.all()}
        kinds = ("authorized", "captured", "voided", "refunded")
        entries = self.stripe_server.call(lambda: list(self.stripe.ledger.entries))
        return [(one["kind"], one["amount"]) for one in entries if one["kind"] in kinds and one["order"] in refs]

    def hurry(self, link: str, **clocks: datetime) -> None:
        """Let a clock of the session run out now: the engine finds it due."""
        from hygate import clock
        from sessions_app.models import DeviceSession

        pk = self.session_of(link).pk
        DeviceSession.objects.filter(pk=pk).update(due_at=clock.now(), claimed_until=None, **clocks)


def _post(url: str, spec: dict[str, Any]) -> None:
    loopback.post(url, json=spec).raise_for_status()


def folder() -> Path:
    """Where pictures and logs of a run lie; an artefact of CI, never committed."""
    return ROOT / "var" / "e2e"
