"""How far a sync on request is: told by the process that does it, to every page that looks.

Kept in the cache that all processes share, outside of the sync's own transactions, which nobody sees before their end.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from django.core.cache import cache

LIVES_S = 40
"""Longer than any step may take (the account's turn: half a minute); what is older is told by nobody any more."""


class Step(IntEnum):
    """What is done now, in order: so many steps are behind it."""

    TURN = 0
    STATES = 1
    NAMES = 2
    KEEPING = 3


@dataclass(frozen=True)
class Progress:
    """``devices`` answered (from ``NAMES`` on), ``channels`` were found (from ``KEEPING`` on)."""

    step: Step
    devices: int = 0
    channels: int = 0


class Tell(Protocol):
    def __call__(self, step: Step, *, devices: int = 0, channels: int = 0) -> None: ...


@contextmanager
def followed(account_id: int) -> Iterator[Tell]:
    """One sync from its first wait to its end. Who waits behind another one says nothing, and ends nothing of it."""
    own = uuid.uuid4().hex

    def tell(step: Step, *, devices: int = 0, channels: int = 0) -> None:
        cache.set(_key(account_id), (own, Progress(step, devices, channels)), LIVES_S)

    cache.add(_key(account_id), (own, Progress(Step.TURN)), LIVES_S)
    try:
        yield tell
    finally:
        if cache.get(_key(account_id), ("",))[0] == own:
            cache.delete(_key(account_id))


def progress(account_id: int) -> Progress | None:
    """Of the sync that runs now; None when there is none."""
    kept: tuple[str, Progress] | None = cache.get(_key(account_id))
    return kept[1] if kept else None


def _key(account_id: int) -> str:
    return f"sync:{account_id}"
