"""The gate: the page, the sale and the switching ask the same question, and watts are promised once."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction

from devices.energy import headroom
from devices.energy.models import EnergySource, LatestReading, Promise, Sign, SitePower
from devices.models import Device, UsagePlan
from sessions_app import selling, services
from sessions_app.models import DeviceSession
from sessions_app.moves import transition
from sessions_app.payments.continuing import start_late
from sessions_app.rules import Move
from sessions_app.states import Reason, State
from tests.powered import Powered, fresh
from tests.sessions_app.test_concurrency import at_once
from tests.world import World, kinds_of


@pytest.fixture
def site(world: World) -> Powered:
    return Powered(world)


def why(site: Powered, device: Any) -> str:
    return headroom.headroom(device, site.world.now).why


# -- before payment


def test_what_the_site_can_carry_is_for_sale(site: Powered) -> None:
    oven = site.machine("Oven", 4000)
    site.read_relays()
    assert site.world.availability(oven) == "free"
    site.reads(6001)
    assert site.world.availability(oven) == "no_power"


def test_a_small_device_needs_no_energy_source(site: Powered) -> None:
    SitePower.objects.all().delete()
    lamp, oven = site.machine("Lamp", 2000), site.machine("Oven", 4000)
    site.read_relays()
    assert site.world.availability(lamp) == "free"
    assert site.world.availability(oven) == "no_power"
    assert why(site, oven) == "not_configured"


def test_no_reading_at_all_is_a_no(site: Powered) -> None:
    oven = site.machine("Oven", 4000)
    EnergySource.objects.all().delete()
    assert why(site, oven) == "not_configured"


def test_a_reading_that_is_too_old_is_a_no(site: Powered) -> None:
    oven = site.machine("Oven", 4000)
    SitePower.objects.update(max_age_s=10)
    site.reads(0, aged_s=10)
    assert why(site, oven) == ""
    site.reads(0, aged_s=11)
    assert why(site, oven) == "stale"


@pytest.mark.parametrize("sign", [Sign.REFUSED, Sign.UNPROVEN])
def test_a_sign_that_is_not_proven_is_a_no(site: Powered, sign: Sign) -> None:
    oven = site.machine("Oven", 4000)
    EnergySource.objects.update(sign=sign, sign_sentence="It fits only the other way round.")
    answer = headroom.headroom(oven, site.world.now)
    assert (answer.ok, answer.why, answer.reason) == (False, "sign_not_proven", "It fits only the other way round.")


@pytest.mark.parametrize("wrong", [None, 10**9, "4000", -(10**9)])
def test_an_impossible_number_is_a_no(site: Powered, wrong: Any) -> None:
    oven = site.machine("Oven", 4000)
    assert headroom.headroom(oven, site.world.now).ok
    reading = LatestReading.objects.get(source=site.source)
    reading.fields["grid_import_w"][0] = wrong
    reading.save()
    assert why(site, oven) == "implausible"


# -- the promise


def test_the_hold_promises_the_watts_and_its_end_frees_them(site: Powered) -> None:
    oven, sauna = site.machine("Oven", 6000), site.machine("Sauna", 5000)
    site.read_relays()
    held = site.world.hold(oven, UsagePlan.objects.get(device=oven))
    assert site.promise(held).watts == 6000
    assert site.world.availability(sauna) == "no_power"
    services.cancel_by_guest(held)
    site.world.go(60)
    assert fresh(held).state == State.CANCELLED
    assert site.world.availability(sauna) == "free"


def test_a_hold_that_fails_promises_nothing(site: Powered) -> None:
    oven = site.machine("Oven", 6000)
    site.read_relays()
    site.reads(9000)
    with pytest.raises(selling.CannotBuy, match="no_power"):
        site.world.hold(oven, UsagePlan.objects.get(device=oven))
    assert not Promise.objects.exists()


def test_of_guests_who_buy_at_once_no_two_get_the_same_watts(site: Powered) -> None:
    machines = [site.machine(f"Heater {number}", 3000) for number in range(5)]
    site.read_relays()
    plans = {one.pk: UsagePlan.objects.get(device=one) for one in machines}
    results = at_once(5, lambda index: site.world.hold(machines[index], plans[machines[index].pk]))
    sold = [one for one in results if isinstance(one, DeviceSession)]
    told = [one.kind for one in results if isinstance(one, selling.CannotBuy)]
    assert (len(sold), told) == (3, ["no_power"] * 2)
    assert sum(one.watts for one in Promise.objects.all()) <= 10_000


def test_of_starts_at_once_no_two_get_the_same_watts(site: Powered) -> None:
    machines = [site.machine(f"Heater {number}", 3000, plan={"grace_s": 600}) for number in range(3)]
    site.read_relays()
    sessions = [site.buy(one) for one in machines]
    site.reads(6500)  # the house took two heaters' worth meanwhile
    results = at_once(3, lambda index: services.start_now(sessions[index]))
    assert results == [True] * 3
    states = sorted(fresh(one).state for one in sessions)
    assert states == [State.STARTING, State.WAITING_FOR_POWER, State.WAITING_FOR_POWER]
    site.world.go(5)
    site.reads(6500)  # the first heater is in it: room for one more
    site.world.manual.set(site.world.now + timedelta(seconds=2))
    at_once(3, lambda _index: site.world.go(0))
    site.world.go(5)
    states = sorted(fresh(one).state for one in sessions)
    assert states == [State.RUNNING, State.RUNNING, State.WAITING_FOR_POWER]


def test_a_late_payment_that_starts_after_all_is_promised_its_watts(site: Powered) -> None:
    oven = site.machine("Oven", 6000)
    site.read_relays()
    held = site.world.hold(oven, UsagePlan.objects.get(device=oven))
    with transaction.atomic():
        transition(held, Move(State.CANCELLED, Reason.HOLD_EXPIRED), now=site.world.now)
    payment = held.payments.get()
    with transaction.atomic():
        assert start_late(payment, held, site.world.now)
    successor = DeviceSession.objects.get(continues=held)
    assert site.promise(successor).watts == 6000


def test_watts_measured_before_a_start_do_not_count_as_seen(site: Powered) -> None:
    """A reading of the guest before says 4 kW; the meter does not hold them any more."""
    oven, sauna = site.machine("Oven", 4000), site.machine("Sauna", 7000)
    site.read_relays()
    session = site.run(oven)
    assert session.started_at is not None
    Device.objects.filter(pk=oven.pk).update(watts=4000, reading_at=session.started_at - timedelta(seconds=1))
    site.reads(0)
    assert why(site, sauna) == "too_little"


def test_own_watts_in_the_meter_are_not_counted_twice(site: Powered) -> None:
    oven, sauna = site.machine("Oven", 4000), site.machine("Sauna", 5500)
    site.read_relays()
    session = site.run(oven)
    site.world.go(40)  # its account has been read since
    site.reads(4000)
    assert why(site, sauna) == ""
    services.stop_by_guest(session)


def test_a_steady_load_is_not_forgotten_between_two_of_its_words(site: Powered) -> None:
    """A relay that draws the same repeats itself once a minute only."""
    oven, sauna = site.machine("Oven", 4000), site.machine("Sauna", 5500)
    site.read_relays()
    session = site.run(oven)
    for _ in range(12):
        site.world.go(10)
        site.reads(4000)
        if site.world.now - session.created_at > timedelta(seconds=45):
            assert why(site, sauna) == ""


def test_devices_that_may_not_run_together_are_not_sold_together(site: Powered) -> None:
    one, other = (site.machine(name, 3000, apart_group="heat") for name in ("Sauna", "Steam bath"))
    site.read_relays()
    assert why(site, other) == ""
    site.world.hold(one, UsagePlan.objects.get(device=one))
    answer = headroom.headroom(other, site.world.now)
    assert (answer.why, answer.reason) == ("not_together", "It may not run together with Sauna.")


def test_devices_of_one_name_are_told_apart(site: Powered) -> None:
    """Two saunas, of which only the first shares its stove's cable with the steam bath."""
    sauna, bath = site.machine("Sauna", 2600, apart_group="cable"), site.machine("Bath", 2600, apart_group="cable")
    namesake, other_bath = site.machine("Sauna", 2600), site.machine("Bath", 2600, apart_group="cable")
    site.read_relays()
    held = site.world.hold(namesake, UsagePlan.objects.get(device=namesake))
    assert [why(site, one) for one in (sauna, bath)] == ["", ""]
    services.cancel_by_guest(held)
    site.world.go(60)
    site.world.hold(bath, UsagePlan.objects.get(device=bath))
    assert [why(site, one) for one in (sauna, other_bath, namesake)] == ["not_together", "not_together", ""]


