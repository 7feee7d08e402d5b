"""The example that Hygate comes from, played on a simulated plant: 10 kW of inverter, an oven, two heaters, a car.

The grid connection carries 12.5 kW, of which 0.5 kW are kept free at admission; the house itself takes 0.5 kW and there
is no battery to speak of. So the import is 0.5 kW + what is sold - sun, and the car (11 kW) is for sale at an import of
1 kW or less, and may stay on as long as the import is not above 12.5 kW.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from devices.energy.models import EnergySource, Promise, Sign, SitePower, SourceKind
from devices.energy.sources.build import build as source_from
from devices.energy.watching import shed
from devices.energy.watching.keeping import Keeper
from devices.models import Device, Phases
from hygate.simulators.base import RunningSimulator
from hygate.simulators.sigenergy import SigenergySimulator, build
from sessions_app.models import DeviceSession
from sessions_app.selling import CannotBuy
from tests.world import KEY, World

STEP_S = 5
HOUSE_W = 500
GRID_W = 12_500
INVERTER_W = 10_000
BOUGHT_S = {"oven": 600, "heater A": 900, "heater B": 900, "car": 300}
RATED_W = {"oven": 4000, "heater A": 3000, "heater B": 3000, "car": 11_000}
PRIORITY = {"oven": 10, "heater A": 50, "heater B": 200, "car": 100}

SUN = {0: 9000, 90: 10_000, 120: 8000, 660: 4500, 720: 9000}
"""From when (seconds) the sun offers how many watts."""
BUYS = {0: ("oven", "heater A", "heater B"), 105: ("car",)}
FOR_SALE = {80: "no_power", 100: "free"}
"""What the car's page says before it is bought: with the sun of 80 s it would be 0.5 kW too much."""

# t in s, sun in W, what the relays draw in W; then oven, heater A, heater B and car. Each holds at t within 5 s.
TIMELINE = (
    (15, 9000, 10_000, "running", "running", "running", None),
    (100, 10_000, 10_000, "running", "running", "running", None),
    (115, 10_000, 10_000, "running", "running", "running", "grace"),
    (170, 8000, 10_000, "running", "running", "running", "waiting_for_power"),
    (300, 8000, 10_000, "running", "running", "running", "waiting_for_power"),
    (595, 8000, 10_000, "running", "running", "running", "waiting_for_power"),
    (610, 8000, 17_000, "completed", "running", "running", "running"),
    (655, 8000, 17_000, "completed", "running", "running", "running"),
    (665, 4500, 14_000, "completed", "running", "paused", "running"),
    (715, 4500, 14_000, "completed", "running", "paused", "running"),
    (835, 9000, 14_000, "completed", "running", "paused", "running"),
    (850, 9000, 17_000, "completed", "running", "running", "running"),
    (920, 9000, 3000, "completed", "completed", "running", "completed"),
    (1070, 9000, 3000, "completed", "completed", "running", "completed"),
    (1100, 9000, 0, "completed", "completed", "completed", "completed"),
)


@dataclass(frozen=True)
class Moment:
    t: int
    sun_w: int
    load_w: int
    states: tuple[str | None, ...]


