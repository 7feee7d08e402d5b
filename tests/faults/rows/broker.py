"""The runtime rows about what wakes the workers: the broker emptied, gone and repeating itself, the scheduler dead."""

from __future__ import annotations

import re
import socket
import threading
import time
from contextlib import suppress
from typing import Self

import redis

from tests.faults.registry import row
from tests.faults.row import Row
from tests.faults.rows.processes import told, whole_again
from tests.stack.stack import wait_for

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
