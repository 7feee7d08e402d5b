"""A stand-in for Renogy's OpenAPI and the hub behind it. See ``simulator.py``; what the hub measures: ``plant.py``."""

from __future__ import annotations

from hygate.simulators.renogy.plant import DEMO_ACCESS_KEY, DEMO_SECRET_KEY, demo_plant
from hygate.simulators.renogy.simulator import RenogySimulator

__all__ = ["DEMO_ACCESS_KEY", "DEMO_SECRET_KEY", "RenogySimulator", "build"]


def build() -> RenogySimulator:
    """The simulator as the demo runs it: a hub with an inverter, a charge controller and two batteries."""
    simulator = RenogySimulator()
    simulator.add_account(DEMO_ACCESS_KEY, DEMO_SECRET_KEY, demo_plant())
    return simulator
