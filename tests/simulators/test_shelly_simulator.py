"""The Shelly simulator over real sockets: each test is a sentence about what the real cloud or a real relay does."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from hygate.simulators.base import RunningSimulator
from hygate.simulators.shelly import DEMO_KEY, ShellySimulator, build

PAYLOADS = Path(
    os.environ.get("HYGATE_PAYLOADS", Path(__file__).resolve().parents[2] / ".." / "shared" / "fixtures" / "shelly")
)
needs_payloads = pytest.mark.skipif(not PAYLOADS.is_dir(), reason="HYGATE_PAYLOADS names no folder")
KEY, OTHER_KEY = "key-of-the-laundry", "key-of-the-camp"
PRO, SAUNA, COVER, SENSOR, FOREIGN = "34987a000001", "349454000002", "349454000003", "08b61f000004", "e86bea000005"


class Clock:
    """Wall time that a test can send ahead."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


class Bench:
    """A running simulator and the requests that tests send to it."""

    def __init__(self, simulator: ShellySimulator, clock: Clock) -> None:
        self.simulator, self.clock = simulator, clock
        self.running = RunningSimulator(simulator).start()
        self.http = httpx.Client(base_url=self.running.url, timeout=5)

    def close(self) -> None:
        self.http.close()
        self.running.stop()

    def v2(self, operation: str, body: Any, key: str = KEY) -> httpx.Response:
        return self.http.post(f"/v2/devices/api/{operation}", params={"auth_key": key}, json=body)

    def switch(self, on: bool, id: str = PRO, channel: int = 0, **more: Any) -> httpx.Response:
        return self.v2("set/switch", {"id": id, "channel": channel, "on": on, **more})

    def v1(self, path: str, key: str = KEY, **form: str) -> httpx.Response:
        return self.http.post(path, data={"auth_key": key, **form})

    def status(self, id: str = PRO) -> dict[str, Any]:
        status: dict[str, Any] = self.v1("/device/status", id=id).json()["data"]["device_status"]
        return status

    def ctl(self, path: str, **body: Any) -> Any:
        answer = self.http.post(f"/_ctl/{path}", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def ledger(self, kind: str) -> list[dict[str, Any]]:
        return [entry for entry in self.http.get("/_ctl/ledger").json() if entry["kind"] == kind]

    def moves(self) -> list[tuple[int, bool, str]]:
        return [(entry["channel"], entry["on"], entry["cause"]) for entry in self.ledger("relay")]

    def relay(self, id: str = PRO, channel: int = 0) -> dict[str, Any]:
        device = next(device for device in self.http.get("/_ctl/devices").json() if device["id"] == id)
        relay: dict[str, Any] = device["channels"][channel]
        return relay

    def until(self, holds: Callable[[], bool], seconds: float = 3.0) -> None:
        end = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < end, "it never came true"
            time.sleep(0.01)


def furnished(clock: Clock, **options: Any) -> ShellySimulator:
    simulator = ShellySimulator(clock, **{"rate_limit_s": 0, **options})
    simulator.add_account(KEY)
    simulator.add_account(OTHER_KEY)
    names = ("Washer 1", "Washer 2")
    simulator.add_device(KEY, PRO, "SPSW-104PE16EU", channels=4, name="Laundry", channel_names=names, watts=(2000.0,))
    simulator.add_device(KEY, SAUNA, "SHSW-25", channels=2, name="Sauna", gen=1, watts=(40.0, 1800.0))
    simulator.add_device(KEY, COVER, "SHSW-25", channels=0, gen=1, mode="roller")
    simulator.add_device(KEY, SENSOR, "SNSN-0013A", channels=0, mode="sensor")
    simulator.add_device(OTHER_KEY, FOREIGN, "SNPL-00112EU")
    return simulator


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def bench(clock: Clock) -> Iterator[Bench]:
    bench = Bench(furnished(clock), clock)
    yield bench
    bench.close()


# -- keys and routes


@pytest.mark.parametrize("key", ["", "nobody's key"])
def test_a_wrong_key_is_refused_in_each_api_s_own_words(bench: Bench, key: str) -> None:
    v1, v2 = bench.v1("/device/all_status", key=key), bench.v2("get", {"ids": [PRO]}, key=key)
    assert (v1.status_code, v1.json()) == (401, {"isok": False, "errors": {"invalid_auth_key": "Wrong auth key"}})
    assert (v2.status_code, v2.json()["error"]) == (401, "invalid_token")


def test_v2_takes_the_key_from_the_body_as_well(bench: Bench) -> None:
    answer = bench.http.post("/v2/devices/api/get", json={"auth_key": KEY, "ids": [PRO]})
    assert [device["id"] for device in answer.json()] == [PRO]


def test_unknown_routes_are_not_found(bench: Bench) -> None:
    assert bench.v2("set/toaster", {}).status_code == 404
    assert bench.ledger("request")[-1]["status"] == 404


def test_a_rotated_key_replaces_the_old_one(bench: Bench) -> None:
    bench.ctl("accounts/account-1", auth_key="the new key")
    assert bench.v1("/device/all_status").status_code == 401
    assert bench.v1("/device/all_status", key="the new key").status_code == 200


def test_a_server_without_v2_knows_only_v1(bench: Bench) -> None:
    bench.ctl("limits", v2=False)
    assert bench.switch(on=True).status_code == 404
    assert bench.v2("get", {"ids": [PRO]}).status_code == 404
    assert bench.v1("/device/all_status").status_code == 200
    assert bench.moves() == []


# -- v1


def test_all_status_has_the_account_s_devices_in_the_cloud_s_form(bench: Bench) -> None:
    answer = bench.v1("/device/all_status", show_info="true", no_shared="true").json()
    statuses = answer["data"]["devices_status"]
    assert set(statuses) == {PRO, SAUNA, COVER, SENSOR}
    assert statuses[PRO]["_dev_info"] == {"id": PRO, "gen": "G2", "code": "SPSW-104PE16EU", "online": True}
    assert statuses[SAUNA]["_dev_info"]["gen"] == "G1"
    assert statuses[PRO]["ble"] == []
    assert statuses[PRO]["sys"]["available_updates"] == []
    assert statuses[SENSOR]["_sleeping"] is True
    assert {"id", "code", "serial", "_updated"} <= set(statuses[SAUNA])


def test_reads_also_work_by_query(bench: Bench) -> None:
    answer = bench.http.get("/device/status", params={"auth_key": KEY, "id": PRO})
    assert answer.json()["data"]["online"] is True


def test_the_app_s_list_has_one_alias_per_channel(bench: Bench) -> None:
    devices = bench.v1("/interface/device/list").json()["data"]["devices"]
    assert [devices[key]["name"] for key in (PRO, f"{PRO}_1", f"{PRO}_2")] == ["Washer 1", "Washer 2", "Laundry 3"]
    assert (devices[f"{PRO}_3"]["channel"], devices[f"{PRO}_3"]["channels_count"]) == (3, 4)
    assert (devices[COVER]["category"], devices[COVER]["name"]) == ("roller", "unnamed")


def test_v1_switches_a_relay(bench: Bench) -> None:
    answer = bench.v1("/device/relay/control", id=SAUNA, channel="1", turn="on")
    assert answer.json() == {"isok": True, "data": {"device_id": SAUNA}}
    status = bench.status(SAUNA)
    assert (status["relays"][1]["ison"], status["relays"][1]["source"]) == (True, "cloud")
    assert (status["meters"][1]["power"], status["meters"][0]["power"]) == (1800, 0)


def test_v1_control_reads_the_body_only(bench: Bench) -> None:
    query = {"auth_key": KEY, "id": PRO, "channel": "0", "turn": "on"}
    for answer in (
        bench.http.get("/device/relay/control", params=query),
        bench.http.post("/device/relay/control", params=query),
    ):
        assert answer.status_code == 400
        assert answer.json()["errors"] == {"wrong_channel": "Could not control this relay channel!"}
    assert bench.moves() == []


def test_an_offline_device_is_readable_in_v1_and_switchable_nowhere(bench: Bench) -> None:
    bench.switch(True)
    bench.ctl(f"devices/{PRO}", online=False)
    read = bench.v1("/device/status", id=PRO).json()["data"]
    assert (read["online"], read["device_status"]["switch:0"]["output"]) == (False, True)
    refused = bench.switch(False)
    assert (refused.status_code, refused.json()) == (400, {"error": "DEVICE_OFFLINE", "data": {"messages": []}})
    assert bench.v1("/device/relay/control", id=PRO, channel="0", turn="off").json()["isok"] is False
    assert bench.relay()["output"] is True


# -- v2


def test_v2_get_answers_an_array_without_the_unknown(bench: Bench) -> None:
    devices = bench.v2("get", {"ids": [PRO, FOREIGN, "000000000000"], "select": ["status"]}).json()
    assert [(d["id"], d["type"], d["gen"], d["online"]) for d in devices] == [(PRO, "relay", "G2", 1)]
    assert "serial" in devices[0]["status"]
    assert "_updated" not in devices[0]["status"]
    assert "settings" not in devices[0]


def test_v2_get_shows_updated_when_the_switch_is_set(bench: Bench) -> None:
    bench.ctl("limits", v2_updated=True)
    assert "_updated" in bench.v2("get", {"ids": [PRO], "select": ["status"]}).json()[0]["status"]


def test_v2_get_picks_keys_and_gives_settings(bench: Bench) -> None:
    wanted = {"ids": [PRO], "select": ["status", "settings"], "pick": {"status": ["switch:1"]}}
    device = bench.v2("get", wanted).json()[0]
    assert set(device["status"]) == {"switch:1"}
    assert device["settings"]["DeviceInfo"]["gen"] == 2


def test_v2_get_takes_ten_ids_at_most(bench: Bench) -> None:
    refused = bench.v2("get", {"ids": [PRO] * 11})
    assert refused.status_code == 200
    assert (refused.json()["isok"], refused.json()["error"]) == (False, "VALIDATION_ERRORS")
    assert bench.v2("get", {"ids": [PRO] * 10}).json()[0]["id"] == PRO


def test_a_v2_command_answers_with_an_empty_body(bench: Bench) -> None:
    answer = bench.switch(True, channel=2)
    assert (answer.status_code, answer.content) == (200, b"")
    assert bench.moves() == [(2, True, "request")]
    assert bench.status()["switch:2"]["source"] == "SHC"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"id": FOREIGN, "on": True}, "no_permissions"),
        ({"id": COVER, "on": True}, "DEVICE_INVALID_MODE"),
        ({"id": SENSOR, "on": True}, "DEVICE_FAILED_COMMAND"),
        ({"id": PRO, "channel": 4, "on": True}, "DEVICE_INVALID_CHANNEL"),
        ({"id": PRO}, "BAD_REQUEST"),
        ({"id": PRO, "on": "true"}, "BAD_REQUEST"),
        ({"id": PRO, "on": True, "timer": 5}, "BAD_REQUEST"),
        ({"id": PRO, "on": True, "toggle_after": 0}, "BAD_REQUEST"),
        ({"id": PRO, "on": True, "channel": "0"}, "BAD_REQUEST"),
        ([PRO], "BAD_REQUEST"),
    ],
)
def test_v2_commands_are_refused_by_name(bench: Bench, body: Any, code: str) -> None:
    answer = bench.v2("set/switch", body)
    assert (answer.status_code, answer.json()["error"]) == (400, code)
    assert bench.moves() == []


