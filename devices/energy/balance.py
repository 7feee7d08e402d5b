"""The sign check: whether a source's grid power can be import as its name says, or only the other way round.

What decides (facts on the sign question):

1. A load that was told apart from the grid meter: PV + import + discharge has to meet it. Only the flipped sign
   meeting it is a refusal. A load that the plant computed from the same meter agrees with either sign, so agreement
   alone proves nothing; whoever knows that it has a meter of its own says ``load_has_own_meter``.
2. No house gives power back. Inverter output + import is the load on the AC side; where one sign makes it negative,
   that sign is impossible. So importing more than the inverter feeds proves the sign, and exporting more refuses it.
3. The same on each phase: on one that the inverter does not feed, the grid can only be import.

Limits: a generator that the source does not know of (another maker's PV without a reading) can fool 2 and 3, as it
fools the plant itself; 3 takes each current sensor to sit on the phase that it is named for. The active proof, which
switches a known load, is what settles such a site.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from devices.energy.reading import INVERTER_PHASES, PHASES, Field, Reading

TOLERANCE_W = 300
TOLERANCE_SHARE = 0.05
PHASE_DEADBAND_W = 20  # ±10 W at the grid point and as much at the inverter
PHASE_CONTRARY_W = 100  # a refusal wants more than a proof: an idle inverter takes some watts itself
TOGETHER = timedelta(seconds=2)


@dataclass(frozen=True)
class Proven:
    """Positive is import: the other sign is impossible."""

    sentence: str


@dataclass(frozen=True)
class Refused:
    """The reading contradicts itself, or fits only with the flipped sign; nothing may be admitted on it."""

    sentence: str


@dataclass(frozen=True)
class Unproven:
    """Neither: this moment cannot tell the two signs apart."""

    sentence: str


Verdict = Proven | Refused | Unproven


def tolerance_w(*flows_w: float) -> float:
    """What losses and sampling may leave over, in W, among flows of this size."""
    return max(TOLERANCE_W, TOLERANCE_SHARE * max(abs(flow) for flow in flows_w))


def judge(reading: Reading, *, load_has_own_meter: bool = False) -> Verdict:
    """Whether ``grid_import_w`` of ``reading`` can be trusted to be import; the sentence says why.

    Only numbers measured within two seconds of each other are weighed. ``load_has_own_meter``: the source's load does
    not come from its grid meter, so that its agreement is evidence.
    """
    grid = _value(reading, Field.GRID_IMPORT)
    unusable = _unusable(reading, grid)
    if unusable is not None or grid is None:
        return unusable or Unproven("The source does not tell the power at the grid point.")
    contradiction = _phases_contradict(reading, grid)
    if contradiction is not None:
        return contradiction
    verdicts = [
        verdict
        for verdict in (
            _by_generation(reading, grid),
            _by_load(reading, grid, own_meter=load_has_own_meter),
            _by_phase(reading),
        )
        if verdict is not None
    ]
    return _strongest(verdicts) or Unproven(_nothing_tells(grid))


def _strongest(verdicts: Iterable[Verdict]) -> Verdict | None:
    """One refusal outweighs every proof."""
    ordered = sorted(verdicts, key=lambda verdict: (Refused, Proven, Unproven).index(type(verdict)))
    return ordered[0] if ordered else None


def _value(reading: Reading, field: Field) -> float | None:
    """The field's value, where it was measured together with the grid's."""
    measured, grid = reading[field], reading[Field.GRID_IMPORT]
    if measured is None or grid is None or abs(measured.at - grid.at) > TOGETHER:
        return None
    return measured.value


def _unusable(reading: Reading, grid: float | None) -> Unproven | None:
    """Moments at which the grid's number means nothing."""
    if reading.value(Field.GRID_SENSOR_OK) == 0:
        return Unproven("The plant says that it has no grid sensor: its grid power means nothing.")
    if reading.value(Field.METERS_LOST):
        return Unproven("The plant has lost a meter: its grid power means nothing until that is back.")
    if reading.value(Field.ON_GRID) == 0:
        return Unproven("The site is off the grid: nothing flows there that could prove the sign.")
    if grid is None:
        return Unproven("The source does not tell the power at the grid point.")
    return None


