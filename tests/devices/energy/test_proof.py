"""The active proof: one Device is switched for ten seconds, import must rise by its watts, and OFF is certain."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from devices.energy import balance, proof, site
from devices.energy.models import EnergySource, Sign, SitePower, SourceKind
from devices.energy.proof import CannotProve, Sample, judge
from devices.energy.reading import Reading
from devices.energy.sources.build import build
from devices.models import Device, LatestReading, Phases, RelayCommand
from devices.relays.models import OPEN
from hygate.models import Alert, AuditEvent
from hygate.simulators.base import RunningSimulator
from hygate.simulators.sigenergy import build as build_plant
from sessions_app import proving
from tests.world import PLUG

if TYPE_CHECKING:
    from tests.world import World

WATTS = 2000


# -- the judge


def samples(*grid_w: float, phases: tuple[float, ...] = (), battery: float = 0.0) -> list[Sample]:
    return [Sample(at, watts, phases, battery) for at, watts in enumerate(grid_w)]


def test_import_that_rises_by_the_watts_proves_the_sign_and_names_the_phase() -> None:
    before = samples(500, phases=(100, 200, 200))
    during = samples(2480, 2500, phases=(100, 2190, 200))
    found = judge(before, during, WATTS)
    assert isinstance(found.verdict, balance.Proven)
    assert found.phases == Phases.L2


def test_a_load_on_three_phases_is_found_on_all() -> None:
    found = judge(samples(0, phases=(0, 0, 0)), samples(3000, 3000, phases=(1000, 990, 1010)), 3000)
    assert found.phases == Phases.ALL


def test_import_that_falls_by_the_watts_refuses_the_sign() -> None:
    found = judge(samples(-500), samples(-2500, -2480), WATTS)
    assert isinstance(found.verdict, balance.Refused)
    assert "flipped" in found.verdict.sentence


@pytest.mark.parametrize(
    ("rise", "verdict"), [(1600, balance.Proven), (1599, balance.Unproven), (2401, balance.Unproven)]
)
def test_twenty_percent_is_the_tolerance(rise: int, verdict: type[balance.Verdict]) -> None:
    assert isinstance(judge(samples(0), samples(rise, rise), WATTS).verdict, verdict)


def test_less_export_is_a_rise_of_import() -> None:
    assert isinstance(judge(samples(-5000), samples(-3000, -3010), WATTS).verdict, balance.Proven)


def test_a_battery_that_gives_the_watts_is_named_as_the_reason() -> None:
    found = judge(samples(0, battery=0), samples(10, 0, battery=-2000), WATTS)
    assert isinstance(found.verdict, balance.Unproven)
    assert "battery gave 2000 W" in found.verdict.sentence


def test_a_restless_site_proves_nothing() -> None:
    assert isinstance(judge(samples(0, 900), samples(2000, 2100), WATTS).verdict, balance.Unproven)


def test_one_reading_is_too_few() -> None:
    assert isinstance(judge(samples(0), samples(2000), WATTS).verdict, balance.Unproven)


# -- the whole way, with a simulated plant and a simulated relay


class Site:
    """A plant whose named load follows the relay of the world's plug, and its source, read each second."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.simulator = build_plant(clock=lambda: world.now.timestamp())
        self.running = RunningSimulator(self.simulator).start()
        self.plant = self.simulator.plant
        self.plant.set({"pv_w": 0, "battery_charge_w": 0, "load_w": (900, 600, 500), "balanced": True})
        self.plant.add_load("plug", WATTS, phase=2)
        host, port = self.simulator.modbus_address
        self.source = EnergySource.objects.create(
            location=world.location, name="Plant", kind=SourceKind.SIGENERGY_MODBUS, address=host, port=port
        )
        Device.objects.filter(pk=world.device.pk).update(rated_w=WATTS)
        self.device = Device.objects.get(pk=world.device.pk)
        self.read()

    def close(self) -> None:
        self.running.stop()

    def read(self) -> None:
        """One delivery, as the watcher stores it."""
        found = asyncio.run(build(self.source).test())
        LatestReading.objects.update_or_create(
            source=self.source, defaults={"fields": site.stored(Reading(found.fields)), "at": self.world.now}
        )

    def is_on(self) -> bool:
        changes = self.world.relay(PLUG)
        return bool(changes) and changes[-1][0]

    def go(self, seconds: int, *, watched: bool = True) -> None:
        for _ in range(seconds):
            self.world.go(1)
            self.plant.set_load("plug", self.is_on())
            if watched:
                self.read()
                proof.advance(self.source.pk, self.world.now)

    def begin(self) -> proof.Progress:
        return proving.begin(source=self.source, device=self.device, by="an administrator")

    def fresh(self) -> EnergySource:
        return EnergySource.objects.get(pk=self.source.pk)


