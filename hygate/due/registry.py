"""Which model's due rows are advanced by what. Upper rooms register here in ``AppConfig.ready()``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hygate.due.claims import Claim
    from hygate.due.row import Due


class Queue(StrEnum):
    """One worker process each: a hanging Stripe never delays a relay, and neither delays the sweep."""

    CLOCK = "clock"
    RELAYS = "relays"
    MONEY = "money"


Moments = Callable[[Sequence["Claim"]], Mapping[int, datetime]]


@dataclass(frozen=True)
class Handler:
    """What to do with due rows of one model.

    ``advance`` gets claims of rows that are due now. It re-checks the tokens, moves rows in a transaction, makes its
    calls outside of any, and writes the outcomes in another transaction. It may be run twice for the same row.
    ``ahead``: the sweep may claim rows before they are due, to have them done on the second; not for rows that others
    give new work meanwhile. ``takes_along``: whoever is woken for one row claims what else is due with it, for rows
    that are cheaper together than one by one, so that what has piled up goes in few chunks. ``moments`` names those
    better advanced a little after they are due, together with another one, and when; also rows that are due less than a
    second after those it is asked about. ``never_quarantine`` answers for one row whether it must be tried on and on,
    because it has to switch something off.
    """

    model: type[Due]
    advance: Callable[[Sequence[Claim]], None]
    queue: Queue
    lease_s: Callable[[], float]
    chunk: int = 25
    ahead: bool = True
    takes_along: bool = False
    moments: Moments = lambda _claims: {}
    never_quarantine: Callable[[Any], bool] = lambda _row: False

    @property
    def label(self) -> str:
        return self.model._meta.label_lower


_handlers: dict[str, Handler] = {}


def register(
    model: type[Due],
    advance: Callable[[Sequence[Claim]], None],
    *,
    queue: Queue,
    lease_s: Callable[[], float],
    chunk: int = 25,
    ahead: bool = True,
    takes_along: bool = False,
    moments: Moments = lambda _claims: {},
    never_quarantine: Callable[[Any], bool] = lambda _row: False,
) -> None:
    """Say what becomes of due rows of ``model``. Called once per model, in ``AppConfig.ready()``."""
    handler = Handler(model, advance, queue, lease_s, chunk, ahead, takes_along, moments, never_quarantine)
    _handlers[handler.label] = handler


def handlers() -> Iterator[Handler]:
    return iter(tuple(_handlers.values()))


def handler_for(label: str) -> Handler:
    return _handlers[label]
