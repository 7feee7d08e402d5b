"""Beginning an active proof: the energy side switches a Device, and only this room knows whose Device it is now."""

from __future__ import annotations

from devices.energy import proof
from devices.energy.models import EnergySource
from devices.energy.proof import Progress
from devices.models import Device
from sessions_app.models import DeviceSession
from sessions_app.states import LIVE


def begin(*, source: EnergySource, device: Device, by: str) -> Progress:
    """Switch ``device`` for ten seconds to prove the sign of ``source``; raises ``proof.CannotProve``."""
    return proof.begin(source, device, by=by, is_in_session=is_in_session)


def is_in_session(device_id: int) -> bool:
    """Held for a guest counts as well: the slot is the guest's."""
    return DeviceSession.objects.filter(device=device_id, state__in=LIVE).exists()
