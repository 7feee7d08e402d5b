"""The device rows: refusals, silence, lies, reboots, hands on the wall button, and what else happens to a relay.

Bounds: the relay's own timer ends power 10 s after the minutes (``HYGATE_TIMER_MARGIN_S`` of the harness), a status is
read every 3 s (RECON), an account's gap is 1.1 s, an OFF that fails goes on in rounds at most 5 s apart. Faults that
the plan lets last ten minutes last 30 s here.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx

from tests.faults.evidence import wanted_of
from tests.faults.registry import row
from tests.faults.row import Row, Sale, Thing
from tests.stack.proxy import Proxy
from tests.stack.stack import wait_for

MARGIN_S = 10.0
"""``HYGATE_TIMER_MARGIN_S`` of the stack: what the relay's own timer gives beyond the minutes."""
RECON_S = 3.0
BACKOFF_CAP_S = 5.0
ROUND_S = 15 + 2 * 1.1
NEXT_ROUND_S = 4.0
"""Attempts nearer than this to each other belong to one round."""
OFFLINE = {"status": 400, "body": {"error": "DEVICE_OFFLINE", "data": {"messages": []}}}
MAX_REQ = {"isok": False, "errors": {"max_req": "Request limit reached!"}}


# -- what several rows ask


def asked(row: Row, thing: Thing, *, on: bool) -> list[float]:
    """When this relay was asked for ON (or OFF), oldest first."""
    return [t for t, wish in row.wishes(thing) if wish is on]


def limited(row: Row) -> set[float]:
    """When a request met the account's limit: it reached no device and costs no place in the round."""
    return {one["t"] for one in row.evidence().requests if one["status"] == 429}


def tries(row: Row) -> str:
    """Every attempt of the row's commands: seconds since the first, what, and what came of it."""
    attempts = row.evidence().attempts
    since = min((one["sent_at"] for one in attempts), default=0.0)
    return ", ".join(f"{one['sent_at'] - since:.1f} {one['kind']} {one['error'] or one['outcome']}" for one in attempts)


def armed_s(row: Row, thing: Thing) -> list[tuple[float, float]]:
    """Each ON that was sent to this relay: when, and the seconds of its timer."""
    found = []
    for entry in row.evidence().switching():
        if wanted_of(entry, thing.shelly_id, thing.channel):
            found.append((entry["t"], float(entry["body"]["toggle_after"])))
    return found


def moved(row: Row, thing: Thing, *, on: bool, cause: str = "") -> list[float]:
    """When the contact itself moved."""
    changes = row.evidence().changes(thing.shelly_id, thing.channel)
    return [one["t"] for one in changes if one["on"] is on and cause in ("", one["cause"])]


def expect_rounds(row: Row, times: list[float], *, most: int = 3) -> None:
    """At most three attempts to a round, each half a second after the one before (I9)."""
    length = 0
    for before, after in itertools.pairwise([float("-inf"), *times]):
        length = length + 1 if after - before < NEXT_ROUND_S else 1
        row.expect(length <= most, f"{length} attempts in one round: {times}")
        row.expect(after - before >= 0.5, f"two attempts within {after - before:.2f} s")


def audited(row: Row, kind: str, device: Thing) -> list[dict[str, Any]]:
    """``data`` of this device's audit events of a kind, oldest first."""
    told = row.stack.sql(
        "SELECT data FROM hygate_auditevent WHERE kind = %s AND device = %s ORDER BY id", kind, device.id
    )
    return [one[0] for one in told]


def alerts_ever(row: Row, kind: str, *, device: Thing | None = None, account: Thing | None = None) -> list[Any]:
    """(times noticed, closed at) of every alert of this kind, the closed ones too."""
    if device is not None:
        return row.stack.sql(
            "SELECT times, closed_at FROM hygate_alert WHERE kind = %s AND device = %s", kind, device.id
        )
    assert account is not None
    return row.stack.sql(
        "SELECT times, closed_at FROM hygate_alert WHERE kind = %s AND account = %s", kind, account.account_id
    )


def is_told(row: Row, kind: str, account: Thing) -> bool:
    return bool(alerts_ever(row, kind, account=account))


def expect_one_alert(row: Row, kind: str, **about: Thing) -> None:
    found = alerts_ever(row, kind, **about)
    row.expect(len(found) == 1, f"{len(found)} alerts '{kind}' instead of one")


def device_column(row: Row, thing: Thing, name: str) -> Any:
    return row.stack.sql(f"SELECT {name} FROM devices_device WHERE id = %s", thing.id)[0][0]


def for_sale(row: Row, thing: Thing) -> bool:
    return row._state_at(row.phone(), thing) == "free"


def cost_nothing(row: Row, sale: Sale, *reasons: str) -> None:
    """The session is off, and so is the hold on the guest's card."""
    row.expect(row.column(sale, "reason") in (reasons or ("start_failed",)), f"reason {row.column(sale, 'reason')}")
    wait_for(lambda: bool(row.money(sale, "voided")), 20, f"the order of {sale.thing.code} is let go")
    row.expect(not row.money(sale, "captured"), "something was captured")


