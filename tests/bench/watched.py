"""(f) What the energy watcher costs: one process, so many Modbus plants, each read once a second."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tests.bench.machine import ROOT
from tests.bench.results import Check, Finding, series_of
from tests.bench.site import Site
from tests.stack.processes import Process

PLANTS = (20, 50, 200)
QUICK = (20,)
SETTLES_S, MEASURED_S = 20.0, 60.0
PROMISED = 20
TICKS = os.sysconf("SC_CLK_TCK")
PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 1e6


@dataclass(frozen=True)
class Cost:
    """Share of a core in percent, resident memory in MB, and the ages of readings in seconds."""

    cpu_pct: float
    rss_mb: float
    ages_s: list[float]


def run(folder: Path, *, quick: bool) -> Finding:
    finding = Finding(sizes={"measured_s": MEASURED_S, "every_s": 1})
    site = Site(folder)
    try:
        site.start().enter()
        for count in QUICK if quick else PLANTS:
            cost = _measured(site, count)
            series = series_of("watcher, age of readings", f"{count} plants", cost.ages_s)
            series.facts.update(cpu_pct=round(cost.cpu_pct, 1), rss_mb=round(cost.rss_mb, 1))
            finding.series.append(series)
            if count == PROMISED:
                finding.checks.append(Check(f"CPU, {count} plants", round(cost.cpu_pct, 1), 10, unit="% of a core"))
                finding.checks.append(Check(f"memory, {count} plants", round(cost.rss_mb, 1), 100, unit="MB"))
                finding.checks.append(Check(f"oldest reading, {count} plants", max(cost.ages_s, default=None), 2))
    finally:
        site.close()
    return finding


def _measured(site: Site, count: int) -> Cost:
    plants = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.plants", str(count)],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    watcher = Process("watcher", (sys.executable, "manage.py", "watch_energy"), tree=ROOT, log=site.folder / "w.log")
    try:
        assert plants.stdout is not None
        _sources([int(port) for port in plants.stdout.readline().split()])
        watcher.start(site.environment)
        time.sleep(SETTLES_S)
        before, ages = _cpu_s(watcher.pid), []
        started = time.monotonic()
        while time.monotonic() - started < MEASURED_S:
            time.sleep(5)
            ages += _ages(site)
        cpu_pct = 100 * (_cpu_s(watcher.pid) - before) / (time.monotonic() - started)
        return Cost(cpu_pct, _rss_mb(watcher.pid), ages)
    finally:
        watcher.stop()
        assert plants.stdin is not None
        plants.stdin.close()
        plants.wait(20)


def _sources(ports: list[int]) -> None:
    from devices.models import EnergySource, Location

    EnergySource.objects.all().delete()
    for port in ports:
        location = Location.objects.create(name=f"Plant {port}")
        EnergySource.objects.create(
            location=location, name="Plant", kind="sigenergy_modbus", address="127.0.0.1", port=port
        )


def _ages(site: Site) -> list[float]:
    """How old the grid's number of every plant is now, by the database's clock."""
    rows = site.sql(
        "SELECT extract(epoch FROM now()) - (fields->'grid_import_w'->>1)::float8 FROM devices_latestreading"
    )
    return [round(float(age), 3) for (age,) in rows if age is not None]


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def _rss_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_MB
