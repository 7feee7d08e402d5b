"""A whole site in one process: the simulators on sockets, the engine run by hand, the ledgers as witnesses."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from devices.models import Device, DeviceCode, DeviceKind, Location, ShellyAccount, UsagePlan
from devices.relays.sync import sync_account
from hygate import clock
from hygate.due import handlers
from hygate.due.running import run
from hygate.due.sweep import sweep
from hygate.simulators.base import RunningSimulator
from hygate.simulators.shelly import ShellySimulator
from hygate.simulators.stripe import StripeSimulator
from sessions_app import selling
from sessions_app.models import DeviceSession, Payment, StripeWatch
from sessions_app.payments.checkout import open_checkout
from tests import loopback

KEY = "demo-shelly-key"
PLUG = "e86beaaaa001"
STRIP = "34987aaaa002"


class World:
    """``go(seconds)`` lets time pass as the workers would; ``buy()`` is a guest; the ledgers are the witnesses."""

    def __init__(self, settings: Any, manual: clock.ManualClock, *, lively: bool = True) -> None:
        self.settings, self.manual = settings, manual
        self.shelly = ShellySimulator(clock=self._seconds, rate_limit_s=1.0)
        self.shelly.add_account(KEY)
        self.shelly.add_device(KEY, PLUG, "SNPL-00112EU", channels=1, name="Plug", gen=2, watts=(60,))
        names = ("Washer 1", "Washer 2", "Dryer 1", "Dryer 2")
        self.shelly.add_device(KEY, STRIP, "SPSW-104PE16EU", channels=4, channel_names=names, gen=2)
        self.stripe = StripeSimulator(clock=self._seconds)
        self.shelly_server = RunningSimulator(self.shelly).start()
        self.stripe_server = RunningSimulator(self.stripe).start()
        settings.STRIPE_API_BASE = self.stripe_server.url
        settings.STRIPE_KEY = "sk_test_simulated"
        self.account = ShellyAccount.objects.create(name="demo", server_url=self.shelly_server.url, auth_key=KEY)
        self.location = Location.objects.create(name="Laundry room", timezone="Europe/Vienna", currency="eur")
        sync_account(self.account)
        self.device = self.add_device(PLUG, 0, "Washer 1", "WASH1")
        self.plan = self.add_plan(self.device)
        StripeWatch.objects.update_or_create(pk=1, defaults={"due_at": self.now})
        if lively:
            self.go(3)

    def close(self) -> None:
        self.shelly_server.stop()
        self.stripe_server.stop()

    def _seconds(self) -> float:
        return self.manual.now().timestamp()

    @property
    def now(self) -> datetime:
        return self.manual.now()

    def add_device(self, shelly_id: str, channel: int, name: str, code: str, **fields: Any) -> Device:
        device = Device.objects.create(
            location=self.location,
            account=self.account,
            shelly_id=shelly_id,
            channel=channel,
            name=name,
            kind=DeviceKind.WASHER,
            **fields,
        )
        DeviceCode.objects.create(device=device, code=code)
        return device

    def add_plan(self, device: Device, **fields: Any) -> UsagePlan:
        wanted = {"name": "Quick", "duration_s": 20, "grace_s": 5, "price_minor": 250, "vat_rate_bp": 2000} | fields
        return UsagePlan.objects.create(device=device, **wanted)

    # -- time
    def go(self, seconds: float) -> None:
        """Let ``seconds`` pass, doing whatever becomes due on the way, at its moment."""
        target = self.now + timedelta(seconds=seconds)
        for _ in range(2000):
            moment = self._next_moment()
            if moment is None or moment > target:
                break
            self.manual.set(max(self.now, moment))
            sweep(run)
        else:
            raise AssertionError("The engine never came to rest: something is due again and again")
        self.manual.set(max(self.now, target))

    def _next_moment(self) -> datetime | None:
        moments: list[datetime] = []
        for handler in handlers():
            rows = handler.model._default_manager.filter(due_at__isnull=False)
            for due_at, until in rows.values_list("due_at", "claimed_until"):
                if due_at is not None:
                    moments.append(max(due_at, until + timedelta(milliseconds=1)) if until else due_at)
        return min(moments, default=None)

    # -- a guest
    def hold(self, device: Device | None = None, plan: UsagePlan | None = None) -> DeviceSession:
        return selling.hold_slot(device=device or self.device, plan=plan or self.plan)

    def buy(self, device: Device | None = None, plan: UsagePlan | None = None) -> DeviceSession:
        """Hold, open Checkout, pay; what Stripe tells is left to ``tell`` or to the reconciler."""
        session = self.hold(device, plan)
        payment = session.payments.get()
        open_checkout(payment)
        self.at_checkout(payment, "pay")
        return session

    def at_checkout(self, payment: Payment, way: str) -> dict[str, Any]:
        payment.refresh_from_db()
        answer: dict[str, Any] = self.ctl(self.stripe_server, "POST", f"/_ctl/checkout/{payment.checkout_id}/{way}")
        return answer

    def tell(self, session: DeviceSession) -> None:
        """The guest's browser comes back to the success page."""
        from sessions_app.payments.settling import nudge

        nudge(session)
        self.go(0)

    def availability(self, device: Device | None = None) -> str:
        fresh = Device.objects.get(pk=(device or self.device).pk)
        return selling.availability(fresh, self.now).kind

    # -- witnesses
    def ctl(self, server: RunningSimulator, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        answer = loopback.request(method, server.url + path, json=body, timeout=5)
        assert answer.status_code < 400, answer.text
        return answer.json() if answer.content else None

    def fault(self, server: RunningSimulator, **spec: Any) -> None:
        self.ctl(server, "POST", "/_ctl/faults", spec)

    def ledger(self, server: RunningSimulator, kind: str | None = None) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = self.ctl(server, "GET", "/_ctl/ledger")
        return [entry for entry in entries if kind is None or entry["kind"] == kind]

    def relay(self, shelly_id: str = PLUG, channel: int = 0) -> list[tuple[bool, str]]:
        """Every real change of the relay: (on, cause)."""
        return [
            (entry["on"], entry["cause"])
            for entry in self.ledger(self.shelly_server, "relay")
            if entry["device"] == shelly_id and entry["channel"] == channel
        ]

    def switched(self) -> list[dict[str, Any]]:
        """Every request that asked a relay for something, oldest first."""
        return [entry for entry in self.ledger(self.shelly_server, "request") if "/set/" in entry["path"]]

    def money(self) -> list[tuple[str, int]]:
        """What really happened to money: (kind, amount)."""
        kinds = ("authorized", "captured", "voided", "refunded")
        return [(entry["kind"], entry["amount"]) for entry in self.ledger(self.stripe_server) if entry["kind"] in kinds]


def kinds_of(session: DeviceSession) -> list[str]:
    """The session's audit trail, in order."""
    from hygate.models import AuditEvent

    return list(AuditEvent.objects.filter(session=session.pk).order_by("id").values_list("kind", flat=True))
