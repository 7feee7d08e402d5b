"""The clock rows: machines whose clocks are set, differ or stand still; days that are longer than others."""

from __future__ import annotations

import json
import struct
import time
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path

from hygate.demo.guest import Unexpected
from hygate.simulators.stripe.events import signature
from tests import loopback
from tests.faults.registry import row
from tests.faults.row import Row, Thing
from tests.faults.rows.processes import beats, told, whole_again
from tests.stack.stack import wait_for

SLEEP = """import select, time


def sleep(seconds: float) -> None:
    select.select([], [], [], seconds)


time.sleep = sleep
"""
"""libfaketime breaks the absolute ``clock_nanosleep`` by which Python sleeps; under it, Python sleeps by ``select``."""
NO_FAKETIME = "This row needs libfaketime (Debian: apt-get install faketime)."
CLOCK_SLACK_S = 2.0
"""Less than two seconds of difference is a drift, which the product's time follows (docs/adr/0011)."""
OF_WORKERS = ("clock", "relays-1", "relays-2", "money")


# -- a machine's wall clock


def faketime() -> str:
    """The library that gives one process another wall clock."""
    for name in ("faketime/libfaketime.so.1", "*/faketime/libfaketime.so.1"):
        for found in sorted(Path("/usr/lib").glob(name)):
            return str(found)
    raise AssertionError(NO_FAKETIME)


class WallClock:
    """What ``date`` says on a machine: ``set(3600)`` puts it an hour ahead; elapsed time goes on as it is."""

    def __init__(self, folder: Path, ahead_s: float = 0) -> None:
        folder.mkdir(exist_ok=True)
        (folder / "sitecustomize.py").write_text(SLEEP)
        self._file = folder / "ahead"
        self.set(ahead_s)

    def set(self, ahead_s: float) -> None:
        fresh = self._file.with_suffix(".new")
        fresh.write_text(f"{ahead_s:+.0f}\n")
        fresh.replace(self._file)

    @property
    def environment(self) -> dict[str, str]:
        return {
            "LD_PRELOAD": faketime(),
            "PYTHONPATH": str(self._file.parent),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }


def on_another_machine(row: Row, wall: WallClock, *names: str) -> None:
    """Start these processes again under ``wall``; when the row is over, under the machine's own clock."""
    row.after.append(lambda: _back(row, *names))
    row.stack.kill(*names)
    row.stack.run(*names, **wall.environment)
    for name in names:
        if name != "web":
            _at_work(row, name, wall)
    wait_for(lambda: row.stack.answers("/readyz"), 30, "the pages answer")


def _at_work(row: Row, name: str, wall: WallClock) -> None:
    """A process that the library under it has hung at its start, as it now and then does, is started once more."""
    try:
        wait_for(lambda: beats(row, name), 25, f"{name} is at work under the other clock")
    except AssertionError:
        row.stack.kill(name)
        row.stack.run(name, **wall.environment)
        wait_for(lambda: beats(row, name), 40, f"{name} is at work under the other clock, started twice")


def _back(row: Row, *names: str) -> None:
    row.stack.kill(*names)
    whole_again(row)


@row("T1", "wall clock of the workers' machine steps by +1 h and by -1 h", lane="alone", clock_slack_s=CLOCK_SLACK_S)
def t1(row: Row) -> None:
    """Sessions that run across the steps keep their length to the second: no mass OFF, no free hour."""
    wall = WallClock(row.stack.folder / "wall")
    on_another_machine(row, wall, *OF_WORKERS)
    things = row.prepare(channels=2, duration_s=9)
    for thing in things:
        row.until_sellable(thing)
    steps = row.rng.sample([3600, -3600], 2)
    sales = [row.buy(thing) for thing in things]
    row.until(sales[0], "running", within_s=20)
    for ahead_s in steps:
        wall.set(ahead_s)
        time.sleep(row.rng.uniform(2.0, 4.0))
    for sale in sales:
        row.until(sale, "completed", within_s=30)


@row("T2", "web's clock is five minutes ahead of the workers'", lane="alone", clock_slack_s=CLOCK_SLACK_S)
def t2(row: Row) -> None:
    """Web decides by the database's time: holds, grace and ends are as long as ever. A genuine webhook whose stamp is
    far from that time is refused, and a person is told that a clock is wrong."""
    on_another_machine(row, WallClock(row.stack.folder / "wall-of-web", 300), "web")
    thing = row.device(grace_s=2)
    sale = row.buy(thing)
    row.until(sale, "completed", within_s=30)
    row.after.append(lambda: _forget_witness(row))
    row.expect(_webhook(row, aged_s=row.rng.choice([-400, 400])) == 400, "a webhook of another time was taken")
    told = "SELECT 1 FROM hygate_alert WHERE kind = 'clock' AND closed_at IS NULL"
    wait_for(lambda: bool(row.stack.sql(told)), 20, "somebody is told that a clock is wrong", 0.5)


def _webhook(row: Row, *, aged_s: int) -> int:
    """Post a webhook with the right secret and a stamp so far from now; answers the status."""
    body = json.dumps(
        {"id": f"evt_{row.rng.randrange(10**9)}", "type": "charge.updated", "data": {"object": {}}}
    ).encode()
    signed = signature(body, ["whsec_demo"], int(time.time()) + aged_s)
    url = f"{row.stack.base_url}/api/stripe/webhook"
    return loopback.post(url, content=body, headers={"Stripe-Signature": signed}, timeout=10).status_code