def test_groups_switch_many_and_name_what_failed(bench: Bench) -> None:
    bench.ctl(f"devices/{SAUNA}", online=False)
    ids = [f"{PRO}_0", f"{PRO}_3", f"{PRO}_9", f"{FOREIGN}_0", f"{SAUNA}_0", f"{COVER}_0", "nonsense"]
    answer = bench.v2("set/groups", {"switch": {"ids": ids, "command": {"on": True}}})
    assert answer.status_code == 200
    assert answer.json()["failedCommands"] == {
        f"{PRO}_9": "BAD_REQUEST",
        f"{FOREIGN}_0": "DEVICE_NOT_FOUND",
        f"{SAUNA}_0": "DEVICE_FAILED_COMMAND",
        f"{COVER}_0": "DEVICE_UNSUPPORTED_COMMAND",
        "nonsense": "BAD_REQUEST",
    }
    assert bench.moves() == [(0, True, "request"), (3, True, "request")]


def test_groups_without_failures_answer_with_an_empty_body(bench: Bench) -> None:
    answer = bench.v2("set/groups", {"switch": {"ids": [f"{PRO}_1"], "command": {"on": True, "toggle_after": 60}}})
    assert (answer.status_code, answer.content) == (200, b"")
    assert bench.relay(channel=1)["timer"]["duration"] == 60


