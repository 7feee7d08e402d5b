"""The door upwards: a lower room publishes what became of something, an upper room subscribes.

Subscribers run inside the publisher's transaction, so that the outcome and what follows from it are one fact.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")
_subscribers: dict[type, list[Callable[[Any], None]]] = defaultdict(list)


def register(kind: type[T], callback: Callable[[T], None]) -> None:
    """Call ``callback`` with every published ``kind``; registering the same one again changes nothing."""
    if callback not in _subscribers[kind]:
        _subscribers[kind].append(callback)


def publish(outcome: object) -> None:
    """Tell the subscribers; must be called inside the transaction that makes the outcome true."""
    for callback in _subscribers[type(outcome)]:
        callback(outcome)
