"""(a′) A hundred ends at once on one account, with Shelly's limiter and the product's gap; one device is dead."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests import loopback
from tests.bench.figures import percentile
from tests.bench.offs import lateness, switched_off
from tests.bench.results import Check, Finding, none_of, series_of
from tests.bench.simulator import SimulatorProcess, device_id, key_of
from tests.bench.site import Site

CALL_S, LIMIT_S, GAP_S = 0.05, 1.0, 1.1
LEAD_S = 8.0
HANGS_S = 5.5
OFF_BAR_S, CONFIRMED_BAR_S, MOVED_BAR = 2.5, 30.0, 1.1
SETTLES_S = 45.0


@dataclass(frozen=True)
class Run:
    """Seconds after the end, by device: relay off, and OFF read back. The dead device is in neither."""

    off: dict[str, float]
    confirmed: dict[str, float]
    missing: int
    early: int

    def off_p99(self) -> float | None:
        return percentile(list(self.off.values()), 99) if self.off else None


def run(folder: Path, *, quick: bool) -> Finding:
    number = 20 if quick else 100
    finding = Finding(sizes={"n": number, "call_s": CALL_S, "limiter_s": LIMIT_S, "gap_s": GAP_S})
    site = Site(folder)
    try:
        site.start().enter()
        healthy = _ours(number, dead="")
        for name, dead in (("one answered as failed", "answered"), ("one hanging 5 s", "hangs")):
            found = _ours(number, dead=dead)
            _note(finding, f"N={number}, {name}", found)
            finding.checks.append(_moved(healthy, found, name))
        _note(finding, f"N={number}", healthy, alone=True)
    finally:
        site.close()
    naive = _naive(number)
    finding.series.append(series_of("one call per relay, relay off", f"N={number}", naive))
    return finding


def _note(finding: Finding, size: str, found: Run, *, alone: bool = False) -> None:
    finding.series.append(series_of("hygate, relay off", size, list(found.off.values()), lost=found.missing))
    finding.series.append(series_of("hygate, read back", size, list(found.confirmed.values())))
    finding.checks.append(none_of(f"relays not off, {size}", found.missing))
    finding.checks.append(none_of(f"relays off too early, {size}", found.early))
    if alone:
        finding.checks.append(Check(f"relay off p99, {size}", found.off_p99(), OFF_BAR_S))
    last = max(found.confirmed.values(), default=None)
    finding.checks.append(Check(f"all read back, {size}", last, CONFIRMED_BAR_S))


def _moved(healthy: Run, found: Run, name: str) -> Check:
    """The others' p99 with a dead device among them, over theirs without one."""
    ours, theirs = healthy.off_p99(), found.off_p99()
    ratio = round(theirs / ours, 3) if ours and theirs and min(ours, theirs) > 0 else None
    return Check(f"the others' p99 with {name} ÷ without", ratio, MOVED_BAR, unit="")


def _ours(number: int, *, dead: str) -> Run:
    from tests.bench import rows

    shelly = SimulatorProcess("shelly", devices=number, on_for=600, rate_limit=LIMIT_S, delay=CALL_S).start()
    if dead:
        _break(shelly, device_id(0, number // 2), hangs=dead == "hangs")
    rows.let_stripe_be()
    run = f"one {time.monotonic_ns()}"
    accounts = rows.add_accounts(shelly.url, 1, run=run, first_read=rows.at(time.time() + LEAD_S))
    devices = rows.add_devices(accounts, [rows.Place(0, one) for one in range(number)], output=True)
    end = round(time.time() + LEAD_S, 3)
    sessions = rows.run_sessions(devices, [end] * number)
    deadline = end + SETTLES_S
    while time.time() < deadline and rows.unfinished(sessions) > bool(dead):
        time.sleep(0.5)
    rows.retire(accounts)
    ends = {one.shelly_id: end for one in devices if not dead or one.shelly_id != device_id(0, number // 2)}
    found = lateness(switched_off(shelly.ledger("relay")), ends)
    shelly.stop()
    return Run(found.late, _confirmed(ends), found.lost, found.early)


def _break(shelly: SimulatorProcess, device: str, *, hangs: bool) -> None:
    """``device`` does nothing any more; a group says so in ``failedCommands``, a single call does or hangs."""
    shelly.control("POST", f"devices/{device}", {"online": False})
    if hangs:
        shelly.control("DELETE", "faults")
        path = "/v2/devices/api/set/switch"
        shelly.fault(on=path, match=device, do="hang_before", times=-1, seconds=HANGS_S)
        shelly.fault(on="*", do="delay", times=-1, seconds=CALL_S)


def _confirmed(ends: Mapping[str, float]) -> dict[str, float]:
    from devices.models import RelayCommand

    rows = RelayCommand.objects.filter(on=False, confirmed_at__isnull=False, device__shelly_id__in=list(ends))
    newest = {one.device.shelly_id: one for one in rows.select_related("device").order_by("pk")}
    return {
        device: round(command.confirmed_at.timestamp() - ends[device], 3)
        for device, command in newest.items()
        if command.confirmed_at is not None and command.confirmed_at.timestamp() >= ends[device]
    }


def _naive(number: int) -> list[float]:
    """A client that sends one call per relay and keeps the gap: seconds until each relay is off."""
    shelly = SimulatorProcess("shelly", devices=number, on_for=600, rate_limit=LIMIT_S, delay=CALL_S).start()
    end = time.time()
    with loopback.client(base_url=shelly.url, params={"auth_key": key_of(0)}, timeout=5) as client:
        for one in range(number):
            body = {"id": device_id(0, one), "channel": 0, "on": False}
            client.post("/v2/devices/api/set/switch", json=body).raise_for_status()
            time.sleep(GAP_S)
    found = lateness(switched_off(shelly.ledger("relay")), {device_id(0, one): end for one in range(number)})
    shelly.stop()
    return found.samples