def side_by_side(*parts: Callable[[], None]) -> None:
    """Several stories of one row at the same time; the first complaint is the row's."""
    complaints: list[BaseException] = []

    def tell(part: Callable[[], None]) -> None:
        try:
            part()
        except BaseException as error:
            complaints.append(error)

    threads = [threading.Thread(target=tell, args=(part,), daemon=True) for part in parts]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    for error in complaints:
        raise error


def each(row: Row, plan: dict[str, Any], stories: Iterable[Callable[[Thing], None]]) -> None:
    """Tell every story on a device, and an account, of its own."""
    pairs = [(row.prepare(**plan)[0], story) for story in stories]
    for thing, _ in pairs:
        row.until_sellable(thing)
    side_by_side(*(lambda thing=thing, story=story: story(thing) for thing, story in pairs))


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
        with httpx.Client(timeout=5) as client:
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


@row("D7", "OFF fails for ten minutes", free_power_s=MARGIN_S, limits_hit=True)
def d7(row: Row) -> None:
    """Refusals, 5xx and silence mixed: rounds with a capped back-off go on, the relay's own timer ends the power.

    Its readings fail too, so that nothing can be proven meanwhile. Free power: the timer's margin. The device is not
    sold, and one alert tells a person.
    """
    thing = row.device(duration_s=6)
    kinds: list[dict[str, Any]] = [
        {"do": "status", **OFFLINE},
        {"do": "status", "status": 503, "body": "Service Unavailable"},
        {"do": "status", "status": 429, "body": MAX_REQ},
        {"do": "hang_before", "seconds": 5.5},
    ]
    row.rng.shuffle(kinds)
    for kind in kinds:
        row.relay_fault(thing, "switch_off", times=row.rng.randint(1, 2), **kind)
    row.relay_fault(thing, "switch_off", times=-1, do="status", **OFFLINE)
    sale = row.buy(thing)
    row.until(sale, "running", within_s=20)
    row.relay_fault(thing, "read", times=-1, do="status", status=503, body="Service Unavailable")
    row.until(sale, "stopping", within_s=20)
    ended_at = time.monotonic()
    healed_at = ended_at + 30
    wait_for(lambda: bool(alerts_ever(row, "off_overdue", device=thing)), 20, "a person is told")
    while time.monotonic() < healed_at:
        row.expect(not for_sale(row, thing), "a device that cannot be switched off was for sale")
        time.sleep(1.0)
    row.expect(len(moved(row, thing, on=False, cause="timer")) == 1, "the relay's own timer did not end the power")
    row.heal_relay(thing)
    wait_for(lambda: device_column(row, thing, "must_be_off_since") is None, BACKOFF_CAP_S + ROUND_S, "OFF is proven")
    offs = asked(row, thing, on=False)
    expect_rounds(row, [t for t in offs if t not in limited(row)])
    pauses = [after - before for before, after in itertools.pairwise(offs)]
    # a pause: the cap, an answer that did not come, three reads to be sure, and a rate limit's own wait
    row.expect(
        max(pauses) <= 5 + 5 + 4.5 + 2, f"the longest pause between two OFFs was {max(pauses):.1f} s: {tries(row)}"
    )
    row.until(sale, "completed", within_s=20)
    expect_one_alert(row, "off_overdue", device=thing)


@row("D9", "accepted, but the relay did not move", free_power_s=MARGIN_S)
def d9(row: Row) -> None:
    """The cloud says yes and the device never hears of it, for ON and for OFF: only the reading counts.

    Free power: three readings show the relay on before OFF is sent again; never longer than the timer's margin.
    """
    thing = row.device(duration_s=6)
    row.relay_fault(thing, "switch_on", do="body")
    row.relay_fault(thing, "switch_off", do="body")
    sale = row.buy(thing)
    row.until(sale, "running", within_s=30)
    row.expect(bool(moved(row, thing, on=True)), "it runs although the relay never moved")
    ons = asked(row, thing, on=True)
    row.expect(len(ons) >= 2, "the lost ON was not sent again")
    expect_rounds(row, ons)
    row.until(sale, "completed", within_s=40)
    offs = asked(row, thing, on=False)
    row.expect(len(offs) >= 2 or bool(moved(row, thing, on=False, cause="timer")), "an OFF that did nothing counted")
    expect_rounds(row, offs)


@row("D10", "offline at the end, and back with the relay on", free_power_s=45.0)
def d10(row: Row) -> None:
    """Power fails at the machine, its timer is gone, and it returns after the end with the relay on.

    Free power: 12 to 16 s out of reach after the end, then the next round (5 s), its OFF, and the margin of a ROUND for
    an account at work. What is asserted is tighter: OFF within RECON and a ROUND of the return.
    """
    thing = row.device(duration_s=8)
    row.knob(thing, initial_state="restore_last")
    sale = row.buy(thing)
    row.until(sale, "running", within_s=20)
    row.knob(thing, online=False)
    row.knob(thing, reboot=True)
    row.until(sale, "stopping", "completed", within_s=20)
    time.sleep(row.rng.uniform(12, 16))
    row.expect(row.is_on(thing), "the row is wrong: the relay is off before it returns")
    row.expect(not for_sale(row, thing), "a device out of reach was for sale")
    back_at = time.time()
    row.knob(thing, online=True)
    wait_for(lambda: not row.is_on(thing), RECON_S + ROUND_S, "the relay is off after its return")
    off_at = moved(row, thing, on=False)[-1]
    row.expect(off_at - back_at <= RECON_S + ROUND_S, f"it went off {off_at - back_at:.1f} s after its return")
    row.until(sale, "completed", within_s=20)
    row.expect(sum(one["amount"] for one in row.money(sale, "captured")) == 250, "the guest was not charged the price")
    wait_for(lambda: bool(audited(row, "relay_off_confirmed", thing)), 15, "the audit says when it was off")
    wanted, over = audited(row, "relay_off_wanted", thing), audited(row, "relay_off_confirmed", thing)
    row.expect(bool(wanted) and over[-1].get("after_s", 0) >= 12, f"the audit does not say how long it overran: {over}")
    expect_one_alert(row, "off_overdue", device=thing)


