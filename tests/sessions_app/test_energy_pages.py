"""The Energy page and its settings: what is shown, what goes in and never comes out, what a test says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from devices.energy import site
from devices.energy.models import EnergySource, LatestReading, Promise, Sign, SitePower, SourceKind
from devices.energy.reading import Field, Measured, Reading
from devices.models import Device, Location, ShellyAccount
from hygate import clock
from hygate.models import AuditEvent, Role, User
from hygate.simulators.base import RunningSimulator
from hygate.simulators.sigenergy import SigenergySimulator
from hygate.simulators.sigenergy import build as build_plant
from sessions_app.dashboard import energy_chart

pytestmark = pytest.mark.django_db
SECRET = "the-app-secret-0123456789"
HTMX = {"HX-Request": "true"}


def browser(role: Role) -> Client:
    client = Client()
    user, _ = User.objects.get_or_create(email=f"{role}@example.com", defaults={"role": role})
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def url(name: str, *args: Any) -> str:
    return reverse(f"dashboard:{name}", args=args)


def page(name: str, *args: Any, role: Role = Role.ADMINISTRATOR) -> str:
    return unescape(browser(role).get(url(name, *args)).content.decode())


@pytest.fixture
def place() -> Location:
    return Location.objects.create(name="Marina")


@pytest.fixture
def plant() -> Iterator[SigenergySimulator]:
    simulator = build_plant()
    running = RunningSimulator(simulator).start()
    try:
        yield simulator
    finally:
        running.stop()


def typed(place: Location, plant: SigenergySimulator | None = None, **other: str) -> dict[str, str]:
    host, port = plant.modbus_address if plant else ("127.0.0.1", 9)
    base = {"name": "Plant", "location": str(place.pk), "address": host, "port": str(port), "unit": "247"}
    return base | {"active": "on", "bridge_every_s": "5"} | other


def source_of(place: Location, **other: Any) -> EnergySource:
    kind = other.pop("kind", SourceKind.SIGENERGY_MODBUS)
    return EnergySource.objects.create(location=place, name="Plant", kind=kind, address="127.0.0.1", **other)


# -- the page


def test_without_a_source_the_page_says_what_to_do() -> None:
    assert "Add a source and the limits of your site" in page("energy")
    assert "An administrator adds it" in page("energy", role=Role.OPERATOR)


def test_flows_headroom_and_promises_are_shown(place: Location) -> None:
    now = clock.now()
    source = source_of(place, sign=Sign.PROVEN, status="ok")
    SitePower.objects.create(location=place, grid_import_w=17_000)
    told = {Field.PV: 2800, Field.GRID_IMPORT: -1200, Field.ON_GRID: 1, Field.RUNNING: 1, Field.GRID_SENSOR_OK: 1}
    reading = Reading({name: Measured(value, now) for name, value in told.items()})
    LatestReading.objects.create(source=source, fields=site.stored(reading), at=now)
    account = ShellyAccount.objects.create(name="a", server_url="http://127.0.0.1:9", auth_key="k")
    device = Device.objects.create(location=place, account=account, shelly_id="a", name="Sauna", rated_w=6000)
    Promise.objects.create(device=device, session=1, watts=6000)
    Promise.objects.create(device=device, session=2, watts=4000, waiting_since=now - timedelta(minutes=5))
    html = page("energy", role=Role.OPERATOR)
    assert "exporting" in html and "1,200\u00a0W" in html
    assert "6,000\u00a0W" in html and "Waits for power" in html and "in line" in html


def test_what_is_refused_and_what_waits_says_why(place: Location) -> None:
    """9 kW are free: enough to promise something, too little for the car and for the oven that waits."""
    now = clock.now()
    source = source_of(place, sign=Sign.PROVEN, status="ok")
    SitePower.objects.create(location=place, grid_import_w=10_000, phases=1, margin_w=0)
    told = {Field.GRID_IMPORT: 1000, Field.ON_GRID: 1, Field.RUNNING: 1}
    reading = Reading({name: Measured(value, now) for name, value in told.items()})
    LatestReading.objects.create(source=source, fields=site.stored(reading), at=now)
    account = ShellyAccount.objects.create(name="a", server_url="http://127.0.0.1:9", auth_key="k")
    made = {"location": place, "account": account}
    Device.objects.create(**made, shelly_id="a", name="Car", rated_w=11_000)
    oven = Device.objects.create(**made, shelly_id="b", name="Oven", rated_w=9500)
    Device.objects.create(**made, shelly_id="c", name="Lamp", rated_w=100)
    Promise.objects.create(device=oven, session=1, watts=9500, waiting_since=now)
    html = page("energy", role=Role.OPERATOR)
    assert "It needs 11000 W; the site can give 0 W now." in html
    assert "It needs 9500 W; the site can give 9000 W now." in html
    assert "Lamp" not in html


def test_a_refusal_is_said_with_the_way_to_its_row(place: Location) -> None:
    source_of(place)
    SitePower.objects.create(location=place, grid_import_w=17_000)
    html = page("energy")
    assert "/dashboard/help/#power-" in html


def test_nothing_new_costs_no_page(place: Location) -> None:
    source_of(place)
    client = browser(Role.OPERATOR)
    mark = client.get(url("energy_live")).context["mark"]
    assert client.get(url("energy_live"), headers={"X-Seen": mark}).status_code == 204
    EnergySource.objects.update(last_sentence="No answer.", status="unreachable")
    assert client.get(url("energy_live"), headers={"X-Seen": mark}).status_code == 200


def test_an_operator_sees_no_way_to_configure(place: Location) -> None:
    source_of(place)
    assert "settings/energy" not in page("energy", role=Role.OPERATOR)


# -- the chart


def test_a_gap_in_the_readings_breaks_the_line() -> None:
    now = clock.now()
    minutes = [*range(600), *range(700, 1400)]
    rows = [(now - timedelta(minutes=1440 - one), {"grid_import_w": [1000.0, 0, 0]}) for one in minutes]
    chart = energy_chart.drawn(rows, "Europe/Vienna", now)
    assert chart is not None
    assert chart.series[0].d.count("M") == 2


def test_export_is_drawn_below_zero_and_import_above() -> None:
    now = clock.now()
    rows = [(now - timedelta(hours=2), {"grid_import_w": [3000.0, 0, 0], "battery_charge_w": [-3000.0, 0, 0]})]
    chart = energy_chart.drawn(rows, "Europe/Vienna", now)
    assert chart is not None
    zero = next(one.at for one in chart.levels if one.is_zero)
    grid, battery = (int(one.d.split(" ")[1].split("L")[0]) for one in chart.series)
    assert grid < zero < battery


def test_no_reading_no_chart() -> None:
    assert energy_chart.drawn([], "Europe/Vienna", clock.now()) is None


# -- sources


def test_a_source_is_saved_and_audited_without_its_secret(place: Location) -> None:
    sent = {"name": "Cloud", "location": str(place.pk), "address": "eu", "system_id": "S1", "app_key": "K"}
    sent |= {"app_secret": SECRET, "cloud_extra_margin_w": "3000", "cloud_admits": "on", "bridge_every_s": "5"}
    browser(Role.ADMINISTRATOR).post(url("energy_source_add", "sigenergy_openapi"), sent)
    source = EnergySource.objects.get()
    assert json.loads(source.secrets)["app_secret"] == SECRET
    assert (source.cloud_admits, source.cloud_extra_margin_w) == (True, 3000)
    event = AuditEvent.objects.get(kind="energy_source_added")
    assert SECRET not in str(event.__dict__)
    for name, args in (("energy_settings", []), ("energy_source_edit", [source.pk]), ("energy", [])):
        assert SECRET not in page(name, *args)


def test_an_empty_secret_keeps_the_saved_one_and_the_sign(place: Location) -> None:
    keys = json.dumps({"app_key": "K", "app_secret": SECRET})
    source = source_of(place, kind=SourceKind.SIGENERGY_OPENAPI, secrets=keys, system_id="S1", sign=Sign.PROVEN)
    sent = {"name": "Renamed", "location": str(place.pk), "address": "127.0.0.1", "system_id": "S1"}
    sent |= {"cloud_extra_margin_w": "2000", "bridge_every_s": "5", "active": "on"}
    browser(Role.ADMINISTRATOR).post(url("energy_source_edit", source.pk), sent)
    source = EnergySource.objects.get()
    assert (source.name, source.sign) == ("Renamed", Sign.PROVEN)
    assert json.loads(source.secrets)["app_secret"] == SECRET


def test_another_plant_has_to_prove_its_sign_anew(place: Location) -> None:
    source = source_of(place, sign=Sign.PROVEN, port=9)
    LatestReading.objects.create(source=source, fields={"grid_import_w": [1, 1]})
    browser(Role.ADMINISTRATOR).post(url("energy_source_edit", source.pk), typed(place, address="127.0.0.2"))
    assert EnergySource.objects.get().sign == Sign.UNPROVEN
    assert not LatestReading.objects.exists()


def test_the_bridge_takes_only_addresses_of_the_local_network(place: Location) -> None:
    sent = typed(place, bridge_address="8.8.8.8")
    answer = browser(Role.ADMINISTRATOR).post(url("energy_source_add", "sigenergy_modbus"), sent)
    assert answer.status_code == 422
    assert not EnergySource.objects.exists()


# -- Test connection


def test_a_test_shows_the_numbers_and_saves_nothing(place: Location, plant: SigenergySimulator) -> None:
    sent = typed(place, plant)
    test = url("energy_source_test_new", "sigenergy_modbus")
    answer = browser(Role.ADMINISTRATOR).post(test, sent, headers=HTMX)
    said = unescape(answer.content.decode())
    assert "Plant delivers" in said and "t-ok" in said and "Grid" in said
    assert not EnergySource.objects.exists()


def test_a_flipped_meter_is_named_by_the_test(place: Location, plant: SigenergySimulator) -> None:
    plant.plant.set({"pv_w": 2800, "battery_charge_w": 0, "load_w": [4000, 4000, 3340], "flip_sign": True})
    test = url("energy_source_test_new", "sigenergy_modbus")
    said = browser(Role.ADMINISTRATOR).post(test, typed(place, plant), headers=HTMX).content.decode()
    assert "wrong sign" in said and "t-stop" in said


def test_nobody_there_is_said_with_its_name(place: Location) -> None:
    source = source_of(place, port=9)
    said = browser(Role.ADMINISTRATOR).post(url("energy_source_test", source.pk), headers=HTMX).content.decode()
    assert "does not deliver" in said and "energy-unreachable" in said


# -- limits


def limits(**other: str) -> dict[str, str]:
    base = {"grid_import_w": "17000", "phases": "3", "reserve_soc_pct": "10", "margin_w": "500", "shed_margin_w": "0"}
    base |= {"max_age_s": "10", "supply": "grid", "import_cap_w": "0", "most_per_pass": "1", "least_running": "0"}
    return base | other


def test_limits_and_windows_are_saved_as_the_rule_reads_them(place: Location) -> None:
    sent = limits(from_0="22:00", to_0="06:00", days_0="01234", battery_may_help="on")
    browser(Role.ADMINISTRATOR).post(url("energy_site", place.pk), sent)
    power = SitePower.objects.select_related("location").get()
    assert (power.grid_import_w, power.battery_may_help) == (17_000, True)
    (window,) = site.policy_of(power).windows
    assert (f"{window.start:%H:%M}", f"{window.end:%H:%M}") == ("22:00", "06:00")
    assert window.weekdays == frozenset(range(5))
    assert "grid_import_w" in AuditEvent.objects.get(kind="energy_limits_edited").data["changed"]


def test_every_column_of_the_limits_can_be_set() -> None:
    from sessions_app.dashboard.energy_forms import SiteForm

    own = {"id", "location", "passes", "calm_since", "read_token_hash", "windows"}
    assert {field.name for field in SitePower._meta.fields} - own == set(SiteForm.base_fields)


@pytest.mark.parametrize("wrong", [{"shed_margin_w": "600"}, {"from_0": "22:00"}, {"margin_w": ""}, {"phases": "2"}])
def test_limits_that_make_no_sense_are_refused(place: Location, wrong: dict[str, str]) -> None:
    answer = browser(Role.ADMINISTRATOR).post(url("energy_site", place.pk), limits(**wrong))
    assert answer.status_code == 422
    assert not SitePower.objects.exists()


# -- who decides by energy on a Device


def test_an_operator_changes_no_priority(place: Location) -> None:
    account = ShellyAccount.objects.create(name="a", server_url="http://127.0.0.1:9", auth_key="k")
    device = Device.objects.create(location=place, account=account, shelly_id="a", name="Sauna", rated_w=6000)
    sent = {"name": "Sauna", "place": "", "kind": "sauna", "rated_w": "6000", "active": "on", "priority": "1"}
    browser(Role.OPERATOR).post(url("device_edit", device.pk), sent)
    device.refresh_from_db()
    assert (device.priority, device.may_pause) == (100, True)
    sent |= {"phases": "L2", "min_on_s": "60", "min_off_s": "60", "apart_group": "hot"}
    browser(Role.ADMINISTRATOR).post(url("device_edit", device.pk), sent)
    device.refresh_from_db()
    assert (device.priority, device.may_pause, device.phases, device.apart_group) == (1, False, "L2", "hot")
