"""(a) How late an OFF leaves when many sessions end at once, each on an account of its own, 50 ms a call, no gap."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from tests.bench import eta, floor
from tests.bench.ends import Schedule
from tests.bench.figures import percentile
from tests.bench.offs import Lateness, lateness, requested
from tests.bench.results import Check, Finding, none_of, series_of
from tests.bench.simulator import SimulatorProcess
from tests.bench.site import Database, Site

CALL_S = 0.05
LEAD_S = 8.0
OVER_WITHIN_S = 60.0
ALLOWED_S, ALLOWED_TIMES, UP_TO = 0.25, 1.5, 200
SCHEDULES = (
    Schedule(1, rounds=10, apart_s=2),
    Schedule(10, rounds=5, apart_s=3),
    Schedule(50, rounds=2, apart_s=4),
    Schedule(200),
    Schedule(500),
    Schedule(300, over_s=30),
)
QUICK = (Schedule(1, rounds=3, apart_s=2), Schedule(50), Schedule(200))


def run(folder: Path, *, database: Database, quick: bool) -> Finding:
    """The product at every size on ``database``; on PostgreSQL the contenders beside it."""
    site = Site(folder, database=database, numbers={"HYGATE_GAP_S": "0"})
    finding = Finding(sizes={"call_s": CALL_S, "slots": floor.SLOTS, "gap_s": 0})
    try:
        site.start().enter()
        for schedule in QUICK if quick else SCHEDULES:
            _one_size(site, schedule, finding)
    finally:
        site.close()
    return finding


def _one_size(site: Site, schedule: Schedule, finding: Finding) -> None:
    ours = _ours(site, schedule)
    base = _floor(schedule)
    _note(finding, f"hygate on {_name(site.database)}", schedule, ours)
    if site.database == "postgresql":
        _note(finding, "Celery eta", schedule, _eta(site, schedule))
        _note(finding, "asyncio floor", schedule, base)
    finding.checks.extend(_checks(site.database, schedule, ours, base))


def _checks(database: Database, schedule: Schedule, ours: Lateness, base: Lateness) -> list[Check]:
    where = f"{schedule.name}, {_name(database)}"
    checks = [none_of(f"lost, {where}", ours.lost), none_of(f"early, {where}", ours.early)]
    if database == "postgresql" and schedule.n <= UP_TO:
        lowest = percentile(base.samples, 99)
        bar = round(max(lowest + ALLOWED_S, ALLOWED_TIMES * lowest), 3)
        measured = percentile(ours.samples, 99) if ours.samples else None
        checks.append(Check(f"OFF p99, {where} (floor {lowest:.3f} s)", measured, bar))
    return checks


def _note(finding: Finding, contender: str, schedule: Schedule, found: Lateness) -> None:
    series = series_of(contender, schedule.name, found.samples, lost=found.lost, early=found.early)
    finding.series.append(series)


def _name(database: Database) -> str:
    return {"postgresql": "PostgreSQL", "sqlite": "SQLite"}[database]


def _simulator(schedule: Schedule) -> SimulatorProcess:
    return SimulatorProcess("shelly", accounts=schedule.total, on_for=600, delay=CALL_S).start()


def _witness(shelly: SimulatorProcess, ends: Mapping[str, float]) -> Lateness:
    found = lateness(requested(shelly.ledger("request")), ends)
    shelly.stop()
    return found


def _ours(site: Site, schedule: Schedule) -> Lateness:
    from tests.bench import rows

    shelly = _simulator(schedule)
    rows.let_stripe_be()
    run = f"{schedule.name} {time.monotonic_ns()}"
    accounts = rows.add_accounts(shelly.url, schedule.total, run=run, first_read=rows.at(time.time() + LEAD_S))
    devices = rows.add_devices(accounts, [rows.Place(number) for number in range(schedule.total)], output=True)
    first = round(time.time() + LEAD_S, 3)
    sessions = rows.run_sessions(devices, schedule.ends(first))
    _wait(lambda: rows.unfinished(sessions) == 0, schedule.ends(first)[-1])
    rows.retire(accounts)
    return _witness(shelly, schedule.by_device(first))


def _floor(schedule: Schedule) -> Lateness:
    shelly, first = _simulator(schedule), round(time.time() + LEAD_S, 3)
    floor.switch_off_at(shelly.url, schedule.calls(first))
    return _witness(shelly, schedule.by_device(first))


def _eta(site: Site, schedule: Schedule) -> Lateness:
    shelly, worker = _simulator(schedule), eta.EtaWorker(site.folder, site.broker_port)
    worker.start()
    first = round(time.time() + LEAD_S, 3)
    eta.switch_off_at(shelly.url, schedule.calls(first))
    _wait(lambda: len(requested(shelly.ledger("request"))) == schedule.total, schedule.ends(first)[-1])
    worker.stop()
    return _witness(shelly, schedule.by_device(first))


def _wait(is_over: object, last: float) -> None:
    """Quiet until the last end, then until it is over; what is not over by then is lost, and the figures say so."""
    assert callable(is_over)
    time.sleep(max(0.0, last - time.time()) + 1)
    deadline = time.monotonic() + OVER_WITHIN_S
    while not is_over() and time.monotonic() < deadline:
        time.sleep(0.5)