@row("D15", "the auth key is revoked in the middle", free_power_s=MARGIN_S, limits_hit=True, by_timer=True)
def d15(row: Row) -> None:
    """Nothing can be sent: the relay's own timer ends the power, a person is told at once, the new key repairs all.

    Free power: the timer's margin. The first OFF with the new key is our first one in this account's ledger.
    """
    from devices.accounts import change_account
    from devices.models import ShellyAccount

    thing = row.device(duration_s=8)
    sale = row.buy(thing)
    row.until(sale, "running", within_s=20)
    time.sleep(row.rng.uniform(0, 3))
    new_key = f"fault-key-new-{thing.account}"
    row.shelly("POST", f"/_ctl/accounts/{thing.account}", {"auth_key": new_key})
    wait_for(lambda: bool(alerts_ever(row, "account_key", account=thing)), 12, "a person is told of the refused key")
    row.until(sale, "stopping", within_s=15)
    wait_for(lambda: bool(moved(row, thing, on=False, cause="timer")), MARGIN_S + 3, "the timer ends the power")
    row.expect(not for_sale(row, thing), "a device without a key was for sale")
    row.knob(thing, press=thing.channel)  # somebody switches it on again while Hygate is blind
    row.operator_on.append((thing.shelly_id, thing.channel, time.time() - 1, time.time() + 1))
    account = ShellyAccount.objects.get(pk=thing.account_id)
    change_account(account, name=account.name, server_url=account.server_url, auth_key=new_key, by="user:1")
    wait_for(lambda: not row.is_on(thing), RECON_S + 4, "the state is repaired with the new key")
    row.until(sale, "completed", within_s=20)
    expect_one_alert(row, "account_key", account=thing)
    wait_for(lambda: for_sale(row, thing), 15, "the device is for sale again", 0.5)


# -- their neighbours


def cancel(row: Row, sale: Sale) -> None:
    """The guest calls it off while the relay is being switched on."""
    from sessions_app import services
    from sessions_app.models import DeviceSession

    done = services.cancel_by_guest(DeviceSession.objects.get(pk=sale.session_id))
    row.expect(done, f"calling off did nothing: the session is {row.state(sale)}")


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
        command_is(row, thing, attempts=1, state="queued")
        time.sleep(row.rng.uniform(0, 0.5))
        cancel(row, sale)
        over(thing, sale)
        row.expect(len(asked(row, thing, on=True)) <= 2, "ON was sent again after it was called off")

    def in_flight(thing: Thing) -> None:
        row.relay_fault(thing, "switch_on", do="status", **OFFLINE)
        late_s = row.rng.uniform(0.5, 9)
        row.relay_fault(thing, "switch_on", do="hang_before", seconds=6, act_after_s=late_s)
        sale = row.buy(thing)
        command_is(row, thing, attempts=2, state="sending")
        time.sleep(row.rng.uniform(0, 4))
        cancel(row, sale)
        wait_for(lambda: bool(moved(row, thing, on=True)), 12, "the late ON acts")
        over(thing, sale)

    def over(thing: Thing, sale: Sale) -> None:
        wait_for(lambda: device_column(row, thing, "must_be_off_since") is None, 30, "OFF is proven")
        row.expect(max(asked(row, thing, on=True)) < min(asked(row, thing, on=False)), "an ON was sent after the OFF")
        row.expect(not row.is_on(thing), "the relay is on")
        cost_nothing(row, sale, "stopped_by_guest")

    each(row, {}, [queued, in_flight])


@row("D26", "another controller reverts every ON", alerts=("blocked_fought_over",))
def d26(row: Row) -> None:
    """At most two more ONs, ten seconds apart; then OFF, money back, device blocked, one alert that says why."""
    thing = row.device(duration_s=60)
    sale = row.buy(thing)
    row.until(sale, "running", within_s=20)
    time.sleep(row.rng.uniform(0, 2))
    row.knob(thing, enforced_off=True)
    row.until(sale, "cancelled", within_s=60)
    row.expect(row.column(sale, "reason") == "relay_off_prematurely", f"reason {row.column(sale, 'reason')}")
    ons = asked(row, thing, on=True)
    row.expect(2 <= len(ons) <= 3, f"{len(ons) - 1} more ONs instead of at most two")
    apart = [after - before for before, after in itertools.pairwise(ons)]
    row.expect(min(apart) >= 10 - 0.25, f"ONs only {min(apart):.1f} s apart")
    row.expect(row.wishes(thing)[-1][1] is False, "no OFF at the end")
    expect_one_alert(row, "blocked_fought_over", device=thing)
    advice = row.stack.sql(
        "SELECT advice FROM hygate_alert WHERE kind = 'blocked_fought_over' AND device = %s", thing.id
    )
    row.expect("mySigen" in advice[0][0], f"the advice does not name the likely culprit: {advice[0][0]}")
    row.expect(not for_sale(row, thing), "a blocked device was for sale")