def test_groups_can_be_capped(bench: Bench) -> None:
    bench.ctl("limits", groups_max=1)
    command = {"on": True}
    answer = bench.v2("set/groups", {"switch": {"ids": [f"{PRO}_1", f"{PRO}_2"], "command": command}})
    assert (answer.status_code, answer.json()["error"]) == (400, "BAD_REQUEST")
    assert bench.v2("set/groups", {"switch": {"ids": [f"{PRO}_1"], "command": command}}).status_code == 200


# -- the limiter


def test_a_request_too_soon_after_the_last_answer_is_refused(bench: Bench) -> None:
    bench.ctl("limits", rate_limit_s=0.3)
    assert bench.v1("/device/status", id=PRO).status_code == 200
    v1, v2 = bench.v1("/device/status", id=PRO), bench.v2("get", {"ids": [PRO]})
    limited = {"isok": False, "errors": {"max_req": "Request limit reached!"}}
    assert (v1.status_code, v1.json()) == (401, limited)
    assert (v2.status_code, v2.json()) == (429, limited)
    time.sleep(0.35)
    assert bench.v1("/device/status", id=PRO).status_code == 200


def test_refused_requests_keep_the_window_open(bench: Bench) -> None:
    bench.ctl("limits", rate_limit_s=0.3)
    assert bench.v1("/device/status", id=PRO).status_code == 200
    for _ in range(3):
        time.sleep(0.2)
        assert bench.v1("/device/status", id=PRO).status_code == 401


