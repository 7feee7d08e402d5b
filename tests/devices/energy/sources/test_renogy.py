"""Renogy's OpenAPI: its signature, its limits, and the real client against the simulator over real sockets."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from devices.energy.reading import Field, Fields
from devices.energy.sources.renogy import RenogySettings, RenogySource, build, signing
from devices.energy.sources.renogy.client import BASE_URL, Budget, check_base_url
from devices.energy.sources.renogy.values import Alarm
from devices.energy.sources.source import Malformed, RateLimited, Refused, SourceError, Unreachable
from hygate.simulators.base import RunningSimulator
from hygate.simulators.renogy import DEMO_ACCESS_KEY, DEMO_SECRET_KEY, RenogySimulator
from hygate.simulators.renogy.plant import demo_plant
from tests import loopback

# -- the signature


def test_the_signature_is_that_of_an_independent_calculation() -> None:
    """By ``printf '1726739190910./device/list.' | openssl dgst -sha256 -hmac sk_abc -binary | base64``."""
    signed = signing.signature("/device/list", "", 1726739190910, "sk_abc")
    assert signed == "gDHB9Lmdz2z8njf1HYDfL/Sw/mb2NXvscUPgL69r0dA="


def test_parameters_are_signed_without_the_question_mark() -> None:
    """By the same command over ``1726739190910./device/data/history/46.year=2024&month=9&utcOffsetHours=-8``."""
    path, params = "/device/data/history/46", "year=2024&month=9&utcOffsetHours=-8"
    assert signing.signature(path, params, 1726739190910, "sk_abc") == "Qtp8lSvDIyN3ntgGnew+a4Kc5YN7+XIuwwkQ3eo7uHU="


# -- where the keys may go


@pytest.mark.parametrize("url", [BASE_URL, f"{BASE_URL}/", f" {BASE_URL}:443 ", "https://OpenAPI.Renogy.com"])
def test_the_keys_go_to_renogys_own_host(url: str) -> None:
    assert check_base_url(url, simulated=False) == BASE_URL


@pytest.mark.parametrize(
    "url",
    [
        "http://openapi.renogy.com",
        "https://openapi.renogy.com.example.com",
        "https://openapi.renogy.com:8443",
        "https://user@openapi.renogy.com",
        "https://openapi.renogy.com/device",
        "https://169.254.169.254",
        "http://192.168.1.10",
        "http://127.0.0.1:8104",
        "https://[::1",
        "",
    ],
)
def test_the_keys_go_nowhere_else(url: str) -> None:
    with pytest.raises(ValueError):
        check_base_url(url, simulated=False)


def test_this_machine_is_for_simulators_only(settings: Any) -> None:
    settings.SIMULATED = False
    with pytest.raises(Refused, match="HYGATE_SIMULATED=1"):
        build(RenogySettings("a", "b", base_url="http://127.0.0.1:8104"))


def test_the_secret_does_not_show_in_the_settings_text() -> None:
    assert "hush" not in repr(RenogySettings("a", "hush"))


# -- the budget


class Steady:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_budget_lets_no_more_than_its_number_leave_in_a_minute() -> None:
    steady = Steady()
    budget = Budget(2, steady)
    asyncio.run(budget.take())
    steady.now += 10
    asyncio.run(budget.take())
    steady.now += 10
    assert budget.wait_s() == pytest.approx(41)


def test_a_budget_is_free_again_when_the_minute_is_over() -> None:
    steady = Steady()
    budget = Budget(1, steady)
    asyncio.run(budget.take())
    steady.now += 62
    assert budget.wait_s() == 0


# -- the source against the simulator


class Bench:
    """A running simulator, and a source that reads it."""

    def __init__(self) -> None:
        self.simulator = RenogySimulator()
        self.simulator.add_account(DEMO_ACCESS_KEY, DEMO_SECRET_KEY, demo_plant())
        self.simulator.add_account("empty-key", "empty-secret")
        self.running = RunningSimulator(self.simulator).start()
        self.http = loopback.client(base_url=self.running.url, timeout=5)
        self.settings = RenogySettings(DEMO_ACCESS_KEY, DEMO_SECRET_KEY, base_url=self.running.url, poll_s=0.02)

    def close(self) -> None:
        self.http.close()
        self.running.stop()

    def ctl(self, path: str, **body: Any) -> None:
        assert self.http.post(f"/_ctl/{path}", json=body).status_code == 200

    def source(self, **changes: Any) -> RenogySource:
        return build(replace(self.settings, **changes))

    def paths(self) -> list[str]:
        return [entry["path"] for entry in self.http.get("/_ctl/ledger").json()]

    def passes(self, count: int, **changes: Any) -> list[Fields]:
        """What ``count`` passes of one watch deliver."""
        return asyncio.run(deliveries(self.source(**changes), count))


async def deliveries(source: RenogySource, count: int) -> list[Fields]:
    got: list[Fields] = []

    async def deliver(fields: Fields) -> None:
        got.append(fields)
        if len(got) == count:
            raise asyncio.CancelledError

    with suppress(asyncio.CancelledError):
        await source.watch(deliver)
    return got


def plain(fields: Fields) -> dict[Field, int | float]:
    return {field: measured.value for field, measured in fields.items()}


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    try:
        yield made
    finally:
        made.close()


def failure_of(look: Callable[[], Any]) -> SourceError:
    with pytest.raises(SourceError) as caught:
        look()
    return caught.value


def test_a_pass_delivers_battery_sun_and_ac_of_the_site(bench: Bench) -> None:
    (fields,) = bench.passes(1)
    assert plain(fields) == {
        Field.SOC: 77.0,
        Field.BATTERY_CHARGE: round(13.4 * (16.5 + 15.8)),
        Field.PV: 640,
        Field.INVERTER_AC: 180,
    }


def test_values_carry_the_time_of_their_answer(bench: Bench, manual_clock: Any) -> None:
    bench.ctl("habits", skew_s=1e10)
    (fields,) = bench.passes(1)
    assert {measured.at for measured in fields.values()} == {manual_clock.now()}


def test_datamaps_are_asked_once_for_many_passes(bench: Bench) -> None:
    bench.passes(3)
    assert sum("datamap" in path for path in bench.paths()) == 4
    assert sum("latest" in path for path in bench.paths()) == 12


def test_a_plant_that_sends_texts_reads_the_same(bench: Bench) -> None:
    (numbers,) = bench.passes(1)
    bench.ctl("habits", strings=True, wrapped=True)
    assert plain(bench.passes(1)[0]) == plain(numbers)


def test_an_offline_battery_is_not_asked_and_its_fields_are_absent(bench: Bench) -> None:
    bench.ctl("devices/90000000014", online=False)
    (fields,) = bench.passes(1)
    assert set(fields) == {Field.PV, Field.INVERTER_AC}
    assert not any("latest/90000000014" in path for path in bench.paths())


def test_an_offline_hub_leaves_nothing(bench: Bench) -> None:
    bench.ctl("devices/9000000001", online=False)
    assert bench.passes(1) == [{}]


def test_a_device_that_was_taken_away_can_be_left_out(bench: Bench) -> None:
    bench.ctl("devices/90000000014", online=False)
    (fields,) = bench.passes(1, device_ids=("90000000013",))
    assert plain(fields)[Field.SOC] == 78.2


def test_a_chosen_device_that_is_gone_is_named(bench: Bench) -> None:
    assert "777" in failure_of(lambda: bench.passes(1, device_ids=("777",))).sentence


def test_nulls_leave_only_their_own_field_absent(bench: Bench) -> None:
    bench.ctl("devices/90000000012", latest={"solarWatts": None, "solarChargingAmps": None})
    assert set(bench.passes(1)[0]) == {Field.SOC, Field.BATTERY_CHARGE, Field.INVERTER_AC}


def test_a_device_that_vanishes_between_list_and_data_counts_as_silent(bench: Bench) -> None:
    bench.ctl("faults", on="/device/data/latest/90000000013", do="status", status=404)
    assert Field.SOC not in bench.passes(1)[0]


def test_a_rate_limit_ends_the_watch_with_the_time_to_keep_quiet(bench: Bench) -> None:
    bench.ctl("faults", on="latest", do="status", status=429, headers={"Retry-After": "45"})
    failure = failure_of(lambda: bench.passes(1))
    assert isinstance(failure, RateLimited) and failure.wait_s == 45


@pytest.mark.parametrize("body", ["empty", "text", "json"])
def test_a_rate_limit_is_known_by_its_status_whatever_its_body(bench: Bench, body: str) -> None:
    bench.ctl("habits", per_minute=0, error_body=body)
    failure = failure_of(lambda: bench.passes(1))
    assert isinstance(failure, RateLimited) and failure.wait_s == 60


@pytest.mark.parametrize("do", ["drop", "act_then_drop"])
def test_a_cut_connection_is_unreachable(bench: Bench, do: str) -> None:
    bench.ctl("faults", on="list", do=do)
    assert isinstance(failure_of(lambda: bench.passes(1)), Unreachable)


def test_all_alarms_are_told_with_the_first_pass(bench: Bench) -> None:
    row = {"code": 39, "alarmName": "Battery Overvoltage Protection", "alarmLevel": None, "ts": 1_790_000_000_000}
    bench.ctl("devices/90000000013", alarms=[row])
    told: list[tuple[Alarm, ...]] = []

    async def alarmed(alarms: tuple[Alarm, ...]) -> None:
        told.append(alarms)

    asyncio.run(deliveries(build(bench.settings, alarmed), 2))
    ((alarm,),) = told
    assert (alarm.device_id, alarm.code, alarm.name) == ("90000000013", "39", "Battery Overvoltage Protection")
    assert alarm.at == datetime.fromtimestamp(1_790_000_000, UTC)


def test_the_history_of_a_month_comes_by_days(bench: Bench) -> None:
    days = asyncio.run(bench.source().history("90000000012", 2026, 2, -8))
    assert len(days) == 28 and days[0].start == datetime(2026, 2, 1, 8, tzinfo=UTC)
    assert all(day.energy_wh > 0 for day in days)


def test_the_log_of_a_zigbee_device_is_read(bench: Bench) -> None:
    bench.ctl("devices/9000000001", log=[{"content": "Door/Window is open.", "ts": 1_790_000_000_000}])
    (line,) = asyncio.run(bench.source().log("9000000001"))
    assert line.text == "Door/Window is open."


# -- Test connection


def test_the_connection_test_says_what_it_saw_and_that_it_does_not_admit(bench: Bench) -> None:
    found = asyncio.run(bench.source().test())
    assert found.sentences[0] == "5 devices, all online."
    assert "640 W of sun." in " ".join(found.sentences) and "does not admit" in found.sentences[-1]
    assert plain(found.fields)[Field.SOC] == 77.0


def test_the_connection_test_keeps_to_its_share_of_the_minute(bench: Bench) -> None:
    asyncio.run(bench.source().test())
    assert len(bench.paths()) <= 10


def test_the_connection_test_names_offline_devices(bench: Bench) -> None:
    bench.ctl("devices/90000000014", online=False)
    assert asyncio.run(bench.source().test()).sentences[0] == "5 devices, 1 offline: Battery 90000000014."


@pytest.mark.parametrize("wrong", [{"secret_key": "x"}, {"access_key": "x"}])
def test_the_connection_test_names_wrong_keys(bench: Bench, wrong: dict[str, str]) -> None:
    failure = failure_of(lambda: asyncio.run(bench.source(**wrong).test()))
    assert isinstance(failure, Refused) and failure.sentence == "Renogy refuses the keys."


@pytest.mark.parametrize(("ahead", "way"), [(600, "behind"), (-600, "ahead of")])
def test_the_connection_test_names_a_wrong_clock(bench: Bench, ahead: float, way: str) -> None:
    bench.simulator.clock = lambda: time.time() + ahead
    failure = failure_of(lambda: asyncio.run(bench.source().test()))
    assert "clock is" in failure.sentence and way in failure.sentence


def test_the_connection_test_names_missing_rights(bench: Bench) -> None:
    keys = {"access_key": "empty-key", "secret_key": "empty-secret"}
    failure = failure_of(lambda: asyncio.run(bench.source(**keys).test()))
    assert "The keys are right" in failure.sentence and "rights" in failure.sentence


def test_the_connection_test_names_a_host_that_does_not_answer(bench: Bench) -> None:
    failure = failure_of(lambda: asyncio.run(bench.source(base_url="http://127.0.0.1:9").test()))
    assert isinstance(failure, Unreachable) and "host cannot be reached" in failure.sentence


def test_the_connection_test_names_a_host_that_is_something_else(bench: Bench) -> None:
    bench.ctl("faults", on="list", do="status", status=404, body="<html>nothing here</html>")
    assert "no Renogy OpenAPI" in failure_of(lambda: asyncio.run(bench.source().test())).sentence


@pytest.mark.parametrize(("body", "word"), [("<html>hello</html>", "no JSON"), ("", "empty")])
def test_the_connection_test_names_an_answer_that_is_no_json(bench: Bench, body: str, word: str) -> None:
    bench.ctl("faults", on="list", do="body", body=body)
    failure = failure_of(lambda: asyncio.run(bench.source().test()))
    assert isinstance(failure, Malformed) and word in failure.sentence


def test_no_error_holds_the_secret_or_the_request(bench: Bench) -> None:
    failure = failure_of(lambda: asyncio.run(bench.source(base_url="http://127.0.0.1:9").test()))
    assert failure.__context__ is None or isinstance(failure.__context__, SourceError)
    assert DEMO_SECRET_KEY not in f"{failure!r} {failure.advice}"
