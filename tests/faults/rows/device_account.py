"""The device rows of the account and its cloud: keys, hosts, many at once, a dead one among them, odd answers."""

from __future__ import annotations

import threading
import time
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.faults.registry import row
from tests.faults.row import Row, Sale, Thing
from tests.faults.rows.relay import (
    MARGIN_S,
    RECON_S,
    ROUND_S,
    alerts_ever,
    asked,
    each,
    expect_one_alert,
    for_sale,
    is_told,
    moved,
    side_by_side,
)
from tests.stack.proxy import Proxy
from tests.stack.stack import wait_for


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


def in_grace(row: Row, things: list[Thing]) -> list[Sale]:
    """Guests who have paid and still load."""
    row.until_sellable(things[-1])
    chosen = [row.buy(thing, come_back=False) for thing in things]
    for sale in chosen:
        row.until(sale, "grace")
    return chosen


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


def begin_together(row: Row, sales: list[Sale], at: float) -> None:
    """The grace period of each is over at one moment: as if every guest had paid the seconds before that lead there."""
    row.stack.sql(
        "WITH mine AS (SELECT id FROM sessions_app_devicesession WHERE id = ANY(%s) AND state = 'grace'"
        " ORDER BY device_id FOR UPDATE)"
        " UPDATE sessions_app_devicesession s SET grace_ends_at = to_timestamp(%s), due_at = to_timestamp(%s),"
        " claimed_until = NULL, claim_token = gen_random_uuid() FROM mine WHERE s.id = mine.id",
        [one.session_id for one in sales], at, at,
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

    Six guests' grace periods are over a second before: their ONs, one a gap, would keep the account for seven seconds
    if they did not let the OFFs go first. Free power: two devices are out of reach for 3 s around the end, and are
    asked again within a ROUND.
    """
    things = fleet(row, 50)
    row.until_sellable(things[-1])
    sales = sell_all(row, things)
    starting = in_grace(row, [row.prepare(beside=things[0], grace_s=LONG_S, duration_s=15)[0] for _ in range(6)])
    at = time.time() + SOON_S
    end_together(row, sales, at)
    begin_together(row, starting, at - 1)
    lost = row.rng.sample(things, 2)
    time.sleep(max(0.0, at - time.time() - 0.7))
    for thing in lost:
        row.knob(thing, online=False)
    time.sleep(3)
    for thing in lost:
        row.knob(thing, online=True)
    for sale in (*sales, *starting):
        row.until(sale, "completed", within_s=60)
    seen = row.evidence()
    groups = [one for one in seen.switching() if one["path"].endswith("/set/groups") and one["t"] >= at - 0.5]
    row.expect(bool(groups) and max(len(one["body"]["switch"]["ids"]) for one in groups) >= 10, "OFFs went one by one")
    ons = [t for sale in starting for t in asked(row, sale.thing, on=True)]
    row.expect(sum(t > groups[0]["t"] for t in ons) >= 4, "hardly an ON waited while the OFFs left")
    for thing in lost:
        alone = [one for one in seen.switching() if one["body"].get("id") == thing.shelly_id and not one["body"]["on"]]
        row.expect(bool(alone), f"{thing.code} failed in its group and was not sent again alone")
    reached = [one for one in sales if one.thing not in lost]
    row.expect(
        p99(lateness_of(row, reached, at)) <= 2.5, f"relays went off {lateness_of(row, reached, at)[-1]:.2f} s late"
    )


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
    """Bounded time and memory, and nothing followed. (TLS and DNS: tests/devices/shelly/test_cloud_network.py,
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
