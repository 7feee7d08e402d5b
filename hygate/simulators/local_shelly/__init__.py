"""A stand-in for a Shelly device in the local network, with virtual components. See ``simulator.py``."""

from __future__ import annotations

from hygate.simulators.local_shelly.simulator import LocalShellySimulator

BRIDGED = range(200, 205)
"""What a bridge of energy readings writes: PV, charge, battery, grid, load."""

__all__ = ["BRIDGED", "LocalShellySimulator", "build"]


def build(password: str = "") -> LocalShellySimulator:
    """A Shelly Pro 2 with the five numbers of the bridge."""
    return LocalShellySimulator(BRIDGED, password=password)
