"""The cloud client against the product's own simulator."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from devices.shelly import errors
from devices.shelly.cloud import ShellyCloud, Target
from devices.shelly.errors import ShellyError
from hygate.simulators.base import RunningSimulator
from hygate.simulators.shelly import ShellySimulator
from tests.devices.shelly.told_server import KEY, PRO, RELAY, off

OFFLINE, COVER = "349454000002", "349454000003"


@pytest.fixture
def simulated() -> Iterator[ShellyCloud]:
    """The product's own simulator: a two-channel device, one offline, one cover."""
    simulator = ShellySimulator(rate_limit_s=0)
    simulator.add_account(KEY)
    simulator.add_device(KEY, PRO, "SPSW-202PE16EU", channels=2, channel_names=("Sauna", "Dryer"), watts=(60, 0))
    simulator.add_device(KEY, OFFLINE, "SNSW-001P16EU").online = False
    simulator.add_device(KEY, COVER, "SNSW-102P16EU", channels=0, mode="cover")
    running = RunningSimulator(simulator).start()
    yield ShellyCloud(running.url, KEY)
    running.stop()


def test_on_and_off_reach_the_simulated_relay(simulated: ShellyCloud) -> None:
    simulated.switch(RELAY, on=True, toggle_after_s=60)
    status = simulated.statuses([PRO.upper()])[PRO]
    reading = status.channel(0)
    assert status.online
    assert status.mark
    assert reading is not None
    assert (reading.output, reading.source) == (True, "SHC")
    assert reading.timer_ends_at is not None
    assert reading.timer_ends_at.timestamp() == pytest.approx(time.time() + 60, abs=3)
    off(simulated)
    reading = simulated.statuses([PRO])[PRO].channel(0)
    assert reading is not None
    assert (reading.output, reading.timer_ends_at) == (False, None)


def test_group_names_each_target_that_failed(simulated: ShellyCloud) -> None:
    gone, offline, cover = Target("ffffffffffff", 0), Target(OFFLINE, 0), Target(COVER, 0)
    failed = simulated.switch_group([RELAY, gone, offline, cover])
    assert {str(target): error.name for target, error in failed.items()} == {
        "ffffffffffff_0": "device_not_found",
        f"{OFFLINE}_0": "command_failed",
        f"{COVER}_0": "wrong_profile",
    }


@pytest.mark.parametrize(
    ("target", "error"),
    [
        (Target(OFFLINE, 0), errors.DeviceOffline),
        (Target(COVER, 0), errors.WrongProfile),
        (Target(PRO, 7), errors.WrongChannel),
        (Target("ffffffffffff", 0), errors.NoPermission),
    ],
)
def test_refused_switch_has_its_name(simulated: ShellyCloud, target: Target, error: type[ShellyError]) -> None:
    with pytest.raises(error):
        simulated.switch(target, on=True, toggle_after_s=5)


def test_unknown_device_is_absent_from_the_statuses(simulated: ShellyCloud) -> None:
    assert set(simulated.statuses([PRO, "ffffffffffff"])) == {PRO}


def test_mark_is_the_same_through_both_apis_until_the_next_push(simulated: ShellyCloud) -> None:
    before = {device.shelly_id: device.mark for device in simulated.all_status()}
    assert simulated.statuses([PRO])[PRO].mark == before[PRO]
    simulated.switch(RELAY, on=True, toggle_after_s=60)
    assert simulated.statuses([PRO])[PRO].mark != before[PRO]


def test_wrong_key_and_rate_limit_are_told_apart() -> None:
    simulator = ShellySimulator(rate_limit_s=5)
    simulator.add_account(KEY)
    running = RunningSimulator(simulator).start()
    try:
        with pytest.raises(errors.BadKey):
            ShellyCloud(running.url, "another").all_status()
        ShellyCloud(running.url, KEY).all_status()
        with pytest.raises(errors.RateLimited):
            ShellyCloud(running.url, KEY).all_status()
    finally:
        running.stop()
