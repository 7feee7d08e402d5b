"""Power holds: the site takes power away and gives it back, and the guest gets every minute that was paid for."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from devices.energy.models import Promise, SitePower
from hygate.models import Alert, AuditEvent
from sessions_app import services
from sessions_app.models import DeviceSession
from sessions_app.states import State
from tests.powered import Powered, fresh
from tests.world import World, kinds_of


@pytest.fixture
def site(world: World) -> Powered:
    world.settings.NUMBERS = replace(world.settings.NUMBERS, shed_settle_s=5, shed_calm_s=10)
    return Powered(world)


def on_seconds(site: Powered, session: DeviceSession) -> float:
    """How long the relay itself was on, by the simulator's ledger."""
    total, since = 0.0, None
    for entry in site.world.ledger(site.world.shelly_server, "relay"):
        if entry["device"] != session.device.shelly_id:
            continue
        if entry["on"]:
            since = entry["t"]
        elif since is not None:
            total, since = total + entry["t"] - since, None
    return total


def pause(site: Powered, session: DeviceSession) -> DeviceSession:
    """Until the site is 3 kW above its limit, and long enough for the OFF."""
    site.world.go(1)
    site.reads(13_000)
    site.look()
    site.world.go(3)
    return fresh(session)


def give_back(site: Powered, session: DeviceSession) -> DeviceSession:
    """Calm for as long as it takes, and long enough for the ON."""
    site.reads(0)
    site.look()
    site.world.go(11)
    site.reads(0)
    site.look()
    site.world.go(5)
    return fresh(session)


def test_a_pause_switches_off_and_the_minutes_stand_still(site: Powered) -> None:
    heater = site.machine("Heater", 3000)
    site.read_relays()
    session = pause(site, site.run(heater))
    assert session.state == State.PAUSED
    assert site.world.relay(heater.shelly_id) == [(True, "request"), (False, "request")]
    site.world.go(120)
    assert fresh(session).ends_at == session.ends_at
    assert fresh(session).state == State.PAUSED


def test_every_minute_is_delivered_after_a_pause(site: Powered) -> None:
    heater = site.machine("Heater", 3000)
    site.read_relays()
    session = pause(site, site.run(heater))
    site.world.go(200)
    session = give_back(site, session)
    assert session.state == State.RUNNING
    site.world.go(700)
    session = fresh(session)
    assert (session.state, session.delivered_s) == (State.COMPLETED, 600)
    # an OFF takes a moment on the wire, which the guest gets as well
    assert 600 <= on_seconds(site, session) <= 604
    assert site.world.money() == [("authorized", 250), ("captured", 250)]


def test_time_given_back_is_counted_from_the_confirmed_on(site: Powered) -> None:
    heater = site.machine("Heater", 3000)
    site.read_relays()
    before = site.run(heater)
    paused = pause(site, before)
    after = give_back(site, paused)
    assert before.ends_at is not None and after.ends_at is not None
    held = after.ends_at - before.ends_at
    on_again = [entry["t"] for entry in site.world.ledger(site.world.shelly_server, "relay") if entry["on"]][-1]
    asked_at = AuditEvent.objects.get(kind="power_hold").at.timestamp()
    assert abs(held.total_seconds() - (on_again - asked_at)) <= 2.5


def test_the_relays_own_timer_is_armed_for_what_is_left(site: Powered) -> None:
    heater = site.machine("Heater", 3000)
    site.read_relays()
    site.world.go(0)
    session = site.run(heater)
    site.world.go(300)
    give_back(site, pause(site, session))
    armed = [one["body"]["toggle_after"] for one in site.world.switched() if one["body"].get("on")]
    assert armed[0] == 630
    assert 320 <= armed[1] <= 330


def test_only_who_may_be_paused_is(site: Powered) -> None:
    ward, heater = site.machine("Ward", 5000, may_pause=False), site.machine("Heater", 3000)
    site.read_relays()
    sessions = [site.run(ward), site.run(heater)]
    pause(site, sessions[1])
    assert [fresh(one).state for one in sessions] == [State.RUNNING, State.PAUSED]


