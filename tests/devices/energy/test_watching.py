"""The watcher: what becomes of a delivery, one alert for a dead source, history, and who holds which source."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.utils import OperationalError
from django.test import Client
from django.test.utils import CaptureQueriesContext

from devices.energy import headroom, site
from devices.energy.models import (
    EnergySource,
    LatestReading,
    Promise,
    ReadingMean,
    Sign,
    SitePower,
    SourceKind,
    SourceStatus,
)
from devices.energy.reading import PHASES, Field, Fields, Measured
from devices.energy.sources.source import Refused, Unreachable
from devices.energy.watching import keeping, shed
from devices.energy.watching.alive import HEARTBEAT, WATCHER_SILENT
from devices.energy.watching.keeping import Keeper
from devices.energy.watching.watcher import LEASE_S, Watcher
from devices.models import Device, Location, ShellyAccount
from hygate import clock
from hygate.due.sweep import beat
from hygate.models import Alert, AuditEvent
from hygate.simulators.base import RunningSimulator
from hygate.simulators.sigenergy import SigenergySimulator, build

pytestmark = pytest.mark.django_db(transaction=True)
IMPORTS = {"pv_w": 1500, "load_w": 3900, "battery_charge_w": 0}
"""More than the inverters feed: what proves the sign."""


@pytest.fixture
def location(manual_clock: clock.ManualClock) -> Location:
    return Location.objects.create(name="Laundry room")


def source_of(location: Location, **fields: Any) -> EnergySource:
    wanted = {"name": "Roof", "kind": SourceKind.SIGENERGY_MODBUS, "address": "127.0.0.1"} | fields
    return EnergySource.objects.create(location=location, **wanted)


def told(import_w: float, **more: float) -> Fields:
    now = clock.now()
    named = {Field.GRID_IMPORT: import_w, **{Field(name): value for name, value in more.items()}}
    return {name: Measured(value, now) for name, value in named.items()}


def keep(keeper: Keeper, fields: Fields) -> None:
    keeper.take(fields, clock.now())
    keeper.store(clock.now())


def open_alerts() -> list[str]:
    return sorted(Alert.objects.filter(closed_at=None).values_list("kind", flat=True))


# -- a delivery


def test_a_delivery_becomes_the_latest_reading_with_its_ages(location: Location) -> None:
    keeper = Keeper(source_of(location))
    keep(keeper, told(8540))
    row = LatestReading.objects.get()
    assert row.fields["grid_import_w"] == [8540, clock.now().timestamp()]
    assert site.reading_of(row.fields).value(Field.GRID_IMPORT) == 8540


def test_what_falls_silent_keeps_its_own_age(location: Location, later: Callable[[float], Any]) -> None:
    keeper = Keeper(source_of(location))
    keep(keeper, told(100, pv_w=5))
    then = clock.now()
    later(7)
    keep(keeper, told(200))
    fields = LatestReading.objects.get().fields
    assert fields["pv_w"] == [5, then.timestamp()]
    assert fields["grid_import_w"] == [200, clock.now().timestamp()]


def test_what_is_no_number_is_kept_as_nothing_and_refused(location: Location) -> None:
    power = SitePower.objects.create(location=location, grid_import_w=10_000, phases=1)
    source = source_of(location, sign=Sign.PROVEN)
    keeper = Keeper(source)
    keep(keeper, told(math.nan, on_grid=1, running=1))
    assert LatestReading.objects.get().fields["grid_import_w"][0] is None
    assert site.site_of(power, clock.now()).headroom([], clock.now()).no == "implausible"


def test_what_could_not_be_stored_is_stored_the_next_time(
    location: Location, later: Callable[[float], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper = Keeper(source_of(location))
    keeper.take(told(100), clock.now())
    later(10)
    keeper.take(told(200), clock.now())

    def away(*_: Any, **__: Any) -> Any:
        raise OperationalError("gone")

    with monkeypatch.context() as broken:
        broken.setattr(LatestReading.objects, "update_or_create", away)
        with pytest.raises(OperationalError):
            keeper.store(clock.now())
    assert keeper.is_dirty
    keeper.store(clock.now())
    assert (LatestReading.objects.count(), ReadingMean.objects.count()) == (1, 1)


# -- the sign


def test_a_refused_sign_is_told_once_and_closed_when_it_is_proven(location: Location) -> None:
    keeper = Keeper(source_of(location))
    wrong = {"pv_w": 2800, "inverter_ac_w": 2800, "load_w": 11_340, "battery_charge_w": 0}
    for _ in range(6):
        keep(keeper, told(-8540, **wrong))
    assert EnergySource.objects.get().sign == Sign.REFUSED
    assert open_alerts() == ["energy_sign"]
    for _ in range(12):
        keep(keeper, told(8540, **wrong))
    assert EnergySource.objects.get().sign == Sign.PROVEN
    assert open_alerts() == []
    assert AuditEvent.objects.filter(kind="energy_sign").count() == 2


def test_a_reading_that_contradicts_a_proven_sign_is_not_taken(location: Location) -> None:
    keeper = Keeper(source_of(location, sign=Sign.PROVEN))
    right = {"pv_w": 500, "inverter_ac_w": 500}
    keep(keeper, told(1500, **right))
    keep(keeper, told(-1500, **right))
    assert LatestReading.objects.get().fields["grid_import_w"][0] == 1500
    assert EnergySource.objects.get().sign == Sign.PROVEN


def test_a_moment_that_cannot_tell_takes_no_proof_back(location: Location) -> None:
    keeper = Keeper(source_of(location, sign=Sign.PROVEN))
    for _ in range(12):
        keep(keeper, told(0))
    assert EnergySource.objects.get().sign == Sign.PROVEN


# -- a source that does not deliver


def test_a_dead_source_alerts_once_and_is_closed_by_its_return(location: Location) -> None:
    source = source_of(location)
    for _ in range(3):
        keeping.note_failure(source, Unreachable("No answer.", "Look at the cable."))
    assert open_alerts() == ["energy_silent"]
    assert Alert.objects.get().times == 3
    assert EnergySource.objects.get().status == SourceStatus.UNREACHABLE
    keep(Keeper(source), told(100))
    assert open_alerts() == []
    assert EnergySource.objects.get().status == SourceStatus.OK


def test_settings_that_are_refused_say_so(location: Location) -> None:
    source = source_of(location)
    keeping.note_failure(source, Refused("The key is wrong.", "Enter it anew."))
    found = EnergySource.objects.get()
    assert (found.status, found.last_sentence) == (SourceStatus.REFUSED, "The key is wrong.")


# -- history


def test_history_has_a_row_for_each_ten_seconds(location: Location, later: Callable[[float], Any]) -> None:
    keeper = Keeper(source_of(location))
    for second in range(25):
        keep(keeper, told(100 + second))
        later(1)
    first, second_row = ReadingMean.objects.order_by("at")
    assert first.values["grid_import_w"] == [104.5, 100, 109]
    assert second_row.values["grid_import_w"] == [114.5, 110, 119]


def test_hours_that_are_over_are_rolled_up_and_old_rows_go(location: Location) -> None:
    source, now = source_of(location), clock.now()
    for minute, watts in ((-30, 100.0), (-20, 300.0)):
        ReadingMean.objects.create(
            source=source, at=now + timedelta(minutes=minute), span_s=10, values={"pv_w": [watts, watts, watts]}
        )
    ReadingMean.objects.create(source=source, at=now - timedelta(days=31), span_s=10, values={"pv_w": [1, 1, 1]})
    keeping.tidy(now)
    keeping.tidy(now)
    hour = ReadingMean.objects.get(span_s=3600)
    assert hour.values["pv_w"] == [200.0, 100.0, 300.0]
    assert ReadingMean.objects.filter(span_s=10).count() == 2


# -- the watcher itself, against a plant over a real socket


@pytest.fixture
def plant(transactional_db: None) -> Iterator[SigenergySimulator]:
    simulator = build()
    running = RunningSimulator(simulator).start()
    running.call(lambda: simulator.plant.set(IMPORTS))
    yield simulator
    running.stop()


@pytest.fixture
def roof(plant: SigenergySimulator) -> EnergySource:
    location = Location.objects.create(name="Laundry room")
    return source_of(location, port=plant.modbus_address[1])


async def until(holds: Callable[[], bool], within_s: float = 20.0) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within_s
    while not await loop.run_in_executor(None, _closing(holds)):
        assert loop.time() < deadline, "not in time"
        await asyncio.sleep(0.1)


def _closing(holds: Callable[[], bool]) -> Callable[[], bool]:
    def ask() -> bool:
        try:
            return holds()
        finally:
            connection.close()

    return ask


def watching(play: Callable[[], Awaitable[None]], *watchers: Watcher) -> None:
    """Run the watchers beside ``play``, and end them."""

    async def all_of_it() -> None:
        tasks = [asyncio.create_task(one.run()) for one in watchers]
        try:
            await play()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(all_of_it())


def test_a_plant_is_read_judged_and_reported(roof: EnergySource) -> None:
    async def play() -> None:
        await until(lambda: EnergySource.objects.get().sign == Sign.PROVEN)

    watching(play, Watcher("one"))
    row = LatestReading.objects.get()
    assert row.fields["grid_import_w"][0] == 2400
    assert sum(row.fields[str(phase)][0] for phase in PHASES) == 2400
    assert EnergySource.objects.get().status == SourceStatus.OK
    assert EnergySource.objects.get().watched_until is None


def test_a_dead_plant_is_told_once_by_the_watcher(roof: EnergySource) -> None:
    EnergySource.objects.update(port=1)

    async def play() -> None:
        await until(lambda: Alert.objects.filter(kind="energy_silent", times__gte=2).exists())

    watching(play, Watcher("one"))
    assert open_alerts() == ["energy_silent"]


def test_a_second_watcher_stands_by_and_takes_over(roof: EnergySource) -> None:
    """The first one's lease is left as it would be by a ``kill -9``."""
    until_then = clock.now() + timedelta(seconds=3)
    EnergySource.objects.update(watched_by="killed", watched_until=until_then)

    async def play() -> None:
        await asyncio.sleep(1.0)
        await until(lambda: EnergySource.objects.get().watched_by == "killed")
        await until(lambda: LatestReading.objects.exists())

    watching(play, Watcher("second"))
    assert LatestReading.objects.get().at >= until_then
    assert LEASE_S <= 10


