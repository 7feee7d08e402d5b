"""Lights and sensors: what their payloads say, and the one command that a light takes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from devices.shelly import errors
from devices.shelly.cloud import ShellyCloud, Target
from devices.shelly.discovery import merged
from devices.shelly.errors import ShellyError
from devices.shelly.payload import parse_all_status, parse_device
from devices.shelly.readings import LightReading, ListedDevice, Watched
from hygate.simulators.base import RunningSimulator
from hygate.simulators.shelly import ShellySimulator
from tests.captured import SHELLY, needs_shelly

KEY = "MTYzNDYzMDM0MQuidSECRETKEY0123456789"
BULB, LAMP, GONE, RELAY, SENSOR = "349454000001", "a8032a000002", "349454000003", "34987a000004", "08b61f000005"


def watched(status: dict[str, Any], **more: Any) -> Watched | None:
    return parse_device("a1", status, **more).watched


def captured(name: str) -> dict[str, Any]:
    status: dict[str, Any] = json.loads((SHELLY / name).read_text())["status"]
    return status


@needs_shelly
def test_a_captured_rgbw2_has_one_light_that_is_off() -> None:
    seen = watched(captured("SHRGBW2__color-mode.json"), model="SHRGBW2", family="G1")
    assert seen == Watched((LightReading(0, output=False),), told_at=datetime(2025, 3, 8, 13, 49, 35, tzinfo=UTC))


@needs_shelly
@pytest.mark.parametrize(
    ("name", "family", "celsius", "humidity"),
    [("SHHT-1__ht.json", "G1", 21.75, 62.5), ("SNSN-0013A__plusht.json", "G2", 25.7, 19.1)],
)
def test_a_captured_sensor_says_how_warm_and_how_damp_it_is(
    name: str, family: str, celsius: float, humidity: float
) -> None:
    seen = watched(captured(name), family=family)
    assert seen is not None
    assert (seen.celsius, seen.humidity, seen.lights) == (celsius, humidity, ())


@needs_shelly
def test_of_all_captured_devices_only_these_are_watched() -> None:
    """A relay, a cover or a meter measures its own inside: that is no room's temperature."""
    files = [json.loads(path.read_text()) for path in sorted(SHELLY.glob("*__*.json"))]
    devices = [file for file in files if isinstance(file, dict) and "shelly" in file and "status" in file]
    models = {
        file["shelly"].get("model") or file["shelly"].get("type")
        for file in devices
        if watched(file["status"], family="G2" if "gen" in file["shelly"] else "G1")
    }
    assert len(devices) > 20
    assert models == {"SHRGBW2", "SHHT-1", "SNSN-0013A"}


def test_each_light_of_a_gen1_dimmer_is_read_by_its_place() -> None:
    seen = watched({"lights": [{"ison": True}, "broken", {"ison": 0}]}, family="G1")
    assert seen is not None
    assert [(one.channel, one.output) for one in seen.lights] == [(0, True), (1, None), (2, False)]


@pytest.mark.parametrize("component", ["light", "rgb", "rgbw", "cct", "rgbcct"])
def test_every_kind_of_gen2_light_is_read(component: str) -> None:
    status = {f"{component}:1": {"output": False}, f"{component}:0": {"output": True, "name": " Hall "}}
    seen = watched(status, family="G2")
    assert seen is not None
    assert seen.lights == (LightReading(0, output=True, name="Hall"), LightReading(1, output=False))


def test_two_lights_that_share_a_number_are_not_told_apart_and_not_listed() -> None:
    seen = watched({"rgb:0": {"output": True}, "light:0": {"output": True}, "light:1": {"output": True}}, family="G2")
    assert seen is not None
    assert [one.channel for one in seen.lights] == [1]


@pytest.mark.parametrize("block", [{}, [], None, {"output": "maybe"}])
def test_a_light_that_does_not_say_is_unknown_and_not_off(block: Any) -> None:
    seen = watched({"light:0": block}, family="G2")
    assert seen is not None
    assert seen.lights[0].output is None


def test_what_has_a_relay_is_never_watched() -> None:
    status = {"switch:0": {"output": False}, "light:0": {"output": True}, "temperature:100": {"tC": 20}}
    device = parse_device("a1", status, family="G2")
    assert (device.kind, device.watched) == ("relay", None)


def test_fahrenheit_and_what_calls_itself_invalid_measure_nothing() -> None:
    assert watched({"tmp": {"value": 70, "units": "F"}, "hum": {"value": 40}}, family="G1") == Watched(humidity=40)
    broken = {"tmp": {"tC": 999, "is_valid": False}, "hum": {"value": 999, "is_valid": False}, "bat": {"value": 9}}
    assert watched(broken, family="G1") is None


def test_a_sensor_takes_the_first_component_that_has_a_value() -> None:
    status = {"temperature:10": {"tC": 9}, "temperature:2": {"tC": -3.5}, "temperature:0": [], "humidity:0": {"rh": 0}}
    seen = watched(status, family="G2")
    assert seen is not None
    assert (seen.celsius, seen.humidity) == (-3.5, 0)


