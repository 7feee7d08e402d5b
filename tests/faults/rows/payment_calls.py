"""The payment rows about calls to Stripe: answers lost, holds that run out, captures and refunds that fail, keys that
are refused, and people who pay or refund twice."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

import httpx

from hygate.demo.guest import Guest, Unexpected
from tests.faults.posting import together
from tests.faults.registry import row
from tests.faults.row import Row, Sale, Thing
from tests.faults.rows.payment import EVERYTHING, HOLD_S
from tests.faults.staff import Staff
from tests.stack.stack import SHORTENED, wait_for

KEY_LIVES_S = float(SHORTENED["HYGATE_STRIPE_KEY_LIVES_S"])


def intent_of(row: Row, sale: Sale) -> str:
    found = row.stack.stripe_server.call(lambda: row.stack.stripe.books.sessions[sale.checkout]["payment_intent"])
    assert found, f"{sale.ref} has no PaymentIntent yet"
    return str(found)


def on_expire(sale: Sale) -> str:
    return f"/v1/checkout/sessions/{sale.checkout}/expire"


def on_capture(row: Row, sale: Sale) -> str:
    return f"/v1/payment_intents/{intent_of(row, sale)}/capture"


def call_fault(row: Row, path: str, **spec: Any) -> None:
    """The next calls of exactly this path go wrong: paths name one order's object, so other rows are left alone."""
    row.stripe("POST", "/_ctl/faults", {"on": path, **spec})

    row.after.append(lambda: _heal(row, path))


def _heal(row: Row, path: str) -> None:
    def clear() -> None:
        for one in row.stack.stripe.faults._faults:
            if one.on == path:
                one.times = 0

    row.stack.stripe_server.call(clear)


def calls(row: Row, path: str) -> list[dict[str, Any]]:
    """Requests that Stripe answered on this path."""
    return [one for one in row.stripe("GET", "/_ctl/ledger") if one["kind"] == "request" and one["path"] == path]


def hold_end(row: Row, sale: Sale) -> float:
    return float(row.column(sale, "hold_expires_at").timestamp())


def sleep_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.time()))


def captured(row: Row, sale: Sale, within_s: float = 20) -> None:
    wait_for(lambda: bool(row.money(sale, "captured")), within_s, f"{sale.ref} is captured")


def _devices(row: Row, count: int, **plan: Any) -> list[Thing]:
    """So many devices, made together: they become sellable side by side."""
    things = [thing for _ in range(count) for thing in row.prepare(**plan)]
    for thing in things:
        row.until_sellable(thing)
    return things


# -- the hold


@row("P14", "the hold runs out while the guest types the card: paid before, within and after its end")
def p14(row: Row) -> None:
    """``within``: the call that expires it is on its way for 2 s when the guest pays, and finds it not open. A rival
    tries for all three devices the whole time; only the one whose payment page was gone may become the rival's."""
    before, within, late = (row.hold(thing) for thing in _devices(row, 3, duration_s=10))
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


# -- taking the money


@row("P18", "capture: the answer is lost, and the money worker is killed on it", lane="alone")
def p18(row: Row) -> None:
    """Killed before Stripe has acted or after it, as the seed decides (both with ``ALL=1``)."""
    cut, *killed = (row.hold(thing) for thing in _devices(row, 3 if EVERYTHING else 2, grace_s=1))
    row.pay(cut)
    call_fault(row, on_capture(row, cut), do="act_then_drop")
    captured(row, cut)
    moments = ["before", "after"] if EVERYTHING else [row.rng.choice(["before", "after"])]
    for sale, moment in zip(killed, moments, strict=True):
        worker = row.stack.process["money"]
        row.pay(sale)
        call_fault(row, on_capture(row, sale), do="kill", pid=worker.pid, when=moment)
        wait_for(lambda: not worker.runs, 20, "the money worker was killed at the capture")  # noqa: B023
        row.stack.run("money")
        captured(row, sale, within_s=40)
    for sale in (cut, *killed):
        wait_for(lambda sale=sale: row.payment(sale, "status") == "SUCCEEDED", 30, f"{sale.ref} counts as captured")  # type: ignore[misc]
        row.expect(len(row.money(sale, "captured")) == 1, f"{sale.ref} was captured twice")