def test_the_window_counts_from_the_end_of_the_answer(bench: Bench) -> None:
    bench.ctl("limits", rate_limit_s=0.3)
    bench.ctl("faults", on="/device/status", do="delay", seconds=0.4)
    assert bench.v1("/device/status", id=PRO).status_code == 200
    assert bench.v1("/device/status", id=PRO).status_code == 401


def test_overlapping_requests_are_refused_per_account(bench: Bench) -> None:
    bench.ctl("limits", rate_limit_s=0.05)
    bench.ctl("faults", on="/device/status", do="delay", seconds=0.5)
    answers: list[int] = []
    slow = threading.Thread(target=lambda: answers.append(httpx.post(**_status_request(bench)).status_code))
    slow.start()
    bench.until(lambda: len(bench.ledger("request")) == 1)
    time.sleep(0.1)
    assert bench.v1("/device/all_status").status_code == 401
    assert bench.v1("/device/all_status", key=OTHER_KEY).status_code == 200
    slow.join()
    assert answers == [200]


def _status_request(bench: Bench) -> dict[str, Any]:
    return {"url": f"{bench.running.url}/device/status", "data": {"auth_key": KEY, "id": PRO}}


def test_a_caller_that_hung_up_blocks_the_account_no_longer(bench: Bench) -> None:
    bench.ctl("limits", rate_limit_s=0.1)
    bench.ctl("faults", on="switch_on", do="hang_before", seconds=30)
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{bench.running.url}/v2/devices/api/set/switch?auth_key={KEY}", json=_on(), timeout=0.2)
    time.sleep(0.2)
    assert bench.switch(True).status_code == 200


def _on() -> dict[str, Any]:
    return {"id": PRO, "on": True}


def test_a_wrong_key_does_not_count_against_anybody(bench: Bench) -> None:
    bench.ctl("limits", rate_limit_s=0.3)
    assert bench.v1("/device/status", key="wrong", id=PRO).json()["errors"] == {"invalid_auth_key": "Wrong auth key"}
    assert bench.v1("/device/status", id=PRO).status_code == 200


# -- the relay and its timer


def test_the_timer_switches_off_at_its_exact_time(bench: Bench) -> None:
    bench.switch(True, toggle_after=0.4)
    armed = bench.status()["switch:0"]
    assert armed["timer_duration"] == 0.4
    bench.until(lambda: len(bench.moves()) == 2)
    on, off = bench.ledger("relay")
    assert (off["on"], off["cause"]) == (False, "timer")
    assert off["t"] - on["t"] == pytest.approx(0.4, abs=0.002)
    assert abs(armed["timer_started_at"] - on["t"]) < 0.02
    after = bench.status()["switch:0"]
    assert (after["output"], after["source"]) == (False, "timer")
    assert not {"timer_started_at", "timer_duration"} & set(after)


