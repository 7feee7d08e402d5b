"""Percentiles, slopes, and the schedules that product and contenders share."""

from __future__ import annotations

import pytest

from tests.bench.closer import assets
from tests.bench.ends import Schedule
from tests.bench.figures import percentile, slope, summary
from tests.bench.offs import lateness, requested, switched_off
from tests.bench.simulator import device_id
from tests.bench.traffic import parsed

WRK = """Running 3s test @ http://127.0.0.1:8000/d/X/
  1 threads and 16 connections
  Latency Distribution
     50%   20.64ms
     75%  712.00us
     90%    1.40s\x20
     99%    1.91s\x20
  512 requests in 3.03s, 128.81KB read
  Socket errors: connect 0, read 1, write 0, timeout 2
  Non-2xx or 3xx responses: 4
Requests/sec:    170.66
     95%   1650.00ms
"""


@pytest.mark.parametrize(("per_cent", "expected"), [(50, 50), (99, 99), (100, 100), (0.5, 1)])
def test_a_percentile_is_the_sample_of_its_rank(per_cent: float, expected: float) -> None:
    assert percentile([float(one) for one in range(100, 0, -1)], per_cent) == expected


def test_the_ninety_ninth_of_ten_samples_is_the_worst() -> None:
    assert percentile([3.0, 1.0, 2.0, 9.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0], 99) == 9.0


def test_no_samples_have_no_percentile() -> None:
    with pytest.raises(ValueError, match="no samples"):
        percentile([], 99)
    assert summary([]) == {"n": 0}


def test_a_slope_ignores_what_wobbles_around_it() -> None:
    wobbling = [(float(x), 100 + 0.5 * x + (1 if x % 2 else -1)) for x in range(61)]
    assert slope(wobbling) == pytest.approx(0.5, abs=0.01)


def test_rounds_lie_apart_and_each_has_its_own_accounts() -> None:
    assert Schedule(2, rounds=2, apart_s=3).ends(100.0) == [100.0, 100.0, 103.0, 103.0]


def test_spread_ends_fill_their_time() -> None:
    assert Schedule(3, over_s=30).ends(100.0) == [100.0, 110.0, 120.0]


def test_wrk_s_report_is_read_with_its_units_and_its_failures() -> None:
    found = parsed(WRK)
    assert found.figures == {"n": 512, "p50": 0.02064, "p75": 0.00071, "p90": 1.4, "p99": 1.91, "p95": 1.65}
    assert (found.per_s, found.bad) == (170.66, 7)


def test_what_a_page_loads_is_counted_once_icons_too() -> None:
    html = """<link href="/a.css"><script src="b.js"></script><img src="data:,"><svg><use href="/i.svg#one"></use></svg>
    <use href="/i.svg#two"/><a href="/elsewhere/">"""
    assert assets("http://site/here/", html) == ["http://site/a.css", "http://site/here/b.js", "http://site/i.svg"]


def request(t: float, path: str, body: object) -> dict[str, object]:
    return {"t": t, "kind": "request", "path": f"/v2/devices/api/{path}", "body": body}


def test_the_first_off_of_each_device_counts_alone_or_in_a_group() -> None:
    one, two = device_id(0, 0), device_id(0, 1)
    ledger = [
        request(1.0, "set/switch", {"id": one, "channel": 0, "on": True, "toggle_after": 9}),
        request(2.0, "set/groups", {"switch": {"ids": [f"{one}_0", f"{two}_0"], "command": {"on": False}}}),
        request(3.0, "set/switch", {"id": two, "channel": 0, "on": False}),
        request(4.0, "get", {"ids": [one]}),
    ]
    assert requested(ledger) == {one: 2.0, two: 2.0}


def test_a_relay_that_its_own_timer_switched_off_was_not_switched_off_by_us() -> None:
    entry = {"t": 5.0, "kind": "relay", "device": "a", "on": False}
    assert switched_off([{**entry, "cause": "timer"}]) == {}
    assert switched_off([{**entry, "cause": "request"}]) == {"a": 5.0}


def test_what_never_came_is_lost_and_what_came_before_its_time_is_early() -> None:
    found = lateness({"a": 10.5, "b": 9.9}, {"a": 10.0, "b": 10.0, "c": 10.0})
    assert found.late == {"a": 0.5, "b": -0.1}
    assert (found.lost, found.early) == (1, 1)
