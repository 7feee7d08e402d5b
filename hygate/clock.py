"""The one source of time. Everything that decides asks ``now()``; tests put a clock of their own in its place.

The time of day comes from a reference: PostgreSQL's clock, or the machine's own where SQLite is used. Between two looks
at it (``hygate.clock_watch``) only elapsed seconds count, so that no step of any clock ends a session or gives an hour.
"""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Protocol

STEP_S = 2.0
"""A reference that is off by less has drifted, and is followed; more is a step, and is not."""
APART_S = 0.15
"""Two processes' clocks may stand so far apart while their measurements are vague; mostly it is a millisecond."""
SAME_STEP_S = 1.0
"""Two measurements of one step differ by less than this."""


def _elapsing_clock() -> int:
    """The system's clock that no one can set and that goes on through suspend; where there is none, one that pauses.

    Linux calls it CLOCK_BOOTTIME, macOS CLOCK_MONOTONIC_RAW. Some sandboxes know its name and refuse to read it.
    """
    chosen = time.CLOCK_MONOTONIC
    if sys.platform == "linux":
        chosen = time.CLOCK_BOOTTIME
    elif sys.platform == "darwin":
        chosen = time.CLOCK_MONOTONIC_RAW
    try:
        time.clock_gettime(chosen)
    except OSError:
        return time.CLOCK_MONOTONIC
    return chosen


_ELAPSING = _elapsing_clock()


def elapsed() -> float:
    """Seconds since some moment in the past, suspend included where the system can tell; never set, never back."""
    return time.clock_gettime(_ELAPSING)


class Clock(Protocol):
    def now(self) -> datetime: ...

    def sleep(self, seconds: float) -> None: ...


class SteadyClock:
    """Wall clock at start plus elapsed time, so that a step of the machine's clock moves no session's end.

    Small drifts (NTP slewing) are followed: while both differ by less than two seconds the base is set anew.
    """

    def __init__(self) -> None:
        self._base = (time.time(), elapsed())

    def now(self) -> datetime:
        wall_then, steady_then = self._base
        steady = wall_then + elapsed() - steady_then
        if abs(time.time() - steady) < STEP_S:
            self._base = (time.time(), elapsed())
            steady = self._base[0]
        return datetime.fromtimestamp(steady, UTC)

    def sleep(self, seconds: float) -> None:
        """Waits for an event that never comes: ``time.sleep`` fails in a process whose wall clock is shifted by a
        preloaded library, and a worker that cannot wait does nothing.
        """
        if seconds > 0:
            threading.Event().wait(seconds)


@dataclass(frozen=True)
class Measurement:
    """The reference's time at one moment: ``reference_s`` in Unix seconds, ``at_s`` by ``elapsed()``.

    ``correction_s`` is what all processes add to the reference since it stepped; ``epoch`` counts these agreements.
    ``within_s`` is how far off it may be: half of the round trip, for nobody knows which way took longer.
    """

    reference_s: float
    at_s: float
    correction_s: float = 0.0
    epoch: int = 0
    within_s: float = 0.0

    @property
    def said_s(self) -> float:
        return self.reference_s + self.correction_s


class Verdict(Enum):
    FOLLOWED = "followed"
    SUSPECTED = "suspected"
    STEPPED = "stepped"


class HeldClock:
    """The time of the last measurement plus elapsed seconds; a step is refused until somebody has judged it.

    Until the first measurement it is a ``SteadyClock``.
    """

    def __init__(self) -> None:
        self._steady = SteadyClock()
        self._base: tuple[float, float] | None = None
        self._epoch = 0
        self._suspected_s: float | None = None

    @property
    def is_measured(self) -> bool:
        return self._base is not None

    @property
    def epoch(self) -> int:
        return self._epoch

    def now(self) -> datetime:
        if self._base is None:
            return self._steady.now()
        return datetime.fromtimestamp(self.at(elapsed()), UTC)

    def sleep(self, seconds: float) -> None:
        self._steady.sleep(seconds)

    def at(self, at_s: float) -> float:
        """Unix seconds, by the last measurement, when ``elapsed()`` was or will be ``at_s``."""
        said_s, then_s = self._base or (self._steady.now().timestamp(), elapsed())
        return said_s + at_s - then_s

    def note(self, measured: Measurement) -> Verdict:
        """Follow a drift, and whatever all processes have agreed on; a step has to be seen twice to be one."""
        if self._base is None or measured.epoch != self._epoch:
            self.follow(measured)
            return Verdict.FOLLOWED
        off_s = measured.said_s - self.at(measured.at_s)
        if abs(off_s) < STEP_S:
            self._approach(measured, off_s)
            return Verdict.FOLLOWED
        again = self._suspected_s is not None and abs(off_s - self._suspected_s) < SAME_STEP_S
        self._suspected_s = off_s
        return Verdict.STEPPED if again else Verdict.SUSPECTED

    def _approach(self, measured: Measurement, off_s: float) -> None:
        """Move as far as the measurement is sure of, so that a vague one takes nothing from a sharp one before it."""
        surely_s = math.copysign(max(0.0, abs(off_s) - measured.within_s), off_s)
        self._base = (self.at(measured.at_s) + surely_s, measured.at_s)
        self._suspected_s = None

    def follow(self, measured: Measurement) -> None:
        self._base = (measured.said_s, measured.at_s)
        self._epoch = measured.epoch
        self._suspected_s = None


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


held = HeldClock()
"""This process's own; ``hygate.clock_watch`` brings it its measurements."""
_clock: Clock = held


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