def test_the_timer_acts_within_the_tick_that_it_is_due(bench: Bench) -> None:
    bench.switch(True, toggle_after=0.2)
    due = bench.relay()["timer"]["fires_at"]
    relay = bench.simulator.world.devices["account-1", PRO].relays[0]
    bench.until(lambda: not relay.output)  # looks without a request, which would settle the world itself
    assert time.time() - due < 0.1


def test_a_gen1_relay_shows_its_timer_in_gen1_words(bench: Bench) -> None:
    bench.switch(True, id=SAUNA, toggle_after=90)
    relay = bench.status(SAUNA)["relays"][0]
    assert (relay["has_timer"], relay["timer_duration"], relay["timer_remaining"]) == (True, 90, 90)
    bench.switch(False, id=SAUNA)
    relay = bench.status(SAUNA)["relays"][0]
    assert (relay["has_timer"], relay["timer_started"], relay["timer_remaining"]) == (False, 0, 0)


def test_a_timer_with_off_switches_back_on(bench: Bench) -> None:
    bench.switch(False, toggle_after=0.1)
    bench.until(lambda: bench.moves() == [(0, True, "timer")])


def test_a_new_on_arms_the_timer_anew(bench: Bench, clock: Clock) -> None:
    bench.switch(True, toggle_after=100)
    clock.ahead += 60
    bench.switch(True, toggle_after=100)
    clock.ahead += 60
    assert bench.relay()["output"] is True
    clock.ahead += 60
    assert bench.relay()["output"] is False
    on, off = bench.ledger("relay")
    assert off["t"] - on["t"] == pytest.approx(160, abs=1)


@pytest.mark.parametrize("last", [True, False])
def test_a_command_without_timer_cancels_the_armed_one(bench: Bench, clock: Clock, last: bool) -> None:
    bench.switch(True, toggle_after=100)
    bench.switch(last)
    clock.ahead += 200
    assert bench.relay()["timer"] is None
    assert [cause for _, _, cause in bench.moves()].count("timer") == 0


def test_repeating_a_command_is_no_move(bench: Bench) -> None:
    bench.switch(True)
    bench.switch(True)
    assert bench.moves() == [(0, True, "request")]


def test_a_reboot_forgets_the_timer_and_goes_to_the_initial_state(bench: Bench, clock: Clock) -> None:
    bench.switch(True, toggle_after=100)
    bench.ctl(f"devices/{PRO}", reboot=True)
    assert bench.moves() == [(0, True, "request"), (0, False, "reboot")]
    assert bench.status()["switch:0"]["source"] == "init"
    bench.ctl(f"devices/{PRO}", initial_state="restore_last")
    bench.switch(True, toggle_after=100)
    bench.ctl(f"devices/{PRO}", reboot=True)
    clock.ahead += 200
    assert (bench.relay()["output"], bench.relay()["timer"]) == (True, None)


def test_the_settings_show_what_a_relay_does_when_its_power_returns(bench: Bench) -> None:
    bench.ctl(f"devices/{PRO}", initial_state="restore_last")
    [entry] = bench.v2("get", {"ids": [PRO], "select": ["settings"], "pick": {"settings": ["switch:0"]}}).json()
    assert entry["settings"]["switch:0"]["initial_state"] == "restore_last"
    assert "DeviceInfo" not in entry["settings"]


def test_the_button_toggles(bench: Bench) -> None:
    bench.ctl(f"devices/{PRO}", press=1)
    bench.ctl(f"devices/{PRO}", press=1)
    assert bench.moves() == [(1, True, "button"), (1, False, "button")]
    assert bench.status()["switch:1"]["source"] == "button"


def test_energy_flows_while_the_output_is_on(bench: Bench, clock: Clock) -> None:
    bench.switch(True)
    clock.ahead += 1800
    bench.switch(False)
    clock.ahead += 1800
    assert bench.relay()["energy_wh"] == pytest.approx(1000, rel=0.01)
    assert bench.status()["switch:0"]["aenergy"]["total"] == pytest.approx(1000, rel=0.01)


