"""What the relay room publishes to whoever wanted something of a relay."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal


@dataclass(frozen=True)
class RelayOutcome:
    """What became of a command.

    ``at`` is when the confirming reading was fetched; ``on_since`` from when the minutes count; ``timer_ends_at`` when
    the relay's own timer will switch it off (as the reading shows it, else from the moment of sending).
    """

    command_id: int
    device_id: int
    on: bool
    wanted_by: str
    result: Literal["confirmed", "failed"]
    at: datetime
    error: str = ""
    on_since: datetime | None = None
    timer_ends_at: datetime | None = None


@dataclass(frozen=True)
class RelayOutcomes:
    """What became of the commands of one batch of answers, each of another device: published inside the transaction
    that records it.
    """

    each: tuple[RelayOutcome, ...]


@dataclass(frozen=True)
class RelayObserved:
    """What a fresh reading shows of a relay that ought to be on, when nobody's command made it so.

    ``output`` false: it went off by itself (wall button, reboot, another controller). True: it is on again.
    ``at`` is when the reading was fetched, ``shown_on_at`` when the last fresh reading before it showed the relay on.
    """

    device_id: int
    output: bool
    at: datetime
    shown_on_at: datetime | None = None


@dataclass(frozen=True)
class AboutToChange:
    """Published before any row of a transaction is touched: subscribers lock what they own of it first.

    ``wanted_by`` names the owners of commands, ``devices`` the relays that a reading may have something to tell of.
    """

    wanted_by: tuple[str, ...]
    devices: tuple[int, ...] = ()
