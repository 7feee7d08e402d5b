"""The runtime rows in which programs start again: an upgrade, a restored backup, everything killed, files run out."""

from __future__ import annotations

import resource
import threading
import time
from pathlib import Path

import httpx

from hygate.demo.guest import Unexpected
from tests.faults.registry import row
from tests.faults.row import Row, Thing
from tests.faults.rows.processes import READY_S, WORKER_UP_S, beats, only_one_relay_worker, whole_again
from tests.stack.stack import wait_for

MORE_FILES = 12
"""Connections that a worker may keep open which it had not needed before: a thread's own to the database each."""


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
