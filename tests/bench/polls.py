"""(g) What a thousand open pages cost: phones that ask at the rate of ``guest.js``, and the web processes' CPU."""

from __future__ import annotations

import asyncio
import os
import random
import re
import secrets
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp

from tests.bench.results import Check, Finding, none_of, series_of
from tests.bench.site import Site

CLIENTS, QUICK_CLIENTS = 1000, 1000
MEASURED_S, QUICK_S = 300.0, 60.0
STARTING, GRACE = 0.01, 0.03
"""Shares of the pages where something changes now (asked every 2 s), and of those before their power comes."""
METERED = 0.2
"""Share of the running machines whose measured watts are new with every reading of the relay."""
READ_EVERY_S = 30
BAR_PCT = 10
TICKS = os.sysconf("SC_CLK_TCK")
SCRIPT = Path(__file__).resolve().parents[2] / "hygate" / "static" / "hygate" / "guest.js"
PACE = re.compile(r'data-pace="([^"]*)"')


@dataclass
class Tally:
    """Answers by status, their bytes, and how long each took in seconds."""

    statuses: Counter[int] = field(default_factory=Counter)
    taken_s: list[float] = field(default_factory=list)
    size: int = 0


def run(folder: Path, *, quick: bool) -> Finding:
    clients, seconds = (QUICK_CLIENTS, QUICK_S) if quick else (CLIENTS, MEASURED_S)
    finding = Finding(sizes={"clients": clients, "seconds": seconds, "pace_s": paces()})
    site = Site(folder)
    try:
        site.start().enter()
        links = _furnish(clients)
        tally, web_s, own_s = asyncio.run(_watch(site, links, seconds))
    finally:
        site.close()
    web_pct = 100 * web_s / seconds
    facts: dict[str, Any] = {
        "web_pct": round(web_pct, 2),
        "load_generator_pct": round(100 * own_s / seconds, 2),
        "per_s": round(len(tally.taken_s) / seconds, 1),
        "304": tally.statuses[304],
        "200": tally.statuses[200],
        "web_ms_per_answer": round(1000 * web_s / max(1, len(tally.taken_s)), 2),
        "kB": round(tally.size / 1000),
    }
    finding.series.append(series_of("hygate /session/, asked again", f"{clients} phones", tally.taken_s, **facts))
    finding.checks.append(
        Check(f"CPU of the web processes, {clients} phones", round(web_pct, 2), BAR_PCT, "% of a core")
    )
    finding.checks.append(
        none_of(
            "answers that are neither 200 nor 304",
            sum(tally.statuses.values()) - tally.statuses[304] - tally.statuses[200],
        )
    )
    return finding


def paces() -> dict[str, float]:
    """Seconds between two questions of one page, fast and slow, as the script of the pages has them."""
    said = re.search(r"FAST = (\d+), SLOW = (\d+), CALM = (\d+)", SCRIPT.read_text())
    assert said is not None, "guest.js names its paces no more"
    return dict(zip(("fast", "slow", "calm"), (int(one) / 1000 for one in said.groups()), strict=True))


# -- the pages


def _furnish(clients: int) -> list[str]:
    """A session each: running for the most part, a few in their grace period, a few that are being switched on."""
    from devices.models import Device
    from sessions_app.models import DeviceSession
    from sessions_app.states import State
    from tests.bench import rows

    rows.let_stripe_be()
    accounts = rows.add_accounts("http://127.0.0.1:9", 1, run="polls", first_read=rows.at(time.time()))
    rows.retire(accounts)
    devices = rows.add_devices(accounts, [rows.Place(0, one) for one in range(clients)], output=True)
    Device.objects.update(seen_at=datetime.now(UTC) + timedelta(days=1))
    hour = rows.DURATION_S
    sessions = rows.run_sessions(devices, [time.time() + random.uniform(hour / 2, hour) for _ in devices])
    now = datetime.now(UTC)
    starting, grace = sessions[: round(clients * STARTING)], sessions[-round(clients * GRACE) :]
    quiet = {"started_at": None, "ends_at": None, "due_at": None}
    DeviceSession.objects.filter(pk__in=[one.pk for one in starting]).update(state=State.STARTING, **quiet)
    DeviceSession.objects.filter(pk__in=[one.pk for one in grace]).update(
        state=State.GRACE, grace_s=hour, grace_ends_at=now + timedelta(hours=1), **quiet
    )
    return [f"/session/{one.token}/" for one in sessions]


