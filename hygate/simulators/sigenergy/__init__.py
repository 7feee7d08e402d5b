"""A simulated Sigenergy plant, and the ways in which the real one is asked: Modbus TCP, OpenAPI, MQTT."""

from __future__ import annotations

from hygate.simulators.sigenergy.plant import Flows, Plant
from hygate.simulators.sigenergy.simulator import SigenergySimulator, build

__all__ = ["Flows", "Plant", "SigenergySimulator", "build"]
