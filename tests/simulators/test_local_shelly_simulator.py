"""The simulated local device over real sockets: each test is a sentence about what a real one does or refuses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from hygate.simulators.base import RunningSimulator
from hygate.simulators.local_shelly import LocalShellySimulator, build
from hygate.simulators.local_shelly.simulator import DEVICE_ID
from tests import loopback

PASSWORD = "secret"


class Bench:
    """A running device whose clock a test sets, and a client that answers challenges where a password is given."""

    def __init__(self) -> None:
        self.now = 1_000_000.0
        self.simulator = LocalShellySimulator(build().numbers, clock=lambda: self.now)
        self.running = RunningSimulator(self.simulator).start()
        self.http = loopback.client(base_url=self.running.url, timeout=5)

    def close(self) -> None:
        self.http.close()
        self.running.stop()

    def rpc(self, method: str, params: Any = None, **more: Any) -> dict[str, Any]:
        frame = {"id": 7, "src": "user_1", "method": method} | ({} if params is None else {"params": params})
        answer = self.http.post("/rpc", json=frame, **more)
        assert answer.status_code == 200, answer.status_code
        said: dict[str, Any] = answer.json()
        assert (said["id"], said["src"], said["dst"]) == (7, DEVICE_ID, "user_1")
        return said

    def ctl(self, **spec: Any) -> httpx.Response:
        return self.http.post("/_ctl/device", json=spec)

    def locked(self) -> httpx.DigestAuth:
        self.ctl(password=PASSWORD).raise_for_status()
        return httpx.DigestAuth("admin", PASSWORD)


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    try:
        yield made
    finally:
        made.close()


# -- numbers


def test_a_number_that_is_set_is_told(bench: Bench) -> None:
    assert bench.rpc("Number.Set", {"id": 203, "value": -8540})["result"] is None
    status = bench.rpc("Number.GetStatus", {"id": 203})["result"]
    assert status == {"value": -8540, "source": "rpc", "last_update_ts": 1_000_000}


@pytest.mark.parametrize(
    ("params", "code", "word"),
    [
        (None, -103, "'id'"),
        ({"value": 1}, -103, "'id'"),
        ({"id": "200", "value": 1}, -103, "'id'"),
        ({"id": 205, "value": 1}, -105, "Bad id=205"),
        ({"id": 0, "value": 1}, -105, "Bad id=0"),
        ({"id": 200}, -103, "'value'"),
        ({"id": 200, "value": None}, -103, "'value'"),
        ({"id": 200, "value": "1"}, -103, "'value'"),
        ({"id": 200, "value": True}, -103, "'value'"),
        ({"id": 200, "value": 101}, -103, "between -5 and 100"),
        ({"id": 200, "value": -6}, -103, "between -5 and 100"),
        ([200, 1], -103, "params"),
    ],
)
def test_what_does_not_fit_is_refused_and_changes_nothing(bench: Bench, params: Any, code: int, word: str) -> None:
    bench.ctl(numbers={"200": {"min": -5, "max": 100}}).raise_for_status()
    error = bench.rpc("Number.Set", params)["error"]
    assert error["code"] == code
    assert word in error["message"]
    assert bench.simulator.values == {}


def test_an_unknown_method_is_refused(bench: Bench) -> None:
    assert bench.rpc("Number.Explode", {"id": 200})["error"] == {
        "code": 404,
        "message": "No handler for Number.Explode",
    }


def test_a_frame_without_a_method_is_no_frame(bench: Bench) -> None:
    for text in ("", "{", "[]", '{"id": 1}'):
        assert bench.http.post("/rpc", content=text).status_code == 400


def test_the_short_form_answers_bare(bench: Bench) -> None:
    assert bench.http.get("/rpc/Number.Set", params={"id": 200, "value": 12.5}).json() is None
    assert bench.http.get("/rpc/Number.GetStatus", params={"id": 200}).json()["value"] == 12.5
    refused = bench.http.get("/rpc/Number.Set", params={"id": 299, "value": 1})
    assert (refused.status_code, refused.json()["code"]) == (500, -105)


def test_a_component_can_be_taken_away_and_eleven_are_too_many(bench: Bench) -> None:
    bench.ctl(numbers={"204": None}).raise_for_status()
    assert bench.rpc("Number.GetStatus", {"id": 204})["error"]["code"] == -105
    assert bench.ctl(numbers={str(200 + n): {} for n in range(11)}).status_code == 400
    assert bench.ctl(numbers={"100": {}}).status_code == 400
    assert bench.ctl(mood="bad").status_code == 400


# -- the password


def test_without_a_password_everybody_may(bench: Bench) -> None:
    assert bench.http.get("/shelly").json()["auth_en"] is False
    assert "result" in bench.rpc("Number.Set", {"id": 200, "value": 1})


def test_with_a_password_nobody_may_but_ask_who_it_is(bench: Bench) -> None:
    bench.locked()
    assert bench.http.post("/rpc", json={"method": "Number.Set", "params": {"id": 200, "value": 1}}).status_code == 401
    assert bench.http.get("/rpc/Number.Set", params={"id": 200, "value": 1}).status_code == 401
    assert bench.rpc("Shelly.GetDeviceInfo")["result"]["auth_domain"] == DEVICE_ID
    assert bench.simulator.values == {}


def test_the_challenge_is_sha_256_with_the_devices_id_as_realm(bench: Bench) -> None:
    bench.locked()
    challenge = bench.http.post("/rpc", json={"method": "Number.Set"}).headers["WWW-Authenticate"]
    assert challenge.startswith("Digest ")
    assert f'realm="{DEVICE_ID}"' in challenge
    assert "algorithm=SHA-256" in challenge


def test_one_nonce_is_good_for_many_requests(bench: Bench) -> None:
    auth = bench.locked()
    for value in range(5):
        bench.rpc("Number.Set", {"id": 200, "value": value}, auth=auth)
    refused = [one for one in bench.simulator.ledger.entries if one["kind"] == "unauthorized"]
    assert (bench.simulator.values, len(refused)) == ({200: 4}, 1)


def test_an_answer_that_was_seen_once_is_worth_nothing(bench: Bench) -> None:
    auth = bench.locked()
    sent = bench.http.get("/rpc/Number.Set", params={"id": 200, "value": 1}, auth=auth).request
    again = httpx.Request(sent.method, sent.url, headers={"Authorization": sent.headers["Authorization"]})
    assert bench.http.send(again).status_code == 401


@pytest.mark.parametrize(("user", "password"), [("admin", "wrong"), ("root", PASSWORD), ("admin", "")])
def test_a_wrong_name_or_password_is_refused(bench: Bench, user: str, password: str) -> None:
    bench.locked()
    auth = httpx.DigestAuth(user, password)
    assert bench.http.get("/rpc/Number.Set", params={"id": 200, "value": 1}, auth=auth).status_code == 401


@pytest.mark.parametrize("header", ["Basic YWRtaW46c2VjcmV0", "Digest", "Digest x", 'Digest nonce="1"', "nonsense"])
def test_another_kind_of_word_is_refused(bench: Bench, header: str) -> None:
    bench.locked()
    assert bench.http.get("/rpc/Number.GetStatus?id=200", headers={"Authorization": header}).status_code == 401


def test_a_nonce_dies_after_an_hour_and_with_a_restart(bench: Bench) -> None:
    auth = bench.locked()
    for end in (lambda: setattr(bench, "now", bench.now + 3601), lambda: bench.ctl(restart=True).raise_for_status()):
        bench.rpc("Number.Set", {"id": 200, "value": 1}, auth=auth)
        end()
        before = len(bench.simulator.ledger.entries)
        bench.rpc("Number.Set", {"id": 200, "value": 2}, auth=auth)
        assert [one["kind"] for one in bench.simulator.ledger.entries[before:]] == ["unauthorized", "set"]


def test_too_many_challenges_at_once_are_refused_for_two_seconds(bench: Bench) -> None:
    bench.locked()
    said = [bench.http.get("/rpc/Number.GetStatus?id=200").status_code for _ in range(33)]
    assert said == [401] * 32 + [429]
    bench.now += 2.1
    assert bench.http.get("/rpc/Number.GetStatus?id=200").status_code == 401
