"""The headroom rule: how many watts a site can still give, by phase and in all, or "no" with a reason. Pure.

The least of what holds (facts on energy managers, "Suggested rule"):
(a) the grid: import limit − import, and each phase's fuse − its import;
(b) the policy, where import is capped at X: X − import + what the battery may still add;
(c) off the grid: what the inverters can give − what they give;
minus the margin, minus what was promised to admitted sessions and is not in the meter yet.

It fails closed: what is missing, old or impossible is a "no", never a zero that counts as free.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from devices.energy.reading import PHASES, Field, Reading
from devices.energy.room import Room, drawn, on_grid, policy_room, reserve_soc, surplus_w, wires_room
from devices.energy.terms import (
    CAUTIONS,
    CloudData,
    Limits,
    Phases,
    Policy,
    Promised,
    Reservation,
    SignCheck,
    Supply,
    Window,
    added_up,
    promised_w,
    shares_w,
)
from devices.energy.trust import No, Refusal, fresh, impossible, is_possible, missing_or_old, phases_disagree

__all__ = [
    "Answer",
    "CloudData",
    "Headroom",
    "Limits",
    "No",
    "Overload",
    "Phases",
    "Policy",
    "Reservation",
    "SignCheck",
    "Supply",
    "Window",
    "can_carry",
    "headroom",
    "overload",
    "promised_w",
    "surplus_w",
]

STATES = (Field.ON_GRID, Field.RUNNING)
BATTERY = (Field.BATTERY_CHARGE, Field.SOC, Field.INVERTER_AC)
BATTERY_CAUTIONS = frozenset(
    {
        Field.STORM_WATCH,
        Field.INVERTER_AVAILABLE,
        Field.BATTERY_MAX_DISCHARGE,
        Field.BATTERY_DISCHARGE_LIMIT,
        Field.BACKUP_SOC,
        Field.DISCHARGE_CUT_OFF_SOC,
    }
)


@dataclass(frozen=True)
class Headroom:
    """Whole watts that may still be promised, never below 0; ``no`` where there is nothing to be had, with a sentence.

    ``measured_at``: the oldest number it stands on. ``running`` and ``apart`` say who may not run beside whom.
    """

    total_w: int = 0
    phases_w: tuple[int, ...] = ()
    no: No | None = None
    sentence: str = ""
    measured_at: datetime | None = None
    running: frozenset[str] = frozenset()
    apart: tuple[frozenset[str], ...] = ()

    def less(self, watts: float, phases: Phases, device: str = "") -> Headroom:
        """What is left when a load of ``watts`` is promised as well."""
        taken = shares_w(watts, phases, len(self.phases_w) or 3)
        left = tuple(_whole(have - share) for have, share in zip(self.phases_w, taken, strict=False))
        running = self.running | ({device} if device else set())
        return replace(self, total_w=_whole(self.total_w - watts), phases_w=left, running=running)


@dataclass(frozen=True)
class Answer:
    """Whether one load can be carried; if not, why, in words for an operator."""

    ok: bool
    no: No | None = None
    sentence: str = ""


@dataclass(frozen=True)
class Overload:
    """Watts that have to go, in all and by phase (0 = no trouble there).

    ``blind``: nothing can be said, because the reading is not to be trusted; what then happens to running sessions is
    the operator's setting. ``flow_w`` is the flow that shedding has to move: import, or the inverters' output.
    """

    total_w: int = 0
    phases_w: tuple[int, ...] = field(default=(0, 0, 0))
    flow_w: float = 0.0
    blind: bool = False
    sentence: str = ""

    @property
    def is_trouble(self) -> bool:
        return self.total_w > 0 or any(watts > 0 for watts in self.phases_w)

    @property
    def reason(self) -> str:
        """What is wrong, in words; empty where nothing is."""
        if not self.is_trouble:
            return self.sentence
        worst = max(self.phases_w, default=0)
        if self.total_w >= worst or len(self.phases_w) == 1:
            return f"The site is {max(self.total_w, worst)} W above what it may draw."
        return f"L{self.phases_w.index(worst) + 1} is {worst} W above what its fuse may carry."


# -- the question


def headroom(  # noqa: PLR0917 - the six things that decide, in the order in which they are said
    reading: Reading,
    limits: Limits,
    policy: Policy,
    reservations: Iterable[Reservation],
    sign_check: SignCheck,
    now: datetime,
    *,
    cloud_only: bool = False,
    surplus_since: datetime | None = None,
) -> Headroom:
    """What the site can still give at ``now``.

    ``cloud_only``: the reading came through a maker's cloud; it admits only where ``limits.cloud`` says so.
    ``surplus_since``: since when ``surplus_w`` has not been below the policy's ``min_surplus_w``. Leave out of
    ``reservations`` what is to be switched by this very answer, as a paused session that asks to go on.
    """
    promises = list(reservations)
    limits, refusal = _for_source(limits, cloud_only=cloud_only)
    refusal = refusal or _refusal(reading, limits, policy, sign_check, now, promises=promises)
    refusal = refusal or _policy_refusal(reading, limits, policy, now, surplus_since)
    if refusal is not None:
        return Headroom(no=refusal.no, sentence=refusal.sentence)
    measured_at = reading.oldest(_flows(reading, limits))
    assert measured_at is not None  # _refusal found every flow present
    loads = drawn(fresh(reading, limits, now), limits)
    promised = added_up(promises, loads.total_w, loads.phases_w, measured_at, limits.max_age_seen)
    return _given(_room(reading, limits, policy), limits, promised, policy, measured_at)


def can_carry(
    room: Headroom, watts: float, phases: Phases, device: str = "", *, names: Mapping[str, str] | None = None
) -> Answer:
    """Whether a load fits into ``room``: in all, on its phase (a three-phase load by thirds, an unknown one on the
    worst), and beside those that already run. ``names``: what people call the devices."""
    if room.no is not None:
        return Answer(False, room.no, room.sentence)
    if not math.isfinite(watts) or watts <= 0:
        return Answer(False, No.NOT_CONFIGURED, "The device's rated power is not known.")
    rivals = {other for group in room.apart if device and device in group for other in group & room.running} - {device}
    if rivals:
        called = sorted((names or {}).get(rival, rival) for rival in rivals)
        return Answer(False, No.TOGETHER, f"It may not run together with {', '.join(called)}.")
    if watts > room.total_w:
        return Answer(False, No.TOO_LITTLE, f"It needs {watts:.0f} W; the site can give {room.total_w} W now.")
    for number, share in enumerate(shares_w(watts, phases, len(room.phases_w))):
        if share > room.phases_w[number]:
            left = room.phases_w[number]
            return Answer(False, No.TOO_LITTLE, f"It needs {share:.0f} W on L{number + 1}; that has {left} W left.")
    return Answer(True)


def overload(
    reading: Reading, limits: Limits, policy: Policy, sign_check: SignCheck, now: datetime, *, cloud_only: bool = False
) -> Overload:
    """What has to go now. The thresholds are wider than those of admission: ``shed_margin_w`` in place of ``margin_w``,
    and a policy's cap is crossed only by more than its slack."""
    limits, refusal = _for_source(limits, cloud_only=cloud_only)
    refusal = refusal or _refusal(reading, limits, policy, sign_check, now)
    none = (0,) * limits.phases
    if refusal is not None:
        return Overload(phases_w=none, blind=True, sentence=refusal.sentence)
    wires = wires_room(reading, limits)
    by_policy = policy_room(reading, limits, policy)
    total = limits.shed_margin_w - wires.total_w
    if by_policy is not None:
        total = max(total, -by_policy - policy.shed_slack_w)
    if not on_grid(reading, limits):  # nobody tells the inverters' phases: their sum decides
        return Overload(max(0, math.ceil(total)), none, reading.value(Field.INVERTER_AC) or 0)
    phases = tuple(max(0, math.ceil(limits.shed_margin_w - room)) for room in wires.phases_w)
    return Overload(max(0, math.ceil(total)), phases, reading.value(Field.GRID_IMPORT) or 0)


