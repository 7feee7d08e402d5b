"""The runtime rows: processes killed, frozen and doubled; database and broker gone, filled up or restored."""

from __future__ import annotations

import re
import resource
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Self

import httpx
import psycopg
import redis

from hygate.demo import processes as programs
from hygate.demo.guest import Unexpected
from tests.faults.registry import row
from tests.faults.row import Row, Sale, Thing
from tests.stack.stack import wait_for

RELAYS = ("relays-1", "relays-2")
READY_S = 30.0
WORKER_UP_S = 6.0
"""How long a worker takes from its start to its first work on a busy machine."""
MORE_FILES = 12
"""Connections that a worker may keep open which it had not needed before: a thread's own to the database each."""


# -- the stack's own processes


def whole_again(row: Row) -> None:
    """Start what does not run, and wait until it works: the next row finds a whole stack."""
    stack = row.stack
    down = [name for name in stack.process if not stack.process[name].runs]
    stack.run(*down)
    for name in down:
        if name.startswith("relays"):
            wait_for(lambda name=name: beats(row, name), READY_S, f"{name} is at work again")  # type: ignore[misc]
    wait_for(lambda: stack.answers("/readyz"), READY_S, "the pages can sell again")


def beats(row: Row, name: str) -> bool:
    """Whether this very process has told the database that it works."""
    mine = f"{row.stack.process[name].pid}-%"
    return bool(row.stack.sql("SELECT 1 FROM hygate_heartbeat WHERE detail->>'process' LIKE %s", mine))


def only_one_relay_worker(row: Row) -> str:
    """Stop one of the two, so that the seed knows who does the work; answers the name of the other."""
    works, rests = row.rng.sample(RELAYS, 2)
    row.after.append(lambda: whole_again(row))
    row.stack.process[rests].stop()
    return works


def dies_at(row: Row, name: str, thing: Thing, on: str) -> None:
    """SIGKILL to ``name`` when the cloud has acted on its next request of kind ``on``, and before it hears so."""
    row.relay_fault(thing, on, do="kill", pid=row.stack.process[name].pid, when="after")


def until_dead(row: Row, name: str, within_s: float = 20) -> None:
    wait_for(lambda: not row.stack.process[name].runs, within_s, f"{name} was killed", 0.02)


def told(row: Row, sale: Sale, kind: str) -> int:
    """How many audit events of that kind the session has."""
    found = row.stack.sql(
        "SELECT count(*) FROM hygate_auditevent WHERE session = %s AND kind = %s", sale.session_id, kind
    )
    return int(found[0][0])


# -- workers


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


# -- the database


@row("R6", "PostgreSQL crashes and restarts under load", lane="alone", off_late_s=10.0)
def r6(row: Row) -> None:
    """Connections recover by themselves within 10 s, so an end that falls into the crash is at most that late."""
    things = row.prepare(channels=4, duration_s=10)
    for thing in things:
        row.until_sellable(thing)
    sales = [row.hold(thing) for thing in things]
    for sale in sales[:3]:
        row.pay(sale, come_back=False)
    time.sleep(row.rng.uniform(0.5, 5.0))
    crash(row)
    row.pay(sales[3], come_back=False)
    time.sleep(row.rng.uniform(0.2, 1.5))
    row.stack.postgres.start()
    back = time.monotonic()
    wait_for(lambda: row.stack.answers("/readyz"), 10, "the pages recover from the database's crash")
    wait_for(
        lambda: row.stack.workers_seen(time.time() - 5) >= 3, 15 - (time.monotonic() - back), "the workers recover"
    )
    for sale in sales:
        row.until(sale, "completed", within_s=60)
    no_news_lost(row)


def crash(row: Row) -> None:
    row.after.append(lambda: _database_up(row))
    row.stack.postgres.crash()


def _database_up(row: Row) -> None:
    try:
        psycopg.connect(row.stack.postgres.url(), connect_timeout=2).close()
    except psycopg.OperationalError:
        row.stack.postgres.start()


