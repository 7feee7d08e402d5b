"""The device rows of starting: ON refused, silent, late, repeated, and called off while it waits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from tests import loopback
from tests.faults.registry import row
from tests.faults.row import Row, Sale, Thing
from tests.faults.rows.relay import (
    MARGIN_S,
    MAX_REQ,
    OFFLINE,
    RECON_S,
    ROUND_S,
    alerts_ever,
    armed_s,
    asked,
    audited,
    cost_nothing,
    device_column,
    each,
    expect_rounds,
    for_sale,
    moved,
)
from tests.stack.stack import wait_for

# -- the core gate


@row("D1", "ON is refused in four ways until the start window ends")
def d1(row: Row) -> None:
    """Refusals of all shapes count as failures: rounds of three, then the hold is let go and nothing ever ran.

    No free power: none of these refusals moves a relay.
    """
    refusals: list[dict[str, Any]] = [
        {"do": "body", "body": {"isok": False, "errors": {"device_offline": "Device is offline!"}}},
        {"do": "status", **OFFLINE},
        {"do": "body", "body": {"isok": False}},
        {"do": "body", "body": "<html><body>It works!</body></html>"},
    ]
    row.rng.shuffle(refusals)

    def story(refusal: dict[str, Any]) -> Callable[[Thing], None]:
        def tell(thing: Thing) -> None:
            row.relay_fault(thing, "switch_on", times=-1, **refusal)
            sale = row.buy(thing)
            row.until(sale, "cancelled", within_s=45)
            ons = asked(row, thing, on=True)
            row.expect(len(ons) >= 3, f"only {len(ons)} attempts before giving up ({refusal})")
            expect_rounds(row, ons)
            cost_nothing(row, sale)
            row.expect(not moved(row, thing, on=True), "the relay was on")
            row.look(sale)
            wait_for(lambda: bool(asked(row, thing, on=False)), 10, "OFF follows an ON that might have come through")

        return tell

    each(row, {}, [story(one) for one in refusals])
    for thing in row.things:
        wait_for(partial(for_sale, row, thing), 15, "the device is for sale again", 0.5)


@row("D2", "the account is over its rate: 401 max_req and 429", limits_hit=True, free_power_s=4.0)
def d2(row: Row) -> None:
    """Somebody else uses the key while the guest's ON is due, and the OFF meets one 429.

    Free power: the refused OFF waits 2 s and a gap. The limiter's 401 must not be taken for a refused key.
    """
    thing = row.device()
    row.relay_fault(thing, "switch_on", do="status", status=401, body=MAX_REQ)
    row.relay_fault(thing, "switch_off", do="status", status=429, body=MAX_REQ)
    over = time.monotonic() + row.rng.uniform(4, 7)
    account = row.stack.shelly.cloud.by_name(thing.account)
    assert account is not None
    key = account.key
    url = row.stack.shelly_server.url

    def another_program() -> None:
        with loopback.client(timeout=5) as client:
            while time.monotonic() < over:
                client.post(f"{url}/device/all_status", data={"auth_key": key})
                time.sleep(row.rng.uniform(0.3, 0.6))

    neighbour = threading.Thread(target=another_program, daemon=True)
    neighbour.start()
    sale = row.buy(thing)
    row.until(sale, "running", within_s=30)
    row.until(sale, "completed", within_s=30)
    neighbour.join()
    refused = {one["status"] for one in row.evidence().requests if one["status"] in (401, 429)}
    row.expect(refused == {401, 429}, f"the limiter answered only {refused}")
    row.expect(not alerts_ever(row, "account_key", account=thing), "the limit was taken for a refused key")
    expect_rounds(row, asked(row, thing, on=True))


@row("D4", "ON times out after the relay moved")
def d4(row: Row) -> None:
    """The answer is lost, the relay is on: it is read before anything is sent again; the minutes count from there."""
    thing = row.device(duration_s=8)
    row.relay_fault(thing, "switch_on", do="act_then_hang", seconds=row.rng.uniform(5.5, 7))
    sale = row.buy(thing)
    row.until(sale, "running", within_s=20)
    on_at = moved(row, thing, on=True)[0]
    started_at = row.column(sale, "started_at").timestamp()
    row.expect(started_at >= on_at + 5 - 0.25, f"the minutes began {started_at - on_at:.1f} s after an unproven ON")
    first = row.stack.sql(
        "SELECT a.outcome FROM devices_relayattempt a JOIN devices_relaycommand c ON c.id = a.command_id"
        " WHERE c.device_id = %s AND a.kind = 'send' ORDER BY a.id LIMIT 1",
        thing.id,
    )
    row.expect(first == [("unknown",)], f"the lost answer is booked as {first}")
    reads = [one["t"] for one in row.evidence().requests if one["path"].endswith("/get")]
    again = asked(row, thing, on=True)[1:]
    row.expect(not again or min(reads) < again[0], "the ON was repeated before anybody had read the relay")
    row.until(sale, "completed", within_s=25)
    row.expect(len(row.money(sale, "captured")) == 1, "it was not captured once")


# -- their neighbours


def before_cancel(row: Row, sale: Sale) -> Callable[[], None]:
    """The guest has the session's page open; what is answered presses *Cancel* there, with one request.

    Through the page and not by calling the product from here: what runs in this process is never the tree with the
    seeded bug.
    """
    form = sale.guest.form(action_ends="/cancel/")
    if form is None:
        row.look(sale)
        form = sale.guest.form(action_ends="/cancel/")
    if form is None:
        raise AssertionError(f"the page offers no cancelling: it says {sale.guest.headline!r} ({sale.guest.state})")
    return partial(sale.guest.submit, form)


def has_open_command(row: Row, thing: Thing) -> bool:
    found = row.stack.sql(
        "SELECT count(*) FROM devices_relaycommand"
        " WHERE device_id = %s AND state IN ('queued', 'sending', 'accepted')",
        thing.id,
    )  # fmt: skip
    return bool(found[0][0])


def command_is(row: Row, thing: Thing, *, attempts: int, state: str, within_s: float = 15) -> None:
    """Wait until this device's latest command has been sent so often and stands so."""

    def stands() -> bool:
        found = row.stack.sql(
            "SELECT attempts, state FROM devices_relaycommand WHERE device_id = %s ORDER BY id DESC LIMIT 1", thing.id
        )
        return found == [(attempts, state)]

    wait_for(stands, within_s, f"command of {thing.code} is {state} after {attempts} attempts", 0.02)


