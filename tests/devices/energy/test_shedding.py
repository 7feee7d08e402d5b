"""Who gives up power and who gets it back: the chooser's rules one by one, and a site that shall not flap."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.energy.rule import Headroom, No, Overload
from devices.energy.shedding import (
    Candidate,
    Choice,
    Pass,
    Paused,
    ShedRules,
    Why,
    choose_to_pause,
    choose_to_resume,
)
from devices.energy.terms import Phases

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
MINUTE, SECOND = timedelta(minutes=1), timedelta(seconds=1)
RULES = ShedRules()
ON_L1 = Overload(total_w=0, phases_w=(500, 0, 0), flow_w=18_000)
IN_ALL = Overload(total_w=2500, phases_w=(0, 0, 0), flow_w=19_750)
AMPLE = Headroom(total_w=20_000, phases_w=(7000, 7000, 7000))


def one(device: str, phases: Phases = Phases.L1, watts: float = 2000, **more: Any) -> Candidate:
    return Candidate(device, phases, watts, **{"on_since": NOW - 10 * MINUTE, **more})


def stood(device: str, phases: Phases = Phases.L1, watts: float = 2000, **more: Any) -> Paused:
    return Paused(device, phases, watts, **{"off_since": NOW - 10 * MINUTE, **more})


def pause(*candidates: Candidate, trouble: Overload = ON_L1, rules: ShedRules = RULES, **more: Any) -> Choice:
    return choose_to_pause(candidates, trouble, NOW, rules, **more)


def resume(*paused: Paused, room: Headroom = AMPLE, rules: ShedRules = RULES, calm_s: float | None = 600) -> Choice:
    return choose_to_resume(paused, room, NOW, rules, None if calm_s is None else NOW - calm_s * SECOND)


# -- who gives up


def test_only_a_device_on_the_phase_in_trouble_is_paused() -> None:
    choice = pause(one("other", Phases.L2, 3000), one("there", Phases.L1, 1000))
    assert (choice.why, choice.devices, choice.watts) == (Why.CHOSEN, ("there",), 1000)


def test_nobody_is_paused_who_does_not_help_the_phase_in_trouble() -> None:
    assert pause(one("other", Phases.L2), one("another", Phases.L3)) == Choice(Why.NOBODY)


def test_a_three_phase_device_helps_by_its_third() -> None:
    assert pause(one("big", Phases.ALL, 6000)).devices == ("big",)


def test_the_lowest_priority_gives_up_first_however_little_it_draws() -> None:
    assert pause(one("vip", priority=1, watts=5000), one("last", priority=9, watts=600)).devices == ("last",)


def test_among_equals_the_one_that_relieves_most_gives_up() -> None:
    assert pause(one("small", watts=600), one("big", watts=2500), trouble=IN_ALL).devices == ("big",)


def test_no_more_are_paused_than_it_takes() -> None:
    assert len(pause(*(one(str(n), watts=600) for n in range(5))).devices) == 1


def test_no_more_are_paused_in_a_pass_than_its_number() -> None:
    many = [one(str(n), watts=100) for n in range(5)]
    assert len(pause(*many, rules=replace(RULES, per_pass=3)).devices) == 3


def test_a_floor_of_sessions_goes_on() -> None:
    two = [one("a", watts=100), one("b", watts=100)]
    assert pause(*two, rules=replace(RULES, floor=1)).devices == ("a",)
    assert pause(*two, rules=replace(RULES, floor=2)) == Choice(Why.FLOOR)


def test_a_device_keeps_its_minimum_on_time() -> None:
    assert pause(one("young", on_since=NOW - 299 * SECOND)) == Choice(Why.NOBODY)
    assert pause(one("old enough", on_since=NOW - 300 * SECOND)).devices == ("old enough",)


def test_a_device_that_may_not_pause_does_not() -> None:
    assert pause(one("sauna", may_pause=False)) == Choice(Why.NOBODY)


@pytest.mark.parametrize("watts", [0, -5, float("nan")])
def test_a_device_that_draws_nothing_helps_nobody(watts: float) -> None:
    assert pause(one("idle", watts=watts)) == Choice(Why.NOBODY)


def test_an_unknown_phase_is_tried_after_all_known_ones() -> None:
    choice = pause(one("guess", Phases.UNKNOWN, 5000, priority=9), one("known", Phases.L1, 600, priority=1))
    assert choice.devices == ("known",)


def test_one_unknown_phase_is_tried_at_a_time() -> None:
    assert len(pause(one("a", Phases.UNKNOWN), one("b", Phases.UNKNOWN)).devices) == 1


def test_an_unknown_phase_helps_the_whole_for_certain() -> None:
    assert len(pause(one("a", Phases.UNKNOWN), one("b", Phases.UNKNOWN), trouble=IN_ALL).devices) == 2


def test_after_the_phases_the_whole_is_relieved() -> None:
    both = Overload(total_w=3000, phases_w=(500, 0, 0))
    assert pause(one("l1", watts=1500), one("l2", Phases.L2), trouble=both).devices == ("l1", "l2")


def test_no_trouble_pauses_nobody() -> None:
    assert pause(one("a"), trouble=Overload()) == Choice(Why.NO_TROUBLE)


def test_a_reading_that_cannot_be_trusted_pauses_nobody() -> None:
    assert pause(one("a"), trouble=Overload(blind=True)) == Choice(Why.BLIND)


def test_after_a_pass_the_meter_is_given_time_to_show_it() -> None:
    earlier = Pass(NOW - 14 * SECOND, taken_w=2000, before_w=19_000)
    assert pause(one("a"), passes=[earlier]) == Choice(Why.SETTLING)
    assert pause(one("a"), passes=[replace(earlier, at=NOW - 15 * SECOND)]).devices == ("a",)


def test_shedding_stops_when_it_does_not_move_the_meter() -> None:
    first = Pass(NOW - 60 * SECOND, taken_w=2000, before_w=18_000, after_w=17_900)
    second = Pass(NOW - 30 * SECOND, taken_w=2000, before_w=17_900)
    assert pause(one("a"), passes=[first, second]) == Choice(Why.FUTILE)


def test_one_pass_that_moved_the_meter_keeps_shedding_alive() -> None:
    first = Pass(NOW - 60 * SECOND, taken_w=2000, before_w=20_000, after_w=18_000)
    second = Pass(NOW - 30 * SECOND, taken_w=2000, before_w=18_000)
    assert pause(one("a"), passes=[first, second]).why is Why.CHOSEN


# -- who gets it back


def test_the_first_by_priority_comes_back_one_at_a_time() -> None:
    assert resume(stood("second", priority=2), stood("first", priority=1)).devices == ("first",)


def test_among_equals_the_one_that_stood_longest_comes_back() -> None:
    assert resume(stood("late"), stood("early", off_since=NOW - 20 * MINUTE)).devices == ("early",)


def test_a_device_keeps_its_minimum_off_time() -> None:
    assert resume(stood("a", off_since=NOW - 179 * SECOND)) == Choice(Why.NOBODY)
    assert resume(stood("a", off_since=NOW - 180 * SECOND)).devices == ("a",)


@pytest.mark.parametrize("calm_s", [None, 0, 59])
def test_nothing_comes_back_before_it_has_been_calm(calm_s: float | None) -> None:
    assert resume(stood("a"), calm_s=calm_s) == Choice(Why.NOT_CALM)


def test_a_device_comes_back_only_with_power_to_spare() -> None:
    tight = Headroom(total_w=20_000, phases_w=(2299, 9000, 9000))
    assert resume(stood("a"), room=tight) == Choice(Why.NO_ROOM)
    assert resume(stood("a"), room=replace(tight, phases_w=(2300, 9000, 9000))).devices == ("a",)


def test_one_that_does_not_fit_lets_others_pass() -> None:
    tight = Headroom(total_w=20_000, phases_w=(1000, 9000, 9000))
    assert resume(stood("big", priority=1), stood("small", Phases.L2, 500, priority=2), room=tight).devices == (
        "small",
    )


def test_what_comes_back_together_fits_together() -> None:
    room = Headroom(total_w=5000, phases_w=(5000, 5000, 5000))
    three = [stood("a"), stood("b"), stood("c")]
    assert resume(*three, room=room, rules=replace(RULES, back_per_pass=3)).devices == ("a", "b")


def test_nothing_comes_back_on_a_refusal() -> None:
    assert resume(stood("a"), room=Headroom(no=No.STALE, sentence="Old.")) == Choice(Why.NO_ROOM)


@pytest.mark.parametrize("wrong", [{"per_pass": 0}, {"floor": -1}, {"spare_w": float("nan")}, {"back_per_pass": 0}])
def test_rules_that_make_no_sense_cannot_be_made(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        ShedRules(**wrong)


# -- for every site


candidates = st.lists(
    st.builds(
        Candidate,
        device=st.text("abcdefgh", min_size=1, max_size=3),
        phases=st.sampled_from(Phases),
        watts=st.integers(0, 5000),
        on_since=st.integers(0, 900).map(lambda seconds: NOW - seconds * SECOND),
        priority=st.integers(1, 3),
        may_pause=st.booleans(),
    ),
    max_size=8,
    unique_by=lambda candidate: candidate.device,
)
troubles = st.builds(Overload, st.integers(0, 8000), st.tuples(*[st.integers(0, 3000)] * 3), st.just(20_000.0))


@settings(max_examples=60)
@given(candidates, troubles, st.integers(1, 4), st.integers(0, 4))
def test_every_choice_keeps_to_the_rules(
    running: list[Candidate], trouble: Overload, per_pass: int, floor: int
) -> None:
    choice = pause(*running, trouble=trouble, rules=ShedRules(per_pass=per_pass, floor=floor))
    chosen = [each for each in running if each.device in choice.devices]
    assert len(chosen) == len(choice.devices) <= per_pass
    assert not chosen or len(running) - len(chosen) >= floor
    assert all(each.may_pause and NOW - each.on_since >= each.min_on and each.watts > 0 for each in chosen)


@settings(max_examples=60)
@given(candidates, troubles)
def test_the_order_of_the_candidates_does_not_matter(running: list[Candidate], trouble: Overload) -> None:
    assert pause(*running, trouble=trouble) == pause(*reversed(running), trouble=trouble)


@settings(max_examples=30)
@given(st.lists(st.integers(-3000, 3000), min_size=60, max_size=60))
def test_a_load_that_oscillates_at_every_reading_does_not_make_a_relay_flap(noise: list[int]) -> None:
    """Twenty minutes, a reading each 20 s that jumps across the limit: at most one pause for each on and off time."""
    moves, on, since, calm_since = 0, True, NOW, NOW
    for step, jump in enumerate(noise):
        at = NOW + 20 * step * SECOND
        over = Overload(max(0, jump), (0, 0, 0), 17_000)
        calm_since = at if over.is_trouble else calm_since
        if on and choose_to_pause([one("a", on_since=since)], over, at, RULES).devices:
            on, since, moves = False, at, moves + 1
        elif not on:
            free = Headroom(max(0, -jump), (max(0, -jump),) * 3)
            if choose_to_resume([stood("a", off_since=since)], free, at, RULES, calm_since).devices:
                on, since, moves = True, at, moves + 1
    assert moves <= 2 * (20 // (5 + 3) + 1)