@row("P19", "the hold is gone before it was captured", alerts=("capture_failed",))
def p19(row: Row) -> None:
    """Once the bank's news arrives as a webhook, once only the capture's refusal tells of it. Rule 5: OFF, nothing is
    charged again, one alert for each."""
    told, untold = (row.hold(thing) for thing in _devices(row, 2, duration_s=40, grace_s=1))
    row.webhooks(untold, drop=True)
    for sale in (told, untold):
        row.pay(sale)
        call_fault(row, on_capture(row, sale), do="status", status=503, times=2)
        row.until(sale, "running", within_s=15)
        row.stripe("POST", f"/_ctl/payment_intents/{intent_of(row, sale)}/cancel")
    for sale in (told, untold):
        row.until(sale, "cancelled", within_s=30)
        row.expect(row.column(sale, "reason") == "payment_failed", f"it ended with {row.column(sale, 'reason')}")
        row.expect(not row.money(sale, "captured"), f"{sale.ref} was charged")
        row.expect(row.look(sale) != "running", "the page says that it runs")
    row.expect(row.alerts().count("capture_failed") == 2, f"alerts: {row.alerts()}")


# -- paying back


@row("P20", "refunds are down, once beyond the day that Stripe keeps keys", lane="alone")
def p20(row: Row) -> None:
    """``blip``: one answer is lost, the next call under the same key is answered. Then ``made``: the answer is lost,
    and ``lost``: the call never arrives; both get nothing but 503, and twenty-five hours pass at Stripe. Half an hour
    is 12 s here, and 90 s with ``ALL=1``. Stripe would accept a second refund of the same part each time: only the key,
    and later the look-up, prevents it."""
    blip, made, lost = sales = [row.hold(thing) for thing in _devices(row, 3, duration_s=26)]
    for sale in sales:
        row.pay(sale)
    for sale in sales:
        row.until(sale, "running", within_s=15)
        captured(row, sale)
    # more than half is delivered, so that Stripe would have room for the same refund twice
    time.sleep(13.5 + row.rng.uniform(0, 1))
    row.stripe_fault("refunds.create", intent_of(row, blip), do="act_then_drop")
    row.stripe("POST", "/_ctl/webhooks", {"drop": True})  # nobody else tells of the refund that was made
    row.press(blip, "stop")
    wait_for(lambda: _refund(row, blip, "status") == "succeeded", 15, "the refund whose answer was lost is found")
    row.stripe("POST", "/_ctl/webhooks", {"drop": False})
    began = time.time()
    row.stripe_fault("refunds.create", intent_of(row, made), do="act_then_drop")
    call_fault(row, "/v1/refunds", do="status", status=503, times=-1)
    for sale in (made, lost):
        row.press(sale, "stop")
    wait_for(lambda: all(_refund(row, sale, "attempts") >= 2 for sale in (made, lost)), 15, "both were tried twice")
    for sale in (made, lost):
        _shows_refund_pending(row, sale)
    _pass_hours_at_stripe(row, 25)
    sleep_until(began + max(90 if EVERYTHING else 12, KEY_LIVES_S))
    _heal(row, "/v1/refunds")
    for sale in sales:
        wait_for(lambda sale=sale: _refund(row, sale, "status") == "succeeded", 75, f"{sale.ref} is paid back")  # type: ignore[misc]
        row.expect(len(row.money(sale, "refunded")) == 1, f"{sale.ref} was paid back more than once")


def _refund(row: Row, sale: Sale, column: str) -> Any:
    found = row.stack.sql(
        f"SELECT r.{column} FROM sessions_app_refund r JOIN sessions_app_payment p ON p.id = r.payment_id"
        " WHERE p.ref = %s ORDER BY r.id",
        sale.ref,
    )
    return found[0][0] if found else (0 if column == "attempts" else None)


def _shows_refund_pending(row: Row, sale: Sale) -> None:
    row.until(sale, "cancelled", within_s=20)
    row.look(sale)
    text = sale.guest.html
    row.expect("is on its way back to you" in text, f"the page says {sale.guest.headline!r}")
    row.expect("was paid back to you" not in text, "the page shows a refund that did not happen")


def _pass_hours_at_stripe(row: Row, hours: float) -> None:
    """Stripe's books go on; the ``Date`` of its answers stays right, as the clocks are not the fault here."""
    seconds = hours * 3600
    row.after.append(lambda: row.stripe("POST", "/_ctl/clock", {"advance_s": -seconds}))
    row.after.append(lambda: row.stripe("POST", "/_ctl/date", {"skew_s": 0}))
    row.stripe("POST", "/_ctl/date", {"skew_s": -seconds})
    row.stripe("POST", "/_ctl/clock", {"advance_s": seconds})