# -- whether the reading may be used


def _for_source(limits: Limits, *, cloud_only: bool) -> tuple[Limits, Refusal | None]:
    """A cloud's data is minutes old: with the administrator's consent it counts, with a wider margin."""
    if not cloud_only:
        return limits, None
    if limits.cloud is None:
        return limits, Refusal(No.SHOWS_ONLY, "This energy source shows, but does not admit: its data is minutes old.")
    age = max(limits.max_age, limits.cloud.max_age)
    margin = limits.margin_w + limits.cloud.extra_margin_w
    return replace(limits, max_age=age, max_age_slow=max(age, limits.max_age_slow), margin_w=margin), None


def _refusal(
    reading: Reading,
    limits: Limits,
    policy: Policy,
    sign_check: SignCheck,
    now: datetime,
    *,
    promises: Iterable[Reservation] = (),
) -> Refusal | None:
    unset = _not_configured(reading, limits)
    if unset is not None:
        return unset
    needed = _needed(reading, limits, policy)
    wrong = impossible(reading, limits) or _no_battery(reading, needed) or missing_or_old(reading, needed, limits, now)
    if wrong is not None:
        return wrong
    if not all(is_possible(Field.LOAD, one.watts, limits.plausible_w) and one.watts >= 0 for one in promises):
        return Refusal(No.IMPLAUSIBLE, "A promise to a running session makes no sense.")
    return _plant_refusal(reading, limits, sign_check)


