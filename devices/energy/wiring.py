"""What this room plugs into the engine: the active proof's ears, and whether the watcher lives."""

from __future__ import annotations

from devices.energy import proof
from devices.energy.watching import alive
from devices.relays.outcomes import RelayOutcomes
from hygate import health
from hygate.due import outcomes


def connect() -> None:
    outcomes.register(RelayOutcomes, proof.on_relay_outcomes)
    health.ready_only_if(alive.why_not_ready)