def test_gen1_counts_watt_minutes(bench: Bench, clock: Clock) -> None:
    bench.switch(True, id=SAUNA, channel=1)
    clock.ahead += 600
    bench.switch(False, id=SAUNA, channel=1)
    assert bench.status(SAUNA)["meters"][1]["total"] == pytest.approx(18000, rel=0.01)


def test_a_welded_contact_shows_off_and_draws_power(bench: Bench) -> None:
    bench.switch(True)
    bench.ctl(f"devices/{PRO}", welded=0)
    bench.switch(False)
    block = bench.status()["switch:0"]
    assert (block["output"], block["apower"]) == (False, 2000.0)
    bench.ctl(f"devices/{PRO}", welded=None)
    assert bench.status()["switch:0"]["apower"] == 0


def test_watts_can_be_set(bench: Bench) -> None:
    bench.switch(True)
    bench.ctl(f"devices/{PRO}", watts=[85.5, 0, 0, 0])
    assert bench.status()["switch:0"]["apower"] == 85.5


def test_another_controller_reverts_every_on(bench: Bench, clock: Clock) -> None:
    bench.ctl(f"devices/{PRO}", enforced_off=True)
    for _ in range(2):
        bench.switch(True)
        clock.ahead += 0.9
        assert bench.relay()["output"] is True
        clock.ahead += 2.2
        assert bench.relay()["output"] is False
    first_on, first_off, *_ = bench.ledger("relay")
    assert [cause for _, _, cause in bench.moves()] == ["request", "enforced"] * 2
    assert 1 <= first_off["t"] - first_on["t"] <= 3


# -- what the cloud knows


def test_the_status_moves_only_when_the_device_speaks(bench: Bench, clock: Clock) -> None:
    first = bench.status()
    bench.switch(False)  # changes nothing, so nothing is told
    assert bench.status()["serial"] == first["serial"]
    bench.switch(True)
    second = bench.status()
    assert second["serial"] > first["serial"]
    clock.ahead += 61
    third = bench.status()
    assert third["serial"] > second["serial"]
    assert third["_updated"] > second["_updated"]


def test_a_gen1_serial_is_a_counter(bench: Bench) -> None:
    before = bench.status(SAUNA)["serial"]
    bench.switch(True, id=SAUNA)
    assert bench.status(SAUNA)["serial"] == before + 1


def test_a_sleeping_sensor_sends_no_heartbeat(bench: Bench, clock: Clock) -> None:
    before = bench.status(SENSOR)["serial"]
    clock.ahead += 600
    assert bench.status(SENSOR)["serial"] == before


def test_status_lag_delays_what_the_cloud_shows(bench: Bench, clock: Clock) -> None:
    bench.ctl(f"devices/{PRO}", status_lag_s=20)
    bench.switch(True)
    assert (bench.relay()["output"], bench.status()["switch:0"]["output"]) == (True, False)
    clock.ahead += 21
    assert bench.status()["switch:0"]["output"] is True


def test_a_stale_device_says_online_and_old_values(bench: Bench, clock: Clock) -> None:
    bench.ctl(f"devices/{PRO}", stale=True)
    before = bench.status()
    bench.switch(True)
    clock.ahead += 300
    read = bench.v1("/device/status", id=PRO).json()["data"]
    assert (read["online"], read["device_status"]) == (True, before)
    bench.ctl(f"devices/{PRO}", stale=False)
    assert bench.status()["switch:0"]["output"] is True


def test_a_device_off_the_network_still_obeys_its_timer(bench: Bench, clock: Clock) -> None:
    bench.switch(True, toggle_after=60)
    bench.ctl(f"devices/{PRO}", online=False)
    clock.ahead += 61
    assert bench.relay()["output"] is False
    assert bench.status()["switch:0"]["output"] is True
    bench.ctl(f"devices/{PRO}", online=True)
    assert bench.status()["switch:0"]["output"] is False


# -- the ledger and the control plane


