"""What a scenario works with: an account, devices and guests of its own, the faults, and its share of the ledgers."""

from __future__ import annotations

import hashlib
import itertools
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import httpx
import psycopg
from psycopg.rows import dict_row

from hygate.demo.guest import Guest, Unexpected
from tests import loopback
from tests.faults.evidence import Evidence, Roof, is_switching
from tests.faults.registry import Scenario
from tests.stack.stack import Stack, wait_for

QUIESCE_S = float(os.environ.get("QUIESCE_S", "120"))
"""The longest wait for rest after a row; a seeded bug may never come to rest, and is given less."""
QUIET_S = 1.5
LOOK_EVERY_S = 1.0
OVER = ("completed", "cancelled")
OPEN = ("queued", "sending", "accepted")
UNDECIDED = ("PENDING", "AUTHORIZED")
REFUND_OVER = ("succeeded", "failed", "covered")
_numbers = itertools.count(1)
_numbering = threading.Lock()


def next_number() -> int:
    with _numbering:
        return next(_numbers)


@dataclass
class Thing:
    """One sold relay: its row, its code, its plan, and where it hangs in the simulator."""

    id: int
    account_id: int
    account: str
    shelly_id: str
    channel: int
    code: str
    plan_id: int


@dataclass
class Sale:
    """One purchase of one guest: the guest's phone and the rows' ids."""

    guest: Guest
    thing: Thing
    session_id: int
    ref: str
    checkout: str
    link: str


