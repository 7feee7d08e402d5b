"""Beginning a test pulse: the relay room switches, and only this room knows whose device it is now."""

from __future__ import annotations

from devices.models import Device, RelayCommand
from devices.relays import pulse
from sessions_app.proving import is_in_session


def begin(*, device: Device, by: str) -> RelayCommand:
    """Switch ``device`` on for three seconds; raises ``pulse.CannotPulse``."""
    return pulse.begin(device, by=by, is_in_session=is_in_session)