# -- many at once on one account


PACE_S = 1.3
"""One ON a second is what an account takes: guests come a little slower."""
PARTY = 10
LONG_S = 400
"""Longer than fifty starts take, also on a busy machine."""
SOON_S = 6.0
APART_S = 2.5


def fleet(row: Row, size: int, *, first: Thing | None = None) -> list[Thing]:
    """So many devices on one account."""
    things = [first] if first is not None else row.prepare()
    while len(things) < size:
        things += row.prepare(beside=things[0])
    return things


def sell_all(row: Row, things: list[Thing]) -> list[Sale]:
    """Guests choose in parties and pay one after the other; all run when this returns, for longer than the row needs.

    Between two parties the account has time to be read: what has not been seen for 10 s is not sold.
    """
    from devices.models import UsagePlan

    UsagePlan.objects.filter(pk__in=[one.plan_id for one in things]).update(duration_s=LONG_S)
    sales: list[Sale] = []
    for party in (things[at : at + PARTY] for at in range(0, len(things), PARTY)):
        row.until_sellable(party[-1])
        chosen = [row.hold(thing) for thing in party]
        for sale in chosen:
            began = time.monotonic()
            row.pay(sale, come_back=False)
            time.sleep(max(0.0, PACE_S - (time.monotonic() - began)))
        all_running(row, chosen)
        sales += chosen
    return sales


def all_running(row: Row, sales: list[Sale]) -> None:
    ids = [one.session_id for one in sales]

    def running() -> int:
        rows = row.stack.sql(
            "SELECT count(*) FROM sessions_app_devicesession WHERE state = 'running' AND id = ANY(%s)", ids
        )
        return int(rows[0][0])

    wait_for(lambda: running() == len(ids), 40, f"all {len(ids)} run", 0.3)


def end_together(row: Row, sales: list[Sale], at: float) -> None:
    """What each has bought is over at one moment: as if every guest had chosen the seconds that lead there.

    Rows are locked in the product's order, which works on them at the same time.
    """
    ids = [one.session_id for one in sales]
    row.stack.sql(
        "UPDATE sessions_app_payment p SET duration_s = floor(extract(epoch FROM to_timestamp(%s) - s.started_at))"
        " FROM sessions_app_devicesession s WHERE s.id = p.session_id AND s.id = ANY(%s)",
        at, ids,
    )  # fmt: skip
    row.stack.sql(
        "WITH mine AS (SELECT id FROM devices_device WHERE id = ANY(%s) ORDER BY id FOR UPDATE)"
        " UPDATE devices_device d SET off_expected_at = to_timestamp(%s) FROM mine WHERE d.id = mine.id",
        [one.thing.id for one in sales], at,
    )  # fmt: skip
    row.stack.sql(
        "WITH mine AS (SELECT id FROM sessions_app_devicesession WHERE id = ANY(%s) AND state = 'running'"
        " ORDER BY device_id FOR UPDATE)"
        " UPDATE sessions_app_devicesession s SET ends_at = to_timestamp(%s), due_at = to_timestamp(%s),"
        " duration_s = floor(extract(epoch FROM to_timestamp(%s) - started_at)), claimed_until = NULL,"
        " claim_token = gen_random_uuid() FROM mine WHERE s.id = mine.id",
        ids, at, at, at,
    )  # fmt: skip


def lateness_of(row: Row, sales: list[Sale], at: float) -> list[float]:
    """By how much each relay went off after ``at``, least first."""
    seen = row.evidence()
    found = []
    for sale in sales:
        offs = [one["t"] for one in seen.changes(sale.thing.shelly_id, sale.thing.channel) if not one["on"]]
        row.expect(bool(offs), f"{sale.thing.code} never went off")
        found.append(offs[-1] - at)
    return sorted(found)


def p99(lateness: list[float]) -> float:
    return lateness[min(len(lateness) - 1, int(len(lateness) * 0.99))]


