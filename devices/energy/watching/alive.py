"""Whether the watcher lives: part of whether Hygate is ready, where there is anything to watch."""

from __future__ import annotations

from devices.energy.models import EnergySource
from hygate import health
from hygate.due.sweep import silent_for_s

HEARTBEAT = "energy"
WATCHER_SILENT = "The energy watcher has stopped: no high power is sold, and nothing is shed."


def why_not_ready() -> str:
    """A sentence while there are sources to watch and nobody has watched for half a minute."""
    watched = EnergySource.objects.filter(active=True).exists()
    return WATCHER_SILENT if watched and silent_for_s(HEARTBEAT) > health.SILENT_S else ""
