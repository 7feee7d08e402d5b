"""What a sync shows: every relay channel with its best name, and a reason for all that cannot be sold."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from devices.shelly.cloud import ShellyCloud
from devices.shelly.discovery import FoundChannel, discover, merged
from devices.shelly.payload import ChannelReading, DeviceStatus, Kind, ListedDevice
from hygate.simulators.base import RunningSimulator
from hygate.simulators.shelly import ShellySimulator
from tests.captured import SHELLY, needs_shelly

KEY = "key-of-the-campsite"


def status(
    *names: str | None, online: bool = True, name: str | None = None, output: bool | None = False
) -> DeviceStatus:
    channels = tuple(ChannelReading("a1", number, output, name=own) for number, own in enumerate(names))
    return DeviceStatus("a1", "SHSW-25", 1, online, channels, "serial 1", bool(names), "relay", name)


def listed(channel: int = 0, name: str | None = None, **more: Any) -> ListedDevice:
    return ListedDevice("a1", channel, name, "SHSW-25", 1, **{"category": "relay", **more})


def names(rows: tuple[FoundChannel, ...]) -> list[str]:
    return [row.name for row in rows]


def test_row_has_exactly_the_promised_keys() -> None:
    assert merged([status(None)], [])[0].as_json() == {
        "shelly_id": "a1",
        "channel": 0,
        "name": "Shelly SHSW-25",
        "model": "SHSW-25",
        "generation": 1,
        "online": True,
        "output": False,
        "sellable": True,
        "reason": "",
    }


def test_name_in_the_app_wins_over_all_others() -> None:
    assert names(merged([status("Own", name="Device")], [listed(name="Alias")])) == ["Alias"]
    assert names(merged([status("Own", name="Device")], [listed()])) == ["Own"]
    assert names(merged([status(None, name="Device")], [])) == ["Device"]


def test_people_count_channels_from_one() -> None:
    assert names(merged([status(None, None)], [])) == ["Shelly SHSW-25 channel 1", "Shelly SHSW-25 channel 2"]


def test_channels_that_would_share_a_name_get_their_number() -> None:
    assert names(merged([status(None, None, name="Box")], [])) == ["Box channel 1", "Box channel 2"]
    long = "x" * 60
    assert names(merged([status(long, long)], [])) == ["x" * 50 + " channel 1", "x" * 50 + " channel 2"]


def test_alias_of_one_channel_is_not_lent_to_the_other() -> None:
    assert names(merged([status(None, None)], [listed(1, "Dryer")])) == ["Shelly SHSW-25 channel 1", "Dryer"]


def test_relay_that_is_offline_is_still_for_sale() -> None:
    row = merged([status(None, online=False)], [])[0]
    assert (row.sellable, row.online, row.reason) == (True, False, "offline")


def test_relay_whose_output_cannot_be_read_is_not() -> None:
    row = merged([status(None, output=None)], [])[0]
    assert (row.channel, row.sellable, bool(row.reason)) == (0, False, True)


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        ("cover", "cover profile"),
        ("light", "light"),
        ("meter", "energy meter"),
        ("breaker", "circuit breaker"),
        ("sensor", "sensor"),
        ("input", "inputs"),
        ("ble", "BLE"),
        ("virtual", "virtual"),
        ("unknown", "no relay reported"),
    ],
)
def test_device_without_a_relay_is_one_row_with_a_reason(kind: Kind, word: str) -> None:
    rows = merged([DeviceStatus("a1", "X", 2, True, kind=kind)], [])
    assert [(row.channel, row.output, row.sellable) for row in rows] == [(None, None, False)]
    assert word in rows[0].reason


def test_list_says_what_a_silent_status_does_not() -> None:
    bare = DeviceStatus("a1", "", 1, True)
    assert "light" in merged([bare], [listed(category="light")])[0].reason
    assert "cover" in merged([bare], [listed(mode="roller")])[0].reason
    assert merged([bare], [listed(name="Alias")])[0].name == "Alias"


def test_listed_relay_without_a_status_shows_all_its_channels() -> None:
    rows = merged([], [listed(name="Landing", channels_count=2)])
    assert [(row.channel, row.name, row.sellable, row.reason) for row in rows] == [
        (0, "Landing", False, "no status yet"),
        (1, "Shelly SHSW-25 channel 2", False, "no status yet"),
    ]


@pytest.mark.parametrize("category", ["light", "emeter", "sensor"])
def test_listed_thing_of_another_kind_has_no_channels(category: str) -> None:
    rows = merged([], [listed(category=category, channels_count=2), listed(1, category=category)])
    assert [(row.channel, row.sellable) for row in rows] == [(None, False)]


def test_empty_account_has_nothing() -> None:
    assert merged([], []) == ()


@pytest.fixture
def simulator() -> Iterator[RunningSimulator]:
    furnished = ShellySimulator(rate_limit_s=0)
    if SHELLY.is_dir():
        furnished.add_raw_account(
            "mixed", all_status=captured("all_status"), device_list=captured("interface_device_list")
        )
    furnished.add_account(KEY)
    furnished.add_device(KEY, "34987a000001", "SPSW-202PE16EU", channels=2, channel_names=("Sauna", None))
    furnished.add_device(KEY, "349454000002", "SHSW-25", channels=0, gen=1, mode="roller")
    running = RunningSimulator(furnished).start()
    yield running
    running.stop()


def captured(what: str) -> Any:
    return json.loads((SHELLY / f"cloud_v1_{what}__mixed-account.json").read_text())


def test_discovery_is_two_requests_with_the_callers_pause_between(simulator: RunningSimulator) -> None:
    paused: list[int] = []

    def requests() -> list[str]:
        return [entry["path"] for entry in simulator.simulator.ledger.entries if entry["kind"] == "request"]

    rows = discover(ShellyCloud(simulator.url, KEY), lambda _answered: paused.append(len(requests())))
    assert paused == [1]
    assert requests() == ["/device/all_status", "/interface/device/list"]
    assert [(row.shelly_id, row.channel, row.sellable) for row in rows] == [
        ("34987a000001", 0, True),
        ("34987a000001", 1, True),
        ("349454000002", None, False),
    ]
    assert rows[0].name == "Sauna"
    assert "cover profile" in rows[2].reason


@needs_shelly
def test_mixed_account_shows_what_the_ruling_says(
    simulator: RunningSimulator, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        rows = discover(ShellyCloud(simulator.url, "mixed"), lambda _answered: None)
    found = {(row.shelly_id, row.channel): row for row in rows}
    for_sale = {key: row.name for key, row in found.items() if row.sellable}
    assert for_sale == {("a8032ab1c2d3", 0): "Water Heater Supply", ("a8032ab12345", 0): "Kitchen Lamp"}
    assert {key: row.name for key, row in found.items() if row.reason == "no status yet"} == {
        ("485519aabbcc", 0): "Landing",
        ("485519aabbcc", 1): "Hallway",
        ("c45bbe010203", 0): "Shelly SHSW-25 channel 1",
        ("c45bbe010203", 1): "Garage Door",
    }
    assert {key for key, row in found.items() if row.reason == "no relay reported"} == {
        ("ecc9ff00aa11", None),
        ("dc4f2276846a", None),
    }
    assert "light" in found["a1b2c3", None].reason
    assert "BLE" in found["7c2e0d112233", None].reason
    assert "energy meter" in found["100200300400", None].reason
    assert all(row.sellable or row.reason for row in rows)
    assert not any("broken" in row.shelly_id for row in rows)
    assert "broken0000ff" in caplog.text


@needs_shelly
def test_captured_devices_of_the_fixtures_show_their_28_channels() -> None:
    furnished = ShellySimulator(rate_limit_s=0)
    furnished.load_payloads(SHELLY)
    running = RunningSimulator(furnished).start()
    try:
        keys = [account.key for account in furnished.cloud.accounts]
        rows = [row for key in keys for row in discover(ShellyCloud(running.url, key), lambda _answered: None)]
    finally:
        running.stop()
    assert sum(row.sellable for row in rows) == 28
    assert {row.reason for row in rows if row.channel is not None} <= {"", "offline"}
    assert len({row.shelly_id for row in rows}) == 22  # the Pro 2PM was captured in both of its profiles
