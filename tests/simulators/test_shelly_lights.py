"""The simulated cloud's lights: what set/light does, what it refuses, and what is written down."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hygate.simulators.shelly import DEMO_KEY, build
from tests.simulators.shelly_bench import COVER, FOREIGN, KEY, PRO, SENSOR, Bench, Clock, furnished

BULB, LAMP = "3494540000b1", "a8032a0000b2"


def lit(clock: Clock, **options: Any) -> Bench:
    simulator = furnished(clock, **options)
    simulator.add_device(KEY, BULB, "SHBDUO-1", channels=0, name="Entrance", gen=1, mode="light")
    simulator.add_device(KEY, LAMP, "SNDC-0D4P10WW", channels=0, mode="light")
    return Bench(simulator, clock)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def bench(clock: Clock) -> Iterator[Bench]:
    made = lit(clock)
    yield made
    made.close()


def lights(bench: Bench) -> dict[str, bool]:
    devices = bench.http.get("/_ctl/devices").json()
    return {device["id"]: one["output"] for device in devices for one in device["lights"]}


def test_a_light_is_switched_and_says_so(bench: Bench) -> None:
    answer = bench.v2("set/light", {"id": BULB, "channel": 0, "on": True})
    assert (answer.status_code, answer.content) == (200, b"")
    bench.v2("set/light", {"id": LAMP, "on": True})
    assert bench.status(BULB)["lights"][0]["ison"] is True
    assert bench.status(BULB)["lights"][0]["source"] == "cloud"
    assert bench.status(LAMP)["light:0"]["output"] is True
    assert lights(bench) == {BULB: True, LAMP: True}


def test_the_ledger_notes_every_move_of_a_light_once(bench: Bench) -> None:
    for on in (True, True, False):
        bench.v2("set/light", {"id": BULB, "on": on})
    assert [(entry["device"], entry["on"]) for entry in bench.ledger("light")] == [(BULB, True), (BULB, False)]
    assert bench.moves() == [], "no relay has moved"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"id": PRO, "on": True}, "DEVICE_FAILED_COMMAND"),
        ({"id": COVER, "on": True}, "DEVICE_FAILED_COMMAND"),
        ({"id": SENSOR, "on": True}, "DEVICE_FAILED_COMMAND"),
        ({"id": BULB, "channel": 1, "on": True}, "DEVICE_INVALID_CHANNEL"),
        ({"id": FOREIGN, "on": True}, "no_permissions"),
        ({"id": "ffffffffffff", "on": True}, "no_permissions"),
        ({"id": 7, "on": True}, "BAD_REQUEST"),
        ({"id": BULB}, "BAD_REQUEST"),
        ({"id": BULB, "on": "yes"}, "BAD_REQUEST"),
        ({"id": BULB, "on": True, "channel": "0"}, "BAD_REQUEST"),
        ({"id": BULB, "on": True, "brightness": 50}, "BAD_REQUEST"),
        ({"id": BULB, "on": True, "toggle_after": 5}, "BAD_REQUEST"),
    ],
)
def test_what_is_no_light_here_is_refused_by_name(bench: Bench, body: Any, code: str) -> None:
    answer = bench.v2("set/light", body)
    assert (answer.status_code, answer.json()["error"]) == (400, code)
    assert bench.ledger("light") == []
    assert bench.moves() == []


def test_a_light_that_is_offline_stays_as_it_is(bench: Bench) -> None:
    bench.ctl(f"devices/{BULB}", online=False)
    answer = bench.v2("set/light", {"id": BULB, "on": True})
    assert (answer.status_code, answer.json()["error"]) == (400, "DEVICE_OFFLINE")
    assert lights(bench)[BULB] is False


def test_a_relays_command_moves_no_light(bench: Bench) -> None:
    assert bench.switch(True, id=BULB).json()["error"] == "DEVICE_FAILED_COMMAND"
    assert lights(bench)[BULB] is False


def test_a_light_is_filed_as_a_light(bench: Bench) -> None:
    listed = bench.v1("/interface/device/list").json()["data"]["devices"]
    assert [(listed[id]["category"], listed[id]["channels_count"]) for id in (BULB, LAMP)] == [("light", 1)] * 2
    assert listed[BULB]["name"] == "Entrance"


def test_a_restart_keeps_the_lights_and_their_ledger(clock: Clock, tmp_path: Path) -> None:
    path = tmp_path / "shelly.json"
    first = lit(clock, state_path=path)
    first.v2("set/light", {"id": BULB, "on": True})
    first.switch(True)
    first.close()
    second = lit(clock, state_path=path)
    try:
        assert lights(second) == {BULB: True, LAMP: False}
        assert second.status(BULB)["lights"][0]["ison"] is True
        assert (len(second.ledger("light")), len(second.ledger("relay"))) == (1, 1)
    finally:
        second.close()


def test_the_demo_has_a_lamp_and_a_sensor(clock: Clock) -> None:
    bench = Bench(build(None, None, print, rate_limit_s=0, clock=clock), clock)
    try:
        devices = bench.http.get("/_ctl/devices").json()
        assert [device["name"] for device in devices if device["lights"]] == ["Entrance lamp"]
        listed = bench.v1("/interface/device/list", key=DEMO_KEY).json()["data"]["devices"].values()
        assert {"Entrance lamp": "light", "Laundry climate": "sensor"}.items() <= {
            entry["name"]: entry["category"] for entry in listed
        }.items()
    finally:
        bench.close()
