"""The bridge writes five virtual numbers to a local Shelly device; what it cannot vouch for it does not write."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from devices.energy import saving, site
from devices.energy.bridge import Bridge
from devices.energy.models import EnergySource, LatestReading, SourceKind
from devices.energy.reading import Field, Measured, Reading
from devices.models import Location
from devices.shelly.errors import BadAnswer, BadKey, BadRequest, CloudDown, RateLimited, ShellyError
from devices.shelly.local import LocalShelly, check_local_address
from hygate import clock
from hygate.models import Alert
from hygate.simulators.base import RunningSimulator
from hygate.simulators.local_shelly import build
from tests import loopback
from tests.processes.workers import ROOT, database_url, wait_for

FLOWS: dict[str, float] = {
    Field.PV: 2800,
    Field.SOC: 15.25,
    Field.BATTERY_CHARGE: -300,
    Field.GRID_IMPORT: 8540,
    Field.LOAD: 11640,
}
PASSWORD = "the-local-password"


class Device:
    """A running simulated device: ``numbers`` that were written, and its knobs by ``ctl``."""

    def __init__(self) -> None:
        self.simulator = build()
        self.running = RunningSimulator(self.simulator).start()

    @property
    def address(self) -> str:
        return self.running.url.removeprefix("http://")

    @property
    def numbers(self) -> dict[int, float]:
        return self.running.call(lambda: self.simulator.values)

    def ctl(self, **spec: Any) -> None:
        loopback.post(f"{self.running.url}/_ctl/device", json=spec).raise_for_status()

    def answers(self, **fault: Any) -> None:
        """Every request is answered so, until ``recovers``."""
        spec = {"on": "*", "times": -1} | fault
        loopback.post(f"{self.running.url}/_ctl/faults", json=spec).raise_for_status()

    def recovers(self) -> None:
        loopback.delete(f"{self.running.url}/_ctl/faults").raise_for_status()

    def asked(self, kind: str) -> int:
        kinds = self.running.call(lambda: [one["kind"] for one in self.simulator.ledger.entries])
        return kinds.count(kind)


@pytest.fixture
def device() -> Iterator[Device]:
    made = Device()
    try:
        yield made
    finally:
        made.running.stop()


@pytest.fixture
def source(db: None, device: Device) -> EnergySource:
    place = Location.objects.create(name="Marina")
    made = EnergySource.objects.create(
        location=place,
        name="Plant",
        kind=SourceKind.SIGENERGY_MODBUS,
        address="127.0.0.1",
        bridge_address=device.address,
    )
    tell(made)
    return made


def tell(source: EnergySource, age_s: float = 0.0, **other: Any) -> None:
    at = clock.now() - timedelta(seconds=age_s)
    fields: dict[str, Any] = {**FLOWS, **other}
    reading = Reading({Field(name): Measured(value, at) for name, value in fields.items() if value is not None})
    LatestReading.objects.update_or_create(source=source, defaults={"fields": site.stored(reading), "at": at})


def test_the_five_numbers_arrive_with_the_grid_positive_for_export(source: EnergySource, device: Device) -> None:
    assert Bridge().round() == 1
    assert device.numbers == {200: 2800, 201: 15.2, 202: -300, 203: -8540, 204: 11640}


def test_what_is_not_told_is_left_as_it_was(source: EnergySource, device: Device) -> None:
    tell(source, soc_pct=None, battery_charge_w=None)
    Bridge().round()
    assert set(device.numbers) == {200, 203, 204}


def test_an_old_reading_is_not_written(source: EnergySource, device: Device) -> None:
    tell(source, age_s=60)
    assert Bridge().round() == 0
    assert device.numbers == {}


def test_each_source_has_its_own_pace(source: EnergySource, device: Device, manual_clock: Any) -> None:
    EnergySource.objects.update(bridge_every_s=5)
    bridge, written = Bridge(), []
    for _ in range(7):
        tell(source)
        written.append(bridge.round())
        manual_clock.set(manual_clock.now() + timedelta(seconds=1))
    assert written == [1, 0, 0, 0, 0, 1, 0]


def test_a_device_that_refuses_one_number_takes_the_others_and_raises_one_alert(
    source: EnergySource, device: Device
) -> None:
    device.ctl(numbers={"203": None})
    bridge = Bridge()
    for _ in range(5):
        bridge.due.clear()
        bridge.round()
    assert set(device.numbers) == {200, 201, 202, 204}
    alert = Alert.objects.get(kind="energy_bridge")
    assert "number:203 was refused: Bad id=203" in alert.advice
    device.ctl(numbers={"203": {}})
    bridge.due.clear()
    bridge.round()
    alert.refresh_from_db()
    assert alert.closed_at is not None


def test_a_number_beyond_the_components_own_bounds_is_refused_and_named(source: EnergySource, device: Device) -> None:
    device.ctl(numbers={"200": {"min": 0, "max": 2000}})
    with pytest.raises(BadRequest, match=r"number:200 was refused: .* between 0 and 2000"):
        LocalShelly(device.address).set_numbers({200: 2800, 201: 50})
    assert device.numbers == {201: 50}


def test_a_password_is_asked_for_once_and_never_travels(
    source: EnergySource, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device has few places for challenges: one answered is used again in all rounds that follow."""
    device.ctl(password=PASSWORD)
    saving.change_source(source, columns={}, secrets={"bridge_password": PASSWORD}, by="user:1")
    sent: list[bytes] = []
    monkeypatch.setattr(httpx.Client, "send", _noting(httpx.Client.send, sent))
    bridge = Bridge()
    for _ in range(40):
        bridge.due.clear()
        assert bridge.round() == 1
    assert device.asked("unauthorized") == 1
    assert device.asked("set") == 200
    assert PASSWORD.encode() not in b"".join(sent)


