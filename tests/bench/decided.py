"""(f) From a stored reading to the answer: may this device start? 500 devices, 100 of them running on promises."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.bench.results import Check, Finding, series_of
from tests.bench.site import Site

DEVICES, PROMISES, ASKED = 500, 100, 1000
PROMISED_MS = 5.0


def run(folder: Path, *, quick: bool) -> Finding:
    finding = Finding(sizes={"devices": DEVICES, "promises": PROMISES, "asked": ASKED})
    site = Site(folder)
    try:
        site.start().enter()
        pure, whole = _questions()
        for name, question in (("the rule alone", pure), ("with its queries", whole)):
            spent_ms = _timed(question, ASKED // 10 if quick else ASKED)
            series = series_of("headroom of one device", name, spent_ms, unit="ms")
            finding.series.append(series)
            finding.checks.append(Check(f"reading to decision, {name}, p99", series.figures["p99"], PROMISED_MS, "ms"))
    finally:
        site.close()
    return finding


def _questions() -> tuple[Callable[[], object], Callable[[], object]]:
    """The decision over what is in memory, and all of it. Imported here: models exist once the site was entered."""
    from devices.energy import headroom, site
    from devices.energy.models import EnergySource, LatestReading, Promise, Sign, SitePower
    from devices.models import Device, Location, ShellyAccount
    from hygate import clock, memory

    location = Location.objects.create(name="Hall")
    power = SitePower.objects.create(location=location, grid_import_w=10_000_000, phases=3, max_age_s=600)
    source = EnergySource.objects.create(location=location, name="Roof", kind="sigenergy_modbus", sign=Sign.PROVEN)
    said = {"grid_import_w": 3000, "pv_w": 1500, "load_w": 4500, "battery_charge_w": 0, "on_grid": 1, "running": 1}
    said |= {"inverter_ac_w": 1500} | {f"inverter_ac_l{phase}_w": 500 for phase in (1, 2, 3)}
    said |= {f"grid_import_l{phase}_w": 1000 for phase in (1, 2, 3)}
    now = clock.now()
    fields: dict[str, Any] = {name: [value, now.timestamp()] for name, value in said.items()}
    LatestReading.objects.create(source=source, fields=fields, at=now)
    account = ShellyAccount.objects.create(name="bench", server_url="http://127.0.0.1:1", auth_key="k")
    common = {"location": location, "account": account, "rated_w": 3000, "phases": "L1", "watts": 2000}
    devices = Device.objects.bulk_create(
        Device(shelly_id=f"{n:012x}", name=f"Heater {n}", reading_at=now, **common) for n in range(DEVICES)
    )
    runs = {"watts": 3000, "started_at": now, "switched_at": now}
    Promise.objects.bulk_create(Promise(device=devices[n], session=n, **runs) for n in range(PROMISES))
    device = Device.objects.select_related("location").get(pk=devices[-1].pk)
    here, promises = site.site_of(power, now), site.open_promises(location.pk)
    memory.keep_what_is_loaded()  # as every process does that decides
    answer = headroom.headroom(device, now)
    assert answer.ok, answer.reason

    def pure() -> object:
        return here.headroom(site.reservations(promises, now), now)

    def whole() -> object:
        return headroom.headroom(device, now)

    return pure, whole


def _timed(question: Callable[[], object], times: int) -> list[float]:
    spent_ms = []
    for _ in range(times):
        began = time.perf_counter()
        question()
        spent_ms.append((time.perf_counter() - began) * 1000)
    return spent_ms
