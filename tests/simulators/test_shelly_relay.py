"""What a simulated relay does: its timer, its button, its meter, and its faults."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.simulators.shelly_bench import PRO, SAUNA, Bench, Clock, furnished


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def bench(clock: Clock) -> Iterator[Bench]:
    bench = Bench(furnished(clock), clock)
    yield bench
    bench.close()


def test_the_timer_switches_off_at_its_exact_time(bench: Bench) -> None:
    bench.switch(True, toggle_after=0.4)
    armed = bench.status()["switch:0"]
    assert armed["timer_duration"] == 0.4
    bench.until(lambda: len(bench.moves()) == 2)
    on, off = bench.ledger("relay")
    assert (off["on"], off["cause"]) == (False, "timer")
    assert off["t"] - on["t"] == pytest.approx(0.4, abs=0.002)
    assert abs(armed["timer_started_at"] - on["t"]) < 0.02
    after = bench.status()["switch:0"]
    assert (after["output"], after["source"]) == (False, "timer")
    assert not {"timer_started_at", "timer_duration"} & set(after)


def test_the_timer_acts_within_the_tick_that_it_is_due(bench: Bench) -> None:
    bench.switch(True, toggle_after=0.2)
    due = bench.relay()["timer"]["fires_at"]
    relay = bench.simulator.world.devices["account-1", PRO].relays[0]
    bench.until(lambda: not relay.output)  # looks without a request, which would settle the world itself
    assert time.time() - due < 0.1


def test_a_gen1_relay_shows_its_timer_in_gen1_words(bench: Bench) -> None:
    bench.switch(True, id=SAUNA, toggle_after=90)
    relay = bench.status(SAUNA)["relays"][0]
    assert (relay["has_timer"], relay["timer_duration"], relay["timer_remaining"]) == (True, 90, 90)
    bench.switch(False, id=SAUNA)
    relay = bench.status(SAUNA)["relays"][0]
    assert (relay["has_timer"], relay["timer_started"], relay["timer_remaining"]) == (False, 0, 0)


def test_a_timer_with_off_switches_back_on(bench: Bench) -> None:
    bench.switch(False, toggle_after=0.1)
    bench.until(lambda: bench.moves() == [(0, True, "timer")])


def test_a_new_on_arms_the_timer_anew(bench: Bench, clock: Clock) -> None:
    bench.switch(True, toggle_after=100)
    clock.ahead += 60
    bench.switch(True, toggle_after=100)
    clock.ahead += 60
    assert bench.relay()["output"] is True
    clock.ahead += 60
    assert bench.relay()["output"] is False
    on, off = bench.ledger("relay")
    assert off["t"] - on["t"] == pytest.approx(160, abs=1)


@pytest.mark.parametrize("last", [True, False])
def test_a_command_without_timer_cancels_the_armed_one(bench: Bench, clock: Clock, last: bool) -> None:
    bench.switch(True, toggle_after=100)
    bench.switch(last)
    clock.ahead += 200
    assert bench.relay()["timer"] is None
    assert [cause for _, _, cause in bench.moves()].count("timer") == 0


def test_repeating_a_command_is_no_move(bench: Bench) -> None:
    bench.switch(True)
    bench.switch(True)
    assert bench.moves() == [(0, True, "request")]


def test_a_reboot_forgets_the_timer_and_goes_to_the_initial_state(bench: Bench, clock: Clock) -> None:
    bench.switch(True, toggle_after=100)
    bench.ctl(f"devices/{PRO}", reboot=True)
    assert bench.moves() == [(0, True, "request"), (0, False, "reboot")]
    assert bench.status()["switch:0"]["source"] == "init"
    bench.ctl(f"devices/{PRO}", initial_state="restore_last")
    bench.switch(True, toggle_after=100)
    bench.ctl(f"devices/{PRO}", reboot=True)
    clock.ahead += 200
    assert (bench.relay()["output"], bench.relay()["timer"]) == (True, None)


def test_the_settings_show_what_a_relay_does_when_its_power_returns(bench: Bench) -> None:
    bench.ctl(f"devices/{PRO}", initial_state="restore_last")
    [entry] = bench.v2("get", {"ids": [PRO], "select": ["settings"], "pick": {"settings": ["switch:0"]}}).json()
    assert entry["settings"]["switch:0"]["initial_state"] == "restore_last"
    assert "DeviceInfo" not in entry["settings"]


def test_the_button_toggles(bench: Bench) -> None:
    bench.ctl(f"devices/{PRO}", press=1)
    bench.ctl(f"devices/{PRO}", press=1)
    assert bench.moves() == [(1, True, "button"), (1, False, "button")]
    assert bench.status()["switch:1"]["source"] == "button"


def test_energy_flows_while_the_output_is_on(bench: Bench, clock: Clock) -> None:
    bench.switch(True)
    clock.ahead += 1800
    bench.switch(False)
    clock.ahead += 1800
    assert bench.relay()["energy_wh"] == pytest.approx(1000, rel=0.01)
    assert bench.status()["switch:0"]["aenergy"]["total"] == pytest.approx(1000, rel=0.01)


def test_gen1_counts_watt_minutes(bench: Bench, clock: Clock) -> None:
    bench.switch(True, id=SAUNA, channel=1)
    clock.ahead += 600
    bench.switch(False, id=SAUNA, channel=1)
    assert bench.status(SAUNA)["meters"][1]["total"] == pytest.approx(18000, rel=0.01)


def test_a_welded_contact_shows_off_and_draws_power(bench: Bench) -> None:
    bench.switch(True)
    bench.ctl(f"devices/{PRO}", welded=0)
    bench.switch(False)
    block = bench.status()["switch:0"]
    assert (block["output"], block["apower"]) == (False, 2000.0)
    bench.ctl(f"devices/{PRO}", welded=None)
    assert bench.status()["switch:0"]["apower"] == 0


def test_watts_can_be_set(bench: Bench) -> None:
    bench.switch(True)
    bench.ctl(f"devices/{PRO}", watts=[85.5, 0, 0, 0])
    assert bench.status()["switch:0"]["apower"] == 85.5


def test_another_controller_reverts_every_on(bench: Bench, clock: Clock) -> None:
    bench.ctl(f"devices/{PRO}", enforced_off=True)
    for _ in range(2):
        bench.switch(True)
        clock.ahead += 0.9
        assert bench.relay()["output"] is True
        clock.ahead += 2.2
        assert bench.relay()["output"] is False
    first_on, first_off, *_ = bench.ledger("relay")
    assert [cause for _, _, cause in bench.moves()] == ["request", "enforced"] * 2
    assert 1 <= first_off["t"] - first_on["t"] <= 3
