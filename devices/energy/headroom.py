"""The question every high-power sale asks: can the site carry this Device now?"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from devices.models import Device


@dataclass(frozen=True)
class Headroom:
    """``ok`` or not, and the reason in words an operator can act on."""

    ok: bool
    reason: str


NOT_NEEDED = Headroom(True, "below the high-power threshold")
NOT_CONFIGURED = Headroom(False, "not configured")


def headroom(device: Device, now: datetime) -> Headroom:  # noqa: ARG001 - the question is always about a moment
    """Whether the site can carry ``device`` at ``now``. Fails closed: no energy source means no for high power."""
    return NOT_CONFIGURED if device.is_high_power else NOT_NEEDED
