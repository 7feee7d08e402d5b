"""What a guest's page asks of the database: a handful of queries, templates included, and the truth all the same."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client

from hygate import attempts
from hygate.alerts import close_alert, raise_alert
from hygate.attempts import Limit
from hygate.models import Severity, SiteSettings
from sessions_app import gates, selling, services
from sessions_app.guest import labels
from sessions_app.models import StripeWatch
from sessions_app.selling import CannotBuy, Known
from tests.world import STRIP, World

AT_MOST = 3
AtMost = Any


@pytest.fixture(autouse=True)
def _fresh_cache(world: World) -> None:
    cache.clear()


@pytest.fixture(params=["settings never saved", "settings saved"])
def saved(request: pytest.FixtureRequest, world: World) -> None:
    if request.param == "settings saved":
        SiteSettings.objects.create(company="Seaside Camping")


def with_others(world: World) -> None:
    for channel in range(1, 4):
        device = world.add_device(STRIP, channel, f"Dryer {channel}", f"DRYER{channel}")
        world.add_plan(device)
    world.go(35)


@pytest.mark.usefixtures("saved")
def test_the_page_of_a_free_device_takes_three_queries(world: World, django_assert_max_num_queries: AtMost) -> None:
    client = Client()
    with django_assert_max_num_queries(AT_MOST):
        page = client.get("/d/WASH1/").content.decode()
    assert "Free now" in page


@pytest.mark.usefixtures("saved")
def test_a_phone_with_sessions_of_its_own_asks_no_more(world: World, django_assert_max_num_queries: AtMost) -> None:
    client, session = Client(), world.hold()
    client.get(f"/session/{session.token}/")
    services.cancel_by_guest(session)
    world.go(60)
    with django_assert_max_num_queries(AT_MOST):
        page = client.get("/d/WASH1/").content.decode()
    assert "Free now" in page


@pytest.mark.usefixtures("saved")
def test_the_page_of_a_busy_device_takes_three_queries_however_many_others_it_names(
    world: World, django_assert_max_num_queries: AtMost
) -> None:
    with_others(world)
    world.hold()
    with django_assert_max_num_queries(AT_MOST):
        page = Client().get("/d/WASH1/").content.decode()
    assert "In use" in page
    assert all(f"Dryer {number}" in page for number in range(1, 4))


@pytest.mark.usefixtures("saved")
def test_the_page_of_a_running_session_takes_three_queries(world: World, django_assert_max_num_queries: AtMost) -> None:
    session = world.buy()
    world.tell(session)
    world.go(10)
    with django_assert_max_num_queries(AT_MOST):
        page = Client().get(f"/session/{session.token}/").content.decode()
    assert "On until" in page


# -- the truth all the same


def test_the_settings_are_read_as_they_were_saved(world: World) -> None:
    assert gates.read().settings == SiteSettings()
    SiteSettings.objects.create(company='"Quotes" & Söhne', devices_enabled=False, refund_limit_minor=7)
    read, saved = gates.read().settings, SiteSettings.current()
    assert [getattr(read, field.attname) for field in SiteSettings._meta.concrete_fields] == [
        getattr(saved, field.attname) for field in SiteSettings._meta.concrete_fields
    ]
    assert read.devices_enabled is False


def test_each_gate_is_seen_as_soon_as_it_closes_and_when_it_opens(world: World) -> None:
    def closed() -> tuple[bool, bool]:
        found = gates.read()
        return found.clock_is_wrong, found.key_is_refused

    assert closed() == (False, False)
    raise_alert("clock", kind="clock", title="Wrong", advice="", severity=Severity.WARNING)
    assert closed() == (False, False)
    raise_alert("clock", kind="clock", title="Wrong", advice="", severity=Severity.ERROR)
    StripeWatch.objects.update(key_status="key_refused")
    assert closed() == (True, True)
    close_alert("clock")
    StripeWatch.objects.update(key_status="")
    assert closed() == (False, False)


def test_gates_can_be_read_where_the_watch_on_stripe_was_lost(world: World) -> None:
    StripeWatch.objects.all().delete()
    assert gates.read().key_is_refused is False
    assert StripeWatch.objects.count() == 1


def test_slots_are_counted_along_as_they_are_taken_and_come_free(world: World) -> None:
    limit = Limit(3, 60)
    slots = [attempts.take("somebody", limit) for _ in range(2)]
    attempts.take("somebody else", limit)
    assert gates.read_and_count(attempts.slots("somebody", limit)).misses == 2
    assert isinstance(slots[0], attempts.Slot)
    slots[0].give_back()
    assert gates.read_and_count(attempts.slots("somebody", limit)).misses == 1
    cache.set(next(iter(attempts._keys("somebody", limit))), 0, timeout=-5)
    assert gates.read_and_count(attempts.slots("somebody", limit)).misses <= 1


def test_the_sale_believes_no_page_but_reads_afresh(world: World) -> None:
    """What a page has read is a moment old: the next guest has bought, the operator has switched off."""
    label = labels.read("WASH1")
    assert label is not None
    known = Known(gates.read(), label.standing)
    world.hold()
    SiteSettings.objects.create(devices_enabled=False)
    assert selling.availability(label.device, world.now, known).kind == "free"
    assert selling.availability(label.device, world.now).kind == "disabled"
    with pytest.raises(CannotBuy, match="disabled"):
        world.hold()
    SiteSettings.objects.update(devices_enabled=True)
    with pytest.raises(CannotBuy, match="busy"):
        world.hold()
