"""The payment rows about news: lost, doubled, late, forged, reordered, or about a payment that is not ours."""

from __future__ import annotations

import os
import time
from typing import Any

from tests.faults.posting import COMPLETED, SECRET, body_of, deliveries, header_of, inbox, nobodys, post, together, told
from tests.faults.registry import row
from tests.faults.row import Row, Sale, Thing
from tests.stack.stack import SHORTENED, wait_for

RECON_S = float(SHORTENED["HYGATE_RECON_S"])
HOLD_S = float(SHORTENED["HYGATE_HOLD_S"])
EVERYTHING = bool(os.environ.get("ALL"))
SAME_MOMENT_ROUNDS = 200 if EVERYTHING else 5
SIDE_BY_SIDE = 10 if EVERYTHING else 5


@row("P1", "webhook before redirect")
def p1(row: Row) -> None:
    sale = row.hold(row.device())
    row.pay(sale, come_back=False)
    row.until(sale, "starting", "running")
    time.sleep(2)
    row.expect(row.look(sale) in ("starting", "running"), f"the success page shows {sale.guest.state}")


@row("P2", "redirect before webhook, which comes after the end")
def p2(row: Row) -> None:
    sale = row.hold(row.device())
    row.webhooks(sale, delay_s=12)
    row.pay(sale)
    row.until(sale, "running", within_s=15)
    row.until(sale, "completed", within_s=30)
    time.sleep(6)


