"""The runtime rows about PostgreSQL: crashed, away, read-only, and cut or deadlocked in the middle of a move."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import psycopg

from hygate.demo.guest import Unexpected
from tests.faults.registry import row
from tests.faults.row import Row
from tests.faults.rows.processes import told
from tests.stack.stack import wait_for


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
    time.sleep(row.rng.uniform(17, 20))  # six seconds were bought, and the timer has ten more
    row.expect(not row.is_on(runs), "the relay outlived its timer")
    _writable(row, yes=True)
    row.until(sale, "completed", within_s=20)
    wait_for(lambda: row.stack.answers("/readyz"), 10, "the health page is green again")


def _writable(row: Row, *, yes: bool) -> None:
    with psycopg.connect(row.stack.postgres.url(name="postgres"), autocommit=True) as admin:
        admin.execute(f"ALTER DATABASE hygate SET default_transaction_read_only = {'off' if yes else 'on'}")
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'hygate'")