@row("D25", "called off while the second ON waits or is on its way", free_power_s=ROUND_S)
def d25(row: Row) -> None:
    """OFF is always the last word: a waiting ON never leaves, one on its way is followed up. Free power: a ROUND."""

    def queued(thing: Thing) -> None:
        row.relay_fault(thing, "switch_on", do="status", **OFFLINE)
        sale = row.buy(thing)
        cancel = before_cancel(row, sale)
        command_is(row, thing, attempts=1, state="queued")
        time.sleep(row.rng.uniform(0, 0.5))
        cancel()
        over(thing, sale)
        row.expect(len(asked(row, thing, on=True)) <= 2, "ON was sent again after it was called off")

    def in_flight(thing: Thing) -> None:
        row.relay_fault(thing, "switch_on", do="status", **OFFLINE)
        late_s = row.rng.uniform(0.5, 9)
        row.relay_fault(thing, "switch_on", do="hang_before", seconds=6, act_after_s=late_s)
        sale = row.buy(thing)
        cancel = before_cancel(row, sale)
        command_is(row, thing, attempts=2, state="sending")
        time.sleep(row.rng.uniform(0, 4))
        cancel()
        wait_for(lambda: bool(moved(row, thing, on=True)), 12, "the late ON acts")
        over(thing, sale)

    def over(thing: Thing, sale: Sale) -> None:
        wait_for(lambda: device_column(row, thing, "must_be_off_since") is None, 30, "OFF is proven")
        wait_for(lambda: not has_open_command(row, thing), 30, "nothing more is wanted of the relay")
        row.expect(max(asked(row, thing, on=True)) < min(asked(row, thing, on=False)), "an ON was sent after the OFF")
        row.expect(not row.is_on(thing), "the relay is on")
        cost_nothing(row, sale, "stopped_by_guest")

    each(row, {}, [queued, in_flight])


