"""What the simulated Shelly cloud knows of a device, and when it hears of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.simulators.shelly_bench import PRO, SAUNA, SENSOR, Bench, Clock, furnished


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def bench(clock: Clock) -> Iterator[Bench]:
    bench = Bench(furnished(clock), clock)
    yield bench
    bench.close()


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
