"""Every journey; importing this registers them."""

from __future__ import annotations

from tests.e2e.journeys import (
    accounting,
    after,
    buying,
    failing,
    languages,
    lasting,
    many,
    more_time,
    operating,
    pages,
    paying,
    speed,
    states,
    trust,
)
from tests.e2e.registry import JOURNEYS

__all__ = [
    "JOURNEYS",
    "accounting",
    "after",
    "buying",
    "failing",
    "languages",
    "lasting",
    "many",
    "more_time",
    "operating",
    "pages",
    "paying",
    "speed",
    "states",
    "trust",
]
