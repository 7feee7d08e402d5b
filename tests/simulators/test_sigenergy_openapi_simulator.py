"""The simulated Sigenergy cloud over real sockets: each test is a sentence about what the real one does or refuses."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from hygate.simulators.base import RunningSimulator
from hygate.simulators.sigenergy import SigenergySimulator, build
from hygate.simulators.sigenergy.openapi import DEMO_APP_KEY, DEMO_APP_SECRET, DEMO_SYSTEM_ID
from tests import loopback

BROWSER = {"User-Agent": "Mozilla/5.0 (compatible)"}
FLOW = f"/openapi/systems/{DEMO_SYSTEM_ID}/energyFlow"


class Clock:
    """Business time of the simulator, moved by hand."""

    def __init__(self) -> None:
        self.now = 1_795_262_400.0

    def __call__(self) -> float:
        return self.now


class Bench:
    """A running simulator, and requests as a browser would send them."""

    def __init__(self, simulator: SigenergySimulator, clock: Clock) -> None:
        self.simulator, self.clock = simulator, clock
        self.running = RunningSimulator(simulator).start()
        self.http = loopback.client(base_url=self.running.url, headers=BROWSER, timeout=5)

    def close(self) -> None:
        self.http.close()
        self.running.stop()

    def login(self, secret: str = DEMO_APP_SECRET, *, padded: bool = True) -> dict[str, Any]:
        key = base64.b64encode(f"{DEMO_APP_KEY}:{secret}".encode()).decode()
        answer = self.http.post("/openapi/auth/login/key", json={"key": key if padded else key.rstrip("=")})
        body: dict[str, Any] = answer.json()
        return body

    def token(self) -> str:
        token: str = json.loads(self.login()["data"])["accessToken"]
        return token

    def get(self, path: str, token: str = "") -> httpx.Response:
        return self.http.get(path, headers={"Authorization": f"Bearer {token or self.token()}"})

    def code(self, path: str, token: str = "") -> int:
        code: int = self.get(path, token).json()["code"]
        return code

    def ctl(self, path: str, **body: Any) -> httpx.Response:
        return self.http.post(f"/_ctl/{path}", json=body)


@pytest.fixture
def bench() -> Iterator[Bench]:
    clock = Clock()
    made = Bench(build(clock=clock), clock)
    try:
        yield made
    finally:
        made.close()


# -- who is let in


@pytest.mark.parametrize("padded", [True, False])
def test_login_answers_a_json_string(bench: Bench, padded: bool) -> None:
    body = bench.login(padded=padded)
    assert body["code"] == 0
    assert isinstance(body["data"], str)
    assert json.loads(body["data"])["expiresIn"] == 43199


def test_wrong_secret_is_11003(bench: Bench) -> None:
    assert bench.login("wrong")["code"] == 11003


def test_fifth_wrong_login_within_an_hour_locks_for_three_minutes(bench: Bench) -> None:
    for _ in range(5):
        assert bench.login("wrong")["code"] == 11003
    assert bench.login()["code"] == 11002
    bench.clock.now += 180
    assert bench.login()["code"] == 0


def test_wrong_logins_of_more_than_an_hour_do_not_lock(bench: Bench) -> None:
    for _ in range(6):
        assert bench.login("wrong")["code"] == 11003
        bench.clock.now += 900


@pytest.mark.parametrize("body", ["", "[]", "{}", '{"key": 7}', '{"key": "%%%"}'])
def test_login_that_makes_no_sense_is_11003(bench: Bench, body: str) -> None:
    assert bench.http.post("/openapi/auth/login/key", content=body).json()["code"] == 11003


def test_unknown_token_is_401(bench: Bench) -> None:
    assert bench.get(FLOW, "unknown").status_code == 401


def test_token_ends_after_twelve_hours(bench: Bench) -> None:
    token = bench.token()
    bench.clock.now += 43198
    assert bench.get(FLOW, token).status_code == 200
    bench.clock.now += 1
    assert bench.get(FLOW, token).status_code == 401


def test_program_that_is_no_browser_gets_a_web_page(bench: Bench) -> None:
    answer = loopback.get(bench.running.url + FLOW, timeout=5)
    assert (answer.status_code, answer.headers["content-type"]) == (403, "text/html; charset=utf-8")


# -- the limits


def test_same_question_within_five_minutes_is_1201(bench: Bench) -> None:
    token = bench.token()
    assert bench.code(FLOW, token) == 0
    bench.clock.now += 299
    assert bench.code(FLOW, token) == 1201
    bench.clock.now += 1
    assert bench.code(FLOW, token) == 0


def test_another_question_is_free(bench: Bench) -> None:
    token = bench.token()
    assert [bench.code(path, token) for path in (FLOW, "/openapi/system")] == [0, 0]


def test_eleventh_request_of_a_minute_is_1110(bench: Bench) -> None:
    assert [bench.login()["code"] for _ in range(11)] == [0] * 10 + [1110]
    bench.clock.now += 60
    assert bench.login()["code"] == 0


def test_limits_are_forgotten_on_request(bench: Bench) -> None:
    token = bench.token()
    bench.get(FLOW, token)
    bench.http.delete("/_ctl/openapi/limits")
    assert bench.code(FLOW, token) == 0


# -- what it says


def test_grid_power_is_positive_when_the_site_sells(bench: Bench) -> None:
    bench.ctl("plant", pv_w=5000, load_w=1000, battery_charge_w=0)
    data = bench.get(FLOW).json()["data"]
    assert (data["pvPower"], data["loadPower"], data["gridPower"]) == (5.0, 1.0, 4.0)


def test_battery_power_is_positive_when_it_charges(bench: Bench) -> None:
    bench.ctl("plant", pv_w=5000, load_w=1000, battery_charge_w=1500)
    assert bench.get(FLOW).json()["data"]["batteryPower"] == 1.5


def test_list_of_stations_is_a_json_string(bench: Bench) -> None:
    bench.ctl("plant", running_state=2)
    (station,) = json.loads(bench.get("/openapi/system").json()["data"])
    assert (station["systemId"], station["status"], station["onOffGridStatus"]) == (DEMO_SYSTEM_ID, "Fault", "onGrid")


def test_station_that_does_not_exist_is_1111(bench: Bench) -> None:
    assert bench.code("/openapi/systems/OTHER/energyFlow") == 1111


def test_plant_without_a_connection_is_13008(bench: Bench) -> None:
    bench.ctl("openapi", offline=True)
    assert bench.code(FLOW) == 13008


# -- its control plane


@pytest.mark.parametrize("body", [{"app_key": 7}, {"offline": "yes"}, {"unknown": True}, {"token_lasts_s": True}])
def test_setting_that_does_not_exist_or_fit_is_refused(bench: Bench, body: dict[str, Any]) -> None:
    before = bench.http.get("/_ctl/openapi").json()
    assert bench.ctl("openapi", **body).status_code == 400
    assert bench.http.get("/_ctl/openapi").json() == before


def test_every_request_is_in_the_ledger_without_its_key(bench: Bench) -> None:
    bench.get(FLOW)
    entries = [entry for entry in bench.http.get("/_ctl/ledger").json() if entry["kind"] == "openapi"]
    assert [(entry["what"], entry["code"]) for entry in entries] == [("login", 0), ("energyFlow", 0)]
    assert DEMO_APP_SECRET not in str(entries)


def test_portal_hands_out_the_brokers_certificates(bench: Bench) -> None:
    shown = bench.http.get("/_ctl/mqtt").json()
    assert shown["port"] == bench.simulator.mqtt.port
    assert all("-----BEGIN" in shown[name] for name in ("ca_pem", "client_pem", "client_key_pem"))


@pytest.mark.parametrize("body", [{"period_s": 0}, {"period_s": "5"}, {"discards": 1}, {"unknown": True}])
def test_knob_of_the_push_that_does_not_exist_or_fit_is_refused(bench: Bench, body: dict[str, Any]) -> None:
    assert bench.ctl("mqtt", **body).status_code == 400
