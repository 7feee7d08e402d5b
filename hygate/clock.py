"""The one source of time. Everything that decides asks ``now()``; tests put a clock of their own in its place."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Protocol

REBASE_WITHIN_S = 2.0


class Clock(Protocol):
    def now(self) -> datetime: ...

    def sleep(self, seconds: float) -> None: ...


class SteadyClock:
    """Wall clock at start plus elapsed time, so that a step of the machine's clock moves no session's end.

    Small drifts (NTP slewing) are followed: while both differ by less than two seconds the base is set anew.
    """

    def __init__(self) -> None:
        self._base = (time.time(), time.monotonic())

    def now(self) -> datetime:
        wall_then, steady_then = self._base
        steady = wall_then + time.monotonic() - steady_then
        if abs(time.time() - steady) < REBASE_WITHIN_S:
            self._base = (time.time(), time.monotonic())
            steady = self._base[0]
        return datetime.fromtimestamp(steady, UTC)

    def sleep(self, seconds: float) -> None:
        if seconds > 0:
            time.sleep(seconds)


class ManualClock:
    """A clock that stands still until it is told to go on: for tests."""

    def __init__(self, start: datetime) -> None:
        self._now = start

    def now(self) -> datetime:
        return self._now

    def sleep(self, seconds: float) -> None:
        if seconds > 0:
            self._now += timedelta(seconds=seconds)

    def set(self, moment: datetime) -> None:
        self._now = moment


_clock: Clock = SteadyClock()


def now() -> datetime:
    """The present moment, aware, in UTC."""
    return _clock.now()


def sleep(seconds: float) -> None:
    _clock.sleep(seconds)


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


@contextmanager
def using(clock: Clock) -> Iterator[Clock]:
    """Put ``clock`` in the place of the real one for the length of the block."""
    global _clock
    before, _clock = _clock, clock
    try:
        yield clock
    finally:
        _clock = before
