"""The runtime rows about single programs: killed, frozen and doubled, and one row that no worker can read."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

import httpx

from hygate.demo import processes as programs
from hygate.demo.guest import Unexpected
from tests.faults.registry import row
from tests.faults.row import Row, Sale, Thing
from tests.faults.rows.processes import RELAYS, WORKER_UP_S, only_one_relay_worker, told, until_dead, whole_again
from tests.stack.stack import wait_for

# -- workers


def dies_at(row: Row, name: str, thing: Thing, on: str) -> None:
    """SIGKILL to ``name`` when the cloud has acted on its next request of kind ``on``, and before it hears so."""
    row.relay_fault(thing, on, do="kill", pid=row.stack.process[name].pid, when="after")


@row("R1", "worker killed between relay ON and our commit", lane="alone")
def r1(row: Row) -> None:
    """The minutes count from the fact that the reading tells, so the end is in time although nobody saw the start."""
    thing = row.device(duration_s=16)
    works = only_one_relay_worker(row)
    dies_at(row, works, thing, "switch_on")
    sale = row.buy(thing)
    until_dead(row, works)
    row.expect(row.is_on(thing), "the relay is not on: the kill came too early")
    row.stack.run(works)
    row.until(sale, "running", within_s=20)
    row.until(sale, "completed", within_s=30)
    row.expect(told(row, sale, "session_running") == 1, "the session started more than once")
    row.expect(len(row.money(sale, "captured")) == 1, "not captured exactly once")


@row("R3", "worker killed between relay OFF and our commit", lane="alone")
def r3(row: Row) -> None:
    thing = row.device()
    works = only_one_relay_worker(row)
    dies_at(row, works, thing, "switch_off")
    sale = row.buy(thing)
    until_dead(row, works, 30)
    row.expect(not row.is_on(thing), "the relay is on: the kill came too early")
    row.stack.run(works)
    row.until(sale, "completed", within_s=25)
    row.expect(told(row, sale, "session_completed") == 1, "the session completed more than once")


@row("R2", "worker killed after reading the order, before ON", lane="alone")
def r2(row: Row) -> None:
    """The lease for work with Stripe ends after 15 s; within two more the next worker has started the session."""
    thing = row.device()
    sale = row.hold(thing)
    row.after.append(lambda: whole_again(row))
    kill = {"do": "kill", "pid": row.stack.process["money"].pid, "when": "before"}
    row.stripe_fault("checkout.sessions.retrieve", "", **kill)
    row.pay(sale, come_back=row.rng.random() < 0.5)
    until_dead(row, "money")
    row.stack.run("money")
    row.until(sale, "starting", "running", within_s=17 + WORKER_UP_S)
    row.until(sale, "completed", within_s=30)


@row("R4", "web killed between Stripe's create and our commit, money worker between refund and commit", lane="alone")
def r4(row: Row) -> None:
    """The stored key brings the same Checkout Session and the same refund: no orphan of either."""
    stopped, lost = row.prepare(channels=2, duration_s=60)
    for thing in (stopped, lost):
        row.until_sellable(thing)
    row.after.append(lambda: whole_again(row))
    sale = row.buy(stopped)
    row.until(sale, "running", within_s=15)
    wait_for(lambda: bool(row.money(sale, "captured")), 10, "the money is captured")
    kill = {"do": "kill", "pid": row.stack.process["money"].pid, "when": "after"}
    row.stripe_fault("refunds.create", "", **kill)
    stop_early(row, sale)
    until_dead(row, "money")
    row.stack.run("money")
    order = web_dies_at_create(row, lost)
    wait_for(lambda: checkout_of(row, order) is not None, 25, "the order is found again by its key")
    made = row.stack.stripe_server.call(lambda: list(row.stack.stripe.books.sessions.values()))
    mine = [one for one in made if one["client_reference_id"] == order]
    row.expect(len(mine) == 1, f"{len(mine)} checkouts for one order")
    row.until(sale, "cancelled", within_s=20)


def stop_early(row: Row, sale: Sale) -> None:
    """*Stop early*, and yes to the question what comes back."""
    sale.guest.open(f"{sale.link}stop/")
    form = sale.guest.form(action_ends="/stop/")
    assert form is not None, f"the page offers no stop: {sale.guest.headline}"
    sale.guest.submit(form)


def web_dies_at_create(row: Row, thing: Thing) -> str:
    """A guest presses *Pay*, and the page's process dies when Stripe has acted; answers the order."""
    child = children(row.stack.process["web"].pid)[0]
    row.stripe_fault("checkout.sessions.create", "", do="kill", pid=child, when="after")
    with suppress(Unexpected, httpx.HTTPError):
        row.hold(thing)
    row.stack.process["web"].kill()
    row.stack.run("web")
    found = row.stack.sql(
        "SELECT p.ref FROM sessions_app_payment p JOIN sessions_app_devicesession s ON s.id = p.session_id"
        " WHERE s.device_id = %s ORDER BY p.id DESC",
        thing.id,
    )
    row.expect(bool(found), "the order was not written before Stripe was asked")
    return str(found[0][0])


