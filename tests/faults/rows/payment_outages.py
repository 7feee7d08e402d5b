"""The payment rows in which Stripe refuses the key, or takes its time."""

from __future__ import annotations

import time
from contextlib import suppress

import httpx

from hygate.demo.guest import Unexpected
from tests import loopback
from tests.faults.posting import together
from tests.faults.registry import row
from tests.faults.row import Row, Sale, Thing
from tests.faults.rows.stripe_calls import captured, sellable_devices
from tests.stack.stack import wait_for


@row("P24", "the Stripe key is revoked, and then lacks a right", lane="alone")
def p24(row: Row) -> None:
    """Sales close with a page that says so; what runs goes on and ends on time; one alert, gone when the key works."""
    running, starting, closed, tried = sellable_devices(row, 4, duration_s=8, grace_s=2)
    first = row.buy(running)
    row.until(first, "running", within_s=15)
    second = row.hold(starting)
    row.pay(second)
    row.until(second, "grace", "starting", "running", within_s=10)
    row.after.append(lambda: row.stripe("POST", "/_ctl/keys", {"restore": "*"}))
    row.stripe("POST", "/_ctl/keys", {"revoke": "*"})
    _closes_and_reopens(row, closed)
    for sale in (first, second):
        row.until(sale, "completed", within_s=40)
    row.stripe("POST", "/_ctl/keys", {"forbid": "*", "operations": ["checkout.sessions.create"]})
    with suppress(Unexpected):
        row.hold(tried)
    _closes_and_reopens(row, closed)
    row.until(row.buy(closed), "completed", within_s=60)


def _closes_and_reopens(row: Row, thing: Thing) -> None:
    other = row.phone()
    wait_for(lambda: row._state_at(other, thing) == "unreachable", 15, "the page says that nothing can be paid")
    wait_for(lambda: _key_alerts(row) == 1, 15, "one alert tells of the key")
    row.stripe("POST", "/_ctl/keys", {"restore": "*"})
    row.until_sellable(thing, within_s=60)
    wait_for(lambda: _key_alerts(row) == 0, 30, "the alert about the key is closed")


def _key_alerts(row: Row) -> int:
    return int(row.stack.sql("SELECT count(*) FROM hygate_alert WHERE kind = 'stripe_key' AND closed_at IS NULL")[0][0])


@row("P25", "Stripe takes 20 s for every answer, and then asks for fewer requests", lane="alone")
def p25(row: Row) -> None:
    """The ten minutes of the plan are 30 s: 20 s slow, then 429. Ten guests press *Pay* into it, which is more than
    web has threads, while the page of a running session is asked for all the time: that one stays quick."""
    running, paid, *others = sellable_devices(row, 12, duration_s=40)
    first, second = row.buy(running), row.hold(paid)
    row.until(first, "running", within_s=15)
    captured(row, first)
    row.after.append(lambda: row.stripe("DELETE", "/_ctl/slow"))
    row.stripe("POST", "/_ctl/slow", {"times": -1, "seconds": 20})
    row.pay(second, come_back=False)
    slowest = _slowest_page_while(row, first, others)
    row.stripe("DELETE", "/_ctl/slow")
    row.stripe("POST", "/_ctl/faults", {"on": "*", "do": "status", "status": 429, "times": 20})
    row.after.append(lambda: row.stripe("DELETE", "/_ctl/faults"))
    row.until(second, "running", "completed", within_s=60)
    row.expect(slowest < 1.0, f"a status page took {slowest:.2f} s while Stripe was slow")


def _slowest_page_while(row: Row, sale: Sale, others: list[Thing], seconds: float = 20) -> float:
    """Guests press *Pay* again and again; answers the slowest but one in a hundred of the session's page."""
    took: list[float] = []
    ends = time.time() + seconds

    def press(thing: Thing) -> None:
        while time.time() < ends:
            with suppress(Unexpected, httpx.HTTPError):
                row.hold(thing)
            time.sleep(0.2)

    def look() -> None:
        with loopback.client(timeout=20) as client:
            while time.time() < ends:
                began = time.monotonic()
                client.get(sale.link)
                took.append(time.monotonic() - began)
                time.sleep(0.1)

    together(look, *(lambda thing=thing: press(thing) for thing in others))
    return sorted(took)[int(len(took) * 0.99) - 1]
