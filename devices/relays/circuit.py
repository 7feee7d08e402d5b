"""The circuit of an account: when its cloud is silent, one probe asks for all of its commands.

Source: ruling 2.25. A pure function; its state stands on the account's row.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from devices.shelly.errors import BadAnswer, CloudDown, ShellyError, TimedOut

WHOLE_ACCOUNT = "*"
"""Stands for a request that asked about no device in particular: its silence is nobody's but the cloud's."""
FEWEST_DEVICES = 2


@dataclass(frozen=True)
class Silence:
    """Requests without an answer, one after the other: how many, which devices they asked, since when it is open."""

    in_row: int = 0
    devices: tuple[str, ...] = ()
    opened_at: datetime | None = None


def is_silence(error: ShellyError | None) -> bool:
    """No answer at all: a time-out, a refused or lost connection, or a cloud that only says 5xx."""
    return isinstance(error, TimedOut | CloudDown)


def is_answer(error: ShellyError | None) -> bool:
    """The cloud itself has spoken, be it with a refusal. A page of some proxy, or nothing sent, proves nothing."""
    return not is_silence(error) and not (error is not None and isinstance(error, BadAnswer))


def after(
    before: Silence, error: ShellyError | None, asked: Collection[str], now: datetime, *, opens_after: int
) -> Silence:
    """What an account's silence is after one more request.

    It opens after ``opens_after`` silent requests in a row that asked at least two devices, or the account as a whole:
    one dead device never closes the sale of its neighbours. The first answer closes it.
    """
    if not is_silence(error):
        return Silence() if is_answer(error) else before
    in_row = before.in_row + 1
    devices = tuple(sorted({*before.devices, *(asked or {WHOLE_ACCOUNT})}))
    many = WHOLE_ACCOUNT in devices or len(devices) >= FEWEST_DEVICES
    opens = in_row >= opens_after and many
    return Silence(in_row, devices, before.opened_at or (now if opens else None))
