"""How much a site has, before margin and promises: by its wires, and by what its policy lets them be fed from. Pure.

Stands on a reading that was found fit (devices/energy/trust): here a field is either known or not needed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from devices.energy.reading import INVERTER_PHASES, PHASES, Field, Reading
from devices.energy.terms import Limits, Policy, Supply


@dataclass(frozen=True)
class Room:
    """Watts before margin and promises; may be negative."""

    total_w: float
    phases_w: tuple[float, ...]


def on_grid(reading: Reading, limits: Limits) -> bool:
    return not limits.stand_alone and reading.value(Field.ON_GRID) != 0


def wires_room(reading: Reading, limits: Limits) -> Room:
    """(a) or (c): what the connection, or the inverters without one, can still carry."""
    return _grid(reading, limits) if on_grid(reading, limits) else _island(reading, limits)


def _grid(reading: Reading, limits: Limits) -> Room:
    grid = reading.value(Field.GRID_IMPORT) or 0
    cap = _least(limits.grid_import_w, reading.value(Field.GRID_IMPORT_LIMIT))
    fuses = limits.fuse_w or (cap / limits.phases,) * limits.phases
    imports = [reading.value(phase) or 0 for phase in PHASES] if limits.phases == 3 else [grid]
    return Room(cap - grid, tuple(fuse - flow for fuse, flow in zip(fuses, imports, strict=True)))


def _island(reading: Reading, limits: Limits) -> Room:
    """By phase a third of the inverters each, and all that they feed now counted on it: it may be just that one."""
    can, gives = _inverters_w(reading, limits), reading.value(Field.INVERTER_AC) or 0
    return Room(can - gives, (can / limits.phases - gives,) * limits.phases)


def _inverters_w(reading: Reading, limits: Limits) -> float:
    return _least(limits.inverter_w, reading.value(Field.INVERTER_AVAILABLE))


def drawn(reading: Reading, limits: Limits) -> Room:
    """What all loads of the site draw, in all and on each phase; 0 where the reading does not tell it."""
    inverter = reading.value(Field.INVERTER_AC)
    if not on_grid(reading, limits):
        gives = max(0.0, inverter or 0)
        return Room(gives, (gives,) * limits.phases)
    others = max(0, reading.value(Field.THIRD_PARTY_PV) or 0)
    total = _load(reading.value(Field.GRID_IMPORT), inverter, others)
    if limits.phases == 1:
        return Room(total, (total,))
    pairs = zip(PHASES, INVERTER_PHASES, strict=True)
    return Room(total, tuple(_load(reading.value(grid), reading.value(fed), others) for grid, fed in pairs))


def _load(grid: float | None, inverter: float | None, others: float) -> float:
    """Nothing, where one of the two that make it is not known."""
    return 0.0 if grid is None or inverter is None else max(0.0, grid + inverter + others)


def policy_room(reading: Reading, limits: Limits, policy: Policy) -> float | None:
    """(b): None where the policy sets no cap. Without a grid, a cap leaves only the sun."""
    cap = policy.cap_w
    if cap is None:
        return None
    if not on_grid(reading, limits):
        sun_only = policy.supply is Supply.SURPLUS and not policy.battery_may_help
        return surplus_w(reading, limits, policy) if sun_only else None
    return cap - (reading.value(Field.GRID_IMPORT) or 0) + _battery_adds(reading, limits, policy)


def _battery_adds(reading: Reading, limits: Limits, policy: Policy) -> float:
    """What the battery may still give, capped by the inverters' free power.

    Where it may not help, what it gives now counts as borrowed: it can stop at any moment and be import.
    """
    if not limits.has_battery:
        return 0.0
    discharge = max(0, -(reading.value(Field.BATTERY_CHARGE) or 0))
    free = max(0.0, _inverters_free(reading, limits))
    yields = max(0.0, _discharge_and_yield(reading, policy))
    if not policy.battery_may_help or not _may_discharge(reading, limits):
        return min(yields, free) - discharge
    most = _least(reading.value(Field.BATTERY_MAX_DISCHARGE), reading.value(Field.BATTERY_DISCHARGE_LIMIT))
    more = most - discharge if math.isfinite(most) else 0.0
    return min(more + yields, free)


def _inverters_free(reading: Reading, limits: Limits) -> float:
    """Nothing, where nobody says what the inverters could give."""
    can = _inverters_w(reading, limits)
    return can - (reading.value(Field.INVERTER_AC) or 0) if math.isfinite(can) else 0.0


def _may_discharge(reading: Reading, limits: Limits) -> bool:
    soc = reading.value(Field.SOC)
    return soc is not None and soc > reserve_soc(reading, limits) and reading.value(Field.STORM_WATCH) != 1


def reserve_soc(reading: Reading, limits: Limits) -> float:
    told = (reading.value(Field.BACKUP_SOC), reading.value(Field.DISCHARGE_CUT_OFF_SOC))
    return max(limits.reserve_soc_pct, *(0.0 if percent is None else percent for percent in told))


def surplus_w(reading: Reading, limits: Limits, policy: Policy) -> float:
    """Sun that nobody needs: what is exported and not out of the battery, and what charges it where that makes way."""
    if not on_grid(reading, limits):
        return (reading.value(Field.PV) or 0) - (reading.value(Field.INVERTER_AC) or 0)
    return _discharge_and_yield(reading, policy) - (reading.value(Field.GRID_IMPORT) or 0)


def _discharge_and_yield(reading: Reading, policy: Policy) -> float:
    """Charging power that makes way for a load (positive), or present discharge, which is no sun (negative)."""
    charge = reading.value(Field.BATTERY_CHARGE) or 0
    yields = reading.value(Field.EMS_MODE) in policy.yielding_modes
    return min(charge, 0) + (max(charge, 0) if yields else 0)


def _least(*watts: float | None) -> float:
    """The smallest that is known; infinity when none is."""
    return min((one for one in watts if one is not None), default=math.inf)