def test_the_ledger_keeps_requests_without_any_key(bench: Bench) -> None:
    bench.switch(True)
    bench.v1("/device/relay/control", id=PRO, channel="0", turn="off")
    bench.http.get("/device/status", params={"auth_key": KEY, "id": PRO})
    bench.v1("/device/status", key="nobody's key")
    bench.v2("set/switch", {"id": KEY, "on": True})
    bench.http.post(f"/v2/{KEY}", content=KEY)
    entries = bench.ledger("request")
    assert {key: entries[0][key] for key in ("account", "path", "body", "status")} == {
        "account": "account-1",
        "path": "/v2/devices/api/set/switch",
        "body": {"id": PRO, "channel": 0, "on": True},
        "status": 200,
    }
    assert entries[1]["body"] == {"id": PRO, "channel": "0", "turn": "off"}
    assert entries[2]["body"] == {"id": PRO}
    assert (entries[3]["account"], entries[3]["status"]) == (None, 401)
    assert not any(word in json.dumps(entries) for word in (KEY, "nobody's key", "auth_key"))


def test_a_hanging_request_is_in_the_ledger_before_its_effect_and_without_status(bench: Bench) -> None:
    bench.ctl("faults", on="/v2/devices/api/set/switch", do="act_then_hang", seconds=0.6)
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{bench.running.url}/v2/devices/api/set/switch?auth_key={KEY}", json=_on(), timeout=0.2)
    request, relay = bench.http.get("/_ctl/ledger").json()
    assert (request["kind"], request["status"], relay["kind"], relay["on"]) == ("request", None, "relay", True)
    time.sleep(0.6)
    assert bench.ledger("request")[0]["status"] is None


def test_injected_answers_are_recorded_with_their_status(bench: Bench) -> None:
    bench.ctl("faults", on="switch_on", do="status", status=503)
    assert bench.switch(False).status_code == 200
    assert bench.switch(True).status_code == 503
    assert [entry["status"] for entry in bench.ledger("request")] == [200, 503]
    bench.ctl("faults", on="*", do="drop")
    with pytest.raises(httpx.RemoteProtocolError):
        bench.switch(True)
    assert bench.ledger("request")[-1]["status"] is None
    assert bench.moves() == []


def test_an_answer_that_drips_never_ends_and_moves_nothing(bench: Bench) -> None:
    bench.ctl("faults", on="switch_on", do="drip", seconds=1)
    began = time.monotonic()
    with pytest.raises(httpx.RemoteProtocolError):
        bench.switch(True)
    assert time.monotonic() - began >= 0.9
    assert bench.moves() == []


def test_a_late_command_is_carried_out_after_the_caller_has_gone(bench: Bench) -> None:
    bench.ctl("faults", on="switch_on", do="hang_before", seconds=0.2, act_after_s=0.4)
    with pytest.raises(httpx.HTTPError):
        bench.switch(True)
    assert bench.moves() == []
    bench.until(lambda: bench.moves() == [(0, True, "request")])


@pytest.mark.parametrize(
    ("path", "body", "says"),
    [
        ("devices/ffffffffffff", {"online": False}, PRO),
        (f"devices/{PRO}", {"online": "no"}, "online must be true or false"),
        (f"devices/{PRO}", {"press": 9}, "no relay channel 9"),
        (f"devices/{PRO}", {"watts": [1]}, "4 numbers"),
        (f"devices/{PRO}", {"colour": "red"}, "known: online"),
        ("accounts/nobody", {"auth_key": "x"}, "account-1"),
        ("accounts/account-1", {"auth_key": OTHER_KEY}, "Another account"),
        ("limits", {"rate_limit_s": -1}, "rate_limit_s"),
        ("limits", {"speed": 1}, "known: rate_limit_s"),
    ],
)
def test_control_requests_that_make_no_sense_are_told_why(bench: Bench, path: str, body: Any, says: str) -> None:
    answer = bench.http.post(f"/_ctl/{path}", json=body)
    assert answer.status_code == 400
    assert says in answer.json()["error"]


def test_a_control_request_happens_as_a_whole_or_not_at_all(bench: Bench) -> None:
    assert bench.http.post(f"/_ctl/devices/{PRO}", json={"press": 0, "online": 7}).status_code == 400
    assert bench.moves() == []


# -- demo and captured payloads


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


