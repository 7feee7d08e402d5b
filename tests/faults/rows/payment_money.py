"""The payment rows about money that moves: captures and refunds that fail or are lost, and who else pays back."""

from __future__ import annotations

import time
from typing import Any

from tests.faults.posting import together
from tests.faults.registry import row
from tests.faults.row import Row, Sale
from tests.faults.rows.payment import EVERYTHING
from tests.faults.rows.stripe_calls import (
    call_fault,
    captured,
    heal,
    intent_of,
    on_capture,
    sellable_devices,
    sleep_until,
)
from tests.faults.staff import Staff
from tests.stack.stack import SHORTENED, wait_for

KEY_LIVES_S = float(SHORTENED["HYGATE_STRIPE_KEY_LIVES_S"])


# -- taking the money


@row("P18", "capture: the answer is lost, and the money worker is killed on it", lane="alone")
def p18(row: Row) -> None:
    """Killed before Stripe has acted or after it, as the seed decides (both with ``ALL=1``)."""
    cut, *killed = (row.hold(thing) for thing in sellable_devices(row, 3 if EVERYTHING else 2, grace_s=1))
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
    told, untold = (row.hold(thing) for thing in sellable_devices(row, 2, duration_s=40, grace_s=1))
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
    blip, made, lost = sales = [row.hold(thing) for thing in sellable_devices(row, 3, duration_s=26)]
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
    heal(row, "/v1/refunds")
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
