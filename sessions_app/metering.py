"""What a session used by its device's own counter: information for the guest, never a base of money."""

from __future__ import annotations


def used_wh(from_wh: float | None, now_wh: float | None) -> float | None:
    """Wh since the counter stood at ``from_wh``; null where the device measures nothing.

    A counter that stands lower than it did was reset meanwhile: what it shows was used since, the rest nobody knows.
    """
    if from_wh is None or now_wh is None:
        return None
    return max(0.0, now_wh if now_wh < from_wh else now_wh - from_wh)