def test_the_least_urgent_gives_up_first(site: Powered) -> None:
    urgent, other = site.machine("Urgent", 3000, priority=10), site.machine("Other", 3000)
    site.read_relays()
    sessions = [site.run(urgent), site.run(other)]
    pause(site, sessions[1])
    assert [fresh(one).state for one in sessions] == [State.RUNNING, State.PAUSED]


def test_only_who_helps_the_phase_in_trouble_is_paused(world: World) -> None:
    world.settings.NUMBERS = replace(world.settings.NUMBERS, shed_settle_s=5, shed_calm_s=10)
    site = Powered(world, phases=3, grid_import_w=30_000, fuse_w=8000)
    phases: dict[str, Any] = {"grid_import_l1_w": 0, "grid_import_l2_w": 0, "grid_import_l3_w": 0}
    site.reads(0, **phases)
    one, two = site.machine("On L1", 3000, priority=200), site.machine("On L2", 3000, phases="L2")
    site.read_relays()
    site.reads(0, **phases)
    sessions = [site.run(one), site.run(two)]
    world.go(1)
    site.reads(9000, **phases | {"grid_import_l2_w": 9000})
    site.look()
    assert [fresh(each).state for each in sessions] == [State.RUNNING, State.PAUSED]


def test_a_session_younger_than_its_minimum_on_time_is_left_alone(site: Powered) -> None:
    heater = site.machine("Heater", 3000, min_on_s=300)
    site.read_relays()
    session = site.run(heater)
    assert pause(site, session).state == State.RUNNING
    site.world.go(300)
    assert pause(site, session).state == State.PAUSED


def test_nothing_comes_back_before_its_minimum_off_time(site: Powered) -> None:
    heater = site.machine("Heater", 3000, min_off_s=180)
    site.read_relays()
    session = pause(site, site.run(heater))
    assert give_back(site, session).state == State.PAUSED
    site.world.go(180)
    assert give_back(site, session).state == State.RUNNING


def test_oscillating_readings_switch_the_relay_no_faster_than_the_minimum_times(site: Powered) -> None:
    heater = site.machine("Heater", 3000, min_on_s=60, min_off_s=60, plan={"duration_s": 200})
    site.read_relays()
    session = site.run(heater)
    for number in range(48):
        site.reads(13_000 if number % 4 == 3 else 2000)
        site.look()
        site.world.go(5)
    changes = len(site.world.relay(heater.shelly_id))
    assert 3 <= changes <= 1 + 240 // 60
    for _ in range(20):
        site.reads(0)
        site.look()
        site.world.go(15)
    assert fresh(session).delivered_s == 200


def test_two_who_stand_still_do_not_keep_each_other_off(site: Powered) -> None:
    """Room for one of them is enough for one to go on."""
    one, two = site.machine("One", 3000), site.machine("Two", 3000)
    site.read_relays()
    sessions = [site.run(one), site.run(two)]
    pause(site, sessions[0])
    site.world.go(5)
    site.reads(13_000)
    site.look()
    site.world.go(3)
    assert {fresh(each).state for each in sessions} == {State.PAUSED}
    for import_w, seconds in ((6500, 11), (6500, 5), (9500, 11), (9500, 5)):
        site.reads(import_w)
        site.look()
        site.world.go(seconds)
    assert sorted(fresh(each).state for each in sessions) == [State.PAUSED, State.RUNNING]


def test_who_stands_still_comes_before_who_waits(site: Powered) -> None:
    heater, car = site.machine("Heater", 3000), site.machine("Car", 9000, plan={"grace_s": 5})
    site.read_relays()
    running = site.run(heater)
    Promise.objects.update(watts=1000)  # so that the car could be sold beside it
    waits = site.buy(car)
    Promise.objects.filter(session=running.pk).update(watts=3000)
    running = pause(site, running)
    site.world.go(5)
    assert (running.state, fresh(waits).state) == (State.PAUSED, State.WAITING_FOR_POWER)
    assert give_back(site, running).state == State.RUNNING
    assert fresh(waits).state == State.WAITING_FOR_POWER


