"""A simulated Sigenergy plant, and the ways in which the real one is asked: Modbus TCP, OpenAPI, MQTT."""

from __future__ import annotations

from hygate.simulators.sigenergy.plant import Flows, Plant
from hygate.simulators.sigenergy.simulator import SigenergySimulator, build

# Little sun and an idle battery: the site imports more than its inverters feed, which proves the sign of its meter.
DEMO_DAY = {"pv_w": 1500, "load_w": (1500, 1200, 1200), "battery_charge_w": 0}

__all__ = ["DEMO_DAY", "Flows", "Plant", "SigenergySimulator", "build"]
