"""Which session may be extended, by which plan, and each thing that is in the way."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from devices.energy.models import Promise
from devices.models import Device, UsagePlan
from hygate import clock
from hygate.models import SiteSettings
from hygate.numbers import Numbers
from sessions_app import extending
from sessions_app.extending import Around, CannotExtend, No
from sessions_app.models import DeviceSession, QueueEntry
from sessions_app.payments.settling import settle
from sessions_app.states import State
from tests.powered import Powered
from tests.sessions_app.extensions import (
    offered,
    ordered,
    running,
    site,
)
from tests.world import World

__all__ = ["site"]

NOW = clock.now()
NUMBERS = Numbers()


def a_session(**fields: Any) -> DeviceSession:
    """A row that was never saved: running, and half an hour from its end."""
    given = {
        "state": State.RUNNING, "duration_s": 3600, "extendable": True, "max_total_s": 7200, "device_id": 1,
        "started_at": NOW - timedelta(minutes=30), "ends_at": NOW + timedelta(minutes=30),
    }  # fmt: skip
    return DeviceSession(**{**given, **fields})


def a_plan(**fields: Any) -> UsagePlan:
    return UsagePlan(**{"device_id": 1, "extendable": True, "price_minor": 180, "duration_s": 1800, **fields})


# -- the rules


def test_a_running_session_can_be_extended() -> None:
    assert extending.refusal(a_session(), Around(), NOW, NUMBERS) is None
    assert extending.plan_refusal(a_session(), a_plan(), 50) is None


@pytest.mark.parametrize(
    ("session", "around", "why"),
    [
        ({"state": State.GRACE}, {}, No.NOT_RUNNING),
        ({"state": State.PAUSED}, {}, No.NOT_RUNNING),
        ({"state": State.STOPPING}, {}, No.NOT_RUNNING),
        ({"paused_at": NOW}, {}, No.NOT_RUNNING),
        ({"extendable": False}, {}, No.NOT_EXTENDABLE),
        ({}, {"pending": True}, No.PENDING),
        ({"ends_at": NOW + timedelta(seconds=29)}, {}, No.TOO_LATE),
        ({}, {"closed": True}, No.CLOSED),
        ({}, {"in_line": True}, No.IN_LINE),
        ({}, {"power_ok": False}, No.NO_POWER),
    ],
)
def test_each_thing_in_the_way_has_its_reason(session: dict[str, Any], around: dict[str, Any], why: No) -> None:
    assert extending.refusal(a_session(**session), Around(**around), NOW, NUMBERS) == why


def test_the_last_half_minute_is_too_late_to_pay_and_not_a_second_more() -> None:
    session = a_session(ends_at=NOW + timedelta(seconds=30))
    assert extending.refusal(session, Around(), NOW, NUMBERS) is None


@pytest.mark.parametrize(
    ("plan", "why"),
    [
        ({"device_id": 2}, No.NOT_EXTENDABLE),
        ({"active": False}, No.NOT_EXTENDABLE),
        ({"extendable": False}, No.NOT_EXTENDABLE),
        ({"price_minor": 49}, No.NOT_EXTENDABLE),
        ({"duration_s": 3600}, None),
        ({"duration_s": 3601}, No.LONGEST),
    ],
)
def test_a_plan_must_be_of_this_device_for_sale_and_fit(plan: dict[str, Any], why: No | None) -> None:
    assert extending.plan_refusal(a_session(), a_plan(**plan), 50) == why


def test_without_a_limit_a_session_lasts_as_long_as_the_longest_plan() -> None:
    session = a_session(max_total_s=None)
    assert extending.fits(session, 7 * 86400 - 3600)
    assert not extending.fits(session, 7 * 86400 - 3599)


# -- what is in the way


def test_who_waits_in_line_goes_before_more_minutes(site: World) -> None:
    session = running(site)
    QueueEntry.objects.create(token_hash="h", token="t", device=site.device)
    with pytest.raises(CannotExtend) as refused:
        extending.order(session, site.plan)
    assert refused.value.why == No.IN_LINE


@pytest.mark.parametrize("fields", [{"maintenance_since": NOW}, {"blocked_since": NOW}, {"online": False}])
def test_a_device_that_is_not_sold_is_not_sold_for_longer(site: World, fields: dict[str, Any]) -> None:
    session = running(site)
    Device.objects.update(**fields)
    with pytest.raises(CannotExtend) as refused:
        extending.order(session, site.plan)
    assert refused.value.why == No.CLOSED


def test_a_site_that_sells_nothing_sells_no_minutes(site: World) -> None:
    session = running(site)
    SiteSettings.objects.update_or_create(pk=1, defaults={"devices_enabled": False})
    assert offered(site, session).why == No.CLOSED


def test_a_session_of_a_plan_that_is_not_extendable_stays_as_it_was_bought(site: World) -> None:
    UsagePlan.objects.update(extendable=False)
    session = running(site, UsagePlan.objects.get(pk=site.plan.pk))
    UsagePlan.objects.update(extendable=True)
    assert offered(site, session).why == No.NOT_EXTENDABLE


def test_the_offer_names_the_plans_that_fit_in_the_operator_s_order(site: World) -> None:
    long = site.add_plan(site.device, duration_s=240, extendable=True, sort_order=1)
    site.add_plan(site.device, duration_s=241, extendable=True, sort_order=2)
    site.add_plan(site.device, duration_s=30, extendable=False, sort_order=3)
    session = running(site)
    assert [one.pk for one in offered(site, session).plans] == [site.plan.pk, long.pk]


def heater_on(site: World, house_w: int) -> DeviceSession:
    """Six of ten kilowatts are drawn by the session itself, and ``house_w`` by the house beside it."""
    powered = Powered(site)
    device = powered.machine("Heater", 6000, plan={"extendable": True, "max_total_s": 3000})
    powered.read_relays()
    session = powered.run(device)
    site.go(40)
    powered.reads(6000 + house_w)
    return DeviceSession.objects.select_related("device__location", "device__account").get(pk=session.pk)


@pytest.mark.parametrize(("house_w", "why"), [(3900, None), (4200, No.NO_POWER)])
def test_high_power_goes_on_where_the_site_carries_it_already(site: World, house_w: int, why: No | None) -> None:
    session = heater_on(site, house_w)
    assert offered(site, session).why == why


def test_the_watts_of_an_extended_session_stay_promised_until_its_new_end(site: World) -> None:
    session = heater_on(site, 0)
    payment = ordered(site, session, session.device.plans.get())
    site.at_checkout(payment, "pay")
    settle(payment, by="page")
    site.go(700)
    session.refresh_from_db()
    assert session.state == State.RUNNING
    assert Promise.objects.filter(session=session.pk, released_at__isnull=True).exists()
    site.go(600)
    session.refresh_from_db()
    assert (session.state, session.delivered_s) == (State.COMPLETED, 1200)
    assert not Promise.objects.filter(released_at__isnull=True).exists()
