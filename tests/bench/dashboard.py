"""(h) The operator's pages under load: 500 devices, 10,000 sessions with all that is known of them; and a year."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.bench import closer
from tests.bench.results import Check, Finding, Series, none_of
from tests.bench.site import Site
from tests.bench.traffic import Windows, read_until

READERS = 8
P95_BAR_S, YEAR_BAR_S = 0.3, 1.0
LIST_QUERIES_BAR, OTHER_QUERIES_BAR, WEIGHT_BAR_KB = 10, 15, 150
COPIES, COPIES_APART_DAYS = 9, 36
"""A tenth of the year's sessions is written as rows, the rest are copies of them, earlier and earlier."""


@dataclass(frozen=True)
class Size:
    """``each``: sessions of a device that are over, one every ``apart_h`` hours; ``running``: devices in use."""

    devices: int
    each: int
    running: int
    seconds: int
    apart_h: int = 36


FULL = Size(devices=500, each=20, running=100, seconds=6)
QUICK = Size(devices=50, each=20, running=10, seconds=2)


@dataclass(frozen=True)
class Page:
    """An address of the dashboard. ``queries``: how many it may ask; ``part``: an open page asks for it, so that it is
    nobody's first visit.
    """

    name: str
    address: str
    queries: int = LIST_QUERIES_BAR
    part: bool = False


def run(folder: Path, *, quick: bool) -> Finding:
    size = QUICK if quick else FULL
    sessions = size.devices * size.each
    sizes = {"devices": size.devices, "sessions": sessions, "year": sessions * (1 + COPIES), "readers": READERS}
    finding = Finding(sizes={**sizes, "seconds": size.seconds})
    site = Site(folder)
    try:
        site.start().enter()
        cookies, pages = _furnish(size)
        for page in pages:
            _load(site, page, cookies, size.seconds, finding)
            _look_closer(site, page, cookies, finding)
        _year(site, cookies, finding)
    finally:
        site.close()
    return finding


def _furnish(size: Size) -> tuple[dict[str, str], list[Page]]:
    """Some devices are in use, each has a past; answers the cookies of an administrator and the pages."""
    from devices.models import Device
    from tests.bench import history, rows

    rows.let_stripe_be()
    accounts = rows.add_accounts("http://127.0.0.1:9", 5, run="dashboard", first_read=rows.at(time.time()))
    rows.retire(accounts)
    places = [rows.Place(number % len(accounts), number) for number in range(size.devices)]
    devices = rows.add_devices(accounts, places, output=False)
    tomorrow = datetime.now(UTC) + timedelta(days=1)  # no simulator reads these: they stay online for the whole run
    Device.objects.update(seen_at=tomorrow)
    rows.add_plans(devices)
    past = rows.add_past_sessions(devices, each=size.each, apart=timedelta(hours=size.apart_h))
    busy = devices[: size.running]
    Device.objects.filter(pk__in=[one.pk for one in busy]).update(output=True, watts=1200)
    rows.run_sessions(busy, [time.time() + 3600] * len(busy))
    history.tell_sessions()
    one = past[0]
    return logged_in(), [
        Page("overview", "/dashboard/"),
        Page("overview, live part", "/dashboard/live/", part=True),
        Page("devices", "/dashboard/devices/"),
        Page("devices as a list", "/dashboard/devices/?view=list"),
        Page("devices, live part", "/dashboard/devices/live/", part=True),
        Page("sessions", "/dashboard/sessions/"),
        Page("sessions, filtered", f"/dashboard/sessions/?state=completed&paid=succeeded&device={one.device_id}"),
        Page("sessions, a reference", f"/dashboard/sessions/?find={one.reference}"),
        Page("sessions, end of a link", f"/dashboard/sessions/?find={one.token[-6:]}"),
        Page("sessions, page 2", "/dashboard/sessions/?page=2"),
        Page("sessions, last page", "/dashboard/sessions/?page=100000"),
        Page("session", f"/dashboard/sessions/{one.pk}/", OTHER_QUERIES_BAR),
        Page("session, live part", f"/dashboard/sessions/{one.pk}/live/", OTHER_QUERIES_BAR, part=True),
        Page("payments", "/dashboard/payments/"),
        Page("reports, this month", "/dashboard/reports/?period=month", OTHER_QUERIES_BAR),
        Page("audit log", "/dashboard/audit/"),
        Page("audit log, one kind", "/dashboard/audit/?kind=session_completed"),
    ]


def logged_in() -> dict[str, str]:
    """The cookies of an administrator: whoever may see more has the heavier pages."""
    from django.conf import settings
    from django.test import Client
    from django.utils import timezone

    from hygate.models import SiteSettings, User

    SiteSettings.objects.create(company="Bench", setup_closed_at=timezone.now())
    browser = Client(SERVER_NAME="127.0.0.1")
    browser.force_login(User.objects.create_superuser("bench@example.org"))
    return {settings.SESSION_COOKIE_NAME: browser.cookies[settings.SESSION_COOKIE_NAME].value}


def _load(site: Site, page: Page, cookies: dict[str, str], seconds: int, finding: Finding) -> None:
    url, headers = site.base_url + page.address, _asks(cookies)
    found = read_until(P95_BAR_S, "p95", url, connections=READERS, seconds=seconds, headers=headers)
    _add(finding, page.name, f"{READERS} readers", found, P95_BAR_S)


def _add(finding: Finding, name: str, size: str, found: Windows, bar_s: float) -> None:
    finding.series.append(Series(f"hygate {name}", size, found.quickest.figures, facts=found.facts))
    finding.checks.append(none_of(f"answers other than 200, {name}", found.bad))
    finding.checks.append(Check(f"p95, {name}", found.measured, bar_s))


def _asks(cookies: dict[str, str]) -> dict[str, str]:
    """What a browser sends along."""
    return {"Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items()), "Accept-Encoding": "gzip"}


def _look_closer(site: Site, page: Page, cookies: dict[str, str], finding: Finding) -> None:
    asked = closer.queries(page.address, cookies)
    finding.checks.append(Check(f"queries, {page.name}", asked, page.queries, unit=""))
    if not page.part:
        weighs = closer.weight_kb(site.base_url + page.address, cookies)
        finding.checks.append(Check(f"first visit, {page.name}", weighs, WEIGHT_BAR_KB, "kB"))


def _year(site: Site, cookies: dict[str, str], finding: Finding) -> None:
    """The report of the last 365 days for one reader."""
    from tests.bench import history

    history.repeat(COPIES, days=COPIES_APART_DAYS)
    today = datetime.now(UTC).date()
    first = today - timedelta(days=365)
    url = f"{site.base_url}/dashboard/reports/?period=custom&from={first}&to={today}"
    found = read_until(YEAR_BAR_S, "p95", url, connections=1, seconds=10, headers=_asks(cookies))
    _add(finding, "reports, a year", "1 reader", found, YEAR_BAR_S)