def _read_relays() -> None:
    """What a round of readings leaves in the rows: everybody was seen, some draw other watts than before."""
    from devices.models import Device

    soon = datetime.now(UTC) + timedelta(days=1)
    Device.objects.update(seen_at=soon, reading_at=soon)
    for device in Device.objects.order_by("pk")[: round(Device.objects.count() * METERED)]:
        Device.objects.filter(pk=device.pk).update(watts=1000 + secrets.randbelow(1000))


# -- the phones


async def _watch(site: Site, links: list[str], seconds: float) -> tuple[Tally, float, float]:
    """Open every page, let the phones settle for two of the longest paces, then count: answers, and CPU seconds.

    The second is the web processes' CPU, the third that of the phones (this very process).
    """
    pace_s = paces()
    slowest_s = max(pace_s.values())
    tally, counting = Tally(), asyncio.Event()
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=60)
    async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as phone:
        phones = [
            asyncio.create_task(_phone(phone, site.base_url + one, pace_s, tally, counting.is_set)) for one in links
        ]
        relays = asyncio.create_task(_relays())
        await asyncio.sleep(2 * slowest_s)
        web_s, own_s = cpu_s(site.process["web"].pid), time.process_time()
        counting.set()
        await asyncio.sleep(seconds)
        web_s, own_s = cpu_s(site.process["web"].pid) - web_s, time.process_time() - own_s
        for one in (*phones, relays):
            one.cancel()
        ended = await asyncio.gather(*phones, relays, return_exceptions=True)
    wrong = [one for one in ended if not isinstance(one, asyncio.CancelledError)]
    assert not wrong, f"a phone gave up: {wrong[0]!r}"
    return tally, web_s, own_s


async def _relays() -> None:
    while True:
        await asyncio.to_thread(_read_relays)
        await asyncio.sleep(READ_EVERY_S)


async def _phone(
    phone: aiohttp.ClientSession, url: str, pace_s: dict[str, float], tally: Tally, counts: Callable[[], bool]
) -> None:
    """One page: opened once, then asked again in its own pace with the version it shows."""
    await asyncio.sleep(random.uniform(0, pace_s["calm"]))
    languages = {"Accept-Language": random.choice(("en-GB,en;q=0.9", "de-AT,de;q=0.9,en;q=0.5", "nl"))}
    async with phone.get(url, headers=languages) as answer:
        page, known = await _text(answer), answer.headers["ETag"]
    while True:
        await asyncio.sleep(pace_s[_found(PACE, page)])
        began = time.monotonic()
        asks = {**languages, "X-Requested-With": "hygate", "If-None-Match": known}
        async with phone.get(url, headers=asks) as answer:
            body, known = await _text(answer), answer.headers["ETag"]
        if answer.status == 200:
            page = body
        if counts():
            tally.statuses[answer.status] += 1
            tally.taken_s.append(time.monotonic() - began)
            tally.size += len(body)


async def _text(answer: aiohttp.ClientResponse) -> str:
    return (await answer.read()).decode()


def _found(what: re.Pattern[str], page: str) -> str:
    hit = what.search(page)
    assert hit is not None, f"no {what.pattern} in: {page[:300]}"
    return hit[1]


def cpu_s(leader: int) -> float:
    """CPU seconds, user and system, of every process in the group of ``leader``: the server and its children."""
    total = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended while we looked
        if int(fields[2]) == leader:
            total += int(fields[11]) + int(fields[12])
    return total / TICKS
