"""What Renogy's untidy answers mean: single values, devices, the site, and captured bodies."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.energy.reading import Field
from devices.energy.sources.renogy import values
from devices.energy.sources.renogy.values import Latest, RenogyDevice
from devices.energy.sources.source import Malformed
from tests.captured import RENOGY, needs_renogy

MILLIAMPS = {"presentAmps": "mA"}


def captured(name: str) -> Any:
    return json.loads((RENOGY / f"{name}.json").read_text())


def latest(units: dict[str, str] | None = None, **data: Any) -> Latest:
    return values.latest_of({"data": data}, MILLIAMPS if units is None else units)


def device(category: str, id: str = "1", *, online: bool = True) -> RenogyDevice:
    return RenogyDevice(id, category, category, online, "9")


# -- single values


@pytest.mark.parametrize(
    ("raw", "value"), [(119.6, 119.6), ("119.6", 119.6), ("0", 0.0), (" 8.00 ", 8.0), (7, 7.0), (-15400.0, -15400.0)]
)
def test_numbers_count_as_numbers_and_as_texts(raw: Any, value: float) -> None:
    assert values.number(raw) == value


@pytest.mark.parametrize("raw", [None, "Normal", "", "nan", float("nan"), float("inf"), True, [1], {}, -3276.800049])
def test_what_is_no_number_is_absent(raw: Any) -> None:
    assert values.number(raw) is None


@pytest.mark.parametrize("key", ["batteryType", "output"])
def test_3084_is_no_battery_type_and_no_output(key: str) -> None:
    assert values.number(3084, key) is None


def test_3084_is_a_number_where_watts_are_meant() -> None:
    assert latest(solarWatts=3084).solar_w == 3084


def test_a_discharging_battery_is_negative_and_its_current_is_in_milliamperes() -> None:
    charge = latest(presentVolts=13.1, presentAmps=-15400.0).battery_charge_w
    assert charge == pytest.approx(-201.74)


def test_a_datamap_without_units_leaves_the_documented_milliamperes() -> None:
    assert latest({}, presentVolts=13.0, presentAmps=1000).battery_charge_w == pytest.approx(13.0)


def test_amperes_are_believed_as_far_as_the_battery_can_give() -> None:
    told = {"presentAmps": "A"}
    small = latest(told, presentVolts=13.0, presentAmps=-15.4, maximumCapacity=100)
    large = latest(told, presentVolts=13.0, presentAmps=-15400, maximumCapacity=100)
    assert small.battery_charge_w == pytest.approx(large.battery_charge_w) == pytest.approx(-200.2)


def test_amperes_of_a_battery_of_unknown_size_are_no_power() -> None:
    assert latest({"presentAmps": "A"}, presentVolts=13.0, presentAmps=-15.4).battery_charge_w is None


@pytest.mark.parametrize(
    ("volts", "amps", "watts", "scale"),
    [
        (114.1, 370.0, 42, 0.001),
        (114.1, 0.37, 42, 1.0),
        (36.0, 17_777.8, 640, 0.001),
        (114.1, 370.0, 900, None),
        (0.0, 5, 0, None),
        (114.1, None, 42, None),
    ],
)
def test_volts_times_amperes_against_watts_tells_the_scale(
    volts: float, amps: float | None, watts: float, scale: float | None
) -> None:
    assert values.amps_scale(volts, amps, watts) == scale


def test_a_scale_once_told_serves_an_answer_without_watts() -> None:
    before = latest(outputVolts=114.1, outputAmps=370.0, loadActiveWatts=42)
    later = {"data": {"outputVolts": 114.0, "outputAmps": 1000.0, "loadActiveWatts": None}}
    assert values.latest_of(later, {"outputAmps": "A"}, before.scales).ac_w == pytest.approx(114.0)


def test_amperes_without_watts_and_without_a_scale_are_no_power() -> None:
    assert latest({"outputAmps": "A"}, outputVolts=114.0, outputAmps=1000.0).ac_w is None


@pytest.mark.parametrize("level", [-1, 100.5, 1e9, "NaN", None])
def test_an_impossible_state_of_charge_is_absent_and_never_cut_to_size(level: Any) -> None:
    assert latest(batteryLevel=level).soc_pct is None


@pytest.mark.parametrize("watts", [-640, 1e9, "inf", None])
def test_an_impossible_sun_is_absent(watts: Any) -> None:
    assert latest(solarWatts=watts).solar_w is None


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda inner: st.lists(inner), max_leaves=5))
def test_no_body_of_latest_breaks_the_parser(body: Any) -> None:
    keys = ("batteryLevel", "presentVolts", "presentAmps", "solarWatts", "loadActiveWatts", "maximumCapacity")
    read = values.latest_of({"data": dict.fromkeys(keys, body)}, {})
    assert read.soc_pct is None or 0 <= read.soc_pct <= 100


@pytest.mark.parametrize("body", [[], None, "x", 3])
def test_a_latest_that_is_no_object_is_refused(body: Any) -> None:
    with pytest.raises(Malformed):
        values.latest_of(body, {})


# -- the device list


def test_sub_devices_come_with_their_hub() -> None:
    listed = values.devices_of([{"deviceId": "1", "onlineStatus": "online", "sublist": [{"deviceId": "2"}]}])
    assert {(one.id, one.hub_id) for one in listed} == {("1", ""), ("2", "1")}


def test_a_sub_device_of_an_offline_hub_is_offline() -> None:
    sub = {"deviceId": "2", "onlineStatus": "online"}
    listed = values.devices_of([{"deviceId": "1", "onlineStatus": "offline", "sublist": [sub]}])
    assert not any(one.online for one in listed)


@pytest.mark.parametrize("sublist", [None, "", [], [None], [{"name": "no id"}]])
def test_a_hub_without_usable_sub_devices_stands_alone(sublist: Any) -> None:
    assert [one.id for one in values.devices_of({"data": [{"deviceId": "1", "sublist": sublist}]})] == ["1"]


@pytest.mark.parametrize("body", [None, {}, {"error": "x"}, "text", 5])
def test_a_device_list_that_is_no_list_is_refused(body: Any) -> None:
    with pytest.raises(Malformed):
        values.devices_of(body)


# -- the site


def test_the_state_of_charge_weighs_batteries_by_their_capacity() -> None:
    big, small = Latest(soc_pct=80, capacity_ah=300), Latest(soc_pct=40, capacity_ah=100)
    assert values.site_fields([(device("battery"), big), (device("battery", "2"), small)])[Field.SOC] == 70


def test_without_capacities_the_emptiest_battery_speaks() -> None:
    full, empty = Latest(soc_pct=80, capacity_ah=300), Latest(soc_pct=40)
    assert values.site_fields([(device("battery"), full), (device("battery", "2"), empty)])[Field.SOC] == 40


def test_batteries_speak_before_a_charge_controllers_guess() -> None:
    seen = [(device("controller"), Latest(soc_pct=100, solar_w=0)), (device("battery", "2"), Latest(soc_pct=54.8))]
    assert values.site_fields(seen)[Field.SOC] == 54.8


@pytest.mark.parametrize("silent", [None, Latest()])
def test_one_silent_battery_leaves_charge_and_power_absent(silent: Latest | None) -> None:
    heard = Latest(soc_pct=80, capacity_ah=300, battery_charge_w=100)
    fields = values.site_fields([(device("battery"), heard), (device("battery", "2"), silent)])
    assert Field.SOC not in fields and Field.BATTERY_CHARGE not in fields


def test_one_silent_charge_controller_leaves_the_sun_absent() -> None:
    assert Field.PV not in values.site_fields(
        [(device("controller"), Latest(solar_w=300)), (device("controller", "2"), None)]
    )


def test_no_field_of_the_grid_is_ever_made_up() -> None:
    known = Latest(soc_pct=50, capacity_ah=100, battery_charge_w=-10, solar_w=20, ac_w=30)
    fields = values.site_fields([(device(kind, kind), known) for kind in ("battery", "controller", "inverter")])
    assert set(fields) == {Field.SOC, Field.BATTERY_CHARGE, Field.PV, Field.INVERTER_AC}


# -- captured bodies


@needs_renogy
def test_the_captured_hub_lists_its_inverter_controller_and_batteries() -> None:
    listed = values.devices_of(captured("device_list__one-hub-four-subs"))
    assert sorted(one.category for one in listed) == ["battery", "battery", "controller", "inverter", "renogy one core"]
    assert all(one.online for one in listed)


@needs_renogy
def test_the_captured_two_hubs_list_ten_devices() -> None:
    assert len(values.devices_of(captured("device_list__two-hubs"))) == 10


@needs_renogy
def test_the_captured_battery_stands_at_54_8_percent_and_rests() -> None:
    read = values.latest_of(captured("latest__battery"), values.units_of(captured("datamap__battery")))
    assert read.soc_pct == pytest.approx(54.784637) and read.battery_charge_w == 0


@needs_renogy
@pytest.mark.parametrize("name", ["latest__inverter_many-nulls", "latest__inverter_output-3084"])
def test_the_captured_inverter_gives_42_watts_and_its_370_amperes_are_milliamperes(name: str) -> None:
    read = values.latest_of(captured(name), values.units_of(captured("datamap__inverter")))
    assert (read.ac_w, read.scales, read.solar_w) == (42, {"outputAmps": 0.001}, None)


@needs_renogy
@pytest.mark.parametrize("name", ["latest__charge-controller", "latest__charge-controller_battery-type-3084"])
def test_the_captured_controller_sees_no_sun_and_has_made_449_kwh(name: str) -> None:
    read = values.latest_of(captured(name), values.units_of(captured("datamap__charge-controller")))
    assert read.solar_w == 0 and read.generated_wh == pytest.approx(449_358.03)


@needs_renogy
def test_the_captured_inverter_charger_that_sends_texts_is_read() -> None:
    read = values.latest_of(captured("latest__inverter-charger_string-values"), {})
    assert (read.ac_w, read.solar_w, read.soc_pct) == (8, 0, None)


@needs_renogy
def test_the_captured_hub_says_nothing_that_counts() -> None:
    assert values.latest_of(captured("latest__hub_battery-type-only"), {}) == Latest()


@needs_renogy
def test_the_documents_alarm_and_history_are_read() -> None:
    (alarm,) = values.alarms_of(captured("alarm__doc"), "1")
    assert (alarm.name, alarm.code, alarm.level) == ("Battery Overvoltage Protection", "39", "")
    assert [day.energy_wh for day in values.history_of(captured("history__doc"))] == [0, 103, 0, 377, 39]
