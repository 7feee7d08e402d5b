"""What ``make smoke`` lets pass and what it does not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hygate.demo.verdict import STEPS, Evidence, Sale, judge

SALE = Sale("demo", "34987a10c4d0", 0, "pi_1", 250, "eur", since=1000.0, ends_at=1030.0)
AUDIT = tuple((1005.0, step[0]) for step in STEPS)
PAGE = ((1001.0, "held"), (1002.0, "grace"), (1008.0, "starting"), (1011.0, "running"), (1032.0, "completed"))


def wish(t: float, *, on: bool, **more: Any) -> dict[str, Any]:
    body = {"id": SALE.shelly_id, "channel": 0, "on": on, **more}
    path = "/v2/devices/api/set/switch"
    return {"t": t, "kind": "request", "account": "demo", "path": path, "body": body, "status": 200}


def group_off(t: float) -> dict[str, Any]:
    body = {"switch": {"ids": [f"{SALE.shelly_id}_0"], "command": {"on": False}}}
    path = "/v2/devices/api/set/groups"
    return {"t": t, "kind": "request", "account": "demo", "path": path, "body": body, "status": 200}


def change(t: float, *, on: bool, cause: str = "request") -> dict[str, Any]:
    return {
        "t": t,
        "kind": "relay",
        "account": "demo",
        "device": SALE.shelly_id,
        "channel": 0,
        "on": on,
        "cause": cause,
    }


def money(kind: str, amount: int = 250) -> dict[str, Any]:
    return {"t": 1012.0, "kind": kind, "payment_intent": "pi_1", "amount": amount, "currency": "eur", "order": "x"}


GOOD = Evidence(
    shelly=(
        wish(1008.0, on=True, toggle_after=50),
        change(1008.1, on=True),
        group_off(1030.2),
        change(1030.3, on=False),
    ),
    stripe=(money("authorized"), money("captured")),
    audit=AUDIT,
    page=PAGE,
)


def test_a_purchase_that_went_well_passes() -> None:
    verdict = judge(SALE, GOOD)
    assert verdict.complaints == []
    assert any("ON for at most 50 s" in what for _, what in verdict.timeline)


@pytest.mark.parametrize(
    ("seen", "complaint"),
    [
        (replace(GOOD, shelly=(wish(1008.0, on=True), *GOOD.shelly[1:])), "no timer"),
        (replace(GOOD, shelly=(*GOOD.shelly[:2], group_off(1031.5), change(1031.6, on=False))), "later than 1.0 s"),
        (replace(GOOD, shelly=(*GOOD.shelly[:3], change(1060.0, on=False, cause="timer"))), "by timer"),
        (replace(GOOD, shelly=GOOD.shelly[:3]), "still on"),
        (replace(GOOD, shelly=()), "never went on"),
        (replace(GOOD, stripe=(money("captured"), money("captured"))), "250 and 250"),
        (replace(GOOD, stripe=(money("captured", 249),)), "249 instead of 250"),
        (replace(GOOD, stripe=(money("captured"), money("refunded", 10))), "refunded"),
        (replace(GOOD, stripe=()), "nothing instead"),
        (replace(GOOD, audit=AUDIT[1:]), "session_held"),
        (replace(GOOD, page=((1007.0, "running"),)), "before the relay was on"),
        (replace(GOOD, page=PAGE[:2]), "never said"),
    ],
)
def test_what_is_wrong_is_named(seen: Evidence, complaint: str) -> None:
    assert any(complaint in one for one in judge(SALE, seen).complaints)


def test_another_relay_of_the_same_device_is_not_ours() -> None:
    other = replace(SALE, channel=1)
    assert "Nobody asked the relay to go on." in judge(other, GOOD).complaints
