"""(b) The guest's pages under load, beside a bare view in the same process; their queries and their weight."""

from __future__ import annotations

import math
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.bench import closer
from tests.bench.results import Check, Finding, Series, none_of
from tests.bench.site import Site
from tests.bench.traffic import read_until

DEVICES, EACH = 100, 100
BARE = "bare"
CONNECTIONS = (1, 16, 64)
BAR_AT, P99_BAR_S = 16, 0.1
QUERIES_BAR, WEIGHT_BAR_KB = 3, 100


def run(folder: Path, *, quick: bool) -> Finding:
    each, seconds = (10, 3) if quick else (EACH, 15)
    finding = Finding(sizes={"sessions": DEVICES * each, "seconds": seconds, "connections": list(CONNECTIONS)})
    site = Site(folder, settings="tests.bench.settings")
    try:
        site.start().enter()
        addresses = _furnish(each)
        _load(site, addresses, seconds, finding)
        for name in ("/d/", "/session/"):
            _look_closer(site, name, addresses[name], finding)
    finally:
        site.close()
    return finding


def _furnish(each: int) -> dict[str, str]:
    """Half of the devices are free, half have a running session; answers one address of each kind."""
    from devices.models import Device
    from tests.bench import rows

    rows.let_stripe_be()
    accounts = rows.add_accounts("http://127.0.0.1:9", 1, run="pages", first_read=rows.at(time.time()))
    rows.retire(accounts)
    devices = rows.add_devices(accounts, [rows.Place(0, one) for one in range(DEVICES)], output=False)
    tomorrow = datetime.now(UTC) + timedelta(days=1)  # no simulator reads these: they stay online for the whole run
    Device.objects.filter(account=accounts[0]).update(seen_at=tomorrow)
    rows.add_plans(devices)
    busy, free = devices[: DEVICES // 2], devices[DEVICES // 2 :]
    rows.add_past_sessions(free, each=each)
    past = rows.add_past_sessions(busy, each=each - 1)
    running = rows.run_sessions(busy, [time.time() + 3600] * len(busy))
    return {
        "/d/": f"/d/{free[0].codes.get().code}/",
        "/session/": f"/session/{running[0].token}/",
        BARE: f"/bench/bare/{past[0].pk}/",
    }


def _load(site: Site, addresses: dict[str, str], seconds: int, finding: Finding) -> None:
    for connections in CONNECTIONS:
        found = {}
        for name, address in addresses.items():
            bar_s = P99_BAR_S if connections == BAR_AT and name != BARE else math.inf
            url = site.base_url + address
            found[name] = read_until(bar_s, "p99", url, connections=connections, seconds=seconds)
        bare = found[BARE].quickest
        for name, one in found.items():
            contender = "bare view" if name == BARE else f"hygate {name}"
            facts = one.facts | {"rate ÷ bare": round(one.quickest.per_s / bare.per_s, 3)}
            finding.series.append(Series(contender, f"{connections} connections", one.quickest.figures, facts=facts))
            if name == BARE:
                continue
            finding.checks.append(none_of(f"answers other than 200, {name} at {connections}", one.bad))
            if connections == BAR_AT:
                finding.checks.append(Check(f"p99, {name} at {connections} connections", one.measured, P99_BAR_S))


def _look_closer(site: Site, name: str, address: str, finding: Finding) -> None:
    finding.checks.append(Check(f"queries, {name}", closer.queries(address), QUERIES_BAR, unit=""))
    finding.checks.append(
        Check(f"page with its assets, {name}", closer.weight_kb(site.base_url + address), WEIGHT_BAR_KB, "kB")
    )