# -- the rest of the table


@row("D3", "two 5xx, then ON")
def d3(row: Row) -> None:
    """The third attempt works: three attempts in the audit, and the relay was switched on once."""
    thing = row.device(duration_s=8)
    row.relay_fault(thing, "switch_on", do="status", status=row.rng.choice((500, 502, 503)), body="no", times=2)
    sale = row.buy(thing)
    row.until(sale, "running", within_s=40)
    ons = asked(row, thing, on=True)
    row.expect(len(ons) == 3, f"{len(ons)} ONs instead of three")
    expect_rounds(row, ons)
    row.expect(len(audited(row, "shelly_on_sent", thing)) == 3, "not every attempt was audited before it left")
    row.expect(len(audited(row, "shelly_on_failed", thing)) == 2, "not every failure was audited")
    row.expect(len(moved(row, thing, on=True)) == 1, "the relay was switched on more than once")
    row.until(sale, "completed", within_s=25)


@row("D5", "ON times out and never acts")
def d5(row: Row) -> None:
    """Nothing moved: the hold is let go, and an explicit OFF is sent in case it acted late."""
    thing = row.device()
    row.relay_fault(thing, "switch_on", do="hang_before", seconds=row.rng.uniform(5.5, 7), times=-1)
    sale = row.buy(thing)
    row.until(sale, "cancelled", within_s=45)
    cost_nothing(row, sale)
    wait_for(lambda: device_column(row, thing, "must_be_off_since") is None, 30, "OFF is proven")
    ons, offs = asked(row, thing, on=True), asked(row, thing, on=False)
    row.expect(bool(offs) and offs[-1] > ons[-1], "no OFF followed the last ON")
    row.expect(not moved(row, thing, on=True), "the row is wrong: the relay moved")
    expect_rounds(row, ons)


@row("D6", "the cloud carries out an ON twenty seconds late", free_power_s=RECON_S + 6)
def d6(row: Row) -> None:
    """The order is void by then. Free power: the next reading of the account (RECON), its gap, and the OFF's turn."""
    thing = row.device(duration_s=60)
    row.relay_fault(thing, "switch_on", do="hang_before", seconds=6, act_after_s=25 + row.rng.uniform(0, 3))
    sale = row.buy(thing)
    cancel = before_cancel(row, sale)
    command_is(row, thing, attempts=1, state="sending")
    time.sleep(row.rng.uniform(0, 3))
    cancel()
    cost_nothing(row, sale, "stopped_by_guest")
    wait_for(lambda: bool(moved(row, thing, on=True)), 40, "the late ON acts")
    wait_for(lambda: not row.is_on(thing), RECON_S + 6, "the stray relay is off again")
    strays = [one for one in audited(row, "relay_off_wanted", thing) if one["reason"] == "stray_on"]
    row.expect(len(strays) == 1, f"{len(strays)} OFFs for a stray in the audit")


@row("D13", "timers: with every ON, never with OFF, and a repeated ON has the rest", free_power_s=4.0)
def d13(row: Row) -> None:
    """The timer is what is left and the margin, also where ON and OFF have to be repeated (I8 judges each request).

    Free power: the refused OFF is repeated a gap later, behind one reading of the account (2 s and its gap).
    """
    thing = row.device(duration_s=12)
    row.relay_fault(thing, "switch_on", do="status", **OFFLINE)
    row.relay_fault(thing, "switch_off", do="status", **OFFLINE)
    sale = row.buy(thing)
    row.until(sale, "running", within_s=20)
    row.knob(thing, press=thing.channel)
    row.until(sale, "completed", within_s=60)
    armed = [seconds for _, seconds in armed_s(row, thing)]
    row.expect(len(armed) >= 3, f"only {len(armed)} ONs")
    row.expect(armed[:2] == [12 + MARGIN_S] * 2, f"a start was armed with {armed[:2]}")
    row.expect(all(MARGIN_S < one <= 12 + MARGIN_S for one in armed[2:]), f"the rest was armed with {armed[2:]}")
    row.expect(len(asked(row, thing, on=False)) >= 2, "the refused OFF was not repeated")