def test_the_longest_pause_ends_the_session_and_gives_the_rest_back(site: Powered) -> None:
    site.world.settings.NUMBERS = replace(site.world.settings.NUMBERS, longest_pause_s=120)
    heater = site.machine("Heater", 3000)
    site.read_relays()
    session = site.run(heater)
    assert session.started_at is not None
    site.world.manual.set(session.started_at + timedelta(seconds=299))
    session = pause(site, session)
    site.world.go(150)
    session = fresh(session)
    assert (session.state, session.reason, session.delivered_s) == (State.CANCELLED, "no_power", 300)
    assert site.world.money() == [("authorized", 250), ("captured", 250), ("refunded", 125)]
    assert not Promise.objects.filter(released_at__isnull=True).exists()


def test_a_paused_session_can_be_stopped_and_pays_for_what_it_got(site: Powered) -> None:
    heater = site.machine("Heater", 3000)
    site.read_relays()
    session = pause(site, site.run(heater))
    assert services.stop_by_guest(session)
    site.world.go(30)
    session = fresh(session)
    assert session.state == State.CANCELLED
    assert session.delivered_s is not None and session.delivered_s < 20


def test_who_stops_while_the_site_gives_no_power_gets_the_rest_back_on_any_plan(site: Powered) -> None:
    heater = site.machine("Heater", 3000)
    site.read_relays()
    session = site.run(heater)
    DeviceSession.objects.filter(pk=session.pk).update(refund_unused=False)
    session = pause(site, fresh(session))
    assert services.stop_by_guest(session)
    site.world.go(30)
    captured, refunded = (dict(site.world.money()).get(kind, 0) for kind in ("captured", "refunded"))
    assert captured - refunded == 250 * (fresh(session).delivered_s or 0) // session.duration_s


def test_a_session_at_its_end_is_not_paused(site: Powered) -> None:
    heater = site.machine("Heater", 3000)
    site.read_relays()
    session = site.run(heater)
    assert session.ends_at is not None
    site.world.manual.set(session.ends_at)
    site.reads(13_000)
    site.look()
    site.world.go(10)
    assert fresh(session).state == State.COMPLETED
    assert "session_paused" not in kinds_of(session)


def test_a_site_that_no_pause_can_help_is_told_once_and_healed(site: Powered) -> None:
    ward = site.machine("Ward", 5000, may_pause=False)
    site.read_relays()
    site.run(ward)
    for _ in range(3):
        site.reads(13_000)
        site.look()
        site.world.go(1)
    assert [one.title for one in Alert.objects.filter(kind="energy_overload", closed_at=None)] == [
        "Laundry room draws too much power"
    ]
    site.reads(0)
    site.look()
    assert not Alert.objects.filter(kind="energy_overload", closed_at=None).exists()


def test_shedding_that_does_not_move_the_meter_stops(site: Powered) -> None:
    machines = [site.machine(f"Heater {number}", 2600) for number in range(3)]
    site.read_relays()
    sessions = [site.run(one) for one in machines]
    for _ in range(30):
        site.reads(13_000)  # something else draws
        site.look()
        site.world.go(2)
    assert [fresh(one).state for one in sessions].count(State.PAUSED) == 2
    assert "did not move the meter" in Alert.objects.get(kind="energy_overload", closed_at=None).advice


def test_what_nobody_can_help_is_written_once_a_minute_and_when_it_changes(site: Powered) -> None:
    ward = site.machine("Ward", 5000, may_pause=False)
    site.read_relays()
    site.run(ward)

    def look(times: int) -> Alert:
        for number in range(times):
            site.reads(13_000 + number)
            site.look()
            site.world.go(0.25)
        return Alert.objects.get(kind="energy_overload", closed_at=None)

    assert look(40).times == 1
    site.world.go(51)
    assert look(4).times == 2
    SitePower.objects.update(least_running=1)
    told = look(4)
    assert (told.times, "the least that runs on" in told.advice) == (3, True)