def _phases_contradict(reading: Reading, grid: float) -> Refused | None:
    """The three phases have to add up to the total."""
    phases = [_value(reading, phase) for phase in PHASES]
    known = [phase for phase in phases if phase is not None]
    if len(known) < len(PHASES):
        return None
    total, tolerance = sum(known), tolerance_w(grid, *known)
    if abs(total - grid) <= tolerance:
        return None
    if abs(total + grid) <= tolerance:
        return Refused(
            f"The phases at the grid point add up to {_watts(total)} where the total says {_watts(grid)}: "
            f"the two have opposite signs."
        )
    return Refused(
        f"The three phases at the grid point add up to {_watts(total)}, but the total says {_watts(grid)}: "
        f"a current sensor is missing or on the wrong phase."
    )


# -- 1. a load that was told


def _by_load(reading: Reading, grid: float, *, own_meter: bool) -> Verdict | None:
    load, generation = _value(reading, Field.LOAD), _generation(reading)
    if load is None or generation is None:
        return None
    tolerance = tolerance_w(grid, load, generation.watts)
    as_told, flipped = generation.watts + grid - load, generation.watts - grid - load
    if abs(grid) <= tolerance:
        return None
    if load < -tolerance:
        return Refused(f"The source tells a load of {_watts(load)}: a house gives no power back, so a sign is wrong.")
    if abs(flipped) <= tolerance < abs(as_told):
        return Refused(_only_flipped(grid, f"a load of {_watts(load)}"))
    if abs(as_told) > tolerance:
        return Unproven(
            f"The balance fits neither sign: {generation.words} and {_flow(grid)} against a load of {_watts(load)} "
            f"leaves {_watts(as_told)}. Something that feeds or takes power is not in the reading."
        )
    if own_meter:
        return Proven(
            f"{generation.words} and {_flow(grid)} meet the load of {_watts(load)}, "
            f"which has a meter of its own; with the flipped sign {_watts(flipped)} would be left over."
        )
    return None


# -- 2. no house gives power back


@dataclass(frozen=True)
class _Generation:
    """What feeds the AC side beside the grid. ``complete``: nothing can feed it that is not counted here."""

    watts: float
    words: str
    complete: bool


def _generation(reading: Reading) -> _Generation | None:
    """The inverters' own output where it is told, else PV and battery (and the car, where it is told)."""
    if reading[Field.THIRD_PARTY_PV] is not None and _value(reading, Field.THIRD_PARTY_PV) is None:
        return None  # another maker's PV is there, but its number is of another moment
    others = _value(reading, Field.THIRD_PARTY_PV) or 0
    inverter = _value(reading, Field.INVERTER_AC)
    if inverter is not None:
        return _Generation(inverter + others, f"{_watts(inverter + others)} of generation", complete=True)
    pv, battery, car = (_value(reading, field) for field in (Field.PV, Field.BATTERY_CHARGE, Field.CAR_CHARGE))
    if pv is None or battery is None:
        return None
    watts = pv + others - battery - (car or 0)
    return _Generation(watts, f"{_watts(watts)} from PV, battery and car", complete=car is not None)


def _by_generation(reading: Reading, grid: float) -> Verdict | None:
    generation = _generation(reading)
    if generation is None:
        return None
    tolerance = tolerance_w(grid, generation.watts)
    as_told, flipped = generation.watts + grid, generation.watts - grid
    possible, flipped_possible = as_told >= -tolerance, flipped >= -tolerance
    if possible == flipped_possible:
        return None
    if not generation.complete and not _load_meets(reading, as_told):
        return Unproven(
            f"{generation.words} with {_flow(grid)} would tell the sign, "
            f"but a car that discharges would not be in these numbers."
        )
    if possible:
        return Proven(
            f"{_capital(_flow(grid))} is certain: as export it would leave {_watts(flipped)} for the house, "
            f"with {generation.words}."
        )
    return Refused(_only_flipped(grid, f"{generation.words}, of which no more can leave the site"))