@row("D17", "a dead device among twenty that end now", free_power_s=45.0, off_late_s=2.5)
def d17(row: Row) -> None:
    """Three accounts in one run, on each twenty sessions that end at one moment: alone; with a device that the cloud
    names in ``failedCommands``; with one whose OFF has been hanging for a while. The p99 of the others may grow by a
    tenth and a quarter of a second, which is what two readings of one moment may differ by.

    Free power: the two dead devices' own, until the row heals them 23 s after the first end, and a ROUND.
    """
    others = 20
    plain, refused, hanging = fleet(row, others), fleet(row, others + 1), fleet(row, others + 1)
    for things in (plain, refused, hanging):
        row.until_sellable(things[-1])
    sold: dict[int, list[Sale]] = {}

    def sell(number: int, things: list[Thing]) -> None:
        sold[number] = sell_all(row, things)

    side_by_side(*(partial(sell, number, things) for number, things in enumerate((plain, refused, hanging))))
    dead_refused, dead_hanging = sold[1][-1].thing, sold[2][-1].thing
    for dead in (dead_refused, dead_hanging):
        row.relay_fault(dead, "/v2/devices/api/set/switch", do="hang_before", seconds=6.0, times=-1)
    dead_at = time.time() + SOON_S
    at = dead_at + row.rng.uniform(10, 14)
    end_together(row, [sold[2][-1]], dead_at)
    others_of = {0: sold[0], 1: sold[1][:-1], 2: sold[2][:-1]}
    # a moment of its own for each account: what one chunk of the engine holds must not be cut between two of them
    moments = {2: at, 1: at + APART_S, 0: at + 2 * APART_S}
    for number, sales in others_of.items():
        end_together(row, sales if number != 1 else sold[1], moments[number])
    time.sleep(max(0.0, moments[1] - time.time() - 1))
    row.knob(dead_refused, online=False)
    time.sleep(max(0.0, moments[0] - time.time() + 4))
    late = {number: lateness_of(row, sales, moments[number]) for number, sales in others_of.items()}
    row.knob(dead_refused, online=True)
    for thing in (dead_refused, dead_hanging):
        row.heal_relay(thing)
    alone = late[0]
    for number, name in ((1, "refused"), (2, "hanging")):
        beside = late[number]
        row.expect(
            p99(beside) <= p99(alone) * 1.1 + 0.25,
            f"a {name} device: the others' p99 is {p99(beside):.2f} s, without it {p99(alone):.2f} s",
        )


@row("D18", "fifty sessions of one account end in the same second", free_power_s=ROUND_S, off_late_s=2.5)
def d18(row: Row) -> None:
    """OFFs travel in groups; two that fail in their group are sent again alone. Late: 2.5 s (table of numbers).

    Free power: two devices are out of reach for 3 s around the end, and are asked again within a ROUND.
    """
    things = fleet(row, 50)
    row.until_sellable(things[-1])
    sales = sell_all(row, things)
    at = time.time() + SOON_S
    end_together(row, sales, at)
    lost = row.rng.sample(things, 2)
    time.sleep(max(0.0, at - time.time() - 0.7))
    for thing in lost:
        row.knob(thing, online=False)
    time.sleep(3)
    for thing in lost:
        row.knob(thing, online=True)
    for sale in sales:
        row.until(sale, "completed", within_s=40)
    seen = row.evidence()
    groups = [one for one in seen.switching() if one["path"].endswith("/set/groups") and one["t"] >= at - 0.5]
    row.expect(bool(groups) and max(len(one["body"]["switch"]["ids"]) for one in groups) >= 10, "OFFs went one by one")
    for thing in lost:
        alone = [one for one in seen.switching() if one["body"].get("id") == thing.shelly_id and not one["body"]["on"]]
        row.expect(bool(alone), f"{thing.code} failed in its group and was not sent again alone")
    reached = [one for one in sales if one.thing not in lost]
    row.expect(
        p99(lateness_of(row, reached, at)) <= 2.5, f"relays went off {lateness_of(row, reached, at)[-1]:.2f} s late"
    )


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
    command_is(row, thing, attempts=1, state="sending")
    time.sleep(row.rng.uniform(0, 3))
    cancel(row, sale)
    cost_nothing(row, sale, "stopped_by_guest")
    wait_for(lambda: bool(moved(row, thing, on=True)), 40, "the late ON acts")
    wait_for(lambda: not row.is_on(thing), RECON_S + 6, "the stray relay is off again")
    strays = [one for one in audited(row, "relay_off_wanted", thing) if one["reason"] == "stray_on"]
    row.expect(len(strays) == 1, f"{len(strays)} OFFs for a stray in the audit")


@row("D8", "OFF times out after the relay moved")
def d8(row: Row) -> None:
    """The reading proves it: one completion, no second OFF needed."""
    thing = row.device()
    row.relay_fault(thing, "switch_off", do="act_then_hang", seconds=row.rng.uniform(5.5, 7))
    sale = row.buy(thing)
    row.until(sale, "completed", within_s=40)
    row.expect(len(audited(row, "session_completed", thing)) == 1, "completed more than once")
    row.expect(len(asked(row, thing, on=False)) == 1, "an OFF that had acted was sent again")


