"""A session whose plan may be extended, on a world of its own: bought, ordered, paid, and what is left of it."""

from __future__ import annotations

import pytest

from devices.models import UsagePlan
from sessions_app import extending, gates
from sessions_app.extending import Offer
from sessions_app.models import DeviceSession, Payment
from sessions_app.payments.checkout import open_checkout
from sessions_app.payments.settling import settle
from sessions_app.states import State
from tests.world import World


@pytest.fixture
def site(world: World) -> World:
    """A plan of a minute that can be made five, and more of the same as extension."""
    UsagePlan.objects.filter(pk=world.plan.pk).update(duration_s=60, extendable=True, max_total_s=300)
    world.plan.refresh_from_db()
    return world


def running(world: World, plan: UsagePlan | None = None) -> DeviceSession:
    session = world.buy(plan=plan)
    world.tell(session)
    world.go(8)
    session.refresh_from_db()
    assert session.state == State.RUNNING
    return session


def ordered(world: World, session: DeviceSession, plan: UsagePlan | None = None) -> Payment:
    """The extension's order, its guest on the payment page."""
    payment = extending.order(session, plan or world.plan)
    open_checkout(payment)
    return payment


def extended(world: World, session: DeviceSession, plan: UsagePlan | None = None) -> Payment:
    """Ordered and paid; the money is seen now, and nothing has been sent yet."""
    payment = ordered(world, session, plan)
    world.at_checkout(payment, "pay")
    settle(payment, by="page")
    payment.refresh_from_db()
    session.refresh_from_db()
    return payment


def offered(world: World, session: DeviceSession) -> Offer:
    """What the page would offer now."""
    fresh = DeviceSession.objects.select_related("device__location", "device__account").get(pk=session.pk)
    return extending.offer(fresh, world.now, gates.read(), orders(session))


def left_until_end(world: World, session: DeviceSession) -> float:
    session.refresh_from_db()
    assert session.ends_at is not None
    return (session.ends_at - world.now).total_seconds()


def timers(world: World) -> list[int]:
    return [entry["body"]["toggle_after"] for entry in world.switched() if entry["body"]["on"]]


def orders(session: DeviceSession) -> list[Payment]:
    return list(session.payments.order_by("id"))


def paid_before_the_end(site: World, before_s: float) -> tuple[DeviceSession, Payment]:
    session = running(site)
    payment = ordered(site, session)
    site.go(left_until_end(site, session) - before_s)
    site.at_checkout(payment, "pay")
    return session, payment