def _not_configured(reading: Reading, limits: Limits) -> Refusal | None:
    if limits.stand_alone:
        unset = limits.inverter_w is None and reading[Field.INVERTER_AVAILABLE] is None
        return Refusal(No.NOT_CONFIGURED, "The power of the inverters is not set.") if unset else None
    unset = limits.grid_import_w is None and reading[Field.GRID_IMPORT_LIMIT] is None
    return Refusal(No.NOT_CONFIGURED, "The import limit of the grid connection is not set.") if unset else None


def _plant_refusal(reading: Reading, limits: Limits, sign_check: SignCheck) -> Refusal | None:
    """What the plant says against itself. Off the grid, the sign of its meter decides nothing, and a source of a site
    that never had one need not tell states; where it tells one, that holds."""
    if reading.value(Field.RUNNING) != 1 and not (limits.stand_alone and reading[Field.RUNNING] is None):
        return Refusal(No.NOT_RUNNING, "The energy system reports a fault, a shutdown or standby.")
    if reading.value(Field.METERS_LOST):
        return Refusal(No.METER_LOST, "The energy system has lost the connection to a meter.")
    if not on_grid(reading, limits):
        return None
    if reading.value(Field.GRID_SENSOR_OK) == 0:
        return Refusal(No.NO_GRID_SENSOR, "The energy system has no grid sensor.")
    if not sign_check.admits:
        return Refusal(No.SIGN, sign_check.sentence)
    return phases_disagree(reading) if limits.phases == 3 else None


def _needed(reading: Reading, limits: Limits, policy: Policy) -> set[Field]:
    """Every field that this site's answer stands on, with the cautions that its source tells or has ever told."""
    told = limits.told | (CAUTIONS & set(reading.fields))
    needed = {*_flows(reading, limits)}
    if limits.stand_alone:
        needed |= {Field.RUNNING} & set(reading.fields)
    else:
        needed |= {*STATES, *(told - BATTERY_CAUTIONS)}
    of_battery = (_needed_on_grid if on_grid(reading, limits) else _needed_off_grid)(limits, policy)
    return needed | of_battery | (told & BATTERY_CAUTIONS if Field.SOC in of_battery else set())