def no_news_lost(row: Row) -> None:
    """Whatever webhook was answered 2xx has a row: Stripe will not send it again."""
    report = row.stack.stripe_server.call(lambda: row.stack.stripe.webhooks.report())
    answered = {one["payload"] for one in report["deliveries"] if one["state"] == "delivered"}
    known = {one[0] for one in row.stack.sql("SELECT event_id FROM sessions_app_webhookevent")}
    row.expect(answered <= known, f"webhooks were answered 2xx and not kept: {answered - known}")


@row("R7", "database down over the ends of sessions", lane="alone", by_timer=True, free_power_s=10.0)
def r7(row: Row) -> None:
    """The relays' own timers end power (margin 10 s); the first overdue OFF leaves within 2 s of the return."""
    things = row.prepare(channels=4, duration_s=8)
    for thing in things:
        row.until_sellable(thing)
    sales = [row.hold(thing) for thing in things]
    for sale in sales:
        row.pay(sale, come_back=False)
    for sale in sales:
        row.until(sale, "running", within_s=20)
    row.after.append(lambda: _database_up(row))
    row.stack.postgres.stop()
    time.sleep(row.rng.uniform(14, 16))
    row.stack.postgres.start()
    back = time.time()
    for sale in sales:
        row.until(sale, "completed", within_s=30)
    first = min(t for thing in things for t, on in row.wishes(thing) if not on)
    row.expect(first - back <= 2.0, f"the first overdue OFF left {first - back:.1f} s after the database's return")


@row("R8", "connection cut at COMMIT: what became of it is unknown", lane="alone", off_late_s=13.0)
def r8(row: Row) -> None:
    """Whoever loses an answer reads again. The holder of a lease may be lost with it: 10 s, the second by which it was
    claimed ahead, and a sweep."""
    things = row.prepare(channels=3)
    for thing in things:
        row.until_sellable(thing)
    sales = [row.hold(thing) for thing in things]
    for sale in sales:
        row.pay(sale, come_back=False)
        for _ in range(3):
            row.stack.database_proxy.cut_after(b"COMMIT")
            wait_for(lambda: row.stack.database_proxy.has_cut, 5, "a commit was cut")
            time.sleep(row.rng.uniform(0.05, 1.2))
    for sale in sales:
        row.until(sale, "completed", "cancelled", within_s=90)
        row.expect(told(row, sale, "session_starting") == 1, "a session was started more than once")


@row("R9", "deadlock between a guest's move and another transaction", lane="alone")
def r9(row: Row) -> None:
    """The database sacrifices our transaction: it is made again, and the guest sees no error."""
    thing = row.device(duration_s=30)
    sale = row.buy(thing)
    row.until(sale, "running", within_s=15)
    wait_for(lambda: bool(row.money(sale, "captured")), 10, "the money is captured")
    sale.guest.open(f"{sale.link}stop/")
    form = sale.guest.form(action_ends="/stop/")
    assert form is not None, f"the page offers no stop: {sale.guest.headline}"
    with psycopg.connect(row.stack.postgres.url()) as other:
        other.execute("SET deadlock_timeout = '60s'")  # so that the other side is the victim
        other.execute("SELECT 1 FROM sessions_app_payment WHERE ref = %s FOR UPDATE", [sale.ref])
        raised: list[BaseException] = []
        presses = threading.Thread(target=_attempt, args=(lambda: sale.guest.submit(form), raised))
        presses.start()
        time.sleep(row.rng.uniform(0.2, 0.6))
        other.execute("SELECT 1 FROM sessions_app_devicesession WHERE id = %s FOR UPDATE", [sale.session_id])
        other.rollback()
        presses.join()
    row.expect(not raised, f"the guest met {raised}")
    row.until(sale, "cancelled", within_s=20)


def _attempt(act: Callable[[], None], raised: list[BaseException]) -> None:
    try:
        act()
    except Exception as error:  # the row says whether it may
        raised.append(error)