@row("P21", "a refund is pending, and then the bank sends it back", lane="alone")
def p21(row: Row) -> None:
    """A person is told, and presses *Refund* once more; with that the alert closes."""
    row.after.append(lambda: row.stripe("POST", "/_ctl/refunds", {"mode": "succeeded"}))
    row.stripe("POST", "/_ctl/refunds", {"mode": "pending"})
    sale = row.hold(row.device(duration_s=30))
    row.pay(sale)
    row.until(sale, "running", within_s=15)
    captured(row, sale)
    row.press(sale, "stop")
    wait_for(lambda: _refund(row, sale, "status") == "pending", 15, "the refund is pending")
    _shows_refund_pending(row, sale)
    row.stripe("POST", f"/_ctl/refunds/{_refund(row, sale, 'stripe_id')}", {"status": "failed"})
    wait_for(lambda: row.alerts() == ["refund_failed"], 15, "somebody is told that the refund failed")
    row.look(sale)
    row.expect("was paid back to you" not in sale.guest.html, "a failed refund is shown as paid back")
    row.expect(row.payment(sale, "refunded_minor") == 0, "a failed refund counts as paid back")
    row.stripe("POST", "/_ctl/refunds", {"mode": "succeeded"})
    back = row.payment(sale, "captured_minor") - row.payment(sale, "charge_minor")
    status = _presses_refund(row, Staff(row), sale, back)
    row.expect(status in (302, 303), f"the second refund was answered {status}")
    wait_for(lambda: row.payment(sale, "refunded_minor") == back, 20, "the second refund went through")


def _presses_refund(row: Row, person: Staff, sale: Sale, minor: int) -> int:
    path = f"/dashboard/payments/{row.payment(sale, 'id')}/refund/"
    form = person.form(path, has="seen")
    return person.send(path, form, amount=f"{minor / 100:.2f}", reason="the guest asked")


@row("P22", "two people press Refund twice, and a third refunds in Stripe's own dashboard")
def p22(row: Row) -> None:
    """One form is good for one refund. What Stripe's dashboard pays back at the same time is the seed's."""
    sale = row.buy(row.device())
    row.until(sale, "completed", within_s=30)
    captured(row, sale)
    path = f"/dashboard/payments/{row.payment(sale, 'id')}/refund/"
    people = [Staff(row) for _ in range(2)]
    forms = [one.form(path, has="seen") for one in people]
    elsewhere = row.rng.randrange(50, 200)
    presses = [
        lambda person=person, form=form: person.send(path, form, amount="1.00", reason="the guest asked")
        for person, form in zip(people, forms, strict=True)
        for _ in range(2)
    ]
    together(
        *presses,
        lambda: row.stripe("POST", f"/_ctl/payment_intents/{intent_of(row, sale)}/refund", {"amount": elsewhere}),
    )
    made = row.stack.sql(
        "SELECT count(*) FROM sessions_app_refund WHERE made_by LIKE 'user:%%' AND payment_id = %s",
        row.payment(sale, "id"),
    )[0][0]
    row.expect(made == 1, f"four presses of two people made {made} refunds")
    back = min(250, 100 + elsewhere)
    wait_for(lambda: row.payment(sale, "refunded_minor") == back, 30, f"{back} went back and is in our books")


@row("P23", "the payment is disputed during the session", alerts=("dispute",))
def p23(row: Row) -> None:
    """A person answers it; Hygate pays nothing back by itself, and the guest keeps the power that was sold."""
    sale = row.hold(row.device(duration_s=12))
    row.pay(sale)
    row.until(sale, "running", within_s=15)
    captured(row, sale)
    row.stripe("POST", "/_ctl/disputes", {"payment_intent": intent_of(row, sale)})
    wait_for(lambda: row.alerts() == ["dispute"], 15, "somebody is told of the dispute")
    row.until(sale, "completed", within_s=30)
    row.expect(not row.money(sale, "refunded"), "a disputed payment was paid back as well")


# -- the key, and a slow Stripe


@row("P24", "the Stripe key is revoked, and then lacks a right", lane="alone")
def p24(row: Row) -> None:
    """Sales close with a page that says so; what runs goes on and ends on time; one alert, gone when the key works."""
    running, starting, closed, tried = _devices(row, 4, duration_s=8, grace_s=2)
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
    running, paid, *others = _devices(row, 12, duration_s=40)
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
        with httpx.Client(timeout=20) as client:
            while time.time() < ends:
                began = time.monotonic()
                client.get(sale.link)
                took.append(time.monotonic() - began)
                time.sleep(0.1)

    together(look, *(lambda thing=thing: press(thing) for thing in others))
    return sorted(took)[int(len(took) * 0.99) - 1]


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
