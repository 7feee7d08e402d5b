"""What the energy side asks of the sales side: it decides which device must give up power, pausing is not its own."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal


@dataclass(frozen=True)
class PowerOrder:
    """Published inside the transaction that notes it. ``reason`` is a sentence for people."""

    device_id: int
    what: Literal["pause", "resume"]
    reason: str
    at: datetime