@pytest.fixture
def plant(world: World) -> Iterator[Site]:
    made = Site(world)
    try:
        yield made
    finally:
        made.close()


def test_the_proof_proves_the_sign_finds_the_phase_and_ends_off(plant: Site) -> None:
    plant.begin()
    plant.go(25)
    source = plant.fresh()
    assert source.sign == Sign.PROVEN, source.proof
    assert Device.objects.get(pk=plant.device.pk).phases == Phases.L2
    assert plant.world.relay(PLUG) == [(True, "request"), (False, "request")]
    kinds = set(AuditEvent.objects.values_list("kind", flat=True))
    assert {"energy_proof_began", "energy_proof"} <= kinds


def test_a_flipped_meter_is_refused_with_an_alert(plant: Site) -> None:
    plant.plant.set({"flip_sign": True})
    plant.read()
    plant.begin()
    plant.go(25)
    source = plant.fresh()
    assert source.sign == Sign.REFUSED
    assert "flipped" in source.sign_sentence
    assert Alert.objects.filter(key=f"energy:{source.pk}:sign", closed_at__isnull=True).exists()


def test_the_relay_goes_off_after_ten_seconds_though_nobody_watches_any_more(plant: Site) -> None:
    """The page and the command are gone right after the first step."""
    plant.begin()
    plant.go(25, watched=False)
    on, off = (entry["t"] for entry in plant.world.ledger(plant.world.shelly_server, "relay"))
    assert 9 <= off - on <= 14
    assert not plant.is_on()


def test_the_on_carries_the_relays_own_timer(plant: Site) -> None:
    plant.begin()
    plant.go(8)
    sent = next(entry for entry in plant.world.switched() if entry["body"].get("on") is True)
    assert sent["body"]["toggle_after"] == proof.ON_FOR_S + plant.world.settings.NUMBERS.timer_margin_s


def test_nothing_is_sold_on_the_device_while_the_proof_runs(plant: Site) -> None:
    Device.objects.filter(pk=plant.device.pk).update(rated_w=WATTS)
    assert plant.world.availability(plant.device) == "free"
    plant.begin()
    for _ in range(10):
        assert plant.world.availability(plant.device) != "free"
        plant.go(1)
    plant.go(25)
    assert plant.world.availability(plant.device) == "free"


def test_a_device_in_a_session_is_never_switched(plant: Site) -> None:
    plant.world.hold(plant.device)
    with pytest.raises(CannotProve, match="in a session"):
        plant.begin()
    assert not RelayCommand.objects.exists()


@pytest.mark.parametrize(
    ("columns", "why"),
    [
        ({"rated_w": 200}, "rated power"),
        ({"online": False}, "offline"),
        ({"output": True}, "is on"),
        ({"timer_unproven": True}, "timer"),
        ({"blocked_reason": "welded"}, "out of order"),
    ],
)
def test_an_unfit_device_is_refused(plant: Site, columns: dict[str, object], why: str) -> None:
    if "blocked_reason" in columns:
        columns = {**columns, "blocked_since": plant.world.now}
    Device.objects.filter(pk=plant.device.pk).update(**columns)
    with pytest.raises(CannotProve, match=why):
        plant.begin()


def test_a_device_that_must_be_off_is_refused(plant: Site) -> None:
    Device.objects.filter(pk=plant.device.pk).update(must_be_off_since=plant.world.now)
    with pytest.raises(CannotProve, match="OFF is not read back"):
        plant.begin()


def test_a_site_that_could_be_overloaded_is_left_alone_whatever_the_sign(plant: Site) -> None:
    SitePower.objects.create(location=plant.world.location, grid_import_w=3500)
    with pytest.raises(CannotProve, match="more than its 3500 W"):
        plant.begin()


def test_an_old_reading_is_no_beginning(plant: Site) -> None:
    plant.world.manual.set(plant.world.now + timedelta(seconds=60))
    with pytest.raises(CannotProve, match="no fresh reading"):
        plant.begin()


def test_a_second_proof_waits_for_the_first(plant: Site) -> None:
    plant.begin()
    with pytest.raises(CannotProve, match="under way"):
        plant.begin()


def test_a_relay_that_cannot_be_reached_proves_nothing_and_is_switched_off(plant: Site) -> None:
    plant.world.fault(plant.world.shelly_server, on="*", do="status", times=-1, status=500)
    plant.begin()
    plant.go(75, watched=False)
    plant.world.ctl(plant.world.shelly_server, "DELETE", "/_ctl/faults")
    plant.go(45, watched=False)
    proof.advance(plant.source.pk, plant.world.now)
    plant.go(30, watched=False)
    source = plant.fresh()
    assert source.sign == Sign.UNPROVEN
    assert source.proof["over_at"]
    assert not plant.is_on()
    assert not RelayCommand.objects.filter(on=True, state__in=OPEN).exists()
