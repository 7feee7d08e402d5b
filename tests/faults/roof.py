"""A row's own energy system: a simulated plant over a real socket; its house is set, its loads are the sold relays."""

from __future__ import annotations

import threading
import time
from typing import Any

from hygate.simulators.base import RunningSimulator
from hygate.simulators.sigenergy import build
from tests.faults.evidence import Roof
from tests.faults.row import Row, Thing, next_number

LOOK_EVERY_S = 0.1
PV_W = 500


class Plant:
    """``house(watts)`` is what the house draws; ``hang(thing)`` makes a sold relay one of the plant's loads.

    The Location's connection carries ``limit_w``; a reading counts for ``max_age_s``.
    """

    def __init__(self, row: Row, *, limit_w: int = 10_000, max_age_s: int = 4, **site: Any) -> None:
        from devices.energy.models import EnergySource, Sign, SitePower, SourceKind
        from devices.models import Location

        self.row, self._site = row, Roof(limit_w, max_age_s)
        row.roof = self._site
        self.simulator = build()
        self.server = RunningSimulator(self.simulator).start()
        name = f"{row.scenario.id} roof {next_number()}"
        self.location = Location.objects.create(name=name, timezone="Europe/Vienna")
        wanted = {"grid_import_w": limit_w, "fuse_w": limit_w, "margin_w": 0, "max_age_s": max_age_s} | site
        SitePower.objects.create(location=self.location, **wanted)
        self.source = EnergySource.objects.create(
            location=self.location, name=name, kind=SourceKind.SIGENERGY_MODBUS, address="127.0.0.1",
            port=self.simulator.modbus_address[1], sign=Sign.PROVEN, sign_sentence="Seen.",
        )  # fmt: skip
        self._over = threading.Event()
        self._things: list[Thing] = []
        self.house(1500)
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()
        row.after.append(self._close)

    def house(self, watts: int) -> None:
        self.knobs(pv_w=PV_W, battery_charge_w=0, load_w=watts + PV_W)

    def knobs(self, **wanted: Any) -> None:
        self.server.call(lambda: self.simulator.plant.set(wanted))

    def wire(self, **wanted: Any) -> None:
        """How its Modbus misbehaves."""
        self.server.call(lambda: self.simulator.modbus.turn(wanted))

    def hang(self, *things: Thing, watts: int, **fields: Any) -> None:
        """Move sold relays to this site."""
        from devices.models import Device, Phases

        wanted = {"phases": Phases.ALL, "min_on_s": 0, "min_off_s": 0} | fields
        for thing in things:
            Device.objects.filter(pk=thing.id).update(location=self.location, rated_w=watts, **wanted)
            self._site.rated[thing.shelly_id, thing.channel] = watts
            self.server.call(lambda one=thing: self.simulator.plant.add_load(_name(one), watts))  # type: ignore[misc]
        self._things += things

    def told(self) -> list[str]:
        """Kinds of the open alerts about this site's energy."""
        rows = self.row.stack.sql(
            "SELECT kind FROM hygate_alert WHERE closed_at IS NULL AND (key LIKE %s OR key = %s)",
            f"energy:{self.source.pk}:%",
            f"energy:location:{self.location.pk}:overload",
        )
        return [str(one[0]) for one in rows]

    def _follow(self) -> None:
        """What the relays switch flows at the plant; and the plant's books for I13."""
        while not self._over.wait(LOOK_EVERY_S):
            for thing in tuple(self._things):
                is_on = self.row.is_on(thing)
                self.server.call(lambda one=thing, on=is_on: self.simulator.plant.set_load(_name(one), on))  # type: ignore[misc]
            self._site.house.append((time.time(), self.server.call(self._house_w)))
            answered = self.server.call(lambda: [one["t"] for one in self.simulator.modbus.requests])
            if answered and not self.simulator.modbus.knobs.mute:
                self._site.answered.append(max(answered))

    def _house_w(self) -> int:
        knobs = self.simulator.plant.knobs
        return sum(knobs.load_w) - knobs.pv_w

    def _close(self) -> None:
        from devices.energy.models import EnergySource
        from hygate.alerts import close_alert

        EnergySource.objects.filter(pk=self.source.pk).update(active=False)
        for kind in ("silent", "sign"):
            close_alert(f"energy:{self.source.pk}:{kind}")
        self._over.set()
        self._thread.join(5)
        self.server.stop()


def _name(thing: Thing) -> str:
    return f"{thing.shelly_id}:{thing.channel}"
