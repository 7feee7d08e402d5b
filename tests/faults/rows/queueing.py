"""The rows of the line: whoever dies or pushes, a device that frees is kept for the first who waited."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from hygate.demo.guest import Guest
from tests.faults.registry import row
from tests.faults.row import Row, Sale, Thing
from tests.faults.rows.processes import whole_again
from tests.stack.stack import wait_for

PUSH_EVERY_S = 0.3
LEASE_S = 10.0
"""How long nobody else may have the entry that a killed worker had claimed."""


@row("Q1", "money worker killed while an offer is due", lane="alone")
def q1(row: Row) -> None:
    """The offer waits for the worker; meanwhile nobody passes the line, and afterwards it is made once."""
    thing = row.device(duration_s=6)
    with pushed_past(row, thing) as sold:
        sale = row.buy(thing)
        waiter = joined(row, thing)
        row.until(sale, "running", within_s=20)
        wait_for(lambda: bool(row.money(sale, "captured")), 10, "the money is taken before the worker dies")
        ends_at = row.column(sale, "ends_at").timestamp()
        row.after.append(lambda: whole_again(row))
        time.sleep(max(0.0, ends_at + row.rng.uniform(-0.2, 0.8) - time.time()))
        row.stack.kill("money")
        row.until(sale, "completed", within_s=20)
        time.sleep(row.rng.uniform(1.0, 3.0))
        row.stack.run("money")
        until_offered(row, thing, within_s=LEASE_S + 20)
        row.expect(told(row, thing, "queue_offered") == 1, "the device was offered more than once")
        taken = choose(row, waiter, thing)
        row.pay(taken, come_back=False)
        row.until(taken, "completed", within_s=40)
    row.expect(not sold, "a passer-by was sold the device past the line")


@row("Q2", "two in line and passers-by want the device as it frees")
def q2(row: Row) -> None:
    """One offer at a time, in the order of the line; who presses without one is led back to his place."""
    thing = row.device(duration_s=6)
    with pushed_past(row, thing) as sold:
        sale = row.buy(thing)
        first, second = joined(row, thing), joined(row, thing)
        row.until(sale, "completed", within_s=40)
        until_offered(row, thing)
        row.expect(not may_choose(second), "the second in line is offered a programme")
        taken = choose(row, first, thing)
        row.pay(taken, come_back=False)
        row.until(taken, "completed", within_s=40)
        until_offered(row, thing)
        last = choose(row, second, thing)
        row.pay(last, come_back=False)
        row.until(last, "completed", within_s=40)
    row.expect(not sold, "a passer-by was sold the device past the line")
    row.expect(told(row, thing, "queue_offered") == 2, "the device was not offered once to each")


@contextmanager
def pushed_past(row: Row, thing: Thing) -> Iterator[list[str]]:
    """A phone that scanned the label while the device was free presses *Pay* again and again once somebody waits.

    Answers where it was sold to: the list stays empty if nobody passes the line.
    """
    phone = row.phone()
    label = f"{row.stack.base_url}/d/{thing.code}/"
    phone.open(label)
    form = phone.form(has="plan")
    assert form is not None, f"{thing.code} offers no plan"
    sold: list[str] = []
    over = threading.Event()

    def push() -> None:
        while not over.wait(PUSH_EVERY_S) and not sold:
            if waiting(row, thing):
                phone.submit(form, plan=str(thing.plan_id))
                sold.extend([phone.url] if phone.url.startswith(row.stack.stripe_server.url) else [])
                phone.open(label)

    pusher = threading.Thread(target=push, daemon=True)
    try:
        pusher.start()
        yield sold
    finally:
        over.set()
        pusher.join(30)


def joined(row: Row, thing: Thing) -> Guest:
    """A phone of somebody who has just tapped *Wait in line*."""
    phone = row.phone()
    phone.open(f"{row.stack.base_url}/d/{thing.code}/")
    form = phone.form(action_ends="/line/")
    assert form is not None, f"{thing.code} offers no line: {phone.headline} ({phone.state})"
    phone.submit(form)
    row.expect(phone.state == "queued", f"after joining the page says {phone.headline!r} ({phone.state})")
    return phone


def may_choose(phone: Guest) -> bool:
    """Whether the phone's place in line offers the programmes; not while it is somebody else's turn."""
    link = link_of(phone)
    phone.open(f"{link}choose/")
    offers = phone.form(has="plan") is not None
    phone.open(link)
    return offers


def link_of(phone: Guest) -> str:
    head, _, rest = phone.url.partition("/line/")
    return f"{head}/line/{rest.split('/')[0]}/"


def choose(row: Row, phone: Guest, thing: Thing) -> Sale:
    """The guest whose turn it is picks the programme and stands on the payment page."""
    link = link_of(phone)
    phone.open(f"{link}choose/")
    form = phone.form(has="plan")
    assert form is not None, f"its turn offers no plan: {phone.headline} ({phone.state})"
    phone.submit(form, plan=str(thing.plan_id))
    row.expect(phone.url.startswith(row.stack.stripe_server.url), f"choosing led to {phone.headline!r}")
    return row.sale_of(phone, thing)


def until_offered(row: Row, thing: Thing, within_s: float = 15) -> None:
    wait_for(lambda: waiting(row, thing, "offered") == 1, within_s, f"{thing.code} is kept for the first in line")


def waiting(row: Row, thing: Thing, *places: str) -> int:
    rows = row.stack.sql(
        "SELECT count(*) FROM sessions_app_queueentry WHERE device_id = %s AND place = ANY(%s)",
        thing.id,
        list(places or ("waiting", "offered")),
    )
    return int(rows[0][0])


def told(row: Row, thing: Thing, kind: str) -> int:
    found = row.stack.sql("SELECT count(*) FROM hygate_auditevent WHERE device = %s AND kind = %s", thing.id, kind)
    return int(found[0][0])