# -- at the moment of switching


def test_a_paid_session_without_power_waits_and_starts_by_itself(site: Powered) -> None:
    oven = site.machine("Oven", 4000, plan={"grace_s": 60})
    site.read_relays()
    session = site.buy(oven)
    site.reads(9000)
    site.world.go(65)
    assert fresh(session).state == State.WAITING_FOR_POWER
    assert site.world.money() == [("authorized", 250)]
    site.reads(1000)
    site.world.go(8)
    assert fresh(session).state == State.RUNNING
    assert site.world.money()[-1] == ("captured", 250)


def test_no_power_within_the_longest_wait_gives_everything_back(site: Powered) -> None:
    oven = site.machine("Oven", 4000, plan={"grace_s": 10})
    site.read_relays()
    site.world.settings.NUMBERS = replace(site.world.settings.NUMBERS, longest_power_wait_s=60)
    session = site.buy(oven)
    site.reads(9000)
    site.world.go(75)
    found = fresh(session)
    assert (found.state, found.reason) == (State.CANCELLED, "no_power")
    assert site.world.money() == [("authorized", 250), ("voided", 250)]
    assert not Promise.objects.filter(released_at__isnull=True).exists()


def test_who_waits_can_leave_and_pays_nothing(site: Powered) -> None:
    oven = site.machine("Oven", 4000, plan={"grace_s": 10})
    site.read_relays()
    session = site.buy(oven)
    site.reads(9000)
    site.world.go(12)
    assert services.cancel_by_guest(session)
    site.world.go(20)
    assert fresh(session).state == State.CANCELLED
    assert site.world.money() == [("authorized", 250), ("voided", 250)]


