"""A Stripe key that is refused: sales close, what runs goes on, one alert, and all of it heals by itself."""

from __future__ import annotations

from typing import Any

import pytest

from hygate.models import Alert
from sessions_app.models import StripeWatch
from sessions_app.payments import key_watch
from sessions_app.payments.checkout import CheckoutUnavailable, open_checkout
from sessions_app.payments.gateway import KeyRefused, ProviderDown
from sessions_app.states import State
from tests.world import World


def keys(world: World, **spec: Any) -> None:
    world.ctl(world.stripe_server, "POST", "/_ctl/keys", spec)


def told() -> list[tuple[str, int]]:
    return list(Alert.objects.filter(kind="stripe_key", closed_at__isnull=True).values_list("help_anchor", "times"))


def try_to_buy(world: World) -> None:
    session = world.hold()
    with pytest.raises(CheckoutUnavailable):
        open_checkout(session.payments.get())


def test_a_revoked_key_closes_the_sales_at_the_first_call_that_is_refused(world: World) -> None:
    keys(world, revoke="*")
    try_to_buy(world)
    assert key_watch.closes_sales()
    assert [anchor for anchor, _ in told()] == ["key-refused"]


def test_sales_open_again_when_the_key_is_taken_and_no_refused_call_is_left(world: World) -> None:
    keys(world, revoke="*")
    try_to_buy(world)
    keys(world, restore="*")
    world.go(700)
    assert not key_watch.closes_sales()
    assert told() == []
    assert world.availability() == "free"


def test_a_running_session_ends_on_time_while_the_key_is_refused(world: World) -> None:
    session = world.buy()
    world.tell(session)
    world.go(8)
    keys(world, revoke="*")
    world.go(60)
    session.refresh_from_db()
    assert session.state == State.COMPLETED
    assert world.relay() == [(True, "request"), (False, "request")]


def test_a_missing_right_stays_told_until_the_refused_call_went_through(world: World) -> None:
    keys(world, forbid="*", operations=["payment_intents.capture"])
    session = world.buy()
    world.tell(session)
    world.go(120)
    assert [anchor for anchor, _ in told()] == ["right-missing"]
    assert key_watch.closes_sales()
    keys(world, restore="*")
    world.go(120)
    assert told() == []
    assert not key_watch.closes_sales()
    assert world.money() == [("authorized", 250), ("captured", 250)]


def test_the_watch_itself_finds_a_key_that_is_refused_while_nobody_buys(world: World) -> None:
    keys(world, revoke="*")
    world.go(120)
    assert world.availability() == "no_payment"
    keys(world, restore="*")
    world.go(60)
    assert world.availability() == "free"


@pytest.mark.django_db
def test_only_errors_about_the_key_close_the_sales() -> None:
    StripeWatch.objects.get_or_create(pk=1)
    key_watch.note(ProviderDown())
    assert not key_watch.closes_sales()
    key_watch.note(KeyRefused())
    assert key_watch.closes_sales()
