"""What a payload says: made-up ones for each shape, and the captured devices where the shared fixtures are."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from devices.shelly.payload import (
    DeviceStatus,
    parse_all_status,
    parse_device,
    parse_device_list,
    parse_v2_get,
)
from tests.captured import SHELLY, needs_shelly

ROW = re.compile(
    r"\| (?P<file>\S+\.json) \|.*?\| (?P<gen>[1-4]) \| [^|]* \|[^|]*\| (?P<count>\d+)[^(|]*\((?P<names>[^)]*)\)"
)


def test_gen1_relays_take_the_meter_of_their_own_number() -> None:
    status = {
        "relays": [{"ison": True, "source": "cloud"}, {"ison": False}],
        "meters": [{"power": 60.5, "total": 120}, {"power": 0, "total": 0}],
    }
    first, second = parse_device("a1", status, model="SHSW-25", family="G1").channels
    assert (first.output, first.watts, first.energy_wh, first.source) == (True, 60.5, 2.0, "cloud")
    assert (second.channel, second.output, second.watts, second.energy_wh) == (1, False, 0.0, 0.0)


def test_gen1_relay_without_a_real_meter_knows_no_power() -> None:
    status = {"relays": [{"ison": False}], "meters": [{"power": 0, "is_valid": True}]}
    assert parse_device("a1", status, family="G1").channels[0].watts is None


def test_gen1_meter_that_calls_itself_invalid_is_not_believed() -> None:
    status = {"relays": [{"ison": False}], "meters": [{"power": 99, "total": 5, "is_valid": False}]}
    reading = parse_device("a1", status, family="G1").channels[0]
    assert (reading.watts, reading.energy_wh) == (None, None)


def test_one_meter_for_two_relays_belongs_to_none_of_them() -> None:
    status = {"relays": [{"ison": True}, {"ison": True}], "meters": [{"power": 100, "total": 60}]}
    assert [one.watts for one in parse_device("a1", status, family="G1").channels] == [None, None]


def test_gen1_energy_meter_counts_watt_hours_of_all_its_clamps() -> None:
    clamps = [{"power": 6.5, "total": 31.5}, {"power": 1, "total": 2}, {"power": 7, "total": 9, "is_valid": False}]
    reading = parse_device("a1", {"relays": [{"ison": False}], "emeters": clamps}, family="G1").channels[0]
    assert (reading.watts, reading.energy_wh) == (7.5, 33.5)


def test_gen2_switch_block_is_read_in_watts_and_watt_hours() -> None:
    block = {"output": True, "apower": -3.5, "aenergy": {"total": 47.25}, "source": "SHC", "name": " Dryer "}
    reading = parse_device("a1", {"switch:1": block}, family="G2").channels[0]
    assert (reading.channel, reading.output, reading.watts, reading.energy_wh) == (1, True, -3.5, 47.25)
    assert (reading.source, reading.name) == ("SHC", "Dryer")


def test_gen2_channels_come_in_the_order_of_their_numbers() -> None:
    status = {f"switch:{number}": {"output": False} for number in (10, 2, 0)}
    assert [one.channel for one in parse_device("a1", status, family="G2").channels] == [0, 2, 10]


@pytest.mark.parametrize("block", [{"apower": 5}, {"output": None}, {"output": "maybe"}, [], None, "text"])
def test_switch_without_a_readable_output_is_unknown_and_not_off(block: Any) -> None:
    status = parse_device("a1", {"switch:0": block}, family="G2", online=1)
    assert status.channels[0].output is None
    assert status.has_relay_info


def test_gen2_timer_ends_at_its_start_plus_its_duration() -> None:
    block = {"output": True, "timer_started_at": 1_700_000_000.5, "timer_duration": 90}
    reading = parse_device("a1", {"switch:0": block}, family="G2").channels[0]
    assert reading.timer_ends_at == datetime.fromtimestamp(1_700_000_090.5, UTC)


@pytest.mark.parametrize(
    ("relay", "ends"),
    [
        ({"has_timer": True, "timer_started": 1_700_000_000, "timer_duration": 60, "timer_remaining": 9}, 60),
        ({"has_timer": True, "timer_started": 0, "timer_duration": 60, "timer_remaining": 45}, 55),
        ({"has_timer": False, "timer_started": 1_700_000_000, "timer_duration": 60, "timer_remaining": 0}, None),
        ({"has_timer": True, "timer_started": 12, "timer_duration": 60}, None),
        ({}, None),
    ],
    ids=["start and duration", "device clock plus the rest", "not armed", "clock never set", "nothing said"],
)
def test_gen1_timer_end(relay: dict[str, Any], ends: int | None) -> None:
    status = {"relays": [{"ison": True, **relay}], "unixtime": 1_700_000_010}
    reading = parse_device("a1", status, family="G1").channels[0]
    assert reading.timer_ends_at == (None if ends is None else datetime.fromtimestamp(1_700_000_000 + ends, UTC))


@pytest.mark.parametrize(
    ("status", "model", "family", "kind"),
    [
        ({"cover:0": {"state": "stopped"}, "input:0": {}}, "SPSW-202PE16EU", "G2", "cover"),
        ({"rollers": [{}], "meters": [{}]}, "SHSW-25", "G1", "cover"),
        ({"lights": [{}], "meters": [{}]}, "SHRGBW2", "G1", "light"),
        ({"light:0": {}}, "SNDM-0013US", "G2", "light"),
        ({"cb:0": {"output": False}, "voltmeter:0": {}}, "SPCB-02VENEU", "G2", "breaker"),
        ({"em:0": {}, "temperature:0": {}}, "SPEM-003CEBEU", "G2", "meter"),
        ({"emeters": [{}, {}]}, "SHEM", "G1", "meter"),
        ({"hum": {}, "bat": {}, "tmp": {}}, "SHHT-1", "G1", "sensor"),
        ({"devicepower:0": {}, "humidity:0": {}}, "SNSN-0013A", "G2", "sensor"),
        ({"input:0": {}, "input:1": {}}, "SNSN-0024X", "G2", "input"),
        ({"battery": 98}, "SBDW-002C", "GBLE", "ble"),
        ({"number:200": {}}, "", "V1", "virtual"),
        ({"eth": {"ip": "10.0.0.1"}, "input:0": {}}, "SPSW-104PE16EU", "G2", "unknown"),
        ({"relays": []}, "SHSW-1", "G1", "unknown"),
    ],
)
def test_device_without_relays_says_what_it_is(status: dict[str, Any], model: str, family: str, kind: str) -> None:
    device = parse_device("a1", status, model=model, family=family)
    assert (device.channels, device.has_relay_info, device.kind) == ((), False, kind)


@pytest.mark.parametrize(
    ("model", "family", "generation"),
    [
        ("SHSW-1", "G1", 1),
        ("SNSW-001P16EU", "G2", 2),
        ("S3SW-001X16EU", "G2", 3),
        ("S4PL-00416EU", "G2", 4),
        ("SAWD-0A1XX10EU1", "", 2),
        ("SHPLG-S", "", 1),
        ("SBDW-002C", "GBLE", 0),
        ("", "V1", 0),
    ],
)
def test_generation_is_more_than_the_protocol_family(model: str, family: str, generation: int) -> None:
    assert parse_device("a1", {}, model=model, family=family).generation == generation


def test_settings_know_the_true_generation() -> None:
    device = parse_device("a1", {}, model="XYZ", family="G2", settings={"DeviceInfo": {"gen": 4}})
    assert device.generation == 4


def test_mark_is_the_serial_so_that_both_apis_give_the_same() -> None:
    with_both = parse_device("a1", {"serial": 1634630341.44, "_updated": "2021-10-19 07:59:18"})
    without_updated = parse_device("a1", {"serial": 1634630341.44})
    assert with_both.mark == without_updated.mark != ""


def test_mark_falls_back_to_the_moment_of_the_push_and_is_empty_without_any() -> None:
    marks = [parse_device("a1", {"_updated": moment}).mark for moment in ("2021-10-19 07:59:18", "2021-10-19 07:59:19")]
    assert marks[0] != marks[1]
    assert parse_device("a1", {"switch:0": {"output": True}}).mark == ""


def all_status(**devices: Any) -> Any:
    return parse_all_status({"isok": True, "data": {"devices_status": devices}})


def entry(id: Any = "a8032ab12345", gen: str = "G2", online: Any = True, switch: Any = None) -> dict[str, Any]:
    info = {"_dev_info": {"id": id, "gen": gen, "code": "SNSW-001P16EU", "online": online}}
    return info if switch is None else {**info, "switch:0": switch}


def test_one_malformed_neighbour_drops_only_itself() -> None:
    parsed = all_status(
        broken0000ff="not an object",
        a=None,
        good=entry(switch={"output": True}),
        odd={"_dev_info": "x", "sys": 3},
    )
    assert [device.shelly_id for device in parsed.devices] == ["a8032ab12345", "odd"]
    assert [(one.key, one.why) for one in parsed.skipped] == [("broken0000ff", "not an object"), ("a", "not an object")]


def test_id_of_the_device_counts_and_not_the_outer_key() -> None:
    assert all_status(outer=entry("A8032AB12345")).devices[0].shelly_id == "a8032ab12345"


@pytest.mark.parametrize(
    ("raw", "gen", "id"),
    [
        (100200300400, "G1", "100200300400"),
        (3456789012, "G2", "003456789012"),
        (12345, "G1", "012345"),
        (4711, "V1", "4711"),
        ("XB48A0A1CD978", "GBLE", "xb48a0a1cd978"),
    ],
)
def test_ids_come_in_lower_case_and_with_their_lost_zeros(raw: Any, gen: str, id: str) -> None:
    assert all_status(key=entry(raw, gen)).devices[0].shelly_id == id


@pytest.mark.parametrize(("raw", "online"), [(True, True), (1, True), (False, False), (0, False), (None, False)])
def test_online_is_a_bool_or_a_number(raw: Any, online: bool) -> None:
    assert all_status(key=entry(online=raw)).devices[0].online is online


def test_the_same_id_twice_keeps_the_entry_with_relays() -> None:
    parsed = all_status(a=entry("AB"), b=entry("ab", switch={"output": False}))
    assert [(device.shelly_id, len(device.channels)) for device in parsed.devices] == [("ab", 1)]
    assert parsed.skipped[0].why == "the same id twice"


@pytest.mark.parametrize("answer", [None, [], {}, {"data": []}, {"data": {"devices_status": []}}, "text", 7])
def test_an_answer_without_devices_is_an_empty_one(answer: Any) -> None:
    assert parse_all_status(answer).devices == ()
    assert parse_device_list(answer).devices == ()
    assert parse_v2_get(answer).devices == ()


def test_v2_entry_is_read_and_its_odd_neighbours_are_skipped() -> None:
    good = {
        "id": "B48A0A1CD978",
        "type": "relay",
        "code": "SNPL-00112EU",
        "gen": "G2",
        "online": 1,
        "status": {"switch:0": {"output": False}, "ble": []},
    }
    parsed = parse_v2_get([good, "text", {"code": "without id"}])
    assert [(one.shelly_id, one.model, one.online, len(one.channels)) for one in parsed.devices] == [
        ("b48a0a1cd978", "SNPL-00112EU", True, 1)
    ]
    assert len(parsed.skipped) == 2


def test_v2_entry_without_a_status_claims_nothing_about_relays() -> None:
    device = parse_v2_get([{"id": "ab", "code": "SPSW-104PE16EU", "gen": "G2", "online": 0}]).devices[0]
    assert (device.online, device.has_relay_info, device.mark) == (False, False, "")


def test_device_list_gives_one_entry_per_channel_with_tidy_names() -> None:
    listed = parse_device_list(
        {
            "data": {
                "devices": {
                    "C45B": {"id": "C45B", "type": "SHSW-25", "gen": 1, "channels_count": 2, "name": "unnamed"},
                    "c45b_1": {
                        "id": "c45b_1",
                        "type": "SHSW-25",
                        "gen": "G1",
                        "channel": 1,
                        "name": "  Garage   Door ",
                    },
                    "bad": [],
                    "far": {"id": "far", "channel": 999},
                }
            }
        }
    )
    assert [(one.shelly_id, one.channel, one.name, one.generation) for one in listed.devices] == [
        ("c45b", 0, None, 1),
        ("c45b", 1, "Garage Door", 1),
    ]
    assert [one.key for one in listed.skipped] == ["bad", "far"]


def captured(path: Path) -> DeviceStatus:
    """A device file as the cloud would tell it."""
    raw = json.loads(path.read_text())
    shelly = raw["shelly"]
    return parse_device(
        shelly["mac"].lower(),
        raw["status"],
        model=shelly.get("model") or shelly["type"],
        family="G1" if "type" in shelly else "G2",
        online=1,
        settings=raw.get("settings") or raw.get("config"),
    )


def readme_rows() -> list[tuple[str, int, int, list[str | None]]]:
    """(file, generation, channels, their names) of each device file, as the README of the fixtures says."""
    rows = []
    for hit in ROW.finditer((SHELLY / "README.md").read_text()):
        count = int(hit["count"])
        names = [None if name == "None" else name for name in hit["names"].split(", ")] if count else []
        rows.append((hit["file"], int(hit["gen"]), count, names))
    return rows


@needs_shelly
def test_captured_devices_have_exactly_the_28_channels_in_23_files_of_their_readme() -> None:
    rows = readme_rows()
    assert (len(rows), sum(count for _, _, count, _ in rows)) == (23, 28)
    for file, generation, count, names in rows:
        device = captured(SHELLY / file)
        assert (file, device.generation, len(device.channels)) == (file, generation, count)
        assert (file, [one.name for one in device.channels]) == (file, names)
        assert all(one.output is not None for one in device.channels), file


@needs_shelly
def test_captured_status_of_the_documentation_is_read() -> None:
    raw = json.loads((SHELLY / "cloud_v1_device_status__SNSW-001P16EU.json").read_text())["data"]["device_status"]
    device = parse_device(raw["id"], raw, online=True)
    assert (device.model, device.generation, device.mark) == ("SNSW-001P16EU", 2, "serial 1634630341.44")
    assert (device.channels[0].output, device.channels[0].energy_wh) == (False, 0.031)


@needs_shelly
def test_captured_v2_answer_without_a_switch_block_claims_nothing() -> None:
    parsed = parse_v2_get(json.loads((SHELLY / "cloud_v2_devices_api_get__SNPL-00112EU.json").read_text()))
    assert [(one.shelly_id, one.online, one.has_relay_info, one.mark) for one in parsed.devices] == [
        ("b48a0a1cd978", True, False, "")
    ]
