"""The devices that the simulated Shelly cloud starts with: the demo's, and those that were captured."""

from __future__ import annotations

from pathlib import Path

import pytest

from hygate.simulators.shelly import DEMO_KEY, ShellySimulator, build
from tests.captured import SHELLY, needs_shelly
from tests.simulators.shelly_bench import Bench, Clock, furnished


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_the_demo_world_has_a_laundry_and_what_cannot_be_sold(clock: Clock) -> None:
    bench = Bench(build(None, None, print, rate_limit_s=0, clock=clock), clock)
    try:
        names = [e["name"] for e in bench.v1("/interface/device/list", key=DEMO_KEY).json()["data"]["devices"].values()]
        assert {"Washer 1", "Dryer 2", "Pitch 7 socket", "Sauna heater", "EV socket 1"} <= set(names)
        devices = bench.http.get("/_ctl/devices").json()
        assert {device["account"] for device in devices} == {"demo"}
        assert sum(len(device["channels"]) for device in devices) == 8
    finally:
        bench.close()


@needs_shelly
def test_captured_devices_are_served_with_28_relay_channels(clock: Clock) -> None:
    lines: list[str] = []
    bench = Bench(build(SHELLY, None, lines.append, rate_limit_s=0, clock=clock), clock)
    try:
        devices = bench.http.get("/_ctl/devices").json()
        assert len(devices) == 23
        assert sum(len(device["channels"]) for device in devices) == 28
        assert len(lines) == len(list(SHELLY.iterdir())) - 23
        assert any(line.startswith("cloud_v1_all_status__mixed-account.json passed over") for line in lines)
        first = bench.v1("/device/all_status", key=DEMO_KEY, show_info="true").json()["data"]["devices_status"]
        second = bench.v1("/device/all_status", key=f"{DEMO_KEY}-2").json()["data"]["devices_status"]
        assert (len(first), set(second)) == (22, {"ec62608c9c00"})
        assert ("cover:0" in first["ec62608c9c00"], "switch:1" in second["ec62608c9c00"]) == (True, True)
        assert first["e86beaeaa000"]["switch:0"]["apower"] == 36.7
        assert first["8cbfeaa133f0"]["_dev_info"]["gen"] == "G2"
    finally:
        bench.close()


@needs_shelly
def test_every_captured_relay_can_be_switched_and_read(clock: Clock) -> None:
    bench = Bench(build(SHELLY, None, lambda _: None, rate_limit_s=0, clock=clock), clock)
    keys = {"demo": DEMO_KEY, "account-2": f"{DEMO_KEY}-2"}
    try:
        for device in bench.http.get("/_ctl/devices").json():
            key = keys[device["account"]]
            for relay in device["channels"]:
                wanted = {"id": device["id"], "channel": relay["channel"], "on": not relay["output"]}
                assert bench.v2("set/switch", wanted, key=key).status_code == 200
                status = bench.v1("/device/status", key=key, id=device["id"]).json()["data"]["device_status"]
                gen1 = "relays" in status
                shown = status["relays"][relay["channel"]]["ison"] if gen1 else status[f"switch:{relay['channel']}"]
                assert (shown if gen1 else shown["output"]) is not relay["output"], device["id"]
        aliases = bench.v1("/interface/device/list", key=DEMO_KEY).json()["data"]["devices"]
        assert [aliases[key]["name"] for key in ("34987a67d7d0", "34987a67d7d0_3")] == ["4PM Pro 1", "DC line"]
        strip = bench.v2("get", {"ids": ["d885ace52518"], "select": ["settings"]}, key=DEMO_KEY).json()[0]
        assert (strip["gen"], strip["settings"]["DeviceInfo"]["gen"]) == ("G2", 4)
    finally:
        bench.close()


def test_files_that_are_no_devices_are_passed_over_with_a_reason(tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "half.json").write_text('{"shelly": {"mac": "AABBCCDDEEFF"}}')
    (tmp_path / "nobody.json").write_text('{"shelly": {"type": "SHSW-1"}, "status": {}}')
    (tmp_path / "good.json").write_text('{"shelly": {"type": "SHSW-1", "mac": "AABBCCDDEEFF"}, "status": {}}')
    simulator = ShellySimulator()
    passed_over = dict(simulator.load_payloads(tmp_path))
    assert set(passed_over) == {"broken.json", "list.json", "half.json", "nobody.json"}
    assert "'status'" in passed_over["half.json"]
    assert list(simulator.world.devices) == [("demo", "aabbccddeeff")]


def test_a_raw_account_serves_captured_bodies_as_they_are(clock: Clock) -> None:
    simulator = furnished(clock)
    all_status = {"isok": True, "data": {"devices_status": {"AB": {"mac": 1, "ble": {}}, "cd": "not an object"}}}
    device_list = {"isok": True, "data": {"devices": {"ab": {"name": "  x "}}}}
    simulator.add_raw_account("raw key", all_status=all_status, device_list=device_list)
    bench = Bench(simulator, clock)
    try:
        assert bench.v1("/device/all_status", key="raw key").json() == all_status
        assert bench.v1("/interface/device/list", key="raw key").json() == device_list
        assert bench.v1("/device/status", key="raw key", id="ab").json()["data"]["device_status"]["mac"] == 1
        assert bench.v1("/device/status", key="raw key", id="cd").status_code == 400
    finally:
        bench.close()
