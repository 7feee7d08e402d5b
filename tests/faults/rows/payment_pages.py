"""The payment rows about Stripe's payment page: opened in vain, left open too long, paid late and paid twice."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

from hygate.demo.guest import Guest, Unexpected
from tests.faults.posting import together
from tests.faults.registry import row
from tests.faults.row import Row, Sale, Thing
from tests.faults.rows.payment import HOLD_S
from tests.faults.rows.stripe_calls import call_fault, hold_end, on_expire, sellable_devices, sleep_until
from tests.stack.stack import wait_for

# -- the hold


@row("P14", "the hold runs out while the guest types the card: paid before, within and after its end")
def p14(row: Row) -> None:
    """``within``: the call that expires it is on its way for 2 s when the guest pays, and finds it not open. A rival
    tries for all three devices the whole time; only the one whose payment page was gone may become the rival's."""
    before, within, late = (row.hold(thing) for thing in sellable_devices(row, 3, duration_s=10))
    call_fault(row, on_expire(within), do="delay", seconds=2)
    sleep_until(hold_end(row, before) - row.rng.uniform(0.1, 1))
    row.pay(before, come_back=False)
    sleep_until(hold_end(row, within) + row.rng.uniform(0.6, 1.4))
    row.pay(within, come_back=False)
    sleep_until(hold_end(row, late) + row.rng.uniform(0, 1))
    with suppress(AssertionError):
        row.pay(late, come_back=False)
    rivals: list[Sale] = []
    together(*(lambda sale=sale: _rival(row, sale, rivals) for sale in (before, within, late)))
    for sale in (before, within):
        row.until(sale, "completed", within_s=40)
    won = {one.thing.code for one in rivals}
    row.expect(won <= {late.thing.code}, f"the rival got {won}, which somebody had paid for")
    for one in [*rivals, late]:
        row.until(one, "completed", "cancelled", within_s=40)


def _rival(row: Row, wanted: Sale, got: list[Sale]) -> None:
    """Another guest who wants the same device while the first one's fate is open; pays at once if it can be had."""
    deadline = time.time() + 4
    while time.time() < deadline and row.state(wanted) in ("held", "grace", "starting", "cancelled"):
        with suppress(Unexpected):
            got.append(row.buy(wanted.thing))
            return
        time.sleep(0.3)


@row("P15", "the call that expires the payment page fails, is cut, and is answered too late")
def p15(row: Row) -> None:
    """The slot stays held until Stripe says expired; the device's page says *in use* to everybody else meanwhile."""
    sale = row.hold(row.device())
    path, other = on_expire(sale), row.phone()
    for fault in ({"do": "status", "status": 503}, {"do": "drop"}, {"do": "status", "status": 500}):
        call_fault(row, path, **fault)
    call_fault(row, path, do="act_then_drop")
    sleep_until(hold_end(row, sale))
    while row.stack.stripe_server.call(lambda: row.stack.stripe.books.sessions[sale.checkout]["status"]) == "open":
        row.expect(row.state(sale) == "held", f"the slot was {row.state(sale)} while the payment page was open")
        other.open(f"{row.stack.base_url}/d/{sale.thing.code}/")
        row.expect(other.state != "free", "the device was offered while somebody could still pay for it")
        row.expect(time.time() < hold_end(row, sale) + 30, "the payment page was never expired")
        time.sleep(0.3)
    row.until(sale, "cancelled", within_s=20)
    row.until_sellable(sale.thing)


# -- opening the payment page


@row("P16", "the answer to opening the payment page is lost after Stripe made it")
def p16(row: Row) -> None:
    """One guest presses *Pay* again, one has gone: both times the same key brings the same payment page."""
    patient, gone = _label(row), _label(row)
    guests = [_opens_in_vain(row, thing, do="act_then_drop") for thing in (patient, gone)]
    sale = _pays_after_all(row, guests[0], patient)
    row.until(sale, "running", within_s=20)
    left = _newest_session(row, gone)
    wait_for(lambda: _order(row, left, "checkout_id") is not None, 25, "the lost payment page is found again")
    wait_for(lambda: _order(row, left, "status") in ("FAILED", "VOIDED"), HOLD_S + 20, "the abandoned order is closed")
    for thing in (patient, gone):
        row.expect(_pages_made(row, thing) == 1, f"Stripe made {_pages_made(row, thing)} payment pages for one order")
    row.until(sale, "completed", within_s=30)


