"""The demo world: a laundry, a pitch, a sauna and a charging place, and what is never sold, on one account."""

from __future__ import annotations

from typing import Protocol

DEMO_KEY = "demo-shelly-key"
DEMO_ACCOUNT = "demo"


class Builder(Protocol):
    def add_account(self, key: str, name: str | None = None) -> object: ...

    def add_device(
        self,
        key: str,
        id: str,
        model: str,
        *,
        channels: int = 1,
        name: str | None = None,
        channel_names: tuple[str | None, ...] = (),
        gen: int = 2,
        watts: tuple[float, ...] = (),
        initial_state: str = "off",
        mode: str = "",
    ) -> object: ...


def furnish(simulator: Builder) -> None:
    """Put the demo's account and devices into an empty simulator; the ids never change."""
    simulator.add_account(DEMO_KEY, DEMO_ACCOUNT)
    add = simulator.add_device
    washers = ("Washer 1", "Washer 2", "Dryer 1", "Dryer 2")
    loads = (2050.0, 2050.0, 2400.0, 2400.0)
    add(DEMO_KEY, "34987a10c4d0", "SPSW-104PE16EU", channels=4, name="Laundry", channel_names=washers, watts=loads)
    add(DEMO_KEY, "e86bea10c070", "SNPL-00112EU", name="Pitch 7 socket", watts=(830.0,))
    sauna = ("Sauna light", "Sauna heater")
    add(DEMO_KEY, "34945410c025", "SHSW-25", channels=2, name="Sauna", channel_names=sauna, gen=1, watts=(40.0, 2200.0))
    add(DEMO_KEY, "a4cf1210c001", "SHSW-PM", name="EV socket 1", gen=1, watts=(11_000.0,))
    add(DEMO_KEY, "08b61f10c0a7", "SNSN-0013A", channels=0, name="Laundry climate", mode="sensor")
    add(DEMO_KEY, "3494541fc0b1", "SHBDUO-1", channels=0, name="Entrance lamp", gen=1, mode="light")
    add(DEMO_KEY, "34945410c0e7", "SHSW-25", channels=0, name="Reception shutter", gen=1, mode="roller")
