"""The small JSON for scripts: the seed's keys and signs, a token of its own, at most one look a second."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from devices.energy import live, site
from devices.energy.models import EnergySource, LatestReading, SitePower, SourceKind
from devices.energy.reading import Field, Measured, Reading
from devices.models import Location
from hygate import clock

pytestmark = pytest.mark.django_db
SEED: dict[str, int] = {
    Field.PV: 2800,
    Field.SOC: 15,
    Field.BATTERY_CHARGE: 0,
    Field.GRID_IMPORT: 8540,
    Field.LOAD: 11340,
}


class Script:
    """A Shelly script with a token."""

    def __init__(self) -> None:
        self.place = Location.objects.create(name="Marina")
        self.source = EnergySource.objects.create(
            location=self.place, name="Plant", kind=SourceKind.SIGENERGY_MODBUS, address="127.0.0.1"
        )
        self.token = live.new_token(self.place, by="test")

    def tell(self, **other: Any) -> None:
        now = clock.now()
        fields: dict[str, Any] = {**SEED, **other}
        reading = Reading({Field(name): Measured(value, now) for name, value in fields.items() if value is not None})
        LatestReading.objects.update_or_create(source=self.source, defaults={"fields": site.stored(reading), "at": now})

    def ask(self, token: str | None = None, location: int | None = None) -> Any:
        header = {"Authorization": f"Bearer {self.token if token is None else token}"}
        return Client().get(f"/api/v1/energy/{location or self.place.pk}/live", headers=header)


@pytest.fixture
def script() -> Iterator[Script]:
    yield Script()
    live._kept.clear()


def test_the_keys_are_the_seeds_and_the_grid_is_positive_for_export(script: Script) -> None:
    script.tell()
    before = clock.now().timestamp() * 1000
    body = script.ask().json()
    assert abs(body.pop("ts") - before) < 5000
    assert body == {"pvW": 2800, "socPc": 15.0, "batW": 0, "griW": -8540, "loadW": 11340}


def test_the_load_is_what_is_fed_now_and_not_what_the_plant_said_half_a_minute_ago(script: Script) -> None:
    script.tell(inverter_ac_w=500, third_party_pv_w=100)
    assert script.ask().json()["loadW"] == 8540 + 500 + 100


def test_a_load_that_nobody_measures_is_what_the_others_leave(script: Script) -> None:
    script.tell(load_w=None)
    assert script.ask().json()["loadW"] == 11340


def test_what_the_source_does_not_tell_is_null_and_never_zero(script: Script) -> None:
    script.tell(soc_pct=None, battery_charge_w=None)
    body = script.ask().json()
    assert (body["socPc"], body["batW"]) == (None, None)


def test_a_stored_value_that_was_no_number_is_null_as_well(script: Script) -> None:
    script.tell(pv_w=float("nan"), load_w=None)
    body = script.ask().json()
    assert (body["pvW"], body["loadW"], body["griW"]) == (None, None, -8540)


def test_a_wrong_token_and_an_unknown_location_are_answered_alike(script: Script) -> None:
    script.tell()
    refused = [script.ask("wrong"), script.ask(""), script.ask(location=script.place.pk + 1)]
    assert {(one.status_code, one.content) for one in refused} == {(401, refused[0].content)}


def test_a_location_without_a_token_is_closed_to_the_empty_one(script: Script) -> None:
    SitePower.objects.update(read_token_hash="")
    live.forget(script.place.pk)
    assert script.ask("").status_code == 401


def test_a_new_token_ends_the_old_one_at_once(script: Script) -> None:
    script.tell()
    old = script.token
    assert script.ask().status_code == 200
    script.token = live.new_token(script.place, by="test")
    assert (script.ask(old).status_code, script.ask().status_code) == (401, 200)


def test_the_database_holds_no_token(script: Script) -> None:
    assert script.token not in SitePower.objects.get().read_token_hash


def test_nothing_read_yet_is_said(script: Script) -> None:
    assert script.ask().status_code == 503


def test_a_second_caller_within_a_second_costs_no_query(script: Script, django_assert_num_queries: Any) -> None:
    script.tell()
    first = script.ask().content
    with django_assert_num_queries(0):
        assert script.ask().content == first


def test_the_time_is_that_of_the_oldest_number(script: Script) -> None:
    script.tell()
    then = clock.now() - timedelta(seconds=40)
    latest = LatestReading.objects.get()
    latest.fields["soc_pct"][1] = then.timestamp()
    latest.save(update_fields=["fields"])
    assert script.ask().json()["ts"] == int(then.timestamp() * 1000)


@pytest.mark.parametrize(("others_w", "is_old"), [(0, False), (900, True)])
def test_other_makers_sun_that_is_none_makes_nothing_older(script: Script, others_w: int, is_old: bool) -> None:
    """A plant tells it each half minute, also one that has no such inverter."""
    now = clock.now()
    script.tell(inverter_ac_w=500, third_party_pv_w=others_w)
    latest = LatestReading.objects.get()
    latest.fields["third_party_pv_w"][1] -= 30
    latest.save(update_fields=["fields"])
    assert (now.timestamp() * 1000 - script.ask().json()["ts"] > 20_000) is is_old
