"""What the simulated Shelly cloud still knows after a restart."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.simulators.shelly_bench import PRO, SAUNA, Bench, Clock, furnished


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_restart_keeps_relays_keys_and_ledger_and_fires_what_ran_out(clock: Clock, tmp_path: Path) -> None:
    path = tmp_path / "shelly.json"
    first = Bench(furnished(clock, state_path=path), clock)
    first.switch(True, toggle_after=100)
    first.switch(True, channel=1, toggle_after=900)
    first.switch(True, id=SAUNA)
    first.ctl("accounts/account-1", auth_key="the new key")
    before = first.http.get("/_ctl/ledger").json()
    first.close()
    clock.ahead += 500
    second = Bench(furnished(clock, state_path=path), clock)
    try:
        ledger = second.http.get("/_ctl/ledger").json()
        assert ledger[:-1] == before
        assert (ledger[-1]["cause"], ledger[-1]["on"]) == ("timer", False)
        assert ledger[-1]["t"] == pytest.approx(before[1]["t"] + 100, abs=0.01)
        assert second.relay(channel=0)["energy_wh"] == pytest.approx(2000 * 100 / 3600, rel=0.01)
        assert (second.relay(channel=1)["output"], second.relay(id=SAUNA)["output"]) == (True, True)
        assert second.v1("/device/status", id=PRO).status_code == 401
        assert second.v1("/device/status", key="the new key", id=PRO).status_code == 200
        clock.ahead += 500
        assert second.relay(channel=1)["output"] is False
    finally:
        second.close()


def test_the_state_is_on_disk_before_the_answer_leaves(clock: Clock, tmp_path: Path) -> None:
    path = tmp_path / "shelly.json"
    bench = Bench(furnished(clock, state_path=path), clock)
    try:
        bench.switch(True, toggle_after=100)
        device = next(device for device in json.loads(path.read_text())["devices"] if device["id"] == PRO)
        assert (device["relays"][0]["output"], device["relays"][0]["timer"]["duration"]) == (True, 100)
        journal = (tmp_path / "shelly.json.ledger").read_text()
        assert '"cause": "request"' in journal
    finally:
        bench.close()


def test_a_move_that_never_reached_the_state_file_is_not_in_the_ledger_either(clock: Clock, tmp_path: Path) -> None:
    path = tmp_path / "shelly.json"
    bench = Bench(furnished(clock, state_path=path), clock)
    bench.switch(True)
    saved = path.read_text()
    bench.switch(False)
    bench.close()
    path.write_text(saved)
    with (tmp_path / "shelly.json.ledger").open("a") as journal:
        journal.write('{"t": 1.0, "kind": "req')
    again = Bench(furnished(clock, state_path=path), clock)
    try:
        assert again.moves() == [(0, True, "request")]
        assert again.relay()["output"] is True
        assert [entry["status"] for entry in again.ledger("request")] == [200, 200]
    finally:
        again.close()


def test_a_stale_device_stays_stale_over_a_restart(clock: Clock, tmp_path: Path) -> None:
    path = tmp_path / "shelly.json"
    first = Bench(furnished(clock, state_path=path), clock)
    first.ctl(f"devices/{PRO}", stale=True)
    first.switch(True)
    before = first.status()
    first.close()
    second = Bench(furnished(clock, state_path=path), clock)
    try:
        assert second.status() == before
    finally:
        second.close()
