"""What this room plugs into the engine."""

from __future__ import annotations

from django.conf import settings

from devices.models import ShellyAccount
from devices.relays import pulse, queue
from devices.relays.models import OPEN, RelayCommand
from devices.relays.outcomes import RelayOutcomes
from hygate import clock_watch
from hygate.due import Queue, outcomes, register


def connect() -> None:
    register(
        ShellyAccount,
        queue.advance,
        queue=Queue.RELAYS,
        lease_s=lambda: settings.NUMBERS.lease_relay_s,
        ahead=False,
        takes_along=True,
        never_quarantine=lambda _account: True,
    )
    outcomes.register(RelayOutcomes, pulse.on_relay_outcomes)
    clock_watch.under_way_while(RelayCommand.objects.filter(state__in=OPEN).exists)
