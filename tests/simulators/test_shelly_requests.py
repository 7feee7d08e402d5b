"""What the simulated Shelly cloud is asked: its keys and routes, and both of its APIs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.simulators.shelly_bench import COVER, FOREIGN, KEY, PRO, SAUNA, SENSOR, Bench, Clock, furnished


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
