"""The simulated Shelly cloud's ledger, the faults it is told to have, and its control requests."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests import loopback
from tests.simulators.shelly_bench import KEY, OTHER_KEY, PRO, Bench, Clock, furnished, on_body


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def bench(clock: Clock) -> Iterator[Bench]:
    bench = Bench(furnished(clock), clock)
    yield bench
    bench.close()


def test_the_ledger_keeps_requests_without_any_key(bench: Bench) -> None:
    bench.switch(True)
    bench.v1("/device/relay/control", id=PRO, channel="0", turn="off")
    bench.http.get("/device/status", params={"auth_key": KEY, "id": PRO})
    bench.v1("/device/status", key="nobody's key")
    bench.v2("set/switch", {"id": KEY, "on": True})
    bench.http.post(f"/v2/{KEY}", content=KEY)
    entries = bench.ledger("request")
    assert {key: entries[0][key] for key in ("account", "path", "body", "status")} == {
        "account": "account-1",
        "path": "/v2/devices/api/set/switch",
        "body": {"id": PRO, "channel": 0, "on": True},
        "status": 200,
    }
    assert entries[1]["body"] == {"id": PRO, "channel": "0", "turn": "off"}
    assert entries[2]["body"] == {"id": PRO}
    assert (entries[3]["account"], entries[3]["status"]) == (None, 401)
    assert not any(word in json.dumps(entries) for word in (KEY, "nobody's key", "auth_key"))


def test_a_hanging_request_is_in_the_ledger_before_its_effect_and_without_status(bench: Bench) -> None:
    bench.ctl("faults", on="/v2/devices/api/set/switch", do="act_then_hang", seconds=0.6)
    with pytest.raises(httpx.ReadTimeout):
        loopback.post(f"{bench.running.url}/v2/devices/api/set/switch?auth_key={KEY}", json=on_body(), timeout=0.2)
    request, relay = bench.http.get("/_ctl/ledger").json()
    assert (request["kind"], request["status"], relay["kind"], relay["on"]) == ("request", None, "relay", True)
    time.sleep(0.6)
    assert bench.ledger("request")[0]["status"] is None


def test_injected_answers_are_recorded_with_their_status(bench: Bench) -> None:
    bench.ctl("faults", on="switch_on", do="status", status=503)
    assert bench.switch(False).status_code == 200
    assert bench.switch(True).status_code == 503
    assert [entry["status"] for entry in bench.ledger("request")] == [200, 503]
    bench.ctl("faults", on="*", do="drop")
    with pytest.raises(httpx.RemoteProtocolError):
        bench.switch(True)
    assert bench.ledger("request")[-1]["status"] is None
    assert bench.moves() == []


def test_an_answer_that_drips_never_ends_and_moves_nothing(bench: Bench) -> None:
    bench.ctl("faults", on="switch_on", do="drip", seconds=1)
    began = time.monotonic()
    with pytest.raises(httpx.RemoteProtocolError):
        bench.switch(True)
    assert time.monotonic() - began >= 0.9
    assert bench.moves() == []


def test_a_late_command_is_carried_out_after_the_caller_has_gone(bench: Bench) -> None:
    bench.ctl("faults", on="switch_on", do="hang_before", seconds=0.2, act_after_s=0.4)
    with pytest.raises(httpx.HTTPError):
        bench.switch(True)
    assert bench.moves() == []
    bench.until(lambda: bench.moves() == [(0, True, "request")])


@pytest.mark.parametrize(
    ("path", "body", "says"),
    [
        ("devices/ffffffffffff", {"online": False}, PRO),
        (f"devices/{PRO}", {"online": "no"}, "online must be true or false"),
        (f"devices/{PRO}", {"press": 9}, "no relay channel 9"),
        (f"devices/{PRO}", {"watts": [1]}, "4 numbers"),
        (f"devices/{PRO}", {"colour": "red"}, "known: online"),
        ("accounts/nobody", {"auth_key": "x"}, "account-1"),
        ("accounts/account-1", {"auth_key": OTHER_KEY}, "Another account"),
        ("limits", {"rate_limit_s": -1}, "rate_limit_s"),
        ("limits", {"speed": 1}, "known: rate_limit_s"),
    ],
)
def test_control_requests_that_make_no_sense_are_told_why(bench: Bench, path: str, body: Any, says: str) -> None:
    answer = bench.http.post(f"/_ctl/{path}", json=body)
    assert answer.status_code == 400
    assert says in answer.json()["error"]


def test_a_control_request_happens_as_a_whole_or_not_at_all(bench: Bench) -> None:
    assert bench.http.post(f"/_ctl/devices/{PRO}", json={"press": 0, "online": 7}).status_code == 400
    assert bench.moves() == []
