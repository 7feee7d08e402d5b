"""What a relay does when its power returns is read before it is sold (D12)."""

from __future__ import annotations

from typing import Any

import pytest

from devices.commissioning import check_power_up
from devices.models import Device
from hygate.models import Alert
from tests.world import PLUG, World


def says(world: World, state: str) -> None:
    world.ctl(world.shelly_server, "POST", f"/_ctl/devices/{PLUG}", {"initial_state": state})


def device(**columns: Any) -> Device:
    Device.objects.filter(shelly_id=PLUG).update(**columns)
    return Device.objects.select_related("location").get(shelly_id=PLUG)


def opened() -> list[str]:
    return list(Alert.objects.filter(closed_at=None).values_list("kind", flat=True))


@pytest.mark.parametrize("state", ["on", "restore_last"])
def test_high_power_that_comes_back_on_is_not_sold(world: World, state: str) -> None:
    says(world, state)
    heater = device(rated_w=9000)
    assert check_power_up([heater]) == {heater.pk: state}
    assert device().blocked_reason == "power_up"
    assert opened() == ["blocked_power_up"]


def test_little_power_that_comes_back_on_is_sold_with_a_warning_until_it_is_put_right(world: World) -> None:
    says(world, "restore_last")
    check_power_up([device()])
    assert (device().blocked_reason, opened()) == ("", ["power_up"])
    says(world, "off")
    world.go(3)
    check_power_up([device()])
    assert opened() == []


def test_a_relay_that_stays_off_or_follows_its_input_needs_nobody(world: World) -> None:
    for state in ("off", "match_input"):
        says(world, state)
        assert check_power_up([device(rated_w=9000)]) == {device().pk: state}
        world.go(3)
    assert (device().blocked_reason, opened()) == ("", [])


def test_the_rest_of_the_settings_is_not_asked_for(world: World) -> None:
    check_power_up([device()])
    asked = [one["body"] for one in world.ledger(world.shelly_server, "request") if "settings" in str(one["body"])]
    assert [one["pick"] for one in asked] == [{"settings": ["relays", "switch:0"]}]


def test_a_cloud_that_does_not_answer_changes_nothing(world: World) -> None:
    world.fault(world.shelly_server, on="read", do="drop", times=-1)
    assert check_power_up([device(rated_w=9000)]) == {}
    assert device().blocked_reason == ""
