"""The journeys by name, in the order in which they are played."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from tests.e2e.scene import Scene

Play = Callable[["Scene"], None]
Lane = Literal["walk", "look", "alone"]
"""``walk`` buys from real relays, ``look`` judges staged pages beside it, ``alone`` would disturb or be disturbed."""


@dataclass(frozen=True)
class Journey:
    name: str
    what: str
    play: Play
    lane: Lane


JOURNEYS: dict[str, Journey] = {}


def journey(name: str, what: str, lane: Lane = "walk") -> Callable[[Play], Play]:
    """Register a function as the journey ``name``; ``what`` is said in its line when it went well."""

    def register(play: Play) -> Play:
        assert name not in JOURNEYS, f"two journeys are called {name}"
        JOURNEYS[name] = Journey(name, what, play, lane)
        return play

    return register
