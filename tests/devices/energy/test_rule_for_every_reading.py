"""What must hold of the headroom rule for every reading that anybody can think of."""

from __future__ import annotations

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from devices.energy.reading import INVERTER_PHASES, PHASES, Field
from devices.energy.rule import (
    Headroom,
    No,
    Phases,
    Policy,
    Reservation,
    Supply,
    can_carry,
    headroom,
)
from tests.devices.energy.quiet_site import (
    CAPPED,
    FREE,
    LIMITS,
    NOW,
    PROVEN,
    SECOND,
    SUN,
    Verdict,
    grid,
    lack,
    reading,
    room,
)

# -- for every reading


sixty = settings(max_examples=60)
POLICIES = (
    FREE,
    CAPPED,
    SUN,
    Policy(Supply.SURPLUS, battery_may_help=True, yielding_modes=frozenset({0})),
    Policy(Supply.CAPPED, import_cap_w=2000),
    Policy(min_soc_pct=30),
)
watts = st.integers(-20_000, 8000)
powers = st.integers(0, 30_000)
flags = st.sampled_from((1, 1, 1, 1, 1, 1, 1, 0))
percents = st.integers(0, 100)
reservations = st.lists(
    st.builds(
        Reservation,
        st.sampled_from(Phases),
        st.integers(0, 4000),
        st.none() | st.floats(-100, 5000),
        st.none() | st.sampled_from([NOW - 60 * SECOND, NOW - 5 * SECOND, NOW - SECOND, NOW]),
    ),
    max_size=6,
)


@st.composite
def readings(draw: st.DrawFn) -> dict[Field, float | None]:
    """What a whole, possible, fresh plant can say; its phases add up, or nearly."""
    each = draw(st.tuples(watts, watts, watts))
    off = draw(st.integers(-400, 400))
    return {
        **grid(*each),
        Field.GRID_IMPORT: sum(each) + off,
        Field.BATTERY_CHARGE: draw(watts),
        Field.PV: draw(powers),
        Field.INVERTER_AC: draw(watts),
        **dict(zip(INVERTER_PHASES, draw(st.tuples(watts, watts, watts)), strict=True)),
        Field.THIRD_PARTY_PV: draw(st.none() | powers),
        Field.SOC: draw(percents),
        Field.ON_GRID: draw(flags),
        Field.RUNNING: draw(flags),
        Field.GRID_SENSOR_OK: draw(flags),
        Field.METERS_LOST: draw(st.sampled_from((0, 0, 0, 0, 0, 0, 1))),
        Field.STORM_WATCH: draw(st.sampled_from((0, 0, 1))),
        Field.EMS_MODE: draw(st.sampled_from((0, 5))),
        Field.GRID_IMPORT_LIMIT: draw(st.integers(5000, 40_000)),
        Field.INVERTER_AVAILABLE: draw(powers),
        Field.BATTERY_MAX_DISCHARGE: draw(powers),
        Field.BATTERY_DISCHARGE_LIMIT: draw(powers),
        Field.BACKUP_SOC: draw(percents),
        Field.DISCHARGE_CUT_OFF_SOC: draw(percents),
    }


def least_unseen_w(reservation: Reservation) -> float:
    """The least that can be reserved: as if whatever is said to be seen had been in the meter."""
    seen = reservation.seen_w
    is_plausible = seen is not None and 0 <= seen <= 2 * reservation.watts
    return max(0.0, reservation.watts - (seen or 0)) if is_plausible else reservation.watts


def least_on(phase: Phases, promises: list[Reservation]) -> float:
    shares = {phase: 1.0, Phases.ALL: 1 / 3, Phases.UNKNOWN: 1.0}
    return sum(least_unseen_w(one) * shares.get(one.phases, 0.0) for one in promises)


def gives_no_more(less: Headroom, more: Headroom) -> bool:
    return less.total_w <= more.total_w and all(
        have <= before for have, before in zip(less.phases_w, more.phases_w or (0, 0, 0), strict=False)
    )


@sixty
@given(readings(), reservations, st.sampled_from(POLICIES))
def test_no_more_is_promised_than_meter_and_promises_leave(
    plant: dict[Field, float | None], promises: list[Reservation], policy: Policy
) -> None:
    given_ = room(plant, *promises, policy=policy)
    if given_.no is not None:
        assert given_.total_w == 0 and not given_.phases_w
    elif plant[Field.ON_GRID]:
        total = 17_250 - (plant[Field.GRID_IMPORT] or 0) - sum(map(least_unseen_w, promises)) - 300
        assert given_.total_w <= max(0, total)
        for watts_, field, phase in zip(given_.phases_w, PHASES, (Phases.L1, Phases.L2, Phases.L3), strict=True):
            assert watts_ <= max(0, 5750 - (plant[field] or 0) - least_on(phase, promises) - 300)
    else:
        free = (plant[Field.INVERTER_AVAILABLE] or 0) - (plant[Field.INVERTER_AC] or 0)
        assert given_.total_w <= max(0, free - sum(map(least_unseen_w, promises)) - 300)