@row("D11", "a reboot in the middle: the relay comes back off")
def d11(row: Row) -> None:
    """It is switched on again for the rest; where that cannot be done, what was not delivered goes back."""

    def again(thing: Thing) -> None:
        sale = row.buy(thing)
        row.until(sale, "running", within_s=20)
        time.sleep(row.rng.uniform(2, 6))
        row.knob(thing, reboot=True)
        row.until(sale, "completed", within_s=70)
        armed = armed_s(row, thing)
        row.expect(len(armed) == 2, f"{len(armed)} ONs instead of two")
        row.expect(armed[1][1] < armed[0][1], f"the second ON was not for the rest: {armed}")
        row.expect(bool(audited(row, "relay_went_off", thing)), "the audit does not say that it went off")

    def never_again(thing: Thing) -> None:
        sale = row.buy(thing)
        row.until(sale, "running", within_s=20)
        time.sleep(row.rng.uniform(2, 6))
        row.relay_fault(thing, "switch_on", do="status", times=-1, **OFFLINE)
        row.knob(thing, reboot=True)
        row.until(sale, "cancelled", within_s=60)
        row.expect(row.column(sale, "reason") == "relay_off_prematurely", f"reason {row.column(sale, 'reason')}")
        row.expect(row.column(sale, "delivered_s") < 12, f"{row.column(sale, 'delivered_s')} s count as delivered")

    pairs = ((row.prepare(duration_s=20)[0], again), (row.prepare(duration_s=75)[0], never_again))
    for thing, _ in pairs:
        row.until_sellable(thing)
    side_by_side(*(lambda thing=thing, story=story: story(thing) for thing, story in pairs))


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


@row("D14", "a hand on the wall button: ON when idle, OFF in the middle", free_power_s=RECON_S + 6)
def d14(row: Row) -> None:
    """Idle: OFF. In the middle: ON again, the time that was lost is given. Free power: RECON, a gap, the OFF's turn."""

    def idle(thing: Thing) -> None:
        time.sleep(row.rng.uniform(0, 3))
        row.knob(thing, press=thing.channel)
        wait_for(lambda: not row.is_on(thing), RECON_S + 6, "a stray relay is off again")
        strays = [one for one in audited(row, "relay_off_wanted", thing) if one["reason"] == "stray_on"]
        row.expect(len(strays) == 1, f"{len(strays)} OFFs for a stray in the audit")

    def middle(thing: Thing) -> None:
        sale = row.buy(thing)
        row.until(sale, "running", within_s=20)
        time.sleep(row.rng.uniform(1, 8))
        row.knob(thing, press=thing.channel)
        row.until(sale, "completed", within_s=60)
        row.expect(bool(audited(row, "relay_went_off", thing)), "the audit does not say that it went off")
        row.expect(bool(audited(row, "relay_came_back", thing)), "the audit does not say that it came back")

    each(row, {"duration_s": 15}, [idle, middle])


@row("D16", "the account has moved to another host", free_power_s=MARGIN_S, by_timer=True)
def d16(row: Row) -> None:
    """The old host refuses connections, or answers 404 to all. As D15: the timer ends the power, a person is told, the
    new address repairs all; an address that is none of Shelly's is not taken. Free power: the timer's margin."""
    from devices.accounts import change_account
    from devices.models import ShellyAccount
    from devices.shelly.server_url import check_server_url

    old_host = Proxy(row.stack.shelly_server._port).start()
    row.after.append(old_host.stop)
    thing = row.prepare(duration_s=8)[0]
    account = ShellyAccount.objects.get(pk=thing.account_id)
    change_account(account, name=account.name, server_url=f"http://127.0.0.1:{old_host.port}")
    row.until_sellable(thing)
    sale = row.buy(thing)
    row.until(sale, "running", within_s=20)
    gone = row.rng.choice(("refused", "404"))
    if gone == "refused":
        old_host.set("cut")
    else:
        nowhere = Elsewhere(404)
        row.after.append(nowhere.stop)
        old_host.lead_to(nowhere.port)
    told = "account_silent" if gone == "refused" else "account_host"
    wait_for(lambda: bool(alerts_ever(row, told, account=thing)), 25, f"a person is told of the host ({gone})")
    wait_for(lambda: bool(moved(row, thing, on=False, cause="timer")), MARGIN_S + 15, "the timer ends the power")
    row.expect(not for_sale(row, thing), "a device on a lost host was for sale")
    for wrong in ("https://shelly.cloud.evil.tld", "http://169.254.169.254", "https://user@x.shelly.cloud"):
        try:
            check_server_url(wrong, (), simulated=False)
        except ValueError:
            continue
        row.expect(False, f"{wrong} was taken for a Shelly server")
    account.refresh_from_db()
    change_account(account, name=account.name, server_url=row.stack.shelly_server.url, by="user:1")
    row.until(sale, "completed", within_s=20)
    wait_for(lambda: for_sale(row, thing), 20, "the device is for sale again", 0.5)
    expect_one_alert(row, told, account=thing)


@row("D19", "the cloud shows old values after the device was unplugged", free_power_s=45.0)
def d19(row: Row) -> None:
    """``online: true`` and the last values, for ON and for OFF: neither is taken for a proof.

    Free power: an OFF that reached nobody leaves the relay to its timer, 10 s; a start that was never proven is called
    off 30 s after its ON (start window), and its relay is off with that.
    """

    def never_proven(thing: Thing) -> None:
        sale = row.hold(thing)
        row.knob(thing, stale=True)
        row.pay(sale)
        row.until(sale, "cancelled", within_s=50)
        cost_nothing(row, sale)
        row.knob(thing, stale=False)

    def never_proven_off(thing: Thing) -> None:
        sale = row.buy(thing)
        row.until(sale, "running", within_s=20)
        row.knob(thing, stale=True)
        row.relay_fault(thing, "switch_off", do="body", times=-1)
        row.until(sale, "stopping", within_s=20)
        stays_until = time.monotonic() + 8 + row.rng.uniform(0, 4)
        while time.monotonic() < stays_until:
            row.expect(device_column(row, thing, "must_be_off_since") is not None, "old values proved an OFF")
            time.sleep(0.5)
        row.expect(not for_sale(row, thing), "for sale although nobody knows that it is off")
        row.heal_relay(thing)
        row.knob(thing, stale=False)
        row.until(sale, "completed", within_s=30)

    each(row, {"duration_s": 8}, [never_proven, never_proven_off])


