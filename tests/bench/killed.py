"""(d) Everything killed with ends overdue: how soon the relays are off once the programs are back."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from django.db import connections

from tests.bench import eta
from tests.bench.ends import Call
from tests.bench.offs import lateness, requested, switched_off
from tests.bench.results import Check, Finding, none_of, series_of
from tests.bench.simulator import SimulatorProcess, device_id, key_of
from tests.bench.site import Site
from tests.stack.stack import wait_for

CALL_S = 0.05
LEAD_S = 10.0
CLAIMED, OVERDUE, RUNNING = 5, 10, 50
NEXT_S, DOWN_S = 2.0, 2.5
LATER_S = 45.0
FIRST_BAR_S, ALL_BAR_S = 2.0, 10.0
ETA_WAITS_S = 60.0
CASES: dict[str, tuple[str, ...]] = {
    "everything": ("relays-1", "clock", "money", "beat", "web", "broker", "database"),
    "worker": ("relays-1",),
    "beat": ("beat",),
    "web": ("web",),
    "broker": ("broker",),
    "database": ("database",),
}
"""The broker keeps nothing on disk: killed, its data are gone."""


@dataclass(frozen=True)
class Moments:
    """Unix seconds: every end by device, when the programs were killed, and when the worker was ready again."""

    ends: Mapping[str, float]
    killed: float
    ready: float


def run(folder: Path, *, case: str) -> Finding:
    finding = Finding(sizes={"running": RUNNING, "overdue": OVERDUE, "of these claimed by the killed worker": CLAIMED})
    site = Site(folder, numbers={"HYGATE_GAP_S": "0"}, relays=1)
    try:
        site.start().enter()
        _ours(site, case, finding)
        if case == "worker":
            _eta(site, finding, forget=False)
        if case == "broker":
            _eta(site, finding, forget=True)
    finally:
        site.close()
    return finding


def _ours(site: Site, case: str, finding: Finding) -> None:
    from tests.bench import rows

    shelly = SimulatorProcess("shelly", accounts=OVERDUE + RUNNING, on_for=600).start()
    rows.let_stripe_be()
    accounts = rows.add_accounts(shelly.url, OVERDUE + RUNNING, run=case, first_read=rows.at(time.time() + LEAD_S))
    devices = rows.add_devices(accounts, [rows.Place(number) for number in range(len(accounts))], output=True)
    first = round(time.time() + LEAD_S, 3)
    ends = _ends(first)
    sessions = rows.run_sessions(devices, ends)
    by_device = {_id(number): end for number, end in enumerate(ends)}
    moments = _accident(site, shelly, CASES[case], by_device)
    _wait(lambda: rows.unfinished(sessions) == 0, max(ends))
    _judge(case, moments, shelly, finding)
    shelly.stop()


def _ends(first: float) -> list[float]:
    """Five at once, five more when everything is down (too late for the killed to have claimed them), fifty later."""
    return [first] * CLAIMED + [first + NEXT_S] * (OVERDUE - CLAIMED) + [first + LATER_S] * RUNNING


def _id(number: int) -> str:
    return device_id(number, 0)


def _accident(site: Site, shelly: SimulatorProcess, victims: Sequence[str], ends: Mapping[str, float]) -> Moments:
    """Kill while the first five OFFs hang in the cloud without having acted, and start again soon after."""
    shelly.fault(on="switch_off", do="hang_before", times=-1, seconds=30)
    wait_for(
        lambda: len(requested(shelly.ledger("request"))) >= CLAIMED, LEAD_S + 10, "the OFFs are on their way", 0.05
    )
    site.kill(*(one for one in victims if one != "database"))
    if "database" in victims:
        site.postgres.kill()
    killed = time.time()
    time.sleep(DOWN_S)
    shelly.slow(CALL_S)
    again = time.time()
    if "database" in victims:
        site.postgres.start()
        connections.close_all()  # our own ended with the database
    if "broker" in victims:
        site.run("broker")
    site.run(*(one for one in victims if one not in ("database", "broker")))
    return Moments(ends, killed, _ready(site, again))


def _ready(site: Site, since: float) -> float:
    """The first heartbeat of the relays' worker after ``since``: it has looked at the database and takes work."""
    wait_for(lambda: site.workers_seen(since, "worker:relays") > 0, 60, "the worker is ready", 0.02)
    rows = site.sql("SELECT extract(epoch FROM at) FROM hygate_heartbeat WHERE name = 'worker:relays'")
    return float(rows[0][0])


def _judge(case: str, moments: Moments, shelly: SimulatorProcess, finding: Finding) -> None:
    """Overdue: seconds from ready to the OFF request. The others: seconds from their end."""
    ledger = shelly.ledger("request")
    again = requested(entry for entry in ledger if entry["t"] > moments.killed)
    overdue = {_id(number): moments.ready for number in range(OVERDUE)}
    found = lateness(again, overdue)
    later = lateness(requested(ledger), {_id(one): moments.ends[_id(one)] for one in range(OVERDUE, OVERDUE + RUNNING)})
    never = lateness(switched_off(shelly.ledger("relay")), moments.ends)
    restart = round(moments.ready - moments.killed, 1)
    size = f"{case} killed"
    finding.series.append(
        series_of("hygate, OFF after ready", size, found.samples, lost=found.lost, ready_after_s=restart)
    )
    finding.series.append(series_of("hygate, the 50 running", size, later.samples, lost=later.lost, early=later.early))
    finding.checks.append(
        Check(f"first overdue OFF after ready, {size}", min(found.samples, default=None), FIRST_BAR_S)
    )
    last = max(found.samples, default=None)
    finding.checks.append(Check(f"last overdue OFF after ready, {size}", last, ALL_BAR_S))
    finding.checks.append(none_of(f"relays left on, {size}", never.lost))


def _eta(site: Site, finding: Finding, *, forget: bool) -> None:
    """The contender in the same accident: its worker killed with five calls under way, or its broker with its data."""
    shelly = SimulatorProcess("shelly", accounts=OVERDUE, on_for=600).start()
    worker = eta.EtaWorker(site.folder, site.broker_port)
    worker.start()
    first = round(time.time() + LEAD_S, 3)
    calls = {Call(key_of(number), _id(number)): end for number, end in enumerate(_ends(first)[:OVERDUE])}
    eta.switch_off_at(shelly.url, calls)
    shelly.fault(on="switch_off", do="hang_before", times=-1, seconds=30)
    wait_for(
        lambda: len(requested(shelly.ledger("request"))) >= CLAIMED, LEAD_S + 10, "the OFFs are on their way", 0.05
    )
    worker.kill()
    if forget:
        site.kill("broker")
    time.sleep(DOWN_S)
    shelly.slow(CALL_S)
    if forget:
        site.run("broker")
        time.sleep(1)
    worker.start()
    ready = time.time()
    _wait(lambda: len(switched_off(shelly.ledger("relay"))) == OVERDUE, ready)
    found = lateness(switched_off(shelly.ledger("relay")), dict.fromkeys(map(_id, range(OVERDUE)), ready))
    worker.kill()
    shelly.stop()
    size = "broker killed" if forget else "worker killed"
    series = series_of("Celery eta, OFF after ready", size, found.samples, lost=found.lost, waited_s=ETA_WAITS_S)
    finding.series.append(series)


def _wait(is_over: Callable[[], bool], last: float) -> None:
    deadline = last + ETA_WAITS_S
    while not is_over() and time.time() < deadline:
        time.sleep(0.5)
