"""A simulated Shelly cloud with two accounts, and the requests that tests send to it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import httpx

from hygate.simulators.base import RunningSimulator
from hygate.simulators.shelly import ShellySimulator
from tests import loopback

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
        self.http = loopback.client(base_url=self.running.url, timeout=5)

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


def on_body() -> dict[str, Any]:
    """What ``switch(True)`` sends, for clients with a time-out of their own."""
    return {"id": PRO, "on": True}