def _noting(send: Any, sent: list[bytes]) -> Any:
    def noted(client: httpx.Client, request: httpx.Request, **more: Any) -> httpx.Response:
        answer: httpx.Response = send(client, request, **more)
        sent.append(repr(answer.request.headers.raw).encode() + request.content)
        return answer

    return noted


def test_a_restarted_device_is_logged_in_to_again(source: EnergySource, device: Device) -> None:
    device.ctl(password=PASSWORD)
    saving.change_source(source, columns={}, secrets={"bridge_password": PASSWORD}, by="user:1")
    bridge = Bridge()
    assert bridge.round() == 1
    device.ctl(restart=True)
    bridge.due.clear()
    assert bridge.round() == 1
    assert device.asked("unauthorized") == 2


def test_a_login_is_made_anew_before_the_device_forgets_it(
    source: EnergySource, device: Device, manual_clock: Any
) -> None:
    device.ctl(password=PASSWORD)
    saving.change_source(source, columns={}, secrets={"bridge_password": PASSWORD}, by="user:1")
    bridge = Bridge()
    for _ in range(2):
        tell(source)
        assert bridge.round() == 1
        manual_clock.set(manual_clock.now() + timedelta(minutes=51))
    assert device.asked("unauthorized") == 2


def test_a_wrong_password_is_named(device: Device) -> None:
    device.ctl(password=PASSWORD)
    for typed in ("", "another"):
        with pytest.raises(BadKey):
            LocalShelly(device.address, typed).set_numbers({200: 1})
    assert device.numbers == {}


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"do": "body", "body": "<html>"}, BadAnswer),
        ({"do": "body", "body": []}, BadAnswer),
        ({"do": "body", "body": "x" * 20_000}, BadAnswer),
        ({"do": "status", "status": 429}, RateLimited),
        ({"do": "status", "status": 500, "body": {}}, BadRequest),
        ({"do": "drop"}, CloudDown),
    ],
)
def test_what_is_no_answer_has_its_name(device: Device, fault: dict[str, Any], error: type[ShellyError]) -> None:
    device.answers(**fault)
    with pytest.raises(error):
        LocalShelly(device.address).set_numbers({200: 1})
    device.recovers()
    LocalShelly(device.address).set_numbers({200: 1})
    assert device.numbers == {200: 1}


def test_one_device_that_goes_wrong_keeps_no_other_from_its_numbers(
    source: EnergySource, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = EnergySource.objects.create(
        location=source.location, name="A first one", kind=source.kind, bridge_address="127.0.0.1:9"
    )
    tell(other)
    written = LocalShelly.set_numbers

    def set_numbers(shelly: LocalShelly, values: Any) -> None:
        if shelly.address == "127.0.0.1:9":
            raise RuntimeError("nobody has thought of this")
        written(shelly, values)

    monkeypatch.setattr(LocalShelly, "set_numbers", set_numbers)
    assert Bridge().round() == 1
    assert device.numbers[203] == -8540


def test_a_stored_value_that_was_no_number_is_left_out(source: EnergySource, device: Device) -> None:
    tell(source, pv_w=float("nan"))
    assert Bridge().round() == 1
    assert set(device.numbers) == {201, 202, 203, 204}


@pytest.mark.slow
def test_the_command_writes_as_a_process_until_it_is_told_to_stop(
    transactional_db: None, source: EnergySource, device: Device, tmp_path: Path
) -> None:
    EnergySource.objects.update(bridge_every_s=1)
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "hygate.settings",
        "HYGATE_SIMULATED": "1",
        "HYGATE_VAR_DIR": str(tmp_path),
        "DATABASE_URL": database_url(),
    }
    process = subprocess.Popen([sys.executable, str(ROOT / "manage.py"), "bridge_energy"], cwd=ROOT, env=environment)
    try:
        wait_for(lambda: len(device.numbers) == 5, 60, "the five numbers arrive")
        assert device.numbers == {200: 2800, 201: 15.2, 202: -300, 203: -8540, 204: 11640}
        tell(source, grid_import_w=-1200)
        wait_for(lambda: device.numbers[203] == 1200, 5, "export is positive there")
        process.terminate()
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait(10)


@pytest.mark.parametrize(
    ("typed", "plain"),
    [("192.168.1.50", "192.168.1.50"), (" 10.0.0.7:8080 ", "10.0.0.7:8080"), ("172.16.0.1:80", "172.16.0.1")],
)
def test_an_address_of_a_private_network_is_taken(typed: str, plain: str) -> None:
    assert check_local_address(typed, simulated=False) == plain


@pytest.mark.parametrize(
    "typed",
    [
        "8.8.8.8",
        "169.254.169.254",
        "127.0.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "shelly.local",
        "192.168.1.50/rpc",
        "user@192.168.1.50",
        "http://192.168.1.50",
        "192.168.1.50:99999",
        "",
    ],
)
def test_any_other_address_is_refused(typed: str) -> None:
    with pytest.raises(ValueError, match="address"):
        check_local_address(typed, simulated=False)