@needs_payloads
def test_captured_devices_are_served_with_28_relay_channels(clock: Clock) -> None:
    lines: list[str] = []
    bench = Bench(build(PAYLOADS, None, lines.append, rate_limit_s=0, clock=clock), clock)
    try:
        devices = bench.http.get("/_ctl/devices").json()
        assert len(devices) == 23
        assert sum(len(device["channels"]) for device in devices) == 28
        assert len(lines) == len(list(PAYLOADS.iterdir())) - 23
        assert any(line.startswith("cloud_v1_all_status__mixed-account.json passed over") for line in lines)
        first = bench.v1("/device/all_status", key=DEMO_KEY, show_info="true").json()["data"]["devices_status"]
        second = bench.v1("/device/all_status", key=f"{DEMO_KEY}-2").json()["data"]["devices_status"]
        assert (len(first), set(second)) == (22, {"ec62608c9c00"})
        assert ("cover:0" in first["ec62608c9c00"], "switch:1" in second["ec62608c9c00"]) == (True, True)
        assert first["e86beaeaa000"]["switch:0"]["apower"] == 36.7
        assert first["8cbfeaa133f0"]["_dev_info"]["gen"] == "G2"
    finally:
        bench.close()


@needs_payloads
def test_every_captured_relay_can_be_switched_and_read(clock: Clock) -> None:
    bench = Bench(build(PAYLOADS, None, lambda _: None, rate_limit_s=0, clock=clock), clock)
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


# -- what survives


def test_a_restart_keeps_relays_keys_and_ledger_and_fires_what_ran_out(clock: Clock, tmp_path: Path) -> None:
    path = tmp_path / "shelly.json"
    first = Bench(furnished(clock, state_path=path), clock)
    first.switch(True, toggle_after=100)
    first.switch(True, channel=1, toggle_after=900)
    first.switch(True, id=SAUNA)
    first.ctl("accounts/account-1", auth_key="the new key")
    before = first.http.get("/_ctl/ledger").json()
    first.close()
    clock.ahead += 500
    second = Bench(furnished(clock, state_path=path), clock)
    try:
        ledger = second.http.get("/_ctl/ledger").json()
        assert ledger[:-1] == before
        assert (ledger[-1]["cause"], ledger[-1]["on"]) == ("timer", False)
        assert ledger[-1]["t"] == pytest.approx(before[1]["t"] + 100, abs=0.01)
        assert second.relay(channel=0)["energy_wh"] == pytest.approx(2000 * 100 / 3600, rel=0.01)
        assert (second.relay(channel=1)["output"], second.relay(id=SAUNA)["output"]) == (True, True)
        assert second.v1("/device/status", id=PRO).status_code == 401
        assert second.v1("/device/status", key="the new key", id=PRO).status_code == 200
        clock.ahead += 500
        assert second.relay(channel=1)["output"] is False
    finally:
        second.close()


def test_the_state_is_on_disk_before_the_answer_leaves(clock: Clock, tmp_path: Path) -> None:
    path = tmp_path / "shelly.json"
    bench = Bench(furnished(clock, state_path=path), clock)
    try:
        bench.switch(True, toggle_after=100)
        device = next(device for device in json.loads(path.read_text())["devices"] if device["id"] == PRO)
        assert (device["relays"][0]["output"], device["relays"][0]["timer"]["duration"]) == (True, 100)
        journal = (tmp_path / "shelly.json.ledger").read_text()
        assert '"cause": "request"' in journal
    finally:
        bench.close()


def test_a_move_that_never_reached_the_state_file_is_not_in_the_ledger_either(clock: Clock, tmp_path: Path) -> None:
    path = tmp_path / "shelly.json"
    bench = Bench(furnished(clock, state_path=path), clock)
    bench.switch(True)
    saved = path.read_text()
    bench.switch(False)
    bench.close()
    path.write_text(saved)
    with (tmp_path / "shelly.json.ledger").open("a") as journal:
        journal.write('{"t": 1.0, "kind": "req')
    again = Bench(furnished(clock, state_path=path), clock)
    try:
        assert again.moves() == [(0, True, "request")]
        assert again.relay()["output"] is True
        assert [entry["status"] for entry in again.ledger("request")] == [200, 200]
    finally:
        again.close()


def test_a_stale_device_stays_stale_over_a_restart(clock: Clock, tmp_path: Path) -> None:
    path = tmp_path / "shelly.json"
    first = Bench(furnished(clock, state_path=path), clock)
    first.ctl(f"devices/{PRO}", stale=True)
    first.switch(True)
    before = first.status()
    first.close()
    second = Bench(furnished(clock, state_path=path), clock)
    try:
        assert second.status() == before
    finally:
        second.close()
