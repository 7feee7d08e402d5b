"""The Sigenergy OpenAPI adapter against the simulator over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import pytest

from devices.energy.reading import Field, Fields, Measured
from devices.energy.sources import sigenergy_answers as answers
from devices.energy.sources import sigenergy_openapi
from devices.energy.sources.sigenergy_openapi import SigenergyOpenApi
from devices.energy.sources.source import Malformed, RateLimited, Refused, SourceError, Unreachable
from tests.devices.energy.sources.sigenergy_bench import SECRET, Bench, values

Later = Callable[[float], datetime]


@pytest.fixture
def bench(manual_clock: Any) -> Iterator[Bench]:
    made = Bench()
    try:
        yield made
    finally:
        made.close()


def flows(source: SigenergyOpenApi) -> dict[Field, int | float]:
    return values(asyncio.run(source.flows()))


def refusal(source: SigenergyOpenApi) -> SourceError:
    """What asking for the flows comes to; no error holds the secret."""
    with pytest.raises(SourceError) as caught:
        asyncio.run(source.flows())
    assert SECRET not in f"{caught.value!r} {caught.value.sentence} {caught.value.advice}"
    return caught.value


# -- against the simulator


def test_flows_are_the_plants_in_watts(bench: Bench) -> None:
    bench.ctl("plant", pv_w=2800, load_w=11340, battery_charge_w=0)
    told = flows(SigenergyOpenApi(bench.api()))
    assert told == {
        Field.PV: 2800,
        Field.GRID_IMPORT: 8540,
        Field.BATTERY_CHARGE: 0,
        Field.LOAD: 11340,
        Field.CAR_CHARGE: 0,
        Field.SOC: 15.0,
    }


def test_flows_are_as_old_as_the_reply(bench: Bench, later: Later) -> None:
    source = SigenergyOpenApi(bench.api())
    asked_at = later(0)
    asyncio.run(source.flows())
    later(200)
    assert {measured.at for measured in asyncio.run(source.flows()).values()} == {asked_at}


def test_station_is_asked_once_in_five_minutes_by_all_adapters_of_a_key(bench: Bench, later: Later) -> None:
    for _ in range(3):
        flows(SigenergyOpenApi(bench.api()))
        later(100)
    assert bench.asked("energyFlow") == 1
    later(10)
    flows(SigenergyOpenApi(bench.api()))
    assert bench.asked("energyFlow") == 2
    assert not bench.ledger("openapi", code=1201)


def test_token_is_kept_until_five_minutes_before_its_end(bench: Bench, later: Later) -> None:
    source = SigenergyOpenApi(bench.api())
    flows(source)
    later(43199 - 301)
    flows(source)
    assert bench.asked("login") == 1
    later(2)
    asyncio.run(source.token())
    assert bench.asked("login") == 2


def test_token_that_the_cloud_forgot_is_renewed_once(bench: Bench) -> None:
    source = SigenergyOpenApi(bench.api())
    asyncio.run(source.token())
    bench.http.delete("/_ctl/openapi/tokens")
    assert Field.GRID_IMPORT in flows(source)
    assert bench.asked("login") == 2


def test_other_programs_question_backs_off_longer_each_time(bench: Bench, later: Later) -> None:
    source = SigenergyOpenApi(bench.api())
    other = {"Authorization": f"Bearer {asyncio.run(source.token())}", "User-Agent": "Mozilla/5.0"}
    path = f"/openapi/systems/{bench.api().system_id}/energyFlow"
    waits = []
    for _ in range(6):
        bench.http.delete("/_ctl/openapi/limits")
        bench.http.get(path, headers=other)
        error = refusal(source)
        assert isinstance(error, answers.AccessRestricted)
        waits.append(error.wait_s)
        later(error.wait_s)
    assert waits == [15, 30, 60, 120, 480, 480]


def test_nothing_is_asked_while_backing_off(bench: Bench, later: Later) -> None:
    source = SigenergyOpenApi(bench.api())
    bench.ctl("faults", on="*", do="status", status=424, times=1, skip=1)
    assert isinstance(refusal(source), answers.Answered424)
    later(14)
    assert "again in 1 s" in refusal(source).sentence
    assert bench.asked("energyFlow") == 0
    later(1)
    assert Field.GRID_IMPORT in flows(source)


def test_eleventh_request_of_a_minute_is_not_sent(bench: Bench, later: Later) -> None:
    source = SigenergyOpenApi(bench.api())
    for _ in range(10):
        asyncio.run(source.token(fresh=True))
        later(1)
    with pytest.raises(RateLimited) as caught:
        asyncio.run(source.token(fresh=True))
    assert (caught.value.wait_s, bench.asked("login")) == (50, 10)
    later(50)
    asyncio.run(source.token(fresh=True))


def test_wrong_secret_is_named_and_asks_for_a_person(bench: Bench) -> None:
    error = refusal(SigenergyOpenApi(bench.api(app_secret=f"not-the-{SECRET}")))
    assert (type(error), error.retryable) == (answers.KeyRefused, False)


def test_wrong_secret_does_not_pass_on_the_token_of_the_right_one(bench: Bench) -> None:
    asyncio.run(SigenergyOpenApi(bench.api()).token())
    assert refusal(SigenergyOpenApi(bench.api(app_secret="wrong"))).code == "sigenergy-11003"


def test_fifth_wrong_login_locks_and_is_waited_out(bench: Bench, later: Later) -> None:
    wrong = SigenergyOpenApi(bench.api(app_secret="wrong"))
    for _ in range(5):
        assert refusal(wrong).code == "sigenergy-11003"
    error = refusal(wrong)
    assert isinstance(error, answers.AccountLocked) and error.wait_s == 180
    later(179)
    assert isinstance(refusal(wrong), answers.AccountLocked)
    assert bench.asked("login") == 6


def test_station_of_somebody_else_is_named(bench: Bench) -> None:
    error = refusal(SigenergyOpenApi(bench.api(system_id="OTHER")))
    assert (type(error), error.retryable) == (answers.NoRights, False)


def test_turned_away_by_the_content_network_is_named(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sigenergy_openapi, "USER_AGENT", "python-httpx/0.28")
    assert isinstance(refusal(SigenergyOpenApi(bench.api())), answers.TurnedAway)


def test_cloud_that_is_not_there_is_unreachable(bench: Bench) -> None:
    source = SigenergyOpenApi(bench.api())
    bench.running.stop()
    assert type(refusal(source)) is Unreachable


def test_cut_connection_is_unreachable(bench: Bench) -> None:
    bench.ctl("faults", on="*", do="drop")
    assert type(refusal(SigenergyOpenApi(bench.api()))) is Unreachable


def test_answer_that_never_comes_is_given_up(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sigenergy_openapi, "REQUEST_S", 0.2)
    bench.ctl("faults", on="*", do="hang_before", seconds=3)
    assert "in time" in refusal(SigenergyOpenApi(bench.api())).sentence


def test_endless_answer_is_not_read_to_its_end(bench: Bench) -> None:
    bench.ctl("faults", on="*", do="body", status=200, body="x" * 2_000_000)
    assert isinstance(refusal(SigenergyOpenApi(bench.api())), Malformed)


def test_secret_is_in_no_representation(bench: Bench) -> None:
    assert SECRET not in repr(bench.api())


# -- watching


def watched(bench: Bench, rounds: int, monkeypatch: pytest.MonkeyPatch, later: Later) -> list[Fields]:
    """What ``rounds`` deliveries bring, while the clock runs on by ten seconds at each look."""
    got: list[Fields] = []
    monkeypatch.setattr(sigenergy_openapi, "LOOK_S", 0.001)

    async def deliver(fields: Fields) -> None:
        got.append(fields)

    async def run() -> None:
        watching = asyncio.create_task(SigenergyOpenApi(bench.api()).watch(deliver))
        async with asyncio.timeout(10):
            while len(got) < rounds and not watching.done():
                await asyncio.sleep(0.002)
                later(10)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)

    asyncio.run(run())
    return got


def test_watch_asks_again_when_five_minutes_are_over(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, later: Later
) -> None:
    got = watched(bench, 4, monkeypatch, later)
    assert [Field.GRID_IMPORT in fields for fields in got] == [True, False, True, False]
    assert bench.asked("energyFlow") == 2
    assert not bench.ledger("openapi", code=1201)


def test_watch_tells_that_the_plant_has_a_fault(bench: Bench, monkeypatch: pytest.MonkeyPatch, later: Later) -> None:
    bench.ctl("plant", running_state=2, on_grid=False)
    assert values(watched(bench, 2, monkeypatch, later)[1]) == {Field.RUNNING: 0, Field.ON_GRID: 0}


def test_plant_without_a_connection_does_not_run(bench: Bench) -> None:
    bench.ctl("openapi", offline=True)
    got: list[Fields] = []

    async def deliver(fields: Fields) -> None:
        got.append(fields)

    with pytest.raises(answers.StationOffline):
        asyncio.run(SigenergyOpenApi(bench.api()).watch(deliver))
    assert [values(fields) for fields in got] == [{Field.RUNNING: 0}]


# -- Test connection


def test_found_says_that_it_shows_and_does_not_admit(bench: Bench) -> None:
    found = asyncio.run(SigenergyOpenApi(bench.api()).test())
    assert Field.GRID_IMPORT in found.fields
    assert "shows, it does not admit" in found.sentences[-1]
    assert SigenergyOpenApi.admits is False


def test_test_connection_costs_the_watcher_nothing(bench: Bench, later: Later) -> None:
    flows(SigenergyOpenApi(bench.api()))
    later(10)
    found = asyncio.run(SigenergyOpenApi(bench.api()).test())
    assert bench.asked("energyFlow") == 1
    assert Field.GRID_IMPORT in found.fields


def test_test_connection_uses_what_another_process_read(bench: Bench, later: Later) -> None:
    known = {Field.GRID_IMPORT: Measured(1234, later(0))}
    later(299)
    found = asyncio.run(SigenergyOpenApi(bench.api(), known=known).test())
    assert (found.fields, bench.asked("energyFlow")) == (known, 0)


def test_test_connection_does_not_show_what_is_older_than_five_minutes(bench: Bench, later: Later) -> None:
    known = {Field.GRID_IMPORT: Measured(1234, later(0))}
    later(306)
    found = asyncio.run(SigenergyOpenApi(bench.api(), known=known).test())
    assert found.fields[Field.GRID_IMPORT].value != 1234


def test_test_connection_that_comes_too_early_still_proves_the_key(bench: Bench) -> None:
    token = asyncio.run(SigenergyOpenApi(bench.api()).token())
    headers = {"Authorization": f"Bearer {token}", "User-Agent": "Mozilla/5.0"}
    bench.http.get(f"/openapi/systems/{bench.api().system_id}/energyFlow", headers=headers)
    found = asyncio.run(SigenergyOpenApi(bench.api()).test())
    assert found.fields == {}
    assert any("less than five minutes ago" in sentence for sentence in found.sentences)


def test_test_connection_names_a_station_that_is_not_the_accounts(bench: Bench) -> None:
    with pytest.raises(answers.NoRights, match="OTHER"):
        asyncio.run(SigenergyOpenApi(bench.api(system_id="OTHER")).test())
    assert bench.asked("energyFlow") == 0


def test_test_connection_names_a_clock_that_is_off(bench: Bench) -> None:
    bench.ctl("date", skew_s=-90)
    found = asyncio.run(SigenergyOpenApi(bench.api()).test())
    assert any("differs from Sigenergy's by 90 s" in sentence for sentence in found.sentences)


def test_test_connection_logs_in_although_a_token_is_there(bench: Bench) -> None:
    asyncio.run(SigenergyOpenApi(bench.api()).token())
    bench.ctl("openapi", app_secret="changed in the portal")
    with pytest.raises(Refused):
        asyncio.run(SigenergyOpenApi(bench.api()).test())