def _forget_witness(row: Row) -> None:
    """What the row's webhook says about the clock would count for five minutes."""
    row.stack.sql("DELETE FROM hygate_heartbeat WHERE name LIKE 'clock:%%'")


@row(
    "T5",
    "machine suspended for longer than the start window",
    lane="alone",
    off_late_s=45.0,
    free_power_s=10.0,
    by_timer=True,
)
def t5(row: Row) -> None:
    """A session that runs is ended by the relay's own timer (10 s); a start whose window passed is given back, and one
    whose moment has just come is made. Overdue OFFs come first."""
    ends, starts = row.prepare(channels=2)
    late = row.device(beside=ends, grace_s=5)
    for thing in (ends, starts):
        row.until_sellable(thing)
    waits = row.buy(late, come_back=False)
    runs = row.buy(ends, come_back=False)
    row.until(runs, "running", within_s=15)
    row.until(waits, "grace", "starting", within_s=10)
    held = row.hold(starts)
    for name in row.stack.product:
        row.stack.process[name].freeze()
    row.after.append(lambda: _thaw(row))
    row.pay(held, come_back=False)
    time.sleep(float(row.stack.numbers["HYGATE_START_WINDOW_S"]) + 8)
    row.expect(not row.is_on(ends), "the relay outlived its timer")
    _thaw(row)
    row.until(runs, "completed", within_s=15)
    row.until(waits, "cancelled", "completed", within_s=30)
    row.until(held, "cancelled", "completed", within_s=40)


def _thaw(row: Row) -> None:
    for name in row.stack.product:
        row.stack.process[name].thaw()


@row("T6", "grace: one guest never shows, another comes in the last second")
def t6(row: Row) -> None:
    """Both start, once: at the end of the grace period, or a moment before it."""
    things = row.prepare(channels=2, grace_s=4)
    for thing in things:
        row.until_sellable(thing)
    absent, hurried = (row.hold(thing) for thing in things)
    row.pay(absent, come_back=False)
    row.pay(hurried)
    row.until(hurried, "grace", within_s=10)
    ends_at = row.column(hurried, "grace_ends_at").timestamp()
    time.sleep(max(0.0, ends_at - row.rng.uniform(0.0, 0.6) - time.time()))
    with suppress(Unexpected):  # the page may have moved on by then
        row.press(hurried, "start")
    for sale in (absent, hurried):
        row.until(sale, "completed", within_s=30)
        row.expect(told(row, sale, "session_starting") == 1, "the session was started more than once")


# -- a zone whose clocks change now


def write_zone(path: Path, *, at: int, before_s: int, after_s: int) -> None:
    """A time zone file (TZif, RFC 8536) whose one change, at Unix second ``at``, is from one UTC offset to another."""
    types = struct.pack(">iBB", before_s, before_s > after_s, 0) + struct.pack(">iBB", after_s, after_s > before_s, 4)
    names = b"OLD\0NEW\0"

    def head(changes: int) -> bytes:
        return b"TZif2" + bytes(15) + struct.pack(">6l", 0, 0, 0, changes, 2, len(names))

    old = head(0) + types + names
    new = head(1) + struct.pack(">q", at) + b"\x01" + types + names
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(old + new + b"\n\n")


@row("T3", "the clocks are put forward, and back, while a session runs; another crosses midnight")
def t3(row: Row) -> None:
    """The zones are made so that the change falls into the sessions: length unchanged, and pages tell local time."""
    things = row.prepare(channels=3, duration_s=12)
    for thing in things:
        row.until_sellable(thing)
    at = int(time.time()) + 7
    midnight_s = -(at % 86400) if at % 86400 < 43200 else 86400 - at % 86400
    for thing, (before_s, after_s) in zip(things, ((3600, 7200), (7200, 3600), (midnight_s, midnight_s)), strict=True):
        live_in(row, thing, at=at, before_s=before_s, after_s=after_s)
    for thing, offset_s in zip(things, (7200, 3600, midnight_s), strict=True):
        row.buy(thing)
        row.until(row.sales[-1], "running", within_s=30)
        row.expect(row.column(row.sales[-1], "ends_at").timestamp() > at, "the change does not fall into the session")
        says_its_end(row, offset_s)
    for sale in row.sales:
        row.until(sale, "completed", within_s=40)


def live_in(row: Row, thing: Thing, *, at: int, before_s: int, after_s: int) -> None:
    """Move the device to a location of its own, in a zone of its own."""
    name = f"Row/{row.scenario.id}-{thing.id}"
    write_zone(row.stack.zones / name, at=at, before_s=before_s, after_s=after_s)
    from devices.models import Device, Location

    Device.objects.filter(pk=thing.id).update(location=Location.objects.create(name=name, timezone=name))


def says_its_end(row: Row, offset_s: int) -> None:
    """The page of the newest sale names the end as the clocks on its wall will show it then."""
    sale = row.sales[-1]
    row.look(sale)
    ends_at: datetime = row.column(sale, "ends_at")
    local = ends_at.astimezone(timezone(timedelta(seconds=offset_s)))
    row.expect(f"{local:%H:%M}" in sale.guest.html, f"the page does not say that it ends at {local:%H:%M}")