@row("D20", "two sessions on two channels of one device, one of them cannot be switched off", free_power_s=MARGIN_S)
def d20(row: Row) -> None:
    """The other channel ends on time and is sold again. Free power: the timer's margin of the channel that is stuck."""
    stuck, other = row.prepare(channels=4, duration_s=10)[:2]
    row.until_sellable(stuck)
    row.until_sellable(other)
    for match in (f'"{stuck.shelly_id}","channel":{stuck.channel},', f"{stuck.shelly_id}_{stuck.channel}"):
        row.shelly("POST", "/_ctl/faults", {"on": "switch_off", "match": match, "do": "status", "times": -1, **OFFLINE})
        row.after.append(partial(heal_match, row, match))
    first, second = row.rng.sample((stuck, other), 2)
    sales = {thing.channel: row.buy(thing) for thing in (first, second)}
    row.until(sales[other.channel], "completed", within_s=40)
    wait_for(lambda: for_sale(row, other), 15, "the other channel is for sale again", 0.5)
    row.until(sales[stuck.channel], "stopping", "completed", within_s=20)
    time.sleep(8)
    for match in (f'"{stuck.shelly_id}","channel":{stuck.channel},', f"{stuck.shelly_id}_{stuck.channel}"):
        heal_match(row, match)
    row.until(sales[stuck.channel], "completed", within_s=30)


def heal_match(row: Row, match: str) -> None:
    def clear() -> None:
        for one in row.stack.shelly.faults._faults:
            if one.match == match:
                one.times = 0

    row.stack.shelly_server.call(clear)


@row("D21", "a welded contact: OFF is confirmed and power still flows", alerts=("blocked_welded",))
def d21(row: Row) -> None:
    """Two readings of power after a confirmed OFF: out of sale, one alert; the guest's session is over."""
    thing = row.device()
    sale = row.buy(thing)
    row.until(sale, "running", within_s=20)
    row.knob(thing, welded=thing.channel)
    row.until(sale, "completed", within_s=25)
    for _ in range(8):  # a meter speaks whenever its value moves
        row.knob(thing, watts=[row.rng.randint(50, 90)])
        time.sleep(1.7)
    wait_for(lambda: device_column(row, thing, "blocked_reason") == "welded", 12, "the device is out of sale")
    row.expect(not for_sale(row, thing), "a welded device was for sale")
    expect_one_alert(row, "blocked_welded", device=thing)


@row("D22", "the device was swapped, has no such channel, or is a cover", alerts=("blocked_not_as_set_up",))
def d22(row: Row) -> None:
    """The set-up is wrong and no repetition helps: one attempt, the hold let go, no sale until a person has looked."""

    def story(code: str) -> Callable[[Thing], None]:
        def tell(thing: Thing) -> None:
            body = {"error": code, "data": {"messages": []}}
            row.relay_fault(thing, "switch_on", do="status", status=400, body=body, times=-1)
            sale = row.buy(thing)
            row.until(sale, "cancelled", within_s=20)
            row.expect(len(asked(row, thing, on=True)) == 1, f"{code} was retried as if it could pass")
            cost_nothing(row, sale)
            row.expect(not for_sale(row, thing), f"still for sale after {code}")
            expect_one_alert(row, "blocked_not_as_set_up", device=thing)

        return tell

    codes = ["no_permissions", "DEVICE_NOT_FOUND", "DEVICE_INVALID_CHANNEL", "DEVICE_INVALID_MODE"]
    each(row, {}, [story(code) for code in codes])


@row("D23", "the Shelly Cloud is down for half an hour", lane="alone", free_power_s=MARGIN_S, by_timer=True)
def d23(row: Row) -> None:
    """90 s of it. Sales stop before anybody pays, a running session ends by its timer, and after the return all is
    looked at within RECON. Free power: the timer's margin."""
    running, idle = row.device(duration_s=10), row.device()
    sale = row.buy(running)
    row.until(sale, "running", within_s=20)
    row.after.append(lambda: row.shelly("DELETE", "/_ctl/faults"))
    row.shelly("POST", "/_ctl/faults", {"on": "*", "do": row.rng.choice(("drop", "hang_before")), "times": -1})
    down_at = time.monotonic()
    wait_for(lambda: not for_sale(row, idle), 20, "a device of a silent cloud is not for sale", 0.5)
    for thing in (running, idle):
        wait_for(partial(is_told, row, "account_silent", thing), 25, "a person is told")
    wait_for(lambda: bool(moved(row, running, on=False, cause="timer")), 30, "the timer ends the power")
    while time.monotonic() < down_at + 90:
        row.expect(not for_sale(row, idle) and not for_sale(row, running), "a device of a silent cloud was for sale")
        time.sleep(3)
    row.shelly("DELETE", "/_ctl/faults")
    wait_for(lambda: for_sale(row, idle), 5 + 2 * RECON_S, "what stood idle is for sale again", 0.3)
    row.until(sale, "completed", within_s=20)
    wait_for(lambda: for_sale(row, running), 20, "what ran is for sale again", 0.5)
    for thing in (running, idle):
        expect_one_alert(row, "account_silent", account=thing)