@row("R10", "the database can be read and not written", lane="alone", by_timer=True, free_power_s=10.0)
def r10(row: Row) -> None:
    """Sales stop, nobody is shown a success, the health page is red; a relay that is on goes off by its own timer."""
    runs, sells = row.prepare(channels=2)
    for thing in (runs, sells):
        row.until_sellable(thing)
    sale = row.buy(runs)
    row.until(sale, "running", within_s=15)
    row.after.append(lambda: _writable(row, yes=True))
    _writable(row, yes=False)
    wait_for(lambda: not row.stack.answers("/readyz"), 10, "the health page is red")
    said = ""
    try:
        row.hold(sells)
    except Unexpected as error:
        said = str(error)
    row.expect(bool(said), "something was sold that cannot be written down")
    row.expect("500" not in said, f"the guest met an error page: {said}")
    time.sleep(row.rng.uniform(12, 16))
    row.expect(not row.is_on(runs), "the relay outlived its timer")
    _writable(row, yes=True)
    row.until(sale, "completed", within_s=20)
    wait_for(lambda: row.stack.answers("/readyz"), 10, "the health page is green again")


def _writable(row: Row, *, yes: bool) -> None:
    with psycopg.connect(row.stack.postgres.url(name="postgres"), autocommit=True) as admin:
        admin.execute(f"ALTER DATABASE hygate SET default_transaction_read_only = {'off' if yes else 'on'}")
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'hygate'")


# -- the broker


@row("R11", "broker loses everything", lane="alone", off_late_s=2.5)
def r11(row: Row) -> None:
    """What had been claimed and not yet taken is lost with the messages; everything else waits for one sweep."""
    things = row.prepare(channels=4, duration_s=8) + row.prepare(channels=4, duration_s=8)
    for thing in things:
        row.until_sellable(thing)
    sales = [row.buy(thing, come_back=False) for thing in things]
    with redis.Redis(port=row.stack.broker_port) as broker:
        for _ in range(6):
            broker.flushall()
            time.sleep(row.rng.uniform(0.5, 2.5))
    for sale in sales:
        row.until(sale, "completed", within_s=60)


@row("R12", "broker down", lane="alone", off_late_s=5.0)
def r12(row: Row) -> None:
    """After 3 s of silence every worker sweeps by itself; the page of a guest waits for no broker."""
    things = row.prepare(channels=4, duration_s=8)
    for thing in things:
        row.until_sellable(thing)
    before = [row.buy(thing) for thing in things[:2]]
    row.after.append(lambda: whole_again(row))
    row.stack.kill("broker")
    gone = time.monotonic()
    for thing in things[2:]:
        pressed = time.monotonic()
        sale = row.hold(thing)
        row.expect(time.monotonic() - pressed < 5, "a page waited for the broker")
        row.pay(sale)
    for sale in [*before, *row.sales]:
        row.until(sale, "completed", within_s=40)
    time.sleep(max(0.0, 30 - (time.monotonic() - gone)))
    row.stack.run("broker")
    last = row.buy(things[0])
    row.until(last, "completed", within_s=30)


@row("R13", "broker delivers each task three times, and all of them again later", lane="alone")
def r13(row: Row) -> None:
    """Tokens make a task that comes again match nothing."""
    things = row.prepare(channels=3)
    for thing in things:
        row.until_sellable(thing)
    with Echo(row.stack.broker_port) as echo:
        for thing in things:
            row.until(row.buy(thing), "completed", within_s=40)
        echo.all_again()
        row.until(row.buy(things[0]), "completed", within_s=40)
    row.expect(echo.seen > 20, f"only {echo.seen} tasks were repeated")
    for sale in row.sales:
        row.expect(told(row, sale, "session_starting") == 1, "a session was started more than once")


class Echo:
    """Listens to what is put into the workers' queues and puts each message in twice more."""

    def __init__(self, port: int) -> None:
        self._broker = redis.Redis(port=port)
        self._heard: list[tuple[str, bytes]] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._listen, args=(port,), daemon=True)

    @property
    def seen(self) -> int:
        return len(self._heard)

    def __enter__(self) -> Self:
        self._thread.start()
        time.sleep(0.3)
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(5)
        self._broker.close()

    def all_again(self) -> None:
        for queue, message in list(self._heard):
            self._broker.lpush(queue, message)

    def _listen(self, port: int) -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=0.5) as line:
            line.sendall(b"MONITOR\r\n")
            rest = b""
            while not self._over.is_set():
                with suppress(TimeoutError):
                    rest += line.recv(1 << 16)
                *whole, rest = rest.split(b"\r\n")
                for one in whole:
                    self._repeat(one)

    def _repeat(self, told: bytes) -> None:
        """``+<time> [0 <address>] "LPUSH" "<queue>" "<message>"``, escaped as Redis does."""
        found = re.match(rb'^\+[0-9.]+ \[\d+ [^\]]+\] "LPUSH" "(clock|relays|money)" "(.*)"$', told)
        if found is None:
            return
        queue = found[1].decode()
        message = found[2].decode("unicode_escape").encode("latin-1")
        if (queue, message) in self._heard:
            return
        self._heard.append((queue, message))
        for _ in range(2):
            self._broker.lpush(queue, message)


