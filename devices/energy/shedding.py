"""Which devices give up power, and which get it back. Pure: the chooser names devices, others pause and switch them.

Hysteresis has three parts: the thresholds (``overload`` against ``headroom``), minimum on and off times, and rest after
each pass until the meter has had time to show it. Where passes do not move the meter, shedding stops: then something
else draws the power, and pausing further guests would help nobody.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from devices.energy.rule import Headroom, Overload, can_carry
from devices.energy.terms import Phases, shares_w

MOVED_SHARE = 0.3  # of what a pass took away has to be seen in the meter; other loads change meanwhile


@dataclass(frozen=True)
class ShedRules:
    """``per_pass``: devices at most, in one pass. ``floor``: sessions of the site that shedding always leaves running.

    ``settle``: rest between two passes. ``futile_after``: passes in a row that did not move the meter before shedding
    stops. ``calm_for``: how long there must have been no trouble before anything comes back; ``back_per_pass`` devices
    at a time, each with ``spare_w`` more headroom than it needs.
    """

    per_pass: int = 2
    floor: int = 0
    settle: timedelta = timedelta(seconds=15)
    futile_after: int = 2
    calm_for: timedelta = timedelta(seconds=60)
    back_per_pass: int = 1
    spare_w: float = 300.0

    def __post_init__(self) -> None:
        if min(self.per_pass, self.futile_after, self.back_per_pass) < 1 or self.floor < 0 or not self.spare_w >= 0:
            raise ValueError("A pass sheds and gives back at least one device, and leaves no less than none running.")


@dataclass(frozen=True)
class Candidate:
    """A running high-power session. ``watts``: what it draws by its own measurement, else what it is rated for.

    ``priority``: the smaller number is served first and gives up last. ``on_since``: confirmed on, or resumed.
    """

    device: str
    phases: Phases
    watts: float
    on_since: datetime
    priority: int = 100
    may_pause: bool = True
    min_on: timedelta = timedelta(minutes=5)


@dataclass(frozen=True)
class Paused:
    """A session that stands still for want of power. ``watts``: what it is rated for, as all of it may come at once."""

    device: str
    phases: Phases
    watts: float
    off_since: datetime
    priority: int = 100
    min_off: timedelta = timedelta(minutes=3)


@dataclass(frozen=True)
class Pass:
    """An earlier pass of shedding: what it took away, and the flow before it. ``after_w``: the flow once it settled."""

    at: datetime
    taken_w: float
    before_w: float
    after_w: float | None = None

    @property
    def moved(self) -> bool | None:
        """Whether the meter saw it; None until that can be said."""
        if self.after_w is None:
            return None
        return self.before_w - self.after_w >= MOVED_SHARE * self.taken_w


class Why(StrEnum):
    """Why a choice is what it is."""

    CHOSEN = "chosen"
    NO_TROUBLE = "no_trouble"
    BLIND = "blind"
    SETTLING = "settling"
    FUTILE = "futile"  # a person must look: an alert
    NOBODY = "nobody"  # trouble, and nobody who may be paused now: an alert
    FLOOR = "floor"
    NOT_CALM = "not_calm"
    NO_ROOM = "no_room"


@dataclass(frozen=True)
class Choice:
    """The devices, in the order in which they are to be switched, with what that takes away or gives back in W."""

    why: Why
    devices: tuple[str, ...] = ()
    watts: float = 0.0


# -- who gives up


def choose_to_pause(
    candidates: Iterable[Candidate],
    trouble: Overload,
    now: datetime,
    rules: ShedRules,
    passes: Sequence[Pass] = (),
) -> Choice:
    """Those to pause now. ``passes``: the earlier ones of this trouble, oldest first; empty once it was over.

    1. Lowest priority first; among equals the one that takes most away, so that fewest guests are disturbed.
    2. Only who helps where the trouble is. Whose phase nobody knows may help: after all others, one at a time.
    3. Nobody below the minimum on time or without ``may_pause``, never more than ``per_pass``, never below ``floor``.
    """
    resting = _rest(trouble, now, rules, passes)
    if resting is not None:
        return Choice(resting)
    running = list(candidates)
    at_most = min(rules.per_pass, len(running) - rules.floor)
    if at_most <= 0:
        return Choice(Why.FLOOR if running else Why.NOBODY)
    need = _Need(trouble)
    chosen: list[Candidate] = []
    for candidate in _in_order(running, need, now):
        if len(chosen) < at_most and need.is_open and need.is_helped_by(candidate, beside=chosen):
            chosen.append(candidate)
            need.take(candidate)
    watts = sum(candidate.watts for candidate in chosen)
    return Choice(Why.CHOSEN if chosen else Why.NOBODY, tuple(each.device for each in chosen), watts)


def _rest(trouble: Overload, now: datetime, rules: ShedRules, passes: Sequence[Pass]) -> Why | None:
    if trouble.blind:
        return Why.BLIND
    if not trouble.is_trouble:
        return Why.NO_TROUBLE
    if passes and now - passes[-1].at < rules.settle:
        return Why.SETTLING
    last = passes[-rules.futile_after :]
    if len(last) == rules.futile_after and all(_did_nothing(one, trouble.flow_w) for one in last):
        return Why.FUTILE
    return None


def _did_nothing(one: Pass, flow_w: float) -> bool:
    """By what was noted once it settled; the latest pass, not noted yet, by the flow of now."""
    if one.after_w is None:
        one = Pass(one.at, one.taken_w, one.before_w, flow_w)
    return one.moved is False


@dataclass
class _Need:
    """What still has to go, in all and by phase, while devices are being chosen."""

    trouble: Overload
    total_w: float = field(init=False)
    phases_w: list[float] = field(init=False)

    def __post_init__(self) -> None:
        self.total_w, self.phases_w = self.trouble.total_w, list(self.trouble.phases_w)

    @property
    def is_open(self) -> bool:
        return self.total_w > 0 or any(watts > 0 for watts in self.phases_w)

    def relief_w(self, candidate: Candidate) -> float:
        """How much of what has to go would go with it; an unknown phase relieves none for certain."""
        if not _draws(candidate):
            return 0.0
        shares = self._shares(candidate)
        by_phase = sum(min(share, need) for share, need in zip(shares, self.phases_w, strict=True) if need > 0)
        return by_phase + max(0.0, min(candidate.watts, self.total_w))

    def is_guess(self, candidate: Candidate) -> bool:
        """A phase is in trouble, and nobody knows whether this one hangs on it."""
        on_trouble = any(watts > 0 for watts in self.phases_w)
        return on_trouble and candidate.phases is Phases.UNKNOWN and len(self.phases_w) > 1

    def is_helped_by(self, candidate: Candidate, beside: Sequence[Candidate]) -> bool:
        """A phase in trouble is helped first; only when none is, anybody helps the whole. One guess in a pass."""
        if not _draws(candidate):
            return False
        if self.is_guess(candidate):
            return all(one.phases is not Phases.UNKNOWN for one in beside)
        shares = self._shares(candidate)
        tight = [share for share, watts in zip(shares, self.phases_w, strict=True) if watts > 0]
        return not tight or any(share > 0 for share in tight)

    def take(self, candidate: Candidate) -> None:
        self.total_w -= candidate.watts
        self.phases_w = [need - share for need, share in zip(self.phases_w, self._shares(candidate), strict=True)]

    def _shares(self, candidate: Candidate) -> tuple[float, ...]:
        count = len(self.phases_w)
        if candidate.phases is Phases.UNKNOWN and count > 1:
            return (0.0,) * count
        return shares_w(candidate.watts, candidate.phases, count)


def _draws(candidate: Candidate) -> bool:
    return math.isfinite(candidate.watts) and candidate.watts > 0


def _in_order(running: Iterable[Candidate], need: _Need, now: datetime) -> list[Candidate]:
    """Those who may be paused, by rule 1 of ``choose_to_pause``; unknown phases last where a phase is in trouble."""
    free = [one for one in running if one.may_pause and now - one.on_since >= one.min_on]

    def rank(one: Candidate) -> tuple[bool, int, float, str]:
        return (need.is_guess(one), -one.priority, -need.relief_w(one), one.device)

    return sorted(free, key=rank)


# -- who gets it back


def choose_to_resume(
    paused: Iterable[Paused],
    room: Headroom,
    now: datetime,
    rules: ShedRules,
    calm_since: datetime | None,
) -> Choice:
    """Those that may go on. ``room``: the headroom without the reservations of ``paused``; ``calm_since``: since when
    there has been no trouble, None while there is.

    By priority, then who has stood longest. One that does not fit lets others pass: power that is there is used.
    """
    waiting = [one for one in paused if now - one.off_since >= one.min_off]
    if not waiting:
        return Choice(Why.NOBODY)
    if calm_since is None or now - calm_since < rules.calm_for:
        return Choice(Why.NOT_CALM)
    chosen: list[Paused] = []
    for one in sorted(waiting, key=lambda each: (each.priority, each.off_since, each.device)):
        if len(chosen) < rules.back_per_pass and _fits(room, one, rules.spare_w):
            chosen.append(one)
            room = room.less(one.watts, one.phases, one.device)
    watts = sum(one.watts for one in chosen)
    return Choice(Why.CHOSEN if chosen else Why.NO_ROOM, tuple(one.device for one in chosen), watts)


def _fits(room: Headroom, one: Paused, spare_w: float) -> bool:
    """``spare_w`` more than it needs, so that coming back is not what makes the next trouble."""
    is_load = math.isfinite(one.watts) and one.watts > 0
    return is_load and can_carry(room, one.watts + spare_w, one.phases, one.device).ok
