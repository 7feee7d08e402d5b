"""The plant's house has the Shelly simulator's relays in it: what they switch is load on their phases."""

from __future__ import annotations

import time
from collections.abc import Callable

from hygate.simulators import shelly, sigenergy
from hygate.simulators.base import RunningSimulator
from hygate.simulators.sigenergy.wired import loads_of
from tests import loopback

CAR, SAUNA = "a4cf1210c001", "34945410c025"


def until(holds: Callable[[], bool], within_s: float = 10.0) -> None:
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.05)


def test_a_car_draws_on_all_phases_and_a_sauna_on_one() -> None:
    def device(id: str, load_w: float, watts: float) -> dict[str, object]:
        return {"id": id, "channels": [{"channel": 0, "load_w": load_w, "watts": watts}]}

    assert loads_of([device(CAR, 11_000, 0), device(SAUNA, 2200, 2200), device("0", 0, 0)]) == {
        f"{CAR}:0": {"watts": 11_000, "phase": 0, "on": False},
        f"{SAUNA}:0": {"watts": 2200, "phase": 1, "on": True},
    }


def test_a_relay_that_goes_on_is_seen_by_the_meter_and_stays_while_the_cloud_is_away() -> None:
    cloud = RunningSimulator(shelly.build(None, None, lambda _line: None)).start()
    simulator = sigenergy.build(shelly_url=cloud.url)
    house = RunningSimulator(simulator).start()
    try:
        until(lambda: f"{CAR}:0" in simulator.plant.knobs.loads)
        before_w = simulator.plant.flows().load_w
        knob = loopback.post(f"{cloud.url}/_ctl/devices/{CAR}", json={"press": 0})
        assert knob.status_code == 200, knob.text
        until(lambda: simulator.plant.flows().load_w >= before_w + 10_000)
        cloud.stop()
        time.sleep(1.5)
        assert simulator.plant.flows().load_w >= before_w + 10_000
    finally:
        house.stop()
        cloud.stop()