@sixty
@given(readings(), reservations, st.sampled_from(POLICIES))
def test_what_devices_say_of_themselves_frees_no_more_than_the_site_draws(
    plant: dict[Field, float | None], promises: list[Reservation], policy: Policy
) -> None:
    given_ = room(plant, *promises, policy=policy)
    if given_.no is not None or not plant[Field.ON_GRID]:
        return
    load = (plant[Field.GRID_IMPORT] or 0) + (plant[Field.INVERTER_AC] or 0) + (plant[Field.THIRD_PARTY_PV] or 0)
    promised = sum(one.watts for one in promises) - max(0, load)
    assert given_.total_w <= max(0, 17_250 - (plant[Field.GRID_IMPORT] or 0) - max(0, promised) - 300)


@sixty
@given(readings(), reservations, st.sampled_from(POLICIES), st.sampled_from(sorted(Field)))
def test_a_missing_field_never_raises_it(
    plant: dict[Field, float | None], promises: list[Reservation], policy: Policy, name: Field
) -> None:
    assert gives_no_more(room({**plant, name: None}, *promises, policy=policy), room(plant, *promises, policy=policy))


@sixty
@given(readings(), reservations, st.sampled_from(POLICIES), st.sampled_from(sorted(Field)), st.floats(10, 1e6))
def test_an_older_field_never_raises_it(
    plant: dict[Field, float | None], promises: list[Reservation], policy: Policy, name: Field, age_s: float
) -> None:
    aged = headroom(reading(plant, **{name.value: age_s}), LIMITS, policy, promises, PROVEN, NOW)
    assert gives_no_more(aged, room(plant, *promises, policy=policy))


@sixty
@given(
    readings(),
    st.sampled_from(POLICIES),
    st.sampled_from(sorted(Field)),
    st.sampled_from((math.nan, math.inf, -math.inf, 1e30, -1e30, -1e9)),
)
def test_an_impossible_value_never_raises_it(
    plant: dict[Field, float | None], policy: Policy, name: Field, value: float
) -> None:
    assert room({**plant, name: value}, policy=policy).total_w == 0


@sixty
@given(readings(), reservations, st.sampled_from(POLICIES), powers, st.sampled_from(PHASES))
def test_more_import_never_raises_it(
    plant: dict[Field, float | None], promises: list[Reservation], policy: Policy, more: int, phase: Field
) -> None:
    heavier = {**plant, phase: (plant[phase] or 0) + more, Field.GRID_IMPORT: (plant[Field.GRID_IMPORT] or 0) + more}
    now_, before = room(heavier, *promises, policy=policy), room(plant, *promises, policy=policy)
    if (
        before.no is not No.IMPLAUSIBLE
    ):  # heavier flows are allowed to disagree by more: then there was no answer before
        assert gives_no_more(now_, before)


@sixty
@given(readings(), reservations, st.sampled_from(POLICIES), st.sampled_from(Phases), powers)
def test_one_more_promise_never_raises_it(
    plant: dict[Field, float | None], promises: list[Reservation], policy: Policy, phases: Phases, more: int
) -> None:
    promised = room(plant, *promises, Reservation(phases, more), policy=policy)
    assert gives_no_more(promised, room(plant, *promises, policy=policy))


@sixty
@given(readings(), reservations, st.sampled_from(POLICIES))
def test_a_sign_that_is_not_proven_never_raises_it(
    plant: dict[Field, float | None], promises: list[Reservation], policy: Policy
) -> None:
    unproven = headroom(reading(plant), LIMITS, policy, promises, Verdict(False), NOW)
    assert gives_no_more(unproven, room(plant, *promises, policy=policy))


@sixty
@given(readings(), reservations, st.sampled_from(Phases), st.integers(1, 8000))
def test_a_load_that_is_carried_leaves_no_overload_behind(
    plant: dict[Field, float | None], promises: list[Reservation], phases: Phases, load: int
) -> None:
    """Admission and shedding agree: what was just admitted is never what has to go."""
    free = room(plant, *promises)
    if phases is Phases.UNKNOWN or not can_carry(free, load, phases).ok or not plant[Field.ON_GRID]:
        return
    before = lack(plant)
    shares = {Phases.ALL: (load / 3,) * 3}.get(phases) or [load if p is phases else 0 for p in list(Phases)[:3]]
    each = [(plant[field] or 0) + share for field, share in zip(PHASES, shares, strict=True)]
    loaded = {**plant, **grid(*each), Field.GRID_IMPORT: (plant[Field.GRID_IMPORT] or 0) + load}
    assert lack(loaded).is_trouble == before.is_trouble
    assert lack(loaded).phases_w == before.phases_w