# -- the scheduler


@row("R15", "scheduler dead, nobody notices", lane="alone", off_late_s=5.0)
def r15(row: Row) -> None:
    """The workers sweep by themselves after 3 s of silence; after 30 s the health page is red and a person is told."""
    things = row.prepare(channels=2)
    for thing in things:
        row.until_sellable(thing)
    row.after.append(lambda: whole_again(row))
    row.stack.kill("beat")
    dead = time.monotonic()
    for thing in things:
        row.until(row.buy(thing), "completed", within_s=30)
    wait_for(lambda: not row.stack.answers("/readyz"), 35 - (time.monotonic() - dead), "the health page is red", 0.5)
    wait_for(lambda: sweep_alert(row), 10, "a person is told that the scheduler has stopped", 0.5)
    row.stack.run("beat")
    wait_for(lambda: row.stack.answers("/readyz"), 15, "the health page is green again", 0.5)
    wait_for(lambda: not sweep_alert(row), 15, "the alert closes by itself", 0.5)


def sweep_alert(row: Row) -> bool:
    return bool(row.stack.sql("SELECT 1 FROM hygate_alert WHERE kind = 'sweep_silent' AND closed_at IS NULL"))


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


# -- everything at once


@row("R17", "rolling restart in order under load, while a migration runs", lane="alone", off_late_s=5.0)
def r17(row: Row) -> None:
    """Old code meets a new column, every process is told to end and starts again: no start and no end is lost. The
    clock worker and beat are gone for a few seconds each, which the others' own sweeps bridge."""
    things = row.prepare(channels=4, duration_s=8)
    for thing in things:
        row.until_sellable(thing)
    guests = threading.Thread(target=_shop, args=(row, things))
    guests.start()
    row.after.append(lambda: whole_again(row))
    row.stack.sql("ALTER TABLE sessions_app_devicesession ADD COLUMN IF NOT EXISTS of_tomorrow integer")
    names = list(row.stack.product)
    row.rng.shuffle(names)
    for name in names:
        row.stack.process[name].stop()
        row.stack.run(name)
        time.sleep(row.rng.uniform(0.5, 2.0))
    guests.join()
    row.expect(len(row.sales) >= 4, f"only {len(row.sales)} guests could buy")
    for sale in row.sales:
        row.until(sale, "completed", "cancelled", within_s=60)
        row.expect(row.state(sale) == "completed", f"a session ended as {row.column(sale, 'reason')}")


def _shop(row: Row, things: list[Thing]) -> None:
    """Guests who come one after the other, and again where the page does not answer at the moment."""
    for thing in things:
        for _ in range(60):
            try:
                row.pay(row.hold(thing), come_back=False)
                break
            except (Unexpected, httpx.HTTPError):
                time.sleep(0.5)


