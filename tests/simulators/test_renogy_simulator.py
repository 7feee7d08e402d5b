"""The Renogy simulator over real sockets: each test is a sentence about what the real service does or refuses."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from hygate.simulators.base import RunningSimulator
from hygate.simulators.renogy import DEMO_ACCESS_KEY, DEMO_SECRET_KEY, RenogySimulator, build
from tests import loopback

HUB, INVERTER, CONTROLLER, BATTERY = "9000000001", "90000000011", "90000000012", "90000000013"
FEBRUARY = "year=2026&month=2&utcOffsetHours=1"


def sign(text: str, secret: str = DEMO_SECRET_KEY) -> str:
    """The document's own Python, "calc_sign": not the product's, so that one mistake cannot stand in both."""
    return base64.b64encode(hmac.new(secret.encode(), text.encode(), hashlib.sha256).digest()).decode()


class Bench:
    """A running simulator and signed requests to it."""

    def __init__(self, simulator: RenogySimulator) -> None:
        self.simulator = simulator
        self.running = RunningSimulator(simulator).start()
        self.http = loopback.client(base_url=self.running.url, timeout=5)

    def close(self) -> None:
        self.http.close()
        self.running.stop()

    def get(self, path: str, params: str = "", *, signed: str | None = None, **headers: str) -> httpx.Response:
        """``signed``: what stands behind "{ts}." in the signed text, where it is not the rightful path and params."""
        timestamp = headers.get("Timestamp", str(int(time.time() * 1000)))
        text = f"{timestamp}." + (f"{path}.{params}" if signed is None else signed)
        own = {"Access-Key": DEMO_ACCESS_KEY, "Timestamp": timestamp, "Signature": sign(text)}
        return self.http.get(path + (f"?{params}" if params else ""), headers={**own, **headers})

    def ctl(self, path: str, **body: Any) -> httpx.Response:
        return self.http.post(f"/_ctl/{path}", json=body)


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench(build())
    try:
        yield made
    finally:
        made.close()


# -- who is let in


def test_a_right_signature_is_let_in(bench: Bench) -> None:
    assert bench.get("/device/list").status_code == 200


def test_parameters_belong_to_the_signature(bench: Bench) -> None:
    assert bench.get(f"/device/data/history/{CONTROLLER}", FEBRUARY).status_code == 200


@pytest.mark.parametrize(
    "signed",
    ["/list.", "/device/list", "/device/list.?", ".", "/device/list/.", "/device/list.year=2026"],
    ids=["short path", "no trailing dot", "a question mark", "no path", "a slash too many", "other parameters"],
)
def test_any_other_signed_text_is_refused(bench: Bench, signed: str) -> None:
    assert bench.get("/device/list", signed=signed).status_code == 401


@pytest.mark.parametrize(
    "signed",
    [
        f"/device/data/history/{CONTROLLER}.?{FEBRUARY}",
        f"/data/history/{CONTROLLER}.{FEBRUARY}",
        f"/device/data/history/{CONTROLLER}.",
        f"/device/data/history/{CONTROLLER}?{FEBRUARY}.",
    ],
)
def test_the_documents_own_example_of_parameters_is_refused(bench: Bench, signed: str) -> None:
    assert bench.get(f"/device/data/history/{CONTROLLER}", FEBRUARY, signed=signed).status_code == 401


@pytest.mark.parametrize(
    "headers",
    [{"Access-Key": "nobody"}, {"Signature": ""}, {"Signature": "AAAA"}, {"Timestamp": ""}, {"Timestamp": "x"}],
)
def test_a_missing_or_strange_header_is_refused(bench: Bench, headers: dict[str, str]) -> None:
    assert bench.get("/device/list", **headers).status_code == 401


@pytest.mark.parametrize("off_s", [-400, 400])
def test_a_time_too_far_off_is_refused(bench: Bench, off_s: int) -> None:
    timestamp = str(int((time.time() + off_s) * 1000))
    assert bench.get("/device/list", Timestamp=timestamp).status_code == 401
    bench.ctl("habits", skew_s=500)
    assert bench.get("/device/list", Timestamp=timestamp).status_code == 200


def test_the_thirty_first_request_of_a_minute_is_refused(bench: Bench) -> None:
    assert {bench.get("/device/list").status_code for _ in range(30)} == {200}
    assert bench.get("/device/list").status_code == 429


def test_the_limit_is_over_a_minute_later(bench: Bench) -> None:
    bench.ctl("habits", per_minute=1)
    bench.get("/device/list")
    bench.simulator.clock = lambda: time.time() + 61
    assert bench.get("/device/list").status_code == 200


def test_requests_that_were_refused_for_their_key_do_not_count(bench: Bench) -> None:
    bench.ctl("habits", per_minute=1)
    bench.get("/device/list", Signature="AAAA")
    assert bench.get("/device/list").status_code == 200


@pytest.mark.parametrize(("kind", "text"), [("empty", ""), ("text", "<html>"), ("json", '{"message"')])
def test_a_refusal_carries_the_body_it_is_told_to(bench: Bench, kind: str, text: str) -> None:
    bench.ctl("habits", error_body=kind)
    answer = bench.get("/device/list", Signature="AAAA")
    assert answer.status_code == 401 and answer.text.startswith(text) and bool(answer.text) == bool(text)


# -- what it says


def test_the_list_has_the_holes_of_the_real_one(bench: Bench) -> None:
    (hub,) = bench.get("/device/list").json()
    assert hub["connectType"] == "" and len(hub["sublist"]) == 4
    assert {sub["sn"] for sub in hub["sublist"]} == {""}


def test_an_offline_device_stays_listed_and_answers_old_values_without_a_time(bench: Bench) -> None:
    before = bench.get(f"/device/data/latest/{BATTERY}").json()
    bench.ctl(f"devices/{BATTERY}", online=False)
    (hub,) = bench.get("/device/list").json()
    assert [sub["onlineStatus"] for sub in hub["sublist"]].count("offline") == 1
    assert bench.get(f"/device/data/latest/{BATTERY}").json() == before


def test_currents_are_milliamperes_whatever_the_datamap_claims(bench: Bench) -> None:
    data = bench.get(f"/device/data/latest/{INVERTER}").json()["data"]
    units = {row["name"]: row["unit"] for row in bench.get(f"/device/datamap/{INVERTER}").json()}
    assert data["outputVolts"] * data["outputAmps"] / 1000 == pytest.approx(data["loadActiveWatts"], rel=0.01)
    assert units["outputAmps"] == "A"


def test_numbers_can_be_texts_and_nulls_stay_nulls(bench: Bench) -> None:
    bench.ctl("habits", strings=True)
    data = bench.get(f"/device/data/latest/{INVERTER}").json()["data"]
    assert data["outputVolts"] == "230.00" and data["loadWatts"] is None


@pytest.mark.parametrize("what", ["datamap", "data/latest", "alarm", "log"])
def test_an_unknown_device_is_not_found(bench: Bench, what: str) -> None:
    assert bench.get(f"/device/{what}/1").status_code == 404


@pytest.mark.parametrize("params", ["", "year=2026&month=13&utcOffsetHours=0", "year=x&month=1&utcOffsetHours=0"])
def test_a_history_of_no_month_is_refused(bench: Bench, params: str) -> None:
    assert bench.get(f"/device/data/history/{CONTROLLER}", params).status_code == 400


def test_a_history_is_the_same_each_time_it_is_asked(bench: Bench) -> None:
    first, second = (bench.get(f"/device/data/history/{CONTROLLER}", FEBRUARY).json() for _ in range(2))
    assert first == second and len(first) == 28


def test_alarms_and_log_are_those_that_were_set(bench: Bench) -> None:
    bench.ctl(f"devices/{HUB}", alarms=[{"code": 1}], log=[{"content": str(n)} for n in range(201)])
    assert bench.get(f"/device/alarm/{HUB}").json() == [{"code": 1}]
    assert len(bench.get(f"/device/log/{HUB}").json()) == 200


# -- the control plane


def test_values_are_laid_over_what_was_there(bench: Bench) -> None:
    bench.ctl(f"devices/{BATTERY}", latest={"batteryLevel": 12.5})
    data = bench.get(f"/device/data/latest/{BATTERY}").json()["data"]
    assert data["batteryLevel"] == 12.5 and data["presentVolts"] == 13.4


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (f"devices/{BATTERY}", {"online": "yes"}),
        (f"devices/{BATTERY}", {"colour": "red"}),
        ("devices/1", {"online": True}),
        ("habits", {"per_minute": "many"}),
        ("habits", {"error_body": "song"}),
        ("habits", {"mood": 1}),
    ],
)
def test_a_control_request_that_makes_no_sense_changes_nothing(bench: Bench, path: str, body: dict[str, Any]) -> None:
    before = [bench.http.get(f"/_ctl/{what}").json() for what in ("devices", "habits")]
    assert bench.ctl(path, **body).status_code == 400
    assert [bench.http.get(f"/_ctl/{what}").json() for what in ("devices", "habits")] == before


def test_the_ledger_tells_every_request_and_its_status(bench: Bench) -> None:
    bench.get("/device/list")
    bench.get(f"/device/data/history/{CONTROLLER}", FEBRUARY, Signature="AAAA")
    told = [(entry["account"], entry["path"], entry["status"]) for entry in bench.http.get("/_ctl/ledger").json()]
    assert told == [
        (DEMO_ACCESS_KEY, "/device/list", 200),
        (None, f"/device/data/history/{CONTROLLER}?{FEBRUARY}", 401),
    ]


def test_no_secret_stands_on_the_control_plane(bench: Bench) -> None:
    bench.get("/device/list")
    assert all(DEMO_SECRET_KEY not in bench.http.get(f"/_ctl/{what}").text for what in ("devices", "habits", "ledger"))


def test_an_operation_can_be_told_to_fail_by_its_name(bench: Bench) -> None:
    bench.ctl("faults", on="latest", do="status", status=502)
    assert bench.get(f"/device/data/latest/{BATTERY}").status_code == 502
    assert bench.get(f"/device/data/latest/{BATTERY}").status_code == 200
