"""The bridge writes five virtual numbers to a local Shelly device; what it cannot vouch for it does not write."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from devices.energy import site
from devices.energy.bridge import Bridge
from devices.energy.models import EnergySource, LatestReading, SourceKind
from devices.energy.reading import Field, Measured, Reading
from devices.models import Location
from devices.shelly.errors import BadAnswer, BadKey, BadRequest, ShellyError
from devices.shelly.local import LocalShelly, check_local_address
from hygate import clock
from hygate.models import Alert

FLOWS: dict[str, float] = {
    Field.PV: 2800,
    Field.SOC: 15.25,
    Field.BATTERY_CHARGE: -300,
    Field.GRID_IMPORT: 8540,
    Field.LOAD: 11640,
}
DIGEST = 'Digest qop="auth", realm="shellypro2-aabbcc", nonce="1", algorithm=SHA-256'


class LocalDevice(ThreadingHTTPServer):
    """A simulated Shelly device: ``numbers`` are its virtual components, ``mood`` how it answers."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Rpc)
        self.numbers: dict[int, float] = {}
        self.mood = "well"
        self.seen: list[str] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_port}"


class _Rpc(BaseHTTPRequestHandler):
    server: LocalDevice

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.seen.append(self.headers.get("Authorization", ""))
        if self.server.mood == "locked" and "Authorization" not in self.headers:
            self._say(401, {}, DIGEST)
        elif self.server.mood == "refuses":
            self._say(200, {"id": 1, "error": {"code": -105, "message": "number:203 not found"}})
        elif self.server.mood == "no shelly":
            self._say(200, None)
        else:
            self.server.numbers[body["params"]["id"]] = body["params"]["value"]
            self._say(200, {"id": 1, "result": None} if body["method"] == "Number.Set" else {})

    def _say(self, status: int, body: Any, challenge: str = "") -> None:
        text = b"<html>" if body is None else json.dumps(body).encode()
        self.send_response(status)
        if challenge:
            self.send_header("WWW-Authenticate", challenge)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_args: Any) -> None:
        pass


@pytest.fixture
def device() -> Iterator[LocalDevice]:
    made = LocalDevice()
    try:
        yield made
    finally:
        made.shutdown()
        made.server_close()


@pytest.fixture
def source(db: None, device: LocalDevice) -> EnergySource:
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


def test_the_five_numbers_arrive_with_the_grid_positive_for_export(source: EnergySource, device: LocalDevice) -> None:
    assert Bridge().round() == 1
    assert device.numbers == {200: 2800, 201: 15.2, 202: -300, 203: -8540, 204: 11640}


def test_what_is_not_told_is_left_as_it_was(source: EnergySource, device: LocalDevice) -> None:
    tell(source, soc_pct=None, battery_charge_w=None)
    Bridge().round()
    assert set(device.numbers) == {200, 203, 204}


def test_an_old_reading_is_not_written(source: EnergySource, device: LocalDevice) -> None:
    tell(source, age_s=60)
    assert Bridge().round() == 0
    assert device.numbers == {}


def test_each_source_has_its_own_pace(source: EnergySource, device: LocalDevice, manual_clock: Any) -> None:
    EnergySource.objects.update(bridge_every_s=5)
    bridge, written = Bridge(), []
    for _ in range(7):
        tell(source)
        written.append(bridge.round())
        manual_clock.set(manual_clock.now() + timedelta(seconds=1))
    assert written == [1, 0, 0, 0, 0, 1, 0]


def test_a_device_that_stays_away_raises_one_alert_and_closes_it_itself(
    source: EnergySource, device: LocalDevice
) -> None:
    device.mood = "refuses"
    bridge = Bridge()
    for _ in range(5):
        bridge.due.clear()
        bridge.round()
    alert = Alert.objects.get(kind="energy_bridge")
    assert "number:203 not found" in alert.advice
    device.mood = "well"
    bridge.due.clear()
    bridge.round()
    alert.refresh_from_db()
    assert alert.closed_at is not None


def test_a_password_travels_as_a_digest_and_never_as_itself(device: LocalDevice) -> None:
    device.mood = "locked"
    LocalShelly(device.address, "the-local-password").set_numbers({200: 1})
    assert device.numbers == {200: 1}
    assert device.seen[-1].startswith("Digest ")
    assert "the-local-password" not in "".join(device.seen)


@pytest.mark.parametrize(("mood", "error"), [("locked", BadKey), ("refuses", BadRequest), ("no shelly", BadAnswer)])
def test_a_refusal_has_its_name(device: LocalDevice, mood: str, error: type[ShellyError]) -> None:
    device.mood = mood
    with pytest.raises(error):
        LocalShelly(device.address).set_numbers({200: 1})


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
