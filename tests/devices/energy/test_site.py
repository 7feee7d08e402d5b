"""From rows to the rule: which reading counts, what the limits are, and whose promises count against whom."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from devices.energy import site
from devices.energy.models import EnergySource, LatestReading, Promise, Sign, SitePower, SourceKind
from devices.energy.reading import Field
from devices.energy.terms import Phases, Supply
from devices.models import Device, Location, ShellyAccount
from hygate import clock

pytestmark = pytest.mark.django_db


@pytest.fixture
def location(manual_clock: clock.ManualClock) -> Location:
    return Location.objects.create(name="Laundry room", timezone="Europe/Vienna")


def source(location: Location, name: str, *, age_s: float = 0, **fields: Any) -> EnergySource:
    wanted = {"kind": SourceKind.SIGENERGY_MODBUS, "sign": Sign.PROVEN} | fields
    made = EnergySource.objects.create(location=location, name=name, **wanted)
    at = clock.now() - timedelta(seconds=age_s)
    LatestReading.objects.create(source=made, fields={"grid_import_w": [100, at.timestamp()]}, at=at)
    return made


def promise(location: Location, number: int, **fields: Any) -> Promise:
    account, _ = ShellyAccount.objects.get_or_create(
        name="demo", defaults={"server_url": "http://127.0.0.1:1", "auth_key": "k"}
    )
    priority = fields.pop("priority", 100)
    device = Device.objects.create(
        location=location,
        account=account,
        shelly_id=f"{number:012x}",
        name=f"Heater {number}",
        rated_w=3000,
        phases="L2",
        priority=priority,
    )
    return Promise.objects.create(device=device, session=number, watts=3000, **fields)


def best(location: Location) -> str:
    found, _ = site.best_source(location.pk, clock.now())
    return found.name if found else ""


# -- the source


def test_no_source_is_no_source(location: Location) -> None:
    assert best(location) == ""


def test_a_local_source_comes_before_a_cloud(location: Location) -> None:
    source(location, "Cloud", kind=SourceKind.SIGENERGY_OPENAPI)
    source(location, "Local", age_s=5)
    assert best(location) == "Local"


def test_a_cloud_comes_before_a_local_source_that_has_fallen_silent(location: Location) -> None:
    source(location, "Local", age_s=300)
    source(location, "Cloud", kind=SourceKind.SIGENERGY_OPENAPI)
    assert best(location) == "Cloud"


def test_a_proven_sign_comes_before_an_unproven_one(location: Location) -> None:
    source(location, "Unproven", sign=Sign.UNPROVEN)
    source(location, "Proven", age_s=5)
    assert best(location) == "Proven"


def test_a_source_that_is_switched_off_counts_for_nothing(location: Location) -> None:
    source(location, "Off", active=False)
    assert best(location) == ""


def test_another_places_source_counts_for_nothing(location: Location) -> None:
    source(Location.objects.create(name="Car park"), "Elsewhere")
    assert best(location) == ""


def test_a_field_of_another_version_is_passed_over() -> None:
    reading = site.reading_of({"grid_import_w": [5, 0.0], "phlogiston_w": [7, 0.0]})
    assert list(reading.fields) == [Field.GRID_IMPORT]


# -- limits and policy


def test_limits_are_the_rows(location: Location) -> None:
    power = SitePower.objects.create(location=location, grid_import_w=17_000, fuse_w=7000, max_age_s=20, margin_w=300)
    limits = site.limits_of(power, source(location, "Roof", told=["grid_import_limit_w", "phlogiston_w"]))
    assert (limits.grid_import_w, limits.fuse_w, limits.margin_w) == (17_000, (7000, 7000, 7000), 300)
    assert limits.max_age == timedelta(seconds=20)
    assert limits.told == {Field.GRID_IMPORT_LIMIT}
    assert limits.cloud is None


def test_a_cloud_admits_only_by_the_administrators_word(location: Location) -> None:
    power = SitePower.objects.create(location=location, grid_import_w=17_000)
    cloud = source(location, "Cloud", kind=SourceKind.SIGENERGY_OPENAPI, cloud_admits=True, cloud_extra_margin_w=1500)
    limits = site.limits_of(power, cloud)
    assert limits.cloud is not None and limits.cloud.extra_margin_w == 1500


def test_the_policy_is_the_rows(location: Location) -> None:
    power = SitePower.objects.create(
        location=location,
        supply="capped",
        import_cap_w=2000,
        windows=[{"start": "22:00", "end": "06:00", "weekdays": [5]}],
    )
    policy = site.policy_of(power)
    assert (policy.supply, policy.cap_w) == (Supply.CAPPED, 2000)
    assert str(policy.zone) == "Europe/Vienna"
    assert policy.windows[0].weekdays == {5}


# -- promises


def counted(asking: Promise | None = None) -> list[str]:
    promises = site.open_promises(Location.objects.get().pk)
    same = next((one for one in promises if asking is not None and one.pk == asking.pk), None)
    names = {str(one.device_id): one.device_name for one in promises}
    return sorted(names[one.device] for one in site.reservations(promises, clock.now(), asking=same))


def test_whoever_comes_new_counts_everybody(location: Location) -> None:
    promise(location, 1)
    promise(location, 2, waiting_since=clock.now())
    promise(location, 3, paused_at=clock.now(), switched_at=clock.now())
    promise(location, 4, released_at=clock.now())
    assert counted() == ["Heater 1", "Heater 2", "Heater 3"]


def test_who_waits_counts_only_those_ahead(location: Location) -> None:
    now = clock.now()
    promise(location, 1)
    first = promise(location, 2, waiting_since=now - timedelta(seconds=9))
    second = promise(location, 3, waiting_since=now - timedelta(seconds=5))
    urgent = promise(location, 4, waiting_since=now, priority=1)
    assert counted(urgent) == ["Heater 1"]
    assert counted(first) == ["Heater 1", "Heater 4"]
    assert counted(second) == ["Heater 1", "Heater 2", "Heater 4"]
    assert [site.place_in_queue(one) for one in (urgent, first, second)] == [1, 2, 3]


def test_those_who_stand_still_do_not_count_against_each_other(location: Location) -> None:
    now = clock.now()
    still = promise(location, 1, paused_at=now, switched_at=now)
    promise(location, 2, paused_at=now, switched_at=now)
    promise(location, 3, paused_at=now, switched_at=now + timedelta(seconds=1))  # on its way back
    assert counted(still) == ["Heater 3"]


def test_a_plan_may_keep_less_reserved_after_a_while(location: Location) -> None:
    started = clock.now() - timedelta(minutes=10)
    promise(location, 1, reserve_w=500, reserve_after_s=600, started_at=started)
    made = site.open_promises(location.pk)[0]
    assert [one.watts for one in site.reservations([made], clock.now())] == [500]
    assert [one.watts for one in site.reservations([made], clock.now() - timedelta(seconds=1))] == [3000]
    assert site.reservations([made], clock.now())[0].phases is Phases.L2


def test_a_promises_moments_come_as_they_were_stored(location: Location) -> None:
    """Read as seconds: to the millisecond, equal ones stay equal, and what is not stored is not there."""
    now = clock.now()
    promise(location, 1, made_at=now - timedelta(days=200), started_at=now, switched_at=now)
    (one,) = site.open_promises(location.pk)
    assert one.started_at is not None and abs(one.started_at - now) <= timedelta(milliseconds=1)
    assert abs(one.made_at - (now - timedelta(days=200))) <= timedelta(milliseconds=1)
    assert one.switched_at == one.started_at
    assert (one.paused_at, one.waiting_since, one.reading_at, one.off_confirmed_at) == (None, None, None, None)
