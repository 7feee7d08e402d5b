"""What the answers of Sigenergy's cloud mean: captured ones, and others of our own making."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from devices.energy.reading import Field
from devices.energy.sources import sigenergy_answers as answers
from devices.energy.sources.sigenergy_answers import data_of
from devices.energy.sources.sigenergy_openapi import flow_fields, state_fields, station_in, token_in
from devices.energy.sources.source import Malformed, SourceError
from tests.captured import needs_sigenergy
from tests.devices.energy.sources.sigenergy_bench import payload, values

AT = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


# -- captured answers


@needs_sigenergy
def test_captured_export_becomes_negative_import() -> None:
    fields = values(flow_fields(payload("openapi_energy_flow_data__discharging-export"), AT))
    assert fields[Field.GRID_IMPORT] == -3710


@needs_sigenergy
def test_captured_flow_balances_in_our_signs() -> None:
    fields = values(flow_fields(payload("openapi_energy_flow_data__discharging-export"), AT))
    sources = fields[Field.PV] + fields[Field.GRID_IMPORT] - fields[Field.BATTERY_CHARGE]
    assert sources == fields[Field.LOAD] == 890


@needs_sigenergy
def test_captured_login_is_a_json_string_inside_json() -> None:
    data, _ = data_of(200, "application/json", json.dumps(payload("openapi_login__envelope")))
    assert token_in(data) == ("...", timedelta(seconds=43199))


@needs_sigenergy
def test_captured_list_of_stations_is_a_string() -> None:
    data, told = data_of(200, "application/json", json.dumps(payload("openapi_system_list__string-data")))
    station = station_in(data, "ABC123")
    assert station is not None
    assert values(state_fields(station, AT)) == {Field.RUNNING: 1, Field.ON_GRID: 1}
    assert told == 1764870200


@needs_sigenergy
def test_captured_list_of_strings_is_unwrapped() -> None:
    data, _ = data_of(200, "application/json", json.dumps(payload("openapi_device_list__list-of-strings")))
    assert [device["deviceType"] for device in data] == ["Inverter", "Battery"]


@needs_sigenergy
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("openapi_error__access-restriction", answers.AccessRestricted),
        ("openapi_error__authentication-failed", answers.TokenRefused),
        ("openapi_energy_flow__param-illegal", answers.RequestRefused),
    ],
)
def test_captured_refusal_has_its_name(name: str, kind: type[SourceError]) -> None:
    with pytest.raises(kind):
        data_of(200, "application/json", json.dumps(payload(name)))


@needs_sigenergy
def test_every_code_of_the_table_is_an_error_that_retries_only_what_passes() -> None:
    for row in payload("openapi_codes")["codes"]:
        if row["code"] in (0, 1104, 13008, 11003):  # no error; an offline plant comes back; a token is renewed
            continue
        assert answers.refusal(row["code"]).retryable == (row["kind"] == "transient"), row


# -- answers of our own making


@pytest.mark.parametrize(
    ("status", "content_type", "kind"),
    [
        (401, "application/json", answers.TokenRefused),
        (403, "text/html", answers.TurnedAway),
        (403, "application/json", answers.NoRights),
        (424, "", answers.Answered424),
        (429, "", answers.TooManyRequests),
        (404, "text/html", answers.RequestRefused),
        (502, "text/html", answers.CloudTrouble),
    ],
)
def test_http_status_has_its_name(status: int, content_type: str, kind: type[SourceError]) -> None:
    assert type(answers.http_refusal(status, content_type)) is kind


@pytest.mark.parametrize("text", ["", "<html></html>", "[]", "null", "7", '{"data": {}}', '[{"msg": "success"}]'])
def test_answer_without_a_code_is_malformed(text: str) -> None:
    with pytest.raises(Malformed):
        data_of(200, "application/json", text)


def test_reply_that_is_a_list_of_one_is_taken_out_of_it() -> None:
    assert data_of(200, "", '[{"code": 0, "msg": "success", "data": "{\\"a\\": 1}"}]') == ({"a": 1}, None)


def test_string_wrapped_in_a_string_is_parsed_until_it_is_none() -> None:
    assert answers.unwrapped(json.dumps(json.dumps(json.dumps({"a": 1})))) == {"a": 1}


@pytest.mark.parametrize("value", [None, "", "word", "nan", float("inf"), True, [], {}])
def test_what_is_no_number_is_absent_and_never_zero(value: Any) -> None:
    fields = flow_fields({"gridPower": 1, "pvPower": value, "batterySoc": value}, AT)
    assert set(fields) == {Field.GRID_IMPORT}


def test_number_in_a_string_counts() -> None:
    assert values(flow_fields({"gridPower": "-8.54"}, AT)) == {Field.GRID_IMPORT: 8540}


@pytest.mark.parametrize("data", [None, [], "text", {}, {"pvPower": 2.8}])
def test_flow_without_the_grid_is_malformed(data: Any) -> None:
    with pytest.raises(Malformed):
        flow_fields(data, AT)


@pytest.mark.parametrize("status", ["Standby", "Fault", "Faulty", "Offline", "Shutdown", "Disconnection", "Reset", "?"])
def test_station_that_is_not_normal_does_not_run(status: str) -> None:
    assert values(state_fields({"status": status}, AT)) == {Field.RUNNING: 0}