def test_a_sleeping_sensor_is_as_old_as_its_last_word() -> None:
    status = {
        "temperature:0": {"tC": 20},
        "humidity:0": {"rh": 50},
        "_sleeping": True,
        "_updated": "2026-11-21 08:00:00",
    }
    seen = watched(status, family="G2", online=True)
    assert seen is not None
    assert (seen.asleep, seen.told_at) == (True, datetime(2026, 11, 21, 8, tzinfo=UTC))


@pytest.mark.parametrize(
    ("clocks", "told"),
    [
        ({"serial": 1_795_000_000.5}, datetime.fromtimestamp(1_795_000_000.5, UTC)),
        ({"serial": 4711, "unixtime": 1_795_000_000}, datetime.fromtimestamp(1_795_000_000, UTC)),
        ({"sys": {"unixtime": 1_795_000_000}}, datetime.fromtimestamp(1_795_000_000, UTC)),
        ({"serial": 4711, "unixtime": 0, "_updated": "yesterday"}, None),
    ],
)
def test_without_the_clouds_mark_the_devices_own_clock_tells_its_age(clocks: Any, told: datetime | None) -> None:
    seen = watched({"temperature:0": {"tC": 20}, **clocks})
    assert seen is not None
    assert seen.told_at == told


def test_a_sync_keeps_what_is_watched_and_never_sells_it() -> None:
    entries = {"data": {"devices_status": {
        "bulb": {"_dev_info": {"id": "a1", "gen": "G1", "online": True}, "lights": [{"ison": True}, {"ison": False}]},
        "damp": {"_dev_info": {"id": "a2", "gen": "G2", "online": True}, "humidity:0": {"rh": 40}, "serial": 1.8e9},
    }}}  # fmt: skip
    names = [ListedDevice("a1", 1, "Hall", "SHRGBW2", 1, category="light")]
    bulb, damp = (row.as_json() for row in merged(parse_all_status(entries).devices, names))
    assert [(row["channel"], row["sellable"]) for row in (bulb, damp)] == [(None, False), (None, False)]
    assert [(one["channel"], one["output"], one["name"]) for one in bulb["watched"]["lights"]] == [
        (0, True, None),
        (1, False, "Hall"),
    ]
    assert damp["watched"]["told_at"] == "2027-01-15T08:00:00+00:00"
    assert json.loads(json.dumps(damp))["watched"]["humidity"] == 40


# -- the command


@pytest.fixture
def simulated() -> Iterator[ShellyCloud]:
    """A Gen1 bulb, a Gen2 lamp, a bulb that is offline, a relay and a sensor."""
    simulator = ShellySimulator(rate_limit_s=0)
    simulator.add_account(KEY)
    simulator.add_device(KEY, BULB, "SHBDUO-1", channels=0, gen=1, mode="light")
    simulator.add_device(KEY, LAMP, "SNDC-0D4P10WW", channels=0, mode="light")
    simulator.add_device(KEY, GONE, "SHBDUO-1", channels=0, gen=1, mode="light").online = False
    simulator.add_device(KEY, RELAY, "SNPL-00112EU")
    simulator.add_device(KEY, SENSOR, "SNSN-0013A", channels=0, mode="sensor")
    running = RunningSimulator(simulator).start()
    yield ShellyCloud(running.url, KEY)
    running.stop()


def is_on(cloud: ShellyCloud, shelly_id: str) -> bool | None:
    seen = cloud.statuses([shelly_id])[shelly_id].watched
    assert seen is not None
    return seen.lights[0].output


@pytest.mark.parametrize("shelly_id", [BULB, LAMP])
def test_on_and_off_reach_the_simulated_light(simulated: ShellyCloud, shelly_id: str) -> None:
    assert is_on(simulated, shelly_id) is False
    simulated.set_light(Target(shelly_id, 0), on=True)
    assert is_on(simulated, shelly_id) is True
    simulated.set_light(Target(shelly_id, 0), on=False)
    assert is_on(simulated, shelly_id) is False


@pytest.mark.parametrize(
    ("target", "error"),
    [
        (Target(GONE, 0), errors.DeviceOffline),
        (Target(BULB, 3), errors.WrongChannel),
        (Target("ffffffffffff", 0), errors.NoPermission),
        (Target(RELAY, 0), errors.CommandFailed),
        (Target(SENSOR, 0), errors.CommandFailed),
    ],
)
def test_a_refused_light_has_its_name(simulated: ShellyCloud, target: Target, error: type[ShellyError]) -> None:
    with pytest.raises(error):
        simulated.set_light(target, on=True)


def test_a_relay_stays_as_it_is_when_it_is_taken_for_a_light(simulated: ShellyCloud) -> None:
    with pytest.raises(ShellyError):
        simulated.set_light(Target(RELAY, 0), on=True)
    assert [one.output for one in simulated.statuses([RELAY])[RELAY].channels] == [False]


def test_a_light_cannot_be_switched_as_a_relay(simulated: ShellyCloud) -> None:
    with pytest.raises(ShellyError):
        simulated.switch(Target(BULB, 0), on=True, toggle_after_s=60)
    assert is_on(simulated, BULB) is False


def test_a_cloud_that_is_gone_has_its_name_and_nothing_was_sent() -> None:
    with pytest.raises(errors.ConnectionRefused) as caught:
        ShellyCloud("http://127.0.0.1:9", KEY).set_light(Target(BULB, 0), on=True)
    assert caught.value.acted == "no"
