"""(c) From the card's yes to the relay's ON: webhook first, redirect first, webhook lost."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx

from hygate.demo.guest import Form, Guest
from tests import loopback
from tests.bench.figures import percentile
from tests.bench.results import Check, Finding, none_of, series_of
from tests.bench.simulator import SimulatorProcess, device_id, key_of
from tests.bench.site import Site

CALL_S = 0.05
ACCOUNTS, AT_ONCE = 20, 20
SPARE = 0
ALLOWED_S, LOST_BAR_S = 0.5, 60.0
SETTLES_S = 20.0
FLOOR_ROUNDS = 40
WEBHOOKS: dict[str, dict[str, Any]] = {
    "webhook first": {"drop": False, "delay_s": 0},
    "redirect first": {"drop": False, "delay_s": 15},
    "webhook lost": {"drop": True, "delay_s": 0},
}


@dataclass
class Phone:
    """A guest who stands before the payment page."""

    client: httpx.Client = field(default_factory=lambda: loopback.client(timeout=30, follow_redirects=False))
    form: Form | None = None
    url: str = ""

    def scan(self, address: str) -> None:
        """Read the label, choose the plan, go to Checkout."""
        guest = Guest(self.client)
        guest.open(address)
        sale = guest.form(has="plan")
        assert sale is not None, f"{address} cannot be bought: {guest.headline}"
        guest.submit(sale, plan=(sale.choices.get("plan") or [sale.fields["plan"]])[0])
        self.form, self.url = guest.form(action_ends="/pay"), guest.url
        assert self.form is not None, f"{address} led to {guest.headline}"

    def pay(self, *, comes_back: bool) -> None:
        assert self.form is not None
        answer = self.client.post(urljoin(self.url, self.form.action), data=self.form.fields)
        assert answer.status_code == 303, f"Paying answered {answer.status_code}"
        if comes_back:
            self.client.get(answer.headers["Location"])
        self.client.close()


def run(folder: Path, *, quick: bool) -> Finding:
    rounds = 3 if quick else 10
    site = Site(folder, numbers={"HYGATE_GAP_S": "0"})
    each = 1 + 3 + 3 * rounds // ACCOUNTS + 2
    finding = Finding(sizes={"call_s": CALL_S, "gap_s": 0, "grace_s": 0, "rounds": rounds, "at_once": AT_ONCE})
    shelly = SimulatorProcess("shelly", accounts=ACCOUNTS, devices=each, delay=CALL_S).start()
    try:
        site.start().enter()
        site.stripe_process.slow(CALL_S)
        shop = Shop(site, shelly, each)
        floor_s = percentile(shop.floor(finding), 99)
        for way in WEBHOOKS:
            for number, times in ((1, 1 if way == "webhook lost" else rounds), (AT_ONCE, 1)):
                _one(shop, way, number, times=times, floor_s=floor_s, finding=finding)
    finally:
        site.close()
        shelly.stop()
    return finding


def _one(shop: Shop, way: str, number: int, *, times: int, floor_s: float, finding: Finding) -> None:
    taken: list[float] = []
    for _ in range(times):
        taken += shop.sell(number, way)
    size = f"{way}, N={number}"
    finding.series.append(series_of("hygate", size, taken, lost=number * times - len(taken)))
    finding.checks.append(none_of(f"paid and never on, {size}", number * times - len(taken)))
    bar = LOST_BAR_S if way == "webhook lost" else round(floor_s + ALLOWED_S, 3)
    finding.checks.append(Check(f"paid → relay on p99, {size}", percentile(taken, 99) if taken else None, bar))


class Shop:
    """Devices that are sold one after the other; ``sell`` answers seconds from paid to relay on."""

    def __init__(self, site: Site, shelly: SimulatorProcess, each: int) -> None:
        from tests.bench import rows

        self._site, self._shelly = site, shelly
        accounts = rows.add_accounts(shelly.url, ACCOUNTS, run="shop", first_read=rows.at(time.time()))
        places = [rows.Place(account, device) for device in range(1, each) for account in range(ACCOUNTS)]
        devices = rows.add_devices(accounts, places, output=False)
        rows.add_plans(devices)
        self._unsold = devices

    def floor(self, finding: Finding) -> list[float]:
        """One read at Stripe and one relay call, one after the other, on the same fakes."""
        taken = []
        with loopback.client(timeout=10) as client:
            for number in range(FLOOR_ROUNDS):
                began = time.monotonic()
                stripe = {"Authorization": "Bearer sk_test_simulated"}
                client.get(f"{self._site.stripe_process.url}/v1/events?limit=1", headers=stripe).raise_for_status()
                account = number % ACCOUNTS
                body = {"id": device_id(account, SPARE), "channel": 0, "on": False}
                url = f"{self._shelly.url}/v2/devices/api/set/switch"
                client.post(url, params={"auth_key": key_of(account)}, json=body).raise_for_status()
                taken.append(time.monotonic() - began)
        finding.series.append(series_of("floor: one Stripe read + one relay call", "N=1", taken))
        return taken

    def sell(self, number: int, way: str) -> list[float]:
        self._site.stripe_process.control("POST", "webhooks", WEBHOOKS[way])
        sold, self._unsold = self._unsold[:number], self._unsold[number:]
        phones = [Phone() for _ in sold]
        for phone, device in zip(phones, sold, strict=True):
            phone.scan(f"{self._site.base_url}/d/{device.codes.get().code}/")
        with ThreadPoolExecutor(number) as guests:
            list(guests.map(lambda phone: phone.pay(comes_back=way == "redirect first"), phones))
        return self._taken([one.pk for one in sold], LOST_BAR_S if way == "webhook lost" else SETTLES_S)

    def _taken(self, devices: Sequence[int], within_s: float) -> list[float]:
        from sessions_app.models import DeviceSession, Payment
        from sessions_app.states import State

        deadline = time.monotonic() + within_s + 5
        running = DeviceSession.objects.filter(device__in=devices, state=State.RUNNING)
        while running.count() < len(devices) and time.monotonic() < deadline:
            time.sleep(0.25)
        paid = {one["payment_intent"]: one["t"] for one in self._site.stripe_process.ledger("authorized")}
        on = {one["device"]: one["t"] for one in self._shelly.ledger("relay") if one["on"]}
        orders = Payment.objects.filter(session__device__in=devices, intent_id__isnull=False)
        pairs = orders.values_list("intent_id", "session__device__shelly_id")
        return [round(on[device] - paid[intent], 4) for intent, device in pairs if device in on and intent in paid]
