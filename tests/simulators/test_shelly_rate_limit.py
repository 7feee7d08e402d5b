"""When the simulated Shelly cloud has had too many requests of an account."""

from __future__ import annotations

import threading
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


def test_a_request_too_soon_after_the_last_answer_is_refused(bench: Bench, clock: Clock) -> None:
    bench.ctl("limits", rate_limit_s=30)
    assert bench.v1("/device/status", id=PRO).status_code == 200
    v1, v2 = bench.v1("/device/status", id=PRO), bench.v2("get", {"ids": [PRO]})
    limited = {"isok": False, "errors": {"max_req": "Request limit reached!"}}
    assert (v1.status_code, v1.json()) == (401, limited)
    assert (v2.status_code, v2.json()) == (429, limited)
    clock.ahead += 31
    assert bench.v1("/device/status", id=PRO).status_code == 200


def test_refused_requests_keep_the_window_open(bench: Bench, clock: Clock) -> None:
    bench.ctl("limits", rate_limit_s=30)
    assert bench.v1("/device/status", id=PRO).status_code == 200
    for _ in range(3):
        clock.ahead += 20
        assert bench.v1("/device/status", id=PRO).status_code == 401


def test_the_window_counts_from_the_end_of_the_answer(bench: Bench) -> None:
    bench.ctl("limits", rate_limit_s=1.5)
    bench.ctl("faults", on="/device/status", do="delay", seconds=2)
    assert bench.v1("/device/status", id=PRO).status_code == 200
    assert bench.v1("/device/status", id=PRO).status_code == 401


def test_overlapping_requests_are_refused_per_account(bench: Bench) -> None:
    bench.ctl("limits", rate_limit_s=0.05)
    bench.ctl("faults", on="/device/status", do="delay", seconds=2)
    answers: list[int] = []
    slow = threading.Thread(target=lambda: answers.append(loopback.post(**_status_request(bench)).status_code))
    slow.start()
    bench.until(lambda: len(bench.ledger("request")) == 1)
    time.sleep(0.1)
    assert bench.v1("/device/all_status").status_code == 401
    assert bench.v1("/device/all_status", key=OTHER_KEY).status_code == 200
    slow.join()
    assert answers == [200]


def _status_request(bench: Bench) -> dict[str, Any]:
    return {"url": f"{bench.running.url}/device/status", "data": {"auth_key": KEY, "id": PRO}}


def test_a_caller_that_hung_up_blocks_the_account_no_longer(bench: Bench) -> None:
    bench.ctl("limits", rate_limit_s=0.1)
    bench.ctl("faults", on="switch_on", do="hang_before", seconds=30)
    with pytest.raises(httpx.ReadTimeout):
        loopback.post(f"{bench.running.url}/v2/devices/api/set/switch?auth_key={KEY}", json=on_body(), timeout=0.2)
    time.sleep(0.2)
    assert bench.switch(True).status_code == 200


def test_a_wrong_key_does_not_count_against_anybody(bench: Bench) -> None:
    bench.ctl("limits", rate_limit_s=0.3)
    assert bench.v1("/device/status", key="wrong", id=PRO).json()["errors"] == {"invalid_auth_key": "Wrong auth key"}
    assert bench.v1("/device/status", id=PRO).status_code == 200
