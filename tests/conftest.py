"""What every test stands on: simulation, a clock that is told to go on, and a world over real sockets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.world import World

START = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)


@pytest.fixture
def manual_clock() -> Iterator[Any]:
    """Business time that stands still until a test moves it."""
    from hygate import clock

    manual = clock.ManualClock(START)
    with clock.using(manual):
        yield manual


@pytest.fixture
def world(transactional_db: None, settings: Any, manual_clock: Any) -> Iterator[World]:
    """Shelly and Stripe simulators on sockets of their own, one account, one device, one plan, one clock for all."""
    from tests.world import World

    made = World(settings, manual_clock)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def later(manual_clock: Any) -> Callable[[float], datetime]:
    """Move the clock on by seconds; answers the new moment."""

    def move(seconds: float) -> datetime:
        manual_clock.set(manual_clock.now() + timedelta(seconds=seconds))
        moment: datetime = manual_clock.now()
        return moment

    return move