def _load_meets(reading: Reading, computed: float) -> bool:
    """Whether the told load leaves no room for a source that is not counted."""
    load = _value(reading, Field.LOAD)
    return load is not None and abs(load - computed) <= tolerance_w(load, computed)


# -- 3. phase by phase


def _by_phase(reading: Reading) -> Verdict | None:
    """Each phase on its own; needs all six numbers, and no other maker's PV whose phases nobody tells."""
    grid = [_value(reading, phase) for phase in PHASES]
    inverter = [_value(reading, phase) for phase in INVERTER_PHASES]
    others = reading[Field.THIRD_PARTY_PV]
    if others is not None and abs(others.value) > PHASE_DEADBAND_W:
        return None
    pairs = [(flow, fed) for flow, fed in zip(grid, inverter, strict=True) if flow is not None and fed is not None]
    if len(pairs) < len(PHASES):
        return None
    proofs = []
    for number, (flow, fed) in enumerate(pairs, start=1):
        share = TOLERANCE_SHARE * max(abs(flow), abs(fed))
        as_told, flipped = fed + flow, fed - flow
        if as_told < -max(PHASE_CONTRARY_W, share) and flipped > as_told:
            return Refused(_only_flipped(flow, f"{_watts(fed)} from the inverter", place=f" on phase L{number}"))
        if flipped < -max(PHASE_DEADBAND_W, share) and as_told >= -max(PHASE_DEADBAND_W, share):
            proofs.append(
                f"Phase L{number} decides: the inverter feeds {_watts(fed)} there, so the {_flow(flow)} "
                f"cannot be export."
            )
    return Proven(proofs[0]) if proofs else None


# -- words


def _watts(watts: float) -> str:
    return f"{round(watts)} W"


def _capital(words: str) -> str:
    """At the beginning of a sentence; the unit keeps its capital."""
    return words[:1].upper() + words[1:]


def _flow(grid: float) -> str:
    return f"{'import' if grid >= 0 else 'export'} of {_watts(abs(grid))}"


def _only_flipped(grid: float, against: str, *, place: str = "") -> str:
    told, true = ("importing", "exporting") if grid > 0 else ("exporting", "importing")
    return (
        f"The balance fits only with the flipped sign{place}: the source says {told} {_watts(abs(grid))}, "
        f"but with {against} the site must be {true} them. "
        f"Turn the grid meter's direction, or its sign where a bridge stands between "
        f"(or name the generator that the source does not know of)."
    )


def _nothing_tells(grid: float) -> str:
    if abs(grid) <= TOLERANCE_W:
        return f"Only {_watts(abs(grid))} flow at the grid point: too little to tell import from export."
    return (
        f"The {_flow(grid)} would be possible under either sign: the load is not measured on its own. "
        f"Wait until the site draws more than its inverters feed, or run the active proof."
    )


# -- over several readings


PROOFS_NEEDED = 5
REFUSALS_NEEDED = 3


def weigh(verdicts: Iterable[Verdict]) -> Verdict:
    """One verdict from those of the last readings, oldest first.

    A plant's meter and its inverter are read some moments apart, so a step of the load can make one reading look
    proven or refused. Proven takes five proofs and no refusal; three refusals refuse; anything between is unproven.
    """
    listed = list(verdicts)
    refusals = [verdict for verdict in listed if isinstance(verdict, Refused)]
    proofs = [verdict for verdict in listed if isinstance(verdict, Proven)]
    if len(refusals) >= REFUSALS_NEEDED:
        return refusals[-1]
    if refusals:
        return Unproven(f"A reading of the last {len(listed)} contradicts the others: {refusals[-1].sentence}")
    if len(proofs) >= PROOFS_NEEDED:
        return proofs[-1]
    if proofs:
        return Unproven(f"{len(proofs)} of {PROOFS_NEEDED} readings prove the sign so far: {proofs[-1].sentence}")
    return listed[-1] if listed else Unproven("There is no reading yet.")
