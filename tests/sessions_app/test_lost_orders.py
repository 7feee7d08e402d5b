"""Orders that Stripe knows and the database has lost, as after the restore of a backup."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from hygate.models import Alert
from sessions_app.models import DeviceSession, Payment, StripeWatch
from tests.world import World


def lose(world: World, session: DeviceSession, *, older: timedelta = timedelta(hours=1)) -> None:
    """The database forgets the session's order, and knows one that is older than it: a backup was restored."""
    Payment.objects.filter(session=session).update(
        ref="S-EARLIER-1", intent_id=None, checkout_id=None, created_at=world.now - older, due_at=None
    )


def look(world: World) -> None:
    StripeWatch.objects.update(compare_due_at=world.now, due_at=world.now)
    world.go(10)


def paid_and_lost(world: World) -> DeviceSession:
    session = world.buy()
    lose(world, session)
    return session


def open_alerts() -> list[str]:
    return list(Alert.objects.filter(closed_at__isnull=True).values_list("kind", flat=True))


def test_the_hold_of_a_lost_order_is_let_go_and_one_alert_tells_of_it(world: World) -> None:
    paid_and_lost(world)
    look(world)
    look(world)
    assert world.money() == [("authorized", 250), ("voided", 250)]
    assert open_alerts().count("unknown_order") == 1


def test_a_lost_order_that_was_captured_is_refunded_once(world: World) -> None:
    session = world.buy()
    world.tell(session)
    world.go(8)
    lose(world, session)
    look(world)
    look(world)
    assert [one for one in world.money() if one[0] == "refunded"] == [("refunded", 250)]


def test_an_event_that_names_a_lost_order_is_enough(world: World) -> None:
    session = paid_and_lost(world)
    StripeWatch.objects.update(compare_due_at=world.now + timedelta(days=1))
    world.tell(session)
    world.go(70)
    assert ("voided", 250) in world.money()


def test_the_order_of_another_site_on_the_same_stripe_account_is_left_alone(world: World, settings: Any) -> None:
    paid_and_lost(world)
    settings.BASE_URL = "http://127.0.0.1:9"
    look(world)
    assert world.money() == [("authorized", 250)]
    assert "unknown_order" not in open_alerts()


def test_an_empty_database_gives_nothing_back(world: World) -> None:
    session = world.buy()
    lose(world, session, older=timedelta(hours=-1))
    look(world)
    assert world.money() == [("authorized", 250)]
    assert "unknown_order_kept" in open_alerts()


@pytest.mark.parametrize("hours", [25, 200])
def test_a_lost_order_older_than_a_day_is_a_persons_business(world: World, hours: int) -> None:
    session = paid_and_lost(world)
    world.manual.set(world.now + timedelta(hours=hours))
    Payment.objects.filter(session=session).update(created_at=world.now - timedelta(hours=hours + 1))
    before = world.money()
    look(world)
    assert "refunded" not in [kind for kind, _ in world.money()[len(before) :]]
    assert "unknown_order" not in open_alerts()