def _no_battery(reading: Reading, needed: set[Field]) -> Refusal | None:
    """A policy that counts on a battery, or on sun that is not out of one, where nothing is told of any: it cannot be
    known that there is none, so the answer is no until the policy or the source is another one."""
    if Field.SOC not in needed or reading[Field.SOC] is not None or reading[Field.BATTERY_CHARGE] is not None:
        return None
    return Refusal(
        No.MISSING, "The policy needs to know the battery, and the energy source tells of none: change one of the two."
    )


def _needed_on_grid(limits: Limits, policy: Policy) -> set[Field]:
    """A site that may draw from the grid up to its limit needs to know nothing of its battery."""
    decides = policy.supply is not Supply.GRID or policy.min_soc_pct is not None or policy.min_surplus_w is not None
    if not decides or not limits.has_battery:
        return set()
    return {*BATTERY, *((Field.EMS_MODE,) if policy.yielding_modes else ())}


def _needed_off_grid(limits: Limits, policy: Policy) -> set[Field]:
    needed = {Field.SOC}
    if not limits.stand_alone:
        needed.add(Field.INVERTER_AVAILABLE)
    if policy.supply is Supply.SURPLUS or policy.min_surplus_w is not None:
        needed.add(Field.PV)
    return needed


def _flows(reading: Reading, limits: Limits) -> tuple[Field, ...]:
    """The numbers that an answer is measured by: what a session of before has to be seen in."""
    if not on_grid(reading, limits):
        return (Field.INVERTER_AC,)
    return (Field.GRID_IMPORT, *(PHASES if limits.phases == 3 else ()))


# -- what the policy refuses


def _policy_refusal(
    reading: Reading, limits: Limits, policy: Policy, now: datetime, surplus_since: datetime | None
) -> Refusal | None:
    if not policy.is_open(now):
        return Refusal(No.OUTSIDE_WINDOW, "Outside the hours in which this location sells high power.")
    low = _low_battery(reading, limits, policy)
    if low is not None or policy.min_surplus_w is None:
        return low
    surplus = surplus_w(reading, limits, policy)
    if surplus < policy.min_surplus_w or surplus_since is None or now - surplus_since < policy.surplus_for:
        return Refusal(
            No.LITTLE_SURPLUS, f"{policy.min_surplus_w:.0f} W of sun to spare are asked for, and for long enough."
        )
    return None


def _low_battery(reading: Reading, limits: Limits, policy: Policy) -> Refusal | None:
    """The policy's own threshold; and without a grid the reserve, as there nothing else carries a load at night."""
    soc, least = reading.value(Field.SOC), policy.min_soc_pct
    shown = "unknown" if soc is None else f"at {soc:.0f} %"
    if least is not None and (soc is None or soc < least):
        return Refusal(No.LOW_BATTERY, f"The battery is {shown}; {least:.0f} % are asked for.")
    reserve = reserve_soc(reading, limits)
    if not on_grid(reading, limits) and (soc is None or soc <= reserve):
        return Refusal(No.LOW_BATTERY, f"The battery is {shown}; {reserve:.0f} % are kept in reserve.")
    return None


# -- how much there is


def _room(reading: Reading, limits: Limits, policy: Policy) -> Room:
    wires, by_policy = wires_room(reading, limits), policy_room(reading, limits, policy)
    return wires if by_policy is None else replace(wires, total_w=min(wires.total_w, by_policy))


def _given(room: Room, limits: Limits, promised: Promised, policy: Policy, measured_at: datetime) -> Headroom:
    total = room.total_w - limits.margin_w - promised.total_w
    phases = tuple(
        _whole(watts - limits.margin_w - taken) for watts, taken in zip(room.phases_w, promised.phases_w, strict=True)
    )
    return Headroom(_whole(total), phases, None, "", measured_at, promised.devices, policy.apart)


def _whole(watts: float) -> int:
    return max(0, math.floor(watts))