def checkout_of(row: Row, order: str) -> str | None:
    found: str | None = row.stack.sql("SELECT checkout_id FROM sessions_app_payment WHERE ref = %s", order)[0][0]
    return found


def children(pid: int) -> list[int]:
    """The processes that ``pid`` has started."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            after_name = stat.read_text().rsplit(")", 1)[1].split()
            if int(after_name[1]) == pid:
                found.append(int(stat.parent.name))
    return sorted(found)


@row("R5", "worker frozen across the end, wakes with a stale lease", lane="alone", off_late_s=13.0)
def r5(row: Row) -> None:
    """The frozen worker has claimed the session a second before its end; nobody else may have it until the lease
    (10 s, and the second by which it was claimed ahead) is over, then the next sweep gives it away: 13 s. The relay's
    own timer cuts the power at 10 s. What the frozen one then does on waking must change nothing."""
    thing = row.device()
    freezes = only_one_relay_worker(row)
    rests = next(name for name in RELAYS if name != freezes)
    sale = row.buy(thing)
    row.until(sale, "running")
    ends_at = row.column(sale, "ends_at").timestamp()
    frozen = row.stack.process[freezes]
    row.after.append(frozen.thaw)
    time.sleep(max(0.0, ends_at - row.rng.uniform(0.05, 0.6) - time.time()))
    frozen.freeze()
    row.stack.run(rests)
    row.until(sale, "completed", within_s=30)
    before = standing(row, sale)
    frozen.thaw()
    time.sleep(4)
    row.expect(standing(row, sale) == before, "the worker that woke up changed what another one had finished")


def standing(row: Row, sale: Sale) -> list[object]:
    """The session, its commands and its attempts, as they stand."""
    seen = row.evidence()
    session = [one for one in seen.sessions if one["id"] == sale.session_id]
    return [session, seen.commands, seen.attempts, len(seen.switching())]


@row("R14", "two schedulers", lane="alone")
def r14(row: Row) -> None:
    """Two beats, and sweeps that overlap: one effect for each due row. The invariants count commands and captures."""
    stack = row.stack
    second = (*programs.beat().command, "--schedule", str(stack.folder / "beat-2"))
    row.after.append(lambda: _end_second(row))
    stack.add_process("beat-2", second)
    things = row.prepare(channels=4)
    for thing in things:
        row.until_sellable(thing)
    sales = [row.buy(thing) for thing in things]
    for sale in sales:
        row.until(sale, "completed", within_s=40)
        row.expect(told(row, sale, "session_starting") == 1, "a session was started twice")
    wanted = [one["reason"] for one in row.evidence().commands if one["reason"] != "rearm"]
    row.expect(wanted.count("start") == wanted.count("end") == len(wanted) / 2 == len(sales), f"commands: {wanted}")


def _end_second(row: Row) -> None:
    row.stack.process["beat-2"].kill()
    del row.stack.process["beat-2"]


# -- one bad row


@row("R16", "a poison row: one order raises whenever it is looked at")
def r16(row: Row) -> None:
    """Quarantined with an alert after five errors, while others are on time; once the row is mended, all heals: the
    guest, who had paid, gets what was bought."""
    thing, other = row.prepare(channels=2)
    for one in (thing, other):
        row.until_sellable(one)
    sale = row.hold(thing)
    row.after.append(lambda: _mend(row, sale))
    row.stack.sql(f"{OF_SESSION} SET reason = 'no such reason' WHERE id = %s", sale.session_id)
    row.pay(sale, come_back=False)
    wait_for(lambda: "row_quarantined" in row.alerts(), 40, "somebody is told of the poison row", 0.5)
    beside = row.buy(other)
    row.until(beside, "completed", within_s=25)
    _mend(row, sale)
    row.until(sale, "completed", within_s=45)


OF_SESSION = "UPDATE sessions_app_devicesession"


def _mend(row: Row, sale: Sale) -> None:
    row.stack.sql(f"{OF_SESSION} SET reason = '' WHERE id = %s AND reason = 'no such reason'", sale.session_id)
