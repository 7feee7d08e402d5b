"""The test pulse against the simulated cloud: on once, off again by itself, and nothing is sold meanwhile."""

from __future__ import annotations

from typing import Any

import pytest

from devices.models import Device, RelayCommand
from devices.relays import pulse
from hygate import clock
from sessions_app import pulsing
from sessions_app.selling import CannotBuy
from tests.world import PLUG, World


def serviced(world: World) -> Device:
    Device.objects.filter(pk=world.device.pk).update(maintenance_since=clock.now())
    world.device.refresh_from_db()
    return world.device


def words(device: Device) -> list[str]:
    return [line.words for line in pulse.told(pulse.last(device.pk))]


def test_a_pulse_goes_on_once_and_off_again_with_each_step_told(world: World) -> None:
    device = serviced(world)
    pulsing.begin(device=device, by="user:1")
    world.go(30)
    assert [on for on, _ in world.relay(PLUG)] == [True, False]
    said = words(device)
    assert said[0] == "ON commanded"
    assert "ON confirmed by a reading" in said
    assert said[-1] == "OFF confirmed by a reading"
    device.refresh_from_db()
    assert device.must_be_off_since is None
    assert device.output is False


def test_nothing_is_sold_from_the_pulse_to_its_proven_off_even_where_maintenance_ends(world: World) -> None:
    device = serviced(world)
    pulsing.begin(device=device, by="user:1")
    Device.objects.filter(pk=device.pk).update(maintenance_since=None)
    with pytest.raises(CannotBuy):
        world.hold()
    world.go(60)
    assert world.hold().device_id == device.pk


def test_a_pulse_that_fails_is_not_sent_again_and_asks_for_off(world: World) -> None:
    device = serviced(world)
    world.ctl(world.shelly_server, "POST", f"/_ctl/devices/{PLUG}", {"online": False})
    pulsing.begin(device=device, by="user:1")
    world.go(30)
    ons = RelayCommand.objects.filter(device=device, on=True)
    assert [one.state for one in ons] == ["failed"]
    assert RelayCommand.objects.filter(device=device, on=False).exists()
    assert [on for on, _ in world.relay(PLUG) if on] == []


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"maintenance_since": None}, "is not in maintenance"),
        ({"blocked_since": True}, "is out of order"),
        ({"vanished_at": True}, "is no longer in its Shelly account"),
        ({"must_be_off_since": True}, "its OFF is not read back yet"),
        ({"online": False}, "is offline"),
        ({"output": True}, "is on already"),
    ],
)
def test_a_relay_that_must_not_be_switched_is_left_alone(world: World, columns: dict[str, Any], says: str) -> None:
    device = serviced(world)
    stamped = {name: clock.now() if value is True and name != "output" else value for name, value in columns.items()}
    Device.objects.filter(pk=device.pk).update(**stamped)
    with pytest.raises(pulse.CannotPulse, match=says):
        pulsing.begin(device=device, by="user:1")
    assert not RelayCommand.objects.filter(device=device).exists()


def test_a_pulse_never_meets_a_session(world: World) -> None:
    world.hold()
    device = serviced(world)
    with pytest.raises(pulse.CannotPulse, match="is in a session"):
        pulsing.begin(device=device, by="user:1")