@row("R18", "restore of a backup that is older than two purchases", lane="alone", free_power_s=10.0, excused=("I8",))
def r18(row: Row) -> None:
    """The relay that a lost session left on is a stray and is switched off; the money of both lost orders goes back,
    and one alert tells of it. I8: the audit rows of what happened since the backup are lost with it. Until the restore
    the relay was on for a session that was paid for, so free power counts from there: a start of the workers, and a
    reading every 3 s."""
    stack = row.stack
    early, runs, waits = row.prepare(channels=3)
    for thing in (early, runs, waits):
        row.until_sellable(thing)
    row.until(row.buy(early), "completed", within_s=30)
    backup = stack.folder / "backup"
    stack.postgres.dump(backup)
    row.stack.sql("UPDATE devices_usageplan SET duration_s = 60 WHERE id = %s", runs.plan_id)
    row.stack.sql("UPDATE devices_usageplan SET grace_s = 60 WHERE id = %s", waits.plan_id)
    running, waiting = row.buy(runs, come_back=False), row.buy(waits, come_back=False)
    row.until(running, "running", within_s=20)
    row.until(waiting, "grace", within_s=20)
    wait_for(lambda: bool(row.money(running, "captured")), 10, "the first is captured")
    row.after.append(lambda: whole_again(row))
    stack.kill(*stack.product)
    stack.postgres.restore(backup)
    row.operator_on.append((runs.shelly_id, runs.channel, time.time() - 60, time.time() + WORKER_UP_S))
    stack.run(*stack.product)
    wait_for(lambda: not row.is_on(runs), WORKER_UP_S + 15, "the stray relay is switched off")
    wait_for(lambda: bool(row.money(waiting, "voided")), 90, "the lost hold is let go", 0.5)
    wait_for(lambda: bool(row.money(running, "refunded")), 90, "the lost payment is refunded", 0.5)
    back = [one["amount"] for one in row.money(running, "refunded")]
    row.expect(back == [250], f"{back} went back of a lost payment of 250")
    told = stack.sql("SELECT count(*) FROM hygate_alert WHERE kind = 'unknown_order' AND closed_at IS NULL")
    row.expect(told[0][0] == 1, f"{told[0][0]} alerts tell of the lost orders")


@row(
    "R19",
    "all processes killed at a random instant, and started again",
    lane="alone",
    off_late_s=20.0,
    free_power_s=10.0,
    by_timer=True,
)
def r19(row: Row) -> None:
    """One instant for each seed. Everything overdue goes off within 10 s of the workers being up again, which takes up
    to 10 s more; the relays' own timers cut power at their margin of 10 s."""
    things = row.prepare(channels=4, duration_s=8, grace_s=1)
    for thing in things:
        row.until_sellable(thing)
    row.after.append(lambda: whole_again(row))
    guests = threading.Thread(target=_shop, args=(row, things))
    guests.start()
    time.sleep(row.rng.uniform(0.5, 14))
    row.stack.kill(*row.stack.product)
    row.stack.run(*row.stack.product)
    guests.join()
    for sale in row.sales:
        row.until(sale, "completed", "cancelled", within_s=60)


@row(
    "R20",
    "a worker runs out of file descriptors, and is started again",
    lane="alone",
    off_late_s=20.0,
    free_power_s=10.0,
    by_timer=True,
)
def r20(row: Row) -> None:
    """The worker cannot open anything any more until it is restarted; then nothing is lost. And a worker that has met
    trouble again and again holds no more descriptors than before."""
    things = row.prepare(channels=3)
    for thing in things:
        row.until_sellable(thing)
    works = only_one_relay_worker(row)
    pid = row.stack.process[works].pid
    for thing in things:
        row.buy(thing, come_back=False)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (len(open_files(pid)), _hard(pid)))
    time.sleep(row.rng.uniform(2, 5))
    row.stack.process[works].kill()
    row.stack.run(works)
    for sale in row.sales:
        row.until(sale, "completed", "cancelled", within_s=60)
    wait_for(lambda: beats(row, works), READY_S, f"{works} is at work again")
    before = len(open_files(row.stack.process[works].pid))
    for _ in range(3):
        row.relay_fault(things[0], "*", do="drop", times=2)
        row.stack.database_proxy.set("cut")
        time.sleep(0.5)
        row.stack.database_proxy.heal()
        time.sleep(2)
        row.until(row.buy(row.rng.choice(things)), "completed", "cancelled", within_s=40)
    after = len(open_files(row.stack.process[works].pid))
    row.expect(after <= before + MORE_FILES, f"{before} open files have become {after}")


def open_files(pid: int) -> list[Path]:
    return list(Path(f"/proc/{pid}/fd").iterdir())


def _hard(pid: int) -> int:
    return resource.prlimit(pid, resource.RLIMIT_NOFILE)[1]