@row("P17", "Stripe fails to open the payment page, and answers that failure again for the same key", lane="alone")
def p17(row: Row) -> None:
    """Twice: without having made the page, and after having made it (which nobody was given the address of)."""
    for act in (False, True):
        thing = _label(row)
        row.stripe("POST", "/_ctl/stored_500", {"on": "checkout.sessions.create", "act": act})
        guest = _opens_in_vain(row, thing)
        sale = _pays_after_all(row, guest, thing)
        row.until(sale, "completed", within_s=30)
        keys = row.payment(sale, "key_number")
        row.expect(keys == 2, f"the payment page was opened with key number {keys}")


def _label(row: Row) -> Thing:
    """A device whose plan's name is its own: the only thing that tells two calls to open a payment page apart."""
    return row.device(name=f"Plan {row.scenario.id} {row.rng.randrange(10**9)}")


def _plan_name(row: Row, thing: Thing) -> str:
    return str(row.stack.sql("SELECT name FROM devices_usageplan WHERE id = %s", thing.plan_id)[0][0])


def _opens_in_vain(row: Row, thing: Thing, **fault: Any) -> Guest:
    """Choose the plan; Stripe's payment page does not open, and our page says so and offers to try again."""
    if fault:
        row.stripe_fault("checkout.sessions.create", _plan_name(row, thing).replace(" ", "+"), **fault)
    guest = row.phone()
    try:
        row.hold(thing, guest)
    except Unexpected:
        row.expect(guest.form(action_ends="/pay/") is not None, f"the page offers no second try: {guest.headline!r}")
        return guest
    raise AssertionError("the payment page opened, although the fault was there")


def _pays_after_all(row: Row, guest: Guest, thing: Thing) -> Sale:
    form = guest.form(action_ends="/pay/")
    assert form is not None
    guest.submit(form)
    row.expect(guest.url.startswith(row.stack.stripe_server.url), f"the second try led to {guest.headline!r}")
    sale = row._sale_at_checkout(guest, thing)
    row.pay(sale)
    return sale


def _newest_session(row: Row, thing: Thing) -> int:
    found = row.stack.sql("SELECT max(id) FROM sessions_app_devicesession WHERE device_id = %s", thing.id)
    return int(found[0][0])


def _order(row: Row, session_id: int, column: str) -> Any:
    return row.stack.sql(f"SELECT {column} FROM sessions_app_payment WHERE session_id = %s", session_id)[0][0]


def _pages_made(row: Row, thing: Thing) -> int:
    """How many Checkout Sessions Stripe holds for this device's plan."""
    name = _plan_name(row, thing)

    def look() -> int:
        sessions = row.stack.stripe.books.sessions.values()
        return sum(1 for one in sessions if name in str(one))

    return row.stack.stripe_server.call(look)


# -- the guest


@row("P27", "a guest pays twice in two tabs, and comes back to an old link")
def p27(row: Row) -> None:
    thing = row.device()
    sale = row.hold(thing)
    second_tab = Guest(sale.guest._client)
    second_tab.open(f"{row.stack.base_url}/d/{thing.code}/")
    row.expect(second_tab.form(has="plan") is None, "the second tab sells what the first one holds")
    paid = []

    def pay() -> None:
        with suppress(AssertionError):
            row.pay(sale)
            paid.append(1)

    together(pay, pay)
    row.expect(len(paid) == 1, f"the payment page took {len(paid)} payments")
    row.until(sale, "completed", within_s=30)
    for old in (sale.link, f"{sale.link}paid/", f"{sale.link}back/"):
        second_tab.open(old)
        row.expect(second_tab.state != "running", f"an old link shows {second_tab.state}")
    before = len(row.evidence().switching())
    form = second_tab.form(action_ends="/pay/")
    row.expect(form is None, "an old link offers to pay once more")
    again = row.hold(thing, sale.guest)
    row.expect(again.session_id != sale.session_id, "the old session was sold again")
    row.expect(len(row.evidence().switching()) == before, "an old link switched something")
    row.pay(again)
    row.until(again, "completed", within_s=30)
