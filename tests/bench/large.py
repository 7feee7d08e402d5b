"""(e) Ten thousand running sessions, two thousand of them ending within one minute; memory; the idle sweep."""

from __future__ import annotations

import random
import re
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.bench.figures import percentile, slope
from tests.bench.offs import lateness, requested
from tests.bench.results import Check, Finding, Series, none_of, series_of
from tests.bench.simulator import SimulatorProcess
from tests.bench.site import Site

CALL_S = 0.05
LIMIT_S = 1.0
P99_BAR_S, SLOPE_BAR_MB, IDLE_BAR_MS = 1.0, 1.0, 1.0
SAMPLE_EVERY_S = 10.0
EXECUTION = re.compile(r"(?:Planning|Execution) Time: ([\d.]+) ms")
LOOKS = 30


@dataclass(frozen=True)
class Size:
    """``ending`` of ``sessions`` end within ``within_s`` seconds, ``begin_s`` after the start of ``minutes``."""

    accounts: int
    sessions: int
    ending: int
    minutes: float
    begin_s: float
    within_s: float = 60.0
    slope_over: float = 2 / 3


FULL = Size(500, 10_000, 2_000, minutes=15, begin_s=120)
QUICK = Size(50, 1_000, 200, minutes=1.7, begin_s=15)


def run(folder: Path, *, quick: bool) -> Finding:
    size = QUICK if quick else FULL
    finding = Finding(sizes={"accounts": size.accounts, "sessions": size.sessions, "ending": size.ending})
    each = size.sessions // size.accounts
    shelly = SimulatorProcess(
        "shelly", accounts=size.accounts, devices=each, on_for=7200, rate_limit=LIMIT_S, delay=CALL_S
    ).start()
    site = Site(folder)
    try:
        site.start().enter()
        _watch(site, shelly, size, finding)
        _idle_sweep(finding)
    finally:
        site.close()
        shelly.stop()
    return finding


def _watch(site: Site, shelly: SimulatorProcess, size: Size, finding: Finding) -> None:
    from tests.bench import rows

    rows.let_stripe_be()
    each = size.sessions // size.accounts
    accounts = rows.add_accounts(shelly.url, size.accounts, run="large", first_read=rows.at(time.time() + 60))
    places = [rows.Place(account, device) for account in range(size.accounts) for device in range(each)]
    devices = rows.add_devices(accounts, places, output=True)
    began = time.time()
    ends = _ends(size, began)
    rows.run_sessions(devices, ends)
    memory = _sample(site, began + 60 * size.minutes)
    soon = began + size.begin_s + size.within_s
    wanted = {device.shelly_id: end for device, end in zip(devices, ends, strict=True) if end <= soon}
    found = lateness(requested(shelly.ledger("request")), wanted)
    name = f"{size.ending} of {size.sessions} within {size.within_s:g} s"
    finding.series.append(series_of("hygate", name, found.samples, lost=found.lost, early=found.early))
    finding.checks.append(Check("OFF request p99", percentile(found.samples, 99) if found.samples else None, P99_BAR_S))
    finding.checks.append(none_of("lost", found.lost))
    finding.checks.append(none_of("early", found.early))
    _memory(memory, size, finding)


def _ends(size: Size, began: float) -> list[float]:
    """Who ends when is drawn by a fixed seed; the others end long after the run."""
    drawn = random.Random(4)
    ends = [began + 7000.0] * size.sessions
    for one in drawn.sample(range(size.sessions), size.ending):
        ends[one] = round(began + size.begin_s + drawn.uniform(0, size.within_s), 3)
    return ends


def _sample(site: Site, until: float) -> list[tuple[float, float]]:
    """(minutes, MB of all of Hygate's processes) every ten seconds."""
    began, points = time.time(), []
    while time.time() < until:
        points.append(((time.time() - began) / 60, resident_mb({site.process[name].pid for name in site.product})))
        time.sleep(SAMPLE_EVERY_S)
    return points


def resident_mb(groups: set[int]) -> float:
    """Resident memory of every process of these process groups, in MB, by /proc."""
    total = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            group = int((folder / "stat").read_text().rpartition(")")[2].split()[2])
            status = (folder / "status").read_text() if group in groups else ""
        except OSError:
            continue  # it ended while we were looking
        line = next((line for line in status.splitlines() if line.startswith("VmRSS:")), "VmRSS: 0 kB")
        total += int(line.split()[1])
    return round(total / 1024, 2)


def _memory(points: list[tuple[float, float]], size: Size, finding: Finding) -> None:
    late = [point for point in points if point[0] >= size.minutes * (1 - size.slope_over)]
    grows = round(slope(late), 3) if len(late) > 1 else None
    finding.checks.append(Check("memory grows a minute, last two thirds", grows, SLOPE_BAR_MB, unit="MB"))
    figures: dict[str, float | int] = {"n": len(points), "min": min(mb for _, mb in points), "max": points[-1][1]}
    finding.series.append(Series("hygate, resident", "all processes, first and last", figures, unit="MB"))


def _idle_sweep(finding: Finding) -> None:
    """The claim's look at each table, when nothing there is due: planning and execution by the database's own watch."""
    for label, taken in _looks().items():
        finding.checks.append(
            Check(f"idle look at {label}", round(statistics.median(taken), 3), IDLE_BAR_MS, unit="ms")
        )


def _looks() -> Mapping[str, list[float]]:
    from datetime import timedelta

    from hygate import clock
    from hygate.due import handlers
    from hygate.due.claims import _claimable

    long_ago = clock.now() - timedelta(days=30)
    taken: dict[str, list[float]] = {}
    for handler in handlers():
        rows = handler.model._default_manager.filter(_claimable(long_ago, clock.now())).order_by("due_at")[:1]
        for _ in range(LOOKS):
            plan = rows.explain(analyze=True)
            taken.setdefault(handler.label, []).append(sum(map(float, EXECUTION.findall(plan))))
    return taken