@row("D24", "redirects, a body of 10 MB, a body that drips", free_power_s=0.0)
def d24(row: Row) -> None:
    """Bounded time and memory, and nothing followed. (TLS and DNS: tests/devices/shelly/test_cloud.py,
    test_where_the_key_goes.py; a simulator on loopback has neither.)"""
    elsewhere = Elsewhere(200)
    row.after.append(elsewhere.stop)
    before = {name: resident_mb(row, name) for name in row.stack.process if name.startswith("relays")}

    def redirected(thing: Thing) -> None:
        away = {"Location": f"http://127.0.0.1:{elsewhere.port}/v2/devices/api/set/switch"}
        status = row.rng.choice((301, 302, 307, 308))
        row.relay_fault(thing, "switch_on", do="status", status=status, headers=away)
        goes_on(thing)

    def huge(thing: Thing) -> None:
        spec = {"on": "switch_on", "match": thing.shelly_id, "do": "body", "body": "x" * (10 * 1024 * 1024)}
        row.stack.shelly_server.call(lambda: row.stack.shelly.faults.add(spec))
        goes_on(thing)

    def dripping(thing: Thing) -> None:
        row.relay_fault(thing, "switch_on", do="drip", seconds=30)
        goes_on(thing)
        sent, _ = asked(row, thing, on=True)[:2]
        took_ms = row.stack.sql(
            "SELECT max(a.latency_ms) FROM devices_relayattempt a JOIN devices_relaycommand c ON c.id = a.command_id"
            " WHERE c.device_id = %s",
            thing.id,
        )[0][0]
        row.expect(took_ms <= 5600, f"an answer that drips held the account for {took_ms} ms from {sent}")

    def goes_on(thing: Thing) -> None:
        sale = row.buy(thing)
        row.until(sale, "running", within_s=30)
        row.until(sale, "completed", within_s=30)
        row.expect(len(asked(row, thing, on=True)) == 2, f"{len(asked(row, thing, on=True))} ONs instead of two")

    each(row, {}, [redirected, huge, dripping])
    row.expect(not elsewhere.calls, f"the redirect was followed: {elsewhere.calls}")
    for name, mb in before.items():
        grown = resident_mb(row, name) - mb
        row.expect(grown < 40, f"{name} grew by {grown:.0f} MB")


def resident_mb(row: Row, process: str) -> float:
    status = Path(f"/proc/{row.stack.process[process].pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) / 1024


class Elsewhere:
    """A server of somebody else: answers every request with one status, and remembers who came."""

    def __init__(self, status: int) -> None:
        self.calls: list[str] = []
        calls = self.calls

        class Answer(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                calls.append(self.path)
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Nobody reads it."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@row(
    "D12",
    "power returns with the relay on while the server is dead",
    lane="alone",
    free_power_s=90.0,
    by_timer=True,
    alerts=("power_up", "blocked_power_up"),
)
def d12(row: Row) -> None:
    """The residual risk: a relay with ``restore_last``, its timer lost, and nobody there. Commissioning refuses such a
    relay for high power and warns of others; the server's return ends it at once.

    Free power: as long as the server is dead, here 5 s and its own start (up to a minute on a busy machine). What is
    asserted is tighter: the first OFF leaves 3 s after a worker is there.
    """
    from devices.commissioning import check_power_up
    from devices.models import Device

    thing = row.device(duration_s=8)
    heater = row.prepare(beside=thing, rated_w=9000)[0]
    for one in (thing, heater):
        row.knob(one, initial_state=row.rng.choice(("restore_last", "on")))
    check_power_up(list(Device.objects.select_related("location").filter(pk__in=[thing.id, heater.id])))
    expect_one_alert(row, "power_up", device=thing)
    row.expect(device_column(row, heater, "blocked_reason") == "power_up", "high power was accepted on such a relay")
    sale = row.buy(thing)
    row.until(sale, "running", within_s=20)
    product = [name for name in row.stack.product if row.stack.process[name].runs]
    row.after.append(lambda: row.stack.run(*(one for one in product if not row.stack.process[one].runs)))
    row.stack.kill(*product)
    row.knob(thing, reboot=True)
    time.sleep(max(0.0, row.column(sale, "ends_at").timestamp() - time.time() + 5))
    row.expect(row.is_on(thing), "the row is wrong: the relay is off")
    since = time.time()
    row.stack.run(*product)
    wait_for(lambda: row.stack.workers_seen(since, "worker:relays%") > 0, 60, "a relay worker is back")
    ready_at = time.time()
    wait_for(lambda: not row.is_on(thing), 10, "the relay is off")
    off_at = asked(row, thing, on=False)[0]
    row.expect(off_at - ready_at <= 3, f"the first OFF left {off_at - ready_at:.1f} s after a worker was there")
    row.until(sale, "completed", within_s=20)
    row.stack.wait_ready(since)
