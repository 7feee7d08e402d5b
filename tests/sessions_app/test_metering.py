"""Energy by the device's own counter: at the confirmed ON, while it runs, at the close; and live watts in tens."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from devices.models import Device
from sessions_app import metering
from sessions_app.guest import power
from sessions_app.models import DeviceSession
from sessions_app.states import State
from tests.sessions_app.guest_pages import words
from tests.world import PLUG, World


@pytest.mark.parametrize(
    ("from_wh", "now_wh", "used"),
    [(100.0, 720.0, 620.0), (100.0, 100.0, 0.0), (500.0, 20.0, 20.0), (None, 20.0, None), (20.0, None, None)],
    ids=["counts on", "stands still", "was reset", "measured nothing at the start", "measures nothing now"],
)
def test_used_is_never_negative_and_never_invented(
    from_wh: float | None, now_wh: float | None, used: float | None
) -> None:
    assert metering.used_wh(from_wh, now_wh) == used


@pytest.fixture(autouse=True)
def _static_files_need_no_collecting(settings: Any, tmp_path: Any) -> None:
    settings.STATIC_ROOT = str(tmp_path)


def heater(world: World, watts: float) -> DeviceSession:
    """A running session of an hour on a device that draws ``watts``."""
    world.ctl(world.shelly_server, "POST", f"/_ctl/devices/{PLUG}", {"watts": [watts]})
    session = world.buy(plan=world.add_plan(world.device, duration_s=3600))
    world.tell(session)
    world.go(8)
    session.refresh_from_db()
    assert session.state == State.RUNNING
    return session


def page(session: DeviceSession) -> Any:
    return Client().get(f"/session/{session.token}/")


def test_the_counter_is_kept_at_the_confirmed_on_and_the_use_at_the_close(world: World) -> None:
    session = heater(world, 2000)
    assert session.energy_from_wh is not None
    world.go(3700)
    session.refresh_from_db()
    assert session.state == State.COMPLETED
    assert session.energy_wh == pytest.approx(2000, rel=0.05)
    assert "Used 2.0" in words(page(session))


def test_the_running_page_says_the_watts_in_tens_and_the_use_so_far(world: World) -> None:
    session = heater(world, 1843)
    world.go(1800)
    text = words(page(session))
    assert "Now 1,840 W" in text
    assert "Used so far 0.9" in text


def test_watts_are_no_new_version_of_the_page_and_travel_beside_it(world: World) -> None:
    session = heater(world, 1843)
    world.go(60)
    first = page(session)["ETag"]
    Device.objects.update(watts=1900)
    again = Client().get(f"/session/{session.token}/", headers={"If-None-Match": first, "X-Requested-With": "hygate"})
    assert again.status_code == 304
    assert again["ETag"].startswith(first.removesuffix('"'))
    assert "1,900" in again[power.HEADER]


def test_a_device_that_measures_nothing_says_nothing(world: World) -> None:
    session = heater(world, 1843)
    Device.objects.update(watts=None, energy_wh=None)
    text = words(page(session))
    assert "kWh" not in text
    assert "Now" not in text