@row("P3", "webhook, five success pages and the reconciler in the same millisecond")
def p3(row: Row) -> None:
    """Five rounds in the gate, two hundred with ``ALL=1``; up to ten of them side by side."""
    things = [thing for _ in range(SIDE_BY_SIDE) for thing in row.prepare(duration_s=4)]
    for thing in things:
        row.until_sellable(thing)
    for _ in range(SAME_MOMENT_ROUNDS // SIDE_BY_SIDE):
        sales = [_all_at_once(row, thing) for thing in things]
        for sale in sales:
            row.until(sale, "completed", within_s=60)
            _started_once(row, sale)
            row.until_sellable(sale.thing)


def _all_at_once(row: Row, thing: Thing) -> Sale:
    sale = row.hold(thing)
    row.webhooks(sale, drop=True)
    row.pay(sale, come_back=False)
    body = told(row, sale, COMPLETED)
    header, pages = header_of(body), [row.phone() for _ in range(5)]
    offsets = [row.rng.uniform(0, 0.002) for _ in pages]

    def come_back(page: int) -> None:
        time.sleep(offsets[page])
        pages[page].open(f"{sale.link}paid/")

    together(
        lambda: row.expect(post(row, body, header) == 200, "the webhook was not taken"),
        lambda: row.stack.sql("UPDATE sessions_app_payment SET due_at = now() WHERE ref = %s", sale.ref),
        *(lambda page=page: come_back(page) for page in range(len(pages))),
    )
    return sale


def _started_once(row: Row, sale: Sale) -> None:
    """One move to *starting*, one ON asked for in the session's time, one capture."""
    starts = row.stack.sql(
        "SELECT count(*) FROM hygate_auditevent WHERE session = %s AND kind = 'session_starting'", sale.session_id
    )[0][0]
    began, ended = row.column(sale, "created_at").timestamp(), row.column(sale, "closed_at").timestamp()
    ons = [t for t, on in row.wishes(sale.thing) if on and began <= t <= ended]
    row.expect(starts == 1, f"{sale.ref} was started {starts} times")
    row.expect(len(ons) == 1, f"{sale.ref}: ON was asked for {len(ons)} times")
    row.expect(len(row.money(sale, "captured")) == 1, f"{sale.ref} was not captured exactly once")


@row("P4", "each webhook ten times at once, over two web processes")
def p4(row: Row) -> None:
    sale = row.hold(row.device())
    row.webhooks(sale, duplicate=10)
    row.pay(sale, come_back=False)
    row.until(sale, "completed", within_s=30)
    wait_for(lambda: all(one["state"] == "delivered" for one in deliveries(row, sale)), 20, "all were delivered")
    _started_once(row, sale)
    sent = deliveries(row, sale)
    answers = {attempt["status"] for one in sent for attempt in one["attempts"]}
    row.expect(answers == {200}, f"deliveries were answered {answers}")
    rows = [event for event, _, _ in inbox(row, sale)]
    row.expect(len(rows) == len(set(rows)), "an event stands twice in the inbox")
    row.expect(len(sent) == 10 * len({one["event"] for one in sent}) >= 30, f"{len(sent)} deliveries were sent")


@row("P5", "webhooks never come, and the guest closes the page after paying")
def p5(row: Row) -> None:
    sale = row.hold(row.device())
    row.webhooks(sale, drop=True)
    _unnoticed(row, sale)


def _unnoticed(row: Row, sale: Sale) -> None:
    """Paid, and nobody says so: the reconciler starts it within RECON + 5 s, and the link leads back to it."""
    time.sleep(row.rng.uniform(0, RECON_S))
    row.pay(sale, come_back=False)
    row.until(sale, "starting", "running", within_s=RECON_S + 5)
    by = row.payment(sale, "settled_by")
    row.expect(by == "reconciler", f"it was settled by {by}")
    row.until(sale, "running", within_s=10)
    row.expect(row.look(sale) == "running", f"the link shows {sale.guest.state}")
    row.until(sale, "completed", within_s=30)


@row("P6", "events in the wrong order: expired, failed, refunded, and then completed")
def p6(row: Row) -> None:
    sale = row.hold(row.device())
    row.webhooks(sale, drop=True)
    for kind in ("checkout.session.expired", "checkout.session.async_payment_failed", "charge.refunded"):
        body = told(row, sale, kind)
        row.expect(post(row, body, header_of(body)) == 200, f"{kind} was not taken")
    wait_for(lambda: all(effect for _, _, effect in inbox(row, sale)), 15, "the three early events were followed")
    row.expect(row.state(sale) == "held", f"events about nothing moved the session to {row.state(sale)}")
    row.pay(sale, come_back=False)
    body = told(row, sale, COMPLETED)
    row.expect(post(row, body, header_of(body)) == 200, "completed was not taken")
    row.until(sale, "running", within_s=15)
    for kind in ("checkout.session.expired", "payment_intent.canceled"):
        body = told(row, sale, kind)
        row.expect(post(row, body, header_of(body)) == 200, f"{kind} was not taken")
    row.until(sale, "completed", within_s=30)


@row("P7", "events three days late, after the end and after a refund")
def p7(row: Row) -> None:
    whole, stopped = row.device(), row.device(duration_s=30)
    ended, given_back = row.buy(whole), row.buy(stopped)
    row.until(given_back, "running", within_s=15)
    row.press(given_back, "stop")
    row.until(given_back, "cancelled", within_s=30)
    row.until(ended, "completed", within_s=30)
    before = len(row.evidence().switching())
    for sale in (ended, given_back):
        for kind in (COMPLETED, "checkout.session.expired"):
            body = told(row, sale, kind, created=time.time() - 3 * 24 * 3600)
            row.expect(post(row, body, header_of(body)) == 200, f"a late {kind} was refused")
    followed = "nothing to do"
    for sale in (ended, given_back):
        wait_for(lambda sale=sale: _effects(row, sale)[-2:] == [followed] * 2, 15, "the late events were looked at")  # type: ignore[misc]
    row.expect(len(row.evidence().switching()) == before, "a late event switched something")


def _effects(row: Row, sale: Sale) -> list[str]:
    return [effect for _, _, effect in inbox(row, sale)]


@row("P8", "forged webhooks: wrong secret, altered body, five minutes old, five minutes ahead, unsigned")
def p8(row: Row) -> None:
    """The two genuine ones with a far stamp make the watch on the clock warn (a warning stops no sale); it is not
    about a device or a session, so it is not this row's. The stamp from the future lies a little further ahead, as it
    comes nearer while the request is on its way."""
    sale = row.hold(row.device())
    row.webhooks(sale, create=False)
    body = told(row, sale, COMPLETED)
    altered = body.replace(b'"open"', b'"complete"')
    row.expect(altered != body, "nothing was altered")
    now, said_before = time.time(), _forged_in_log(row)
    ahead_s = 301 + 30
    wrong = {
        "with another secret": (body, header_of(body, "whsec_other")),
        "with an altered body": (altered, header_of(body)),
        "301 s old": (body, header_of(body, at=now - 301)),
        "301 s ahead": (body, header_of(body, at=now + ahead_s)),
        "unsigned": (body, None),
        "with an empty signature": (body, ""),
        "with another scheme": (body, header_of(body).replace("v1=", "v0=")),
    }
    for name, (sent, header) in wrong.items():
        row.expect(post(row, sent, header) == 400, f"a webhook {name} was not refused")
    row.expect(inbox(row, sale) == [], "a forged webhook stands in the inbox")
    row.expect(row.state(sale) == "held", f"a forged webhook moved the session to {row.state(sale)}")
    said = _forged_in_log(row) - said_before
    row.expect(said >= len(wrong), f"the log tells of {said} of {len(wrong)} forged webhooks")
    row.pay(sale)
    row.until(sale, "completed", within_s=40)


def _forged_in_log(row: Row) -> int:
    return (row.stack.folder / "web.log").read_text(errors="replace").count("webhook.forged")


@row("P9", "the webhook secret is rolled: both signatures, then only the new one", lane="alone")
def p9(row: Row) -> None:
    """Between the two, web is started again with both secrets, as an operator would. The simulator's deliveries carry
    both signatures first, then the new one only."""
    new = f"whsec_new{row.rng.randrange(10**6)}"
    first, second = row.device(), row.device()
    row.after.append(lambda: _web_with(row, SECRET))
    row.after.append(lambda: row.stripe("POST", "/_ctl/webhooks", {"secrets": [SECRET]}))
    row.stripe("POST", "/_ctl/webhooks", {"roll_secret": new})
    _all_taken(row, first)
    _web_with(row, f"{SECRET},{new}")
    row.stripe("POST", "/_ctl/webhooks", {"end_roll": True})
    _all_taken(row, second)


def _all_taken(row: Row, thing: Thing) -> None:
    sale = row.hold(thing)
    row.pay(sale, come_back=False)
    row.until(sale, "completed", within_s=30)
    answers = [attempt["status"] for one in deliveries(row, sale) for attempt in one["attempts"]]
    row.expect(set(answers) == {200} and len(answers) >= 3, f"deliveries were answered {answers}")


def _web_with(row: Row, secrets: str) -> None:
    row.stack.process["web"].stop()
    row.stack.run("web", HYGATE_STRIPE_WEBHOOK_SECRETS=secrets)
    wait_for(lambda: row.stack.answers("/healthz"), 30, "the pages answer again")


@row("P10", "thin and snapshot of the same event")
def p10(row: Row) -> None:
    sale = row.hold(row.device())
    row.webhooks(sale, both=True)
    row.pay(sale, come_back=False)
    row.until(sale, "completed", within_s=30)
    _started_once(row, sale)
    answers = {attempt["status"] for one in deliveries(row, sale) for attempt in one["attempts"]}
    row.expect(answers == {200}, f"deliveries were answered {answers}")
    kinds = [kind for _, kind, _ in inbox(row, sale)]
    row.expect(kinds.count(COMPLETED) == 2, f"the inbox holds {kinds}")


@row("P11", "valid events that are not ours: unknown type, unknown order, live mode, another account")
def p11(row: Row) -> None:
    """An event that names our order but came of the other mode must change nothing."""
    sale = row.hold(row.device())
    row.webhooks(sale, create=False)
    strange = [
        body_of("customer.tax_id.created", {"id": "txi_1", "object": "tax_id"}),
        body_of("balance.available", {"object": "balance"}),
        body_of(COMPLETED, nobodys(metadata={"order": "S-NOBODY-1"})),
        body_of(COMPLETED, nobodys(metadata=None)),
        body_of("charge.refunded", {"id": "ch_1", "object": "charge", "payment_intent": "pi_nobody"}),
        body_of(COMPLETED, nobodys(), account="acct_another"),
        told(row, sale, COMPLETED, livemode=True),
    ]
    for body in strange:
        for _ in range(2):
            row.expect(post(row, body, header_of(body)) == 200, "a valid event that is not ours was refused")
    wait_for(lambda: _effects(row, sale) == ["other mode"], 15, "the event of the other mode was looked at")
    row.expect(row.state(sale) == "held", f"strange events moved the session to {row.state(sale)}")
    row.pay(sale)
    row.until(sale, "completed", within_s=40)


@row("P12", "a bank that takes its time: late success with the device free, with it taken, and a failure")
def p12(row: Row) -> None:
    """The ten minutes of the plan are thirty seconds, just beyond the hold: the slot is released at the hold's end."""
    free, taken, failing = (row.device() for _ in range(3))
    late, too_late, failed = (row.hold(thing) for thing in (free, taken, failing))
    for sale in (late, too_late, failed):
        row.pay(sale, way="pay_later")
        row.expect(row.look(sale) != "running", "the page says that an unpaid session runs")
    for sale in (late, too_late, failed):
        row.until(sale, "cancelled", within_s=HOLD_S + 15)
        row.expect(not row.wishes(sale.thing), f"{sale.ref} was switched on before it was funded")
    row.until_sellable(taken)
    next_one = row.hold(taken)
    row.pay(next_one)
    row.stripe("POST", f"/_ctl/checkout/{late.checkout}/async", {"succeed": True})
    row.stripe("POST", f"/_ctl/checkout/{too_late.checkout}/async", {"succeed": True})
    row.stripe("POST", f"/_ctl/checkout/{failed.checkout}/async", {"succeed": False})
    wait_for(lambda: row.payment(late, "session_id") != late.session_id, 20, "the late payment starts, as it is free")
    wait_for(lambda: row.payment(too_late, "status") == "REFUNDED", 20, "the payment that came too late is paid back")
    wait_for(lambda: row.payment(failed, "status") in ("FAILED", "VOIDED"), 20, "the failed one is closed")
    row.until(next_one, "completed", within_s=40)


@row("P13", "amount, currency or order are not what was sold", alerts=("payment_mismatch",))
def p13(row: Row) -> None:
    """Tampered with at Stripe before we look; never a start, all of it goes back, a person is told once for each."""
    changes: list[dict[str, Any]] = [{"amount": 150}, {"currency": "usd"}, {"metadata": {"order": "S-OTHERS1-1"}}]
    sales = [row.hold(row.device()) for _ in changes]
    for sale, change in zip(sales, changes, strict=True):
        row.webhooks(sale, delay_s=3)
        row.pay(sale, come_back=False)
        intent = row.stack.stripe_server.call(
            lambda sale=sale: row.stack.stripe.books.sessions[sale.checkout]["payment_intent"]  # type: ignore[misc]
        )
        row.stripe("POST", f"/_ctl/payment_intents/{intent}/tamper", change)
    for sale in sales:
        row.until(sale, "cancelled", within_s=20)
        wait_for(lambda sale=sale: row.payment(sale, "status") == "VOIDED", 20, f"{sale.ref} was let go")  # type: ignore[misc]
        row.expect(not row.wishes(sale.thing), f"{sale.ref} was started")
    row.expect(row.alerts().count("payment_mismatch") == len(sales), f"alerts: {row.alerts()}")


@row("P26", "Stripe makes no event at all; the state is paid")
def p26(row: Row) -> None:
    sale = row.hold(row.device())
    row.webhooks(sale, create=False)
    _unnoticed(row, sale)
