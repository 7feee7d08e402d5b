"""A world whose Location has an energy system: limits, a source whose readings a test writes, machines that draw."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from devices.energy.models import EnergySource, LatestReading, Promise, Sign, SitePower, SourceKind, SourceStatus
from devices.energy.watching import shed
from devices.models import Device, Phases, UsagePlan
from sessions_app.models import DeviceSession
from tests.world import KEY, World

GRID_W = 10_000


class Powered:
    """``reads()`` is the meter, ``look()`` what the watcher does after a reading, ``machine()`` something to buy.

    One phase, 10 kW, no margin, and readings that do not grow old, unless a test says otherwise.
    """

    def __init__(self, world: World, **limits: Any) -> None:
        self.world = world
        wanted = {"grid_import_w": GRID_W, "phases": 1, "margin_w": 0, "max_age_s": 32_000} | limits
        self.power = SitePower.objects.create(location=world.location, **wanted)
        self.source = EnergySource.objects.create(
            location=world.location,
            name="Roof",
            kind=SourceKind.SIGENERGY_MODBUS,
            address="127.0.0.1",
            status=SourceStatus.OK,
            sign=Sign.PROVEN,
            sign_sentence="Seen.",
        )
        self._made = 0
        self.reads(0)

    # -- the meter
    def reads(self, grid_import_w: int, *, aged_s: float = 0, **fields: Any) -> None:
        """The meter says so now, or said so ``aged_s`` ago."""
        at = self.world.now - timedelta(seconds=aged_s)
        said = {"grid_import_w": grid_import_w, "inverter_ac_w": 0, "on_grid": 1, "running": 1} | fields
        stored = {name: [value, at.timestamp()] for name, value in said.items() if value is not None}
        LatestReading.objects.update_or_create(source=self.source, defaults={"fields": stored, "at": at})

    def look(self) -> None:
        shed.look(self.world.location.pk, self.world.now)
        self.power.refresh_from_db()

    # -- machines
    def machine(self, name: str, watts: int, **fields: Any) -> Device:
        """A relay of its own with a plan of ten minutes and no grace."""
        self._made += 1
        shelly_id = f"e86beabb{self._made:04x}"
        world = self.world
        world.shelly_server.call(
            lambda: world.shelly.add_device(KEY, shelly_id, "SNPL-00112EU", channels=1, gen=2, watts=(float(watts),))
        )
        plan = fields.pop("plan", {})
        wanted = {"rated_w": watts, "phases": Phases.L1, "min_on_s": 0, "min_off_s": 0} | fields
        device = world.add_device(shelly_id, 0, name, f"POWER{self._made}", **wanted)
        world.add_plan(device, **({"duration_s": 600, "grace_s": 0} | plan))
        return device

    def read_relays(self) -> None:
        """Until every machine has been seen by its cloud."""
        self.world.go(35)

    # -- guests
    def buy(self, device: Device) -> DeviceSession:
        plan = UsagePlan.objects.get(device=device)
        session = self.world.buy(device, plan)
        self.world.tell(session)
        return fresh(session)

    def run(self, device: Device) -> DeviceSession:
        """Bought, and its relay confirmed on."""
        session = self.buy(device)
        self.world.go(5)
        found = fresh(session)
        assert found.state == "running", found.state
        return found

    def promise(self, session: DeviceSession) -> Promise:
        return Promise.objects.get(session=session.pk, released_at__isnull=True)


def fresh(session: DeviceSession) -> DeviceSession:
    return DeviceSession.objects.select_related("device").get(pk=session.pk)
