"""Why a site gives no more power now, in words that an operator can act on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from devices.energy import site as sites
from devices.energy.models import SitePower
from devices.energy.refusals import SOON, Moment
from devices.models import Device
from sessions_app.models import DeviceSession
from tests.powered import Powered, fresh
from tests.world import World


@pytest.fixture
def site(world: World) -> Powered:
    world.settings.NUMBERS = replace(world.settings.NUMBERS, shed_settle_s=5, shed_calm_s=10)
    return Powered(world)


def moment(site: Powered) -> Moment:
    place, now = site.world.location.pk, site.world.now
    apart = sites.apart_at(place)
    here = sites.here(place, now, apart)
    assert here is not None
    return Moment(here, sites.open_promises(place), now, apart)


def of_sale(site: Powered, device: Device) -> str:
    found = moment(site)
    return found.of_sale(device, found.headroom())


def waits(site: Powered, device: Device) -> DeviceSession:
    site.read_relays()
    session = site.buy(device)
    site.reads(9000)
    site.world.go(15)
    assert fresh(session).state == "waiting_for_power"
    return session


def stands_still(site: Powered, **machine: Any) -> DeviceSession:
    heater = site.machine("Heater", 3000, **machine)
    site.read_relays()
    session = site.run(heater)
    site.world.go(1)
    site.reads(13_000)
    site.look()
    site.world.go(3)
    assert fresh(session).state == "paused"
    return session


def why_paused(site: Powered) -> str:
    found = moment(site)
    return found.of_paused(found.promises[0])


# -- what is refused


def test_a_device_that_is_too_much_is_refused_in_watts(site: Powered) -> None:
    site.reads(6001)
    assert of_sale(site, site.machine("Oven", 4000)) == "It needs 4000 W; the site can give 3999 W now."


def test_a_device_that_fits_is_not_refused(site: Powered) -> None:
    site.reads(6000)
    assert of_sale(site, site.machine("Oven", 4000)) == ""


def test_a_device_that_may_not_run_beside_another_names_it(site: Powered) -> None:
    oven, sauna = (site.machine(name, 3000, apart_group="heat") for name in ("Oven", "Sauna"))
    site.read_relays()
    site.run(oven)
    assert of_sale(site, sauna) == "It may not run together with Oven."


# -- what waits


def test_who_waits_is_told_of_by_what_is_missing(site: Powered) -> None:
    waits(site, site.machine("Oven", 4000, plan={"grace_s": 5}))
    found = moment(site)
    assert found.of_waiting(found.promises[0]) == "It needs 4000 W; the site can give 1000 W now."


def test_who_waits_behind_nobody_with_power_enough_goes_on_at_once(site: Powered) -> None:
    waits(site, site.machine("Oven", 4000, plan={"grace_s": 5}))
    site.reads(0)
    found = moment(site)
    assert found.of_waiting(found.promises[0]) == SOON


# -- what stands still


def test_who_stands_still_is_told_of_by_what_is_too_much(site: Powered) -> None:
    stands_still(site)
    assert why_paused(site) == moment(site).overload() == "The site is 3000 W above what it may draw."


def test_who_stands_still_waits_for_calm(site: Powered) -> None:
    stands_still(site)
    site.reads(0)
    site.look()
    assert moment(site).overload() == ""
    assert why_paused(site) == "The power has to suffice for 10 s first."


def test_who_stands_still_waits_for_its_least_time_off(site: Powered) -> None:
    stands_still(site, min_off_s=600)
    site.reads(0)
    assert why_paused(site) == "It stays off for the least time that is set for it."


def test_who_stands_still_waits_for_room_and_some_to_spare(site: Powered) -> None:
    stands_still(site)
    site.reads(6900)
    site.look()
    site.world.go(11)
    site.reads(6900)
    assert why_paused(site) == "It needs 3300 W; the site can give 3100 W now."


def test_without_a_reading_to_trust_that_is_the_reason(site: Powered) -> None:
    stands_still(site)
    SitePower.objects.update(max_age_s=10)
    site.reads(13_000, aged_s=60)
    assert why_paused(site) == "The last word on “grid import” is 60 s old."
    assert moment(site).overload() == ""