def test_who_is_being_switched_off_anyway_is_not_chosen(site: Powered) -> None:
    """Its OFF does not get through yet: another one has to give up its power."""
    ends, runs = site.machine("A heater", 3000, may_pause=True), site.machine("B heater", 3000)
    site.read_relays()
    ending, running = site.run(ends), site.run(runs)
    site.world.fault(site.world.shelly_server, on="/v2/devices/api/set/switch", do="hang_before", times=50)
    assert services.stop_by_guest(ending)
    assert fresh(ending).state == State.STOPPING
    site.reads(13_000)
    site.look()
    assert [one["taken_w"] for one in site.power.passes] == [3000]
    assert fresh(running).state == State.PAUSED


def test_a_session_that_is_switching_off_does_not_count_as_one_that_runs_on(site: Powered) -> None:
    ends, runs = site.machine("A heater", 3000), site.machine("B heater", 3000)
    site.read_relays()
    ending, running = site.run(ends), site.run(runs)
    SitePower.objects.update(least_running=1)
    assert services.stop_by_guest(ending)
    site.reads(13_000)
    site.look()
    assert fresh(running).state == State.RUNNING
    assert "the least that runs on" in Alert.objects.get(kind="energy_overload", closed_at=None).advice


def test_power_does_not_come_back_beside_one_it_may_not_run_with(site: Powered) -> None:
    sauna = site.machine("Sauna", 3000, apart_group="heat")
    bath = site.machine("Steam bath", 3000, apart_group="heat")
    site.read_relays()
    session = pause(site, site.run(sauna))
    assert session.state == State.PAUSED
    Promise.objects.create(device=bath, session=10**6, watts=3000, started_at=site.world.now)
    assert give_back(site, session).state == State.PAUSED
    Promise.objects.filter(device=bath).delete()
    assert give_back(site, session).state == State.RUNNING


def test_a_blind_site_lets_its_sessions_run_unless_told_otherwise(site: Powered) -> None:
    heater = site.machine("Heater", 3000)
    site.read_relays()
    session = site.run(heater)
    site.power.max_age_s = 10
    site.power.save(update_fields=["max_age_s"])
    site.world.go(20)
    site.look()
    assert fresh(session).state == State.RUNNING
    site.power.shed_when_blind = True
    site.power.save(update_fields=["shed_when_blind"])
    site.look()
    assert fresh(session).state == State.PAUSED


def test_what_nobody_saw_was_no_calm(site: Powered) -> None:
    heater = site.machine("Heater", 3000)
    site.read_relays()
    session = pause(site, site.run(heater))
    site.reads(0)
    site.look()
    site.power.max_age_s = 10
    site.power.save(update_fields=["max_age_s"])
    site.world.go(20)
    site.look()  # blind
    site.reads(0)
    site.look()
    site.world.go(3)
    assert fresh(session).state == State.PAUSED


# -- what people see


def page(session: DeviceSession) -> str:
    return Client().get(f"/session/{session.token}/").content.decode()


def waiting(site: Powered, *names: str) -> list[DeviceSession]:
    machines: list[Any] = [site.machine(name, 3000, plan={"grace_s": 5 + at}) for at, name in enumerate(names)]
    site.read_relays()
    sessions = [site.buy(one) for one in machines]
    site.reads(9000)
    site.world.go(15)
    return [fresh(one) for one in sessions]


def test_who_waits_sees_the_place_in_the_queue(site: Powered) -> None:
    first, second, third = waiting(site, "One", "Two", "Three")
    assert "You are next" in page(first)
    assert "1 is before you" in page(second)
    assert "2 are before you" in page(third)


def test_the_audit_says_why_power_was_taken_and_given(site: Powered) -> None:
    heater = site.machine("Heater", 3000)
    site.read_relays()
    session = give_back(site, pause(site, site.run(heater)))
    taken = AuditEvent.objects.get(kind="power_hold", session=session.pk)
    assert taken.data["reason"] == "The site is 3000 W above what it may draw."
    assert AuditEvent.objects.filter(kind="power_back", session=session.pk).count() == 1