def test_of_two_watchers_one_holds_the_source(roof: EnergySource) -> None:
    async def play() -> None:
        await until(lambda: LatestReading.objects.exists())
        holder = await asyncio.to_thread(_closing_value, lambda: EnergySource.objects.get().watched_by)
        await asyncio.sleep(3)
        assert await asyncio.to_thread(_closing_value, lambda: EnergySource.objects.get().watched_by) == holder

    watching(play, Watcher("one"), Watcher("two"))


def _closing_value(ask: Callable[[], str]) -> str:
    try:
        return ask()
    finally:
        connection.close()


def test_one_site_that_fails_keeps_no_other_from_being_stored(
    roof: EnergySource, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(shed, "look", fails)

    async def play() -> None:
        await until(lambda: LatestReading.objects.exists())
        first = await asyncio.to_thread(_closing_value, lambda: str(LatestReading.objects.get().at))
        await until(lambda: str(LatestReading.objects.get().at) != first)

    watching(play, Watcher("one"))


def test_a_silent_site_is_looked_at_once_a_second_while_another_delivers(
    location: Location, later: Callable[[float], Any]
) -> None:
    from devices.energy.watching.watcher import _Held

    watcher, seen = Watcher("one"), []
    for number, place in enumerate((location, Location.objects.create(name="Car park"))):
        keeper = Keeper(source_of(place, name=f"Roof {number}"))
        watcher._held[number] = _Held(keeper, None, ())  # type: ignore[arg-type]
    watcher._look_at_site = lambda location_id: seen.append(location_id)  # type: ignore[method-assign]
    for _ in range(8):
        watcher._held[0].keeper.take(told(100), clock.now())
        watcher._store()
        later(0.25)
    assert seen.count(location.pk) == 8
    assert len(seen) - 8 == 2


# -- whether it lives


def test_readyz_is_red_while_a_source_has_nobody_to_watch_it(
    location: Location, later: Callable[[float], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def ready() -> Any:
        beat("worker:clock")
        beat("sweep")
        return Client().get("/readyz")

    assert ready().status_code == 200
    source_of(location)
    assert ready().json()["why"] == WATCHER_SILENT
    beat(HEARTBEAT)
    assert ready().status_code == 200
    later(31)
    assert ready().json()["why"] == WATCHER_SILENT


# -- how long a decision takes


def test_a_decision_asks_two_questions_however_much_was_promised(location: Location) -> None:
    SitePower.objects.create(location=location, grid_import_w=10_000_000, phases=3)
    source = source_of(location, sign=Sign.PROVEN)
    phases = dict.fromkeys(map(str, PHASES), 1000)
    keep(Keeper(source), told(3000, on_grid=1, running=1, **phases))
    account = ShellyAccount.objects.create(name="demo", server_url="http://127.0.0.1:1", auth_key="k")
    devices = Device.objects.bulk_create(
        Device(location=location, account=account, shelly_id=f"{n:012x}", name=f"Heater {n}", rated_w=3000, phases="L1")
        for n in range(50)
    )
    Promise.objects.bulk_create(Promise(device=devices[n], session=n, watts=3000) for n in range(40))
    device = Device.objects.select_related("location").get(pk=devices[45].pk)
    with CaptureQueriesContext(connection) as asked:
        assert headroom.headroom(device, clock.now()).ok
    assert len(asked) == 2
