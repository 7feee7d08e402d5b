"""Renogy OpenAPI: battery and sun of a DC site, read from Renogy's cloud. It has no grid meter and no control calls.

``signing`` signs, ``values`` turns what came into fields, ``client`` asks, ``source`` watches.
"""

from __future__ import annotations

from devices.energy.sources.renogy.client import RenogySettings
from devices.energy.sources.renogy.source import RenogySource, build
from devices.energy.sources.renogy.values import Alarm

__all__ = ["Alarm", "RenogySettings", "RenogySource", "build"]