class Play:
    """The plant and the world on one clock: every five seconds the relays' loads reach the plant, the real Modbus
    client reads it, and the watcher's own steps follow."""

    def __init__(self, world: World, plant: SigenergySimulator, server: RunningSimulator) -> None:
        self.world, self.plant, self.server = world, plant, server
        SitePower.objects.create(location=world.location, grid_import_w=GRID_W, fuse_w=GRID_W)
        port = plant.modbus_address[1]
        source = EnergySource.objects.create(
            location=world.location, name="Roof", kind=SourceKind.SIGENERGY_MODBUS, address="127.0.0.1", port=port
        )
        self.keeper, self.source = Keeper(source), source_from(source)
        self.relays: dict[str, Any] = {}
        self.machines = {name: self._machine(name, number) for number, name in enumerate(BOUGHT_S)}
        self.sessions: dict[str, DeviceSession] = {}
        self.seen: list[Moment] = []
        self.for_sale: dict[int, str] = {}

    def _machine(self, name: str, number: int) -> Device:
        shelly_id, watts, world = f"e86beacc{number:04x}", RATED_W[name], self.world
        made = world.shelly_server.call(
            lambda: world.shelly.add_device(KEY, shelly_id, "SNPL-00112EU", gen=2, watts=(float(watts),))
        )
        self.relays[name] = made.relays[0]
        self.server.call(lambda: self.plant.plant.add_load(name, watts))
        device = world.add_device(
            shelly_id, 0, name, f"SEED{number}", rated_w=watts, phases=Phases.ALL, priority=PRIORITY[name]
        )
        world.add_plan(device, duration_s=BOUGHT_S[name], grace_s=60 if name == "car" else 0)
        return device

    def sun(self, watts: int) -> None:
        knobs = {"pv_w": watts, "load_w": HOUSE_W, "battery_charge_w": 0, "inverter_max_w": INVERTER_W}
        self.server.call(lambda: self.plant.plant.set(knobs))

    def step(self) -> None:
        self.look()
        self.world.go(STEP_S)

    def look(self) -> None:
        """One reading, and what the watcher makes of it."""
        self._switch_loads()
        now = self.world.now
        self.keeper.take(asyncio.run(self.source.test()).fields, now)
        self.keeper.store(now)
        shed.look(self.world.location.pk, now)

    def _switch_loads(self) -> None:
        """The simulated relays' contacts are the plant's loads."""
        for name, relay in self.relays.items():
            is_on = self.world.shelly_server.call(lambda one=relay: bool(one.output))  # type: ignore[misc]
            self.server.call(lambda one=name, on=is_on: self.plant.plant.set_load(one, on))  # type: ignore[misc]

    def play(self, until_s: int) -> None:
        sun_w = 0
        for t in range(0, until_s + 1, STEP_S):
            if t in SUN:
                sun_w = SUN[t]
                self.sun(sun_w)
            self.look()
            for name in BUYS.get(t, ()):
                self._buy(name)
            if t in FOR_SALE:
                self.for_sale[t] = self.world.availability(self.machines["car"])
            self._note(t, sun_w)
            self.world.go(STEP_S)

    def _buy(self, name: str) -> None:
        session = self.world.buy(self.machines[name], self.machines[name].plans.get())
        self.world.tell(session)
        self.sessions[name] = session

    def _note(self, t: int, sun_w: int) -> None:
        self._switch_loads()
        states = {
            name: DeviceSession.objects.values_list("state", flat=True).get(pk=one.pk)
            for name, one in self.sessions.items()
        }
        load_w = self.server.call(lambda: self.plant.plant.truth().load_w) - HOUSE_W
        self.seen.append(Moment(t, sun_w, load_w, tuple(states.get(name) for name in BOUGHT_S)))

    def on_s(self, name: str) -> float:
        """How long the relay was on, by the simulated cloud's own ledger."""
        changes = [
            entry
            for entry in self.world.ledger(self.world.shelly_server, "relay")
            if entry["device"] == self.machines[name].shelly_id
        ]
        return float(sum(-entry["t"] if entry["on"] else entry["t"] for entry in changes))


@pytest.fixture
def play(world: World) -> Iterator[Play]:
    plant = build(clock=lambda: world.now.timestamp())
    server = RunningSimulator(plant).start()
    try:
        yield Play(world, plant, server)
    finally:
        server.stop()


def test_the_seeds_example_plays_as_its_table_says(play: Play) -> None:
    play.sun(0)
    for _ in range(8):  # dawn: the site imports, which proves the sign; and the relays' cloud is read
        play.step()
    assert EnergySource.objects.get().sign == Sign.PROVEN

    play.play(1120)

    assert play.for_sale == FOR_SALE
    for t, sun_w, load_w, *states in TIMELINE:
        wanted: Any = (sun_w, load_w, tuple(states))
        about = [(one.sun_w, one.load_w, one.states) for one in play.seen if abs(one.t - t) <= STEP_S]
        assert wanted in about, f"at {t} s: {about}"
    for name, session in play.sessions.items():
        session.refresh_from_db()
        assert session.delivered_s == BOUGHT_S[name], name
        # an OFF takes a moment on the wire, twice where there was a pause
        assert BOUGHT_S[name] - 1 <= play.on_s(name) <= BOUGHT_S[name] + 5, name
    assert sorted(kind for kind, _ in play.world.money()) == ["authorized"] * 4 + ["captured"] * 4
    assert not Promise.objects.filter(released_at__isnull=True).exists()


def test_the_car_cannot_be_bought_while_the_others_take_the_room(play: Play) -> None:
    play.sun(0)
    for _ in range(8):
        play.step()
    play.sun(9000)
    for name in BUYS[0]:
        play._buy(name)
    for _ in range(8):
        play.step()
    with pytest.raises(CannotBuy, match="no_power"):
        play.world.hold(play.machines["car"], play.machines["car"].plans.get())