@dataclass
class Row:
    """``device()`` makes something to buy, ``hold()``/``pay()``/``buy()`` are a guest, ``fault()`` is bad luck.

    Times in the scenarios are real seconds. ``after`` runs when the row is over, whatever became of it.
    """

    stack: Stack
    scenario: Scenario
    rng: random.Random
    things: list[Thing] = field(default_factory=list)
    sales: list[Sale] = field(default_factory=list)
    pages: list[tuple[float, int, str]] = field(default_factory=list)
    operator_on: list[tuple[str, int, float, float]] = field(default_factory=list)
    roof: Roof | None = None
    after: list[Callable[[], None]] = field(default_factory=list)
    under_way: list[str] = field(default_factory=list)
    """What was not at rest when the harness last looked."""
    _clients: list[httpx.Client] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)

    # -- something to buy

    def device(
        self, *, beside: Thing | None = None, channels: int = 1, rated_w: int | None = None, **plan: Any
    ) -> Thing:
        """A relay on an account of its own, or ``beside`` another on that one's account; sellable when this returns."""
        thing = self.prepare(beside=beside, channels=channels, rated_w=rated_w, **plan)[0]
        self.until_sellable(thing)
        return thing

    def prepare(
        self,
        *,
        beside: Thing | None = None,
        channels: int = 1,
        rated_w: int | None = None,
        watts: float = 60,
        **plan: Any,
    ) -> list[Thing]:
        """The rows and the simulated device, one Thing for each channel; they have not been read yet."""
        from devices.models import Device, DeviceCode, DeviceKind, Location, ShellyAccount, UsagePlan
        from hygate import clock

        number = next_number()
        shelly_id = f"e86b{number:08x}"
        if beside is None:
            name, key = f"{self.scenario.id}-{number}", f"fault-key-{self.scenario.id}-{number}"
            self.stack.shelly_server.call(lambda: self.stack.shelly.add_account(key, name))
            account = ShellyAccount.objects.create(name=name, server_url=self.stack.shelly_server.url, auth_key=key)
        else:
            account = ShellyAccount.objects.get(pk=beside.account_id)
            name, key = account.name, account.auth_key
        model = "SPSW-104PE16EU" if channels > 1 else "SNPL-00112EU"
        self.stack.shelly_server.call(
            lambda: self.stack.shelly.add_device(key, shelly_id, model, channels=channels, watts=(watts,) * channels)
        )
        location, _ = Location.objects.get_or_create(name="Laundry room", defaults={"timezone": "Europe/Vienna"})
        wanted = {"name": "Quick", "duration_s": 6, "grace_s": 0, "price_minor": 250, "vat_rate_bp": 2000} | plan
        made = []
        for channel in range(channels):
            device = Device.objects.create(
                location=location, account=account, shelly_id=shelly_id, channel=channel, model=model, generation=2,
                name=f"{self.scenario.id} washer {number}.{channel}", kind=DeviceKind.WASHER, rated_w=rated_w,
            )  # fmt: skip
            code = DeviceCode.objects.create(device=device, code=f"F{number:04d}{channel}")
            bought = UsagePlan.objects.create(device=device, **wanted)
            made.append(Thing(device.pk, account.pk, name, shelly_id, channel, code.code, bought.pk))
        now = clock.now()
        ShellyAccount.objects.filter(pk=account.pk).update(due_at=now, status_due_at=now)
        self.things += made
        return made

    def until_sellable(self, thing: Thing, within_s: float = 40) -> None:
        guest = self.phone()
        wait_for(lambda: self._state_at(guest, thing) == "free", within_s, f"{thing.code} can be bought", 0.3)

    def _state_at(self, guest: Guest, thing: Thing) -> str:
        with suppress(Unexpected, httpx.HTTPError):
            guest.open(f"{self.stack.base_url}/d/{thing.code}/")
            return guest.state
        return ""

    # -- a guest

    def phone(self) -> Guest:
        client = loopback.client(timeout=20, follow_redirects=False)
        self._clients.append(client)
        return Guest(client)

    def hold(self, thing: Thing, guest: Guest | None = None) -> Sale:
        """Scan, choose, and stand on the hosted payment page."""
        guest = guest or self.phone()
        guest.open(f"{self.stack.base_url}/d/{thing.code}/")
        form = guest.form(has="plan")
        if form is None:
            raise Unexpected(f"{thing.code} cannot be bought: its page says {guest.headline!r} ({guest.state}).")
        guest.submit(form, plan=str(thing.plan_id))
        if not guest.url.startswith(self.stack.stripe_server.url):
            raise Unexpected(f"Buying led to {guest.headline!r} ({guest.state}) instead of the payment page.")
        return self._sale_at_checkout(guest, thing)

    def sale_of(self, guest: Guest, thing: Thing) -> Sale:
        """The purchase of a guest who stands on the hosted payment page."""
        return self._sale_at_checkout(guest, thing)

    def _sale_at_checkout(self, guest: Guest, thing: Thing) -> Sale:
        checkout = guest.url.rsplit("/", 1)[-1].split("?")[0]
        found = self.stack.sql("SELECT session_id, ref FROM sessions_app_payment WHERE checkout_id = %s", checkout)
        assert found, f"no order has the checkout {checkout}"
        success = self.stack.stripe_server.call(lambda: self.stack.stripe.books.sessions[checkout]["success_url"])
        link = success.split("/paid/")[0] + "/"
        sale = Sale(guest, thing, found[0][0], found[0][1], checkout, link)
        self.sales.append(sale)
        return sale

    def pay(self, sale: Sale, *, come_back: bool = True, way: str = "pay") -> None:
        """Pay on the hosted page; ``come_back`` follows the redirect to our success page."""
        answer = self.stripe("POST", f"/_ctl/checkout/{sale.checkout}/{way}")
        if come_back and answer["redirect"]:
            sale.guest.open(answer["redirect"])
            threading.Thread(target=self._watch, args=(sale,), daemon=True).start()

    def buy(self, thing: Thing, *, come_back: bool = True) -> Sale:
        sale = self.hold(thing)
        self.pay(sale, come_back=come_back)
        return sale

    def press(self, sale: Sale, action: str) -> None:
        """A button of the session's page: ``stop`` (which asks first, on a page of its own), ``start``, ``cancel``."""
        sale.guest.open(f"{sale.link}stop/" if action == "stop" else sale.link)
        form = sale.guest.form(action_ends=f"/{action}/")
        if form is None:
            raise Unexpected(f"The page offers no {action}: it says {sale.guest.headline!r} ({sale.guest.state}).")
        sale.guest.submit(form)

    def look(self, sale: Sale) -> str:
        """What the session's page says now; kept for I10."""
        asked = time.time()
        sale.guest.open(sale.link)
        self.pages.append((asked, sale.session_id, sale.guest.state))
        return sale.guest.state

    def _watch(self, sale: Sale) -> None:
        """A second phone with the same link keeps looking, so that every state the page ever shows is seen."""
        with loopback.client(timeout=5, follow_redirects=False) as client:
            second = Guest(client)
            while not self._over.wait(LOOK_EVERY_S):
                asked = time.time()
                with suppress(Unexpected, httpx.HTTPError):
                    second.open(sale.link)
                    self.pages.append((asked, sale.session_id, second.state))

    # -- bad luck

    def shelly(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        return _call(method, self.stack.shelly_server.url + path, body)

    def stripe(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        return _call(method, self.stack.stripe_server.url + path, body)

    def relay_fault(self, thing: Thing, on: str = "*", **spec: Any) -> None:
        """The next requests of kind ``on`` (switch_on, switch_off, read) that name this device go wrong."""
        self.shelly("POST", "/_ctl/faults", {"on": on, "match": thing.shelly_id, **spec})

    def stripe_fault(self, on: str, match: str, **spec: Any) -> None:
        """The next requests of that operation whose body holds ``match`` go wrong."""
        self.stripe("POST", "/_ctl/faults", {"on": on, "match": match, **spec})

    def webhooks(self, sale: Sale, **habits: Any) -> None:
        self.stripe("POST", "/_ctl/webhooks", {"order": sale.ref, **habits})

    def knob(self, thing: Thing, **knobs: Any) -> None:
        self.shelly("POST", f"/_ctl/devices/{thing.shelly_id}", knobs)

    def heal_relay(self, thing: Thing) -> None:
        """End this device's faults only: other rows have theirs."""

        def clear() -> None:
            mine = [one for one in self.stack.shelly.faults._faults if one.match == thing.shelly_id]
            for one in mine:
                one.times = 0

        self.stack.shelly_server.call(clear)

    def heal_stripe(self, match: str) -> None:
        def clear() -> None:
            for one in self.stack.stripe.faults._faults:
                if one.match == match:
                    one.times = 0

        self.stack.stripe_server.call(clear)

    # -- looking

    def state(self, sale: Sale) -> str:
        return str(self.stack.sql("SELECT state FROM sessions_app_devicesession WHERE id = %s", sale.session_id)[0][0])

    def column(self, sale: Sale, name: str) -> Any:
        return self.stack.sql(f"SELECT {name} FROM sessions_app_devicesession WHERE id = %s", sale.session_id)[0][0]

    def payment(self, sale: Sale, name: str) -> Any:
        return self.stack.sql(f"SELECT {name} FROM sessions_app_payment WHERE ref = %s", sale.ref)[0][0]

    def until(self, sale: Sale, *states: str, within_s: float = 30) -> str:
        wait_for(
            lambda: self.state(sale) in states,
            within_s,
            f"session of {sale.thing.code} is {' or '.join(states)}, not {self.state(sale)}",
        )
        return self.state(sale)

    def money(self, sale: Sale, *kinds: str) -> list[dict[str, Any]]:
        entries = [one for one in self.stripe("GET", "/_ctl/ledger") if one.get("order") == sale.ref]
        return [one for one in entries if not kinds or one["kind"] in kinds]

    def is_on(self, thing: Thing) -> bool:
        """The contact itself, whatever anyone believes."""
        return bool(self.stack.shelly_server.call(lambda: self._relay(thing).output))

    def _relay(self, thing: Thing) -> Any:
        return self.stack.shelly.world.devices[thing.account, thing.shelly_id].relays[thing.channel]

    def wishes(self, thing: Thing) -> list[tuple[float, bool]]:
        return self.evidence().wishes(thing.shelly_id, thing.channel)

    def alerts(self) -> list[str]:
        """Kinds of the open alerts about this row's sessions, orders, devices and accounts."""
        return [one["kind"] for one in self.evidence().alerts]

    def expect(self, holds: bool, said: str) -> None:
        if not holds:
            raise AssertionError(said)

    # -- the end

    def quiesce(self, within_s: float = QUIESCE_S) -> None:
        """Until everything of this row is over and the wire is quiet; the invariants say what is wrong if it is not."""
        deadline = time.monotonic() + within_s
        quiet_since, before = time.monotonic(), (-1, -1)
        while time.monotonic() < deadline:
            seen = self.evidence()
            moved = (len(seen.switching()), len(seen.money))
            self.under_way = list(self._under_way(seen))
            if moved != before or self.under_way:
                before, quiet_since = moved, time.monotonic()
            if time.monotonic() - quiet_since >= QUIET_S:
                return
            time.sleep(0.3)

    def _under_way(self, seen: Evidence) -> Iterator[str]:
        """What is not at rest yet, apart from what waits for a person."""
        yield from (f"session is {one['state']}" for one in seen.sessions if one["state"] not in OVER)
        yield from (f"command is {one['state']}" for one in seen.commands if one["state"] in OPEN)
        yield from (f"{relay} is on" for relay, is_on in seen.physical.items() if is_on)
        kinds = {one["kind"] for one in seen.alerts}
        if kinds != set(self.scenario.alerts):
            yield f"open alerts: {sorted(kinds)}"
        if not self.scenario.alerts:
            yield from (f"payment is {one['status']}" for one in seen.payments if one["status"] in UNDECIDED)
            yield from (f"refund is {one['status']}" for one in seen.refunds if one["status"] not in REFUND_OVER)

    def evidence(self) -> Evidence:
        """This row's share of the ledgers, as they stand now."""
        accounts = {one.account for one in self.things}
        refs: set[str] = set()
        seen = Evidence(pages=list(self.pages), operator_on=list(self.operator_on), roof=self.roof)
        with psycopg.connect(self.stack.postgres.url(), autocommit=True, row_factory=dict_row) as claims:

            def rows(table: str, column: str, values: list[Any], order: str = "id") -> list[dict[str, Any]]:
                found = claims.execute(
                    f"SELECT * FROM {table} WHERE {column} = ANY(%s) ORDER BY {order}",
                    [values],
                )
                return [{name: _plain(value) for name, value in one.items()} for one in found]

            seen.devices = rows("devices_device", "id", [one.id for one in self.things])
            seen.sessions = rows("sessions_app_devicesession", "device_id", [one["id"] for one in seen.devices])
            sessions = [one["id"] for one in seen.sessions]
            seen.payments = rows("sessions_app_payment", "session_id", sessions)
            payments = [one["id"] for one in seen.payments]
            refs = {one["ref"] for one in seen.payments}
            seen.refunds = rows("sessions_app_refund", "payment_id", payments)
            seen.commands = rows("devices_relaycommand", "device_id", [one["id"] for one in seen.devices])
            seen.attempts = rows("devices_relayattempt", "command_id", [one["id"] for one in seen.commands])
            seen.audit = rows("hygate_auditevent", "session", sessions, "at, id")
            open_alerts = claims.execute("SELECT * FROM hygate_alert WHERE closed_at IS NULL").fetchall()
        mine = {
            "session": set(sessions), "payment": set(payments), "device": {one.id for one in self.things},
            "account": {one.account_id for one in self.things},
        }  # fmt: skip
        seen.alerts = [dict(one) for one in open_alerts if any(one[name] in ids for name, ids in mine.items())]
        entries = self.stack.shelly_server.call(lambda: list(self.stack.shelly.ledger.entries))
        ours = [dict(one) for one in entries if one.get("account") in accounts]
        seen.requests = [one for one in ours if one["kind"] == "request"]
        seen.relays = [one for one in ours if one["kind"] == "relay"]
        money = self.stack.stripe_server.call(lambda: list(self.stack.stripe.ledger.entries))
        seen.money = [dict(one) for one in money if one.get("order") in refs]
        seen.physical = {(one.shelly_id, one.channel): self.is_on(one) for one in self.things}
        return seen

    def close(self) -> None:
        self._over.set()
        for undo in reversed(self.after):
            with suppress(Exception):
                undo()
        for client in self._clients:
            client.close()


def _plain(value: Any) -> Any:
    return value.timestamp() if isinstance(value, datetime) else value


def _call(method: str, url: str, body: dict[str, Any] | None) -> Any:
    answer = loopback.request(method, url, json=body, timeout=10)
    if answer.status_code >= 400:
        raise AssertionError(f"{method} {url}: {answer.text}")
    return answer.json() if answer.content else None


def seeded(seed: int, scenario: str) -> random.Random:
    """The same numbers for the same seed and row, on every machine."""
    return random.Random(hashlib.sha256(f"{seed}:{scenario}".encode()).digest())


__all__ = ["Row", "Sale", "Thing", "is_switching", "seeded"]