def test_the_queue_is_served_by_priority_and_then_by_time(site: Powered) -> None:
    late = site.machine("Late", 3000, plan={"grace_s": 20})
    early = site.machine("Early", 3000, plan={"grace_s": 10})
    urgent = site.machine("Urgent", 3000, priority=10, plan={"grace_s": 30})
    site.read_relays()
    sessions = [site.buy(one) for one in (late, early, urgent)]
    site.reads(9000)
    site.world.go(40)
    assert [headroom.place_in_queue(one.pk) for one in sessions] == [3, 2, 1]
    site.reads(6500)  # room for one
    site.world.go(8)
    assert [fresh(one).state for one in sessions] == [State.WAITING_FOR_POWER, State.WAITING_FOR_POWER, State.RUNNING]
    assert [headroom.place_in_queue(one.pk) for one in sessions] == [2, 1, None]


def test_nobody_buys_past_the_queue(site: Powered) -> None:
    waits, other = site.machine("Oven", 8000, plan={"grace_s": 10}), site.machine("Heater", 3000)
    site.read_relays()
    session = site.buy(waits)
    site.reads(4000)
    site.world.go(12)
    assert fresh(session).state == State.WAITING_FOR_POWER
    assert site.world.availability(other) == "no_power"


def test_who_is_in_the_grace_period_is_not_held_up_by_the_queue(site: Powered) -> None:
    """Its watts were promised before; the one who waits counts them, not the other way round."""
    big, small = site.machine("Big", 6000, plan={"grace_s": 10}), site.machine("Small", 3000, plan={"grace_s": 30})
    site.read_relays()
    waits, comes = site.buy(big), site.buy(small)
    site.reads(5000)
    site.world.go(40)
    assert (fresh(waits).state, fresh(comes).state) == (State.WAITING_FOR_POWER, State.RUNNING)
    assert "session_waiting_for_power" not in kinds_of(comes)
