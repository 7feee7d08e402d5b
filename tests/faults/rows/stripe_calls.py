"""What the payment rows share: the calls to Stripe about one order, and how they are made to fail."""

from __future__ import annotations

import time
from typing import Any

from tests.faults.row import Row, Sale, Thing
from tests.stack.stack import wait_for


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

    row.after.append(lambda: heal(row, path))


def heal(row: Row, path: str) -> None:
    def clear() -> None:
        for one in row.stack.stripe.faults._faults:
            if one.on == path:
                one.times = 0

    row.stack.stripe_server.call(clear)


def hold_end(row: Row, sale: Sale) -> float:
    return float(row.column(sale, "hold_expires_at").timestamp())


def sleep_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.time()))


def captured(row: Row, sale: Sale, within_s: float = 20) -> None:
    wait_for(lambda: bool(row.money(sale, "captured")), within_s, f"{sale.ref} is captured")


def sellable_devices(row: Row, count: int, **plan: Any) -> list[Thing]:
    """So many devices, made together: they become sellable side by side."""
    things = [thing for _ in range(count) for thing in row.prepare(**plan)]
    for thing in things:
        row.until_sellable(thing)
    return things
