"""The Shelly Cloud and the relays behind it: what the real one does, what it refuses, and how it fails."""

from __future__ import annotations

from hygate.simulators.shelly.demo import DEMO_KEY
from hygate.simulators.shelly.simulator import ShellySimulator, build

__all__ = ["DEMO_KEY", "ShellySimulator", "build"]
