"""An extension meets the end of its session: in the last moment, too late, stopped early, never switched on."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from django.db import transaction

from devices.energy.orders import PowerOrder
from devices.models import RelayCommand, UsagePlan
from hygate.due.claims import claim
from hygate.due.registry import handler_for
from sessions_app import moves, services
from sessions_app.models import DeviceSession
from sessions_app.payments.settling import settle
from sessions_app.power_events import on_power_order
from sessions_app.states import PaymentStatus, Reason, State
from tests.sessions_app.extensions import (
    extended,
    ordered,
    orders,
    paid_before_the_end,
    running,
    site,
    timers,
)
from tests.world import PLUG, World

__all__ = ["site"]


# -- the end and the money meet


def test_a_payment_in_the_last_moment_extends_without_a_gap(site: World) -> None:
    session, payment = paid_before_the_end(site, 0.2)
    settle(payment, by="page")
    payment.refresh_from_db()
    assert payment.applied_at is not None
    site.go(70)
    session.refresh_from_db()
    assert (session.state, session.delivered_s) == (State.COMPLETED, 120)
    assert site.relay() == [(True, "request"), (False, "request")]


def test_a_payment_that_is_seen_after_the_end_is_given_back_whole(site: World) -> None:
    session, payment = paid_before_the_end(site, 0.2)
    site.go(30)
    session.refresh_from_db()
    payment.refresh_from_db()
    assert (session.state, session.delivered_s, session.duration_s) == (State.COMPLETED, 60, 60)
    assert (payment.status, payment.applied_at, payment.charge_minor) == (PaymentStatus.VOIDED, None, 0)
    assert site.money() == [("authorized", 250), ("captured", 250), ("authorized", 250), ("voided", 250)]
    assert orders(session)[0].charge_minor == 250


def test_minutes_that_are_over_are_not_extended_by_a_late_worker(site: World) -> None:
    session, payment = paid_before_the_end(site, 0.2)
    assert session.ends_at is not None
    site.manual.set(session.ends_at + timedelta(seconds=200))
    settle(payment, by="webhook")
    payment.refresh_from_db()
    assert (payment.applied_at, payment.charge_minor) == (None, 0)
    site.go(60)
    payment.refresh_from_db()
    assert payment.status == PaymentStatus.VOIDED


def test_the_end_makes_a_pending_extension_due_at_once(site: World) -> None:
    session = running(site)
    payment = ordered(site, session)
    assert services.stop_by_guest(session)
    payment.refresh_from_db()
    assert (payment.due_at, payment.charge_minor) == (site.now, 0)
    site.go(2)
    payment.refresh_from_db()
    assert payment.status == PaymentStatus.VOIDED


def test_a_holder_that_sleeps_over_the_old_end_does_not_switch_off(site: World) -> None:
    """The worker has claimed the row for its end a second ahead; the extension comes before it acts."""
    session = running(site)
    payment = ordered(site, session)
    site.at_checkout(payment, "pay")
    assert session.ends_at is not None
    site.manual.set(session.ends_at - timedelta(seconds=0.5))
    claims = claim(handler_for("sessions_app.devicesession"), limit=10, ahead_s=1)
    assert session.pk in {one.pk for one in claims}
    settle(payment, by="webhook")
    site.manual.set(site.now + timedelta(seconds=0.6))
    moves.advance(claims)
    session.refresh_from_db()
    assert (session.state, session.duration_s) == (State.RUNNING, 120)


# -- stopped early, spread over the orders


@pytest.mark.parametrize(
    ("after_s", "kept"),
    [(30.2, [125, 0]), (90.2, [250, 125])],
    ids=["within the first order", "within the extension"],
)
def test_what_was_delivered_is_spread_over_the_orders_in_turn(site: World, after_s: float, kept: list[int]) -> None:
    session = running(site)
    extended(site, session)
    site.go(10)
    session.refresh_from_db()
    assert session.started_at is not None
    site.go((session.started_at - site.now).total_seconds() + after_s)
    assert services.stop_by_guest(session)
    site.go(60)
    settled = orders(session)
    assert [one.charge_minor for one in settled] == kept
    assert [one.captured_minor - one.refunded_minor for one in settled] == kept


@pytest.mark.parametrize(("after_s", "became"), [(90.2, ("captured", 125)), (30.2, ("voided", 250))])
def test_an_extension_that_was_never_captured_is_captured_for_its_share_or_let_go(
    site: World, after_s: float, became: tuple[str, int]
) -> None:
    session = running(site)
    site.fault(site.stripe_server, on="payment_intents.capture", do="drop", times=-1)
    payment = extended(site, session)
    site.go(10)
    session.refresh_from_db()
    assert session.started_at is not None
    site.go((session.started_at - site.now).total_seconds() + after_s)
    assert services.stop_by_guest(session)
    site.ctl(site.stripe_server, "DELETE", "/_ctl/faults")
    site.go(120)
    told = [(one["kind"], one["amount"]) for one in site.ledger(site.stripe_server) if one.get("order") == payment.ref]
    assert told == [("authorized", 250), became]


def test_an_extension_that_came_too_late_takes_no_part_in_the_settlement(site: World) -> None:
    """A paid one over the limit beside an applied one: only what was added is charged."""
    UsagePlan.objects.update(max_total_s=120)
    site.plan.refresh_from_db()
    session = running(site)
    payment = ordered(site, session)
    DeviceSession.objects.filter(pk=session.pk).update(max_total_s=60)
    site.at_checkout(payment, "pay")
    site.tell(session)
    site.go(70)
    session.refresh_from_db()
    assert (session.state, session.delivered_s) == (State.COMPLETED, 60)
    assert [(one.status, one.charge_minor) for one in orders(session)] == [
        (PaymentStatus.SUCCEEDED, 250),
        (PaymentStatus.VOIDED, 0),
    ]


def test_a_refused_capture_of_an_extension_ends_the_session_by_rule_five(site: World) -> None:
    session = running(site)
    payment = ordered(site, session)
    site.at_checkout(payment, "pay")
    intent = next(one for one in site.stripe.books.intents.values() if one["status"] == "requires_capture")
    site.fault(site.shelly_server, on="read", do="drop", times=3)
    site.tell(session)
    site.ctl(site.stripe_server, "POST", f"/_ctl/payment_intents/{intent['id']}/cancel")
    site.go(60)
    session.refresh_from_db()
    assert (session.state, session.reason) == (State.CANCELLED, Reason.PAYMENT_FAILED)
    first, second = orders(session)
    assert (second.captured_minor, second.charge_minor) == (0, 0)
    assert first.captured_minor - first.refunded_minor == 250 * min(60, session.delivered_s or 0) // 60


def test_our_own_cancel_of_a_late_extension_does_not_end_the_session(site: World) -> None:
    session = running(site)
    payment = ordered(site, session)
    site.at_checkout(payment, "pay")
    DeviceSession.objects.filter(pk=session.pk).update(max_total_s=60)
    settle(payment, by="webhook")
    payment.refresh_from_db()
    assert (payment.status, payment.charge_minor) == (PaymentStatus.AUTHORIZED, 0)
    site.ctl(site.stripe_server, "POST", f"/_ctl/payment_intents/{payment.intent_id}/cancel")
    settle(payment, by="webhook")
    session.refresh_from_db()
    payment.refresh_from_db()
    assert (session.state, payment.status) == (State.RUNNING, PaymentStatus.VOIDED)


# -- an ON that does not arrive


def test_an_extension_that_the_relay_never_heard_of_is_given_back(site: World) -> None:
    session = running(site)
    payment = ordered(site, session)
    site.ctl(site.shelly_server, "POST", f"/_ctl/devices/{PLUG}", {"online": False})
    site.at_checkout(payment, "pay")
    site.tell(session)
    margin_s = site.settings.NUMBERS.timer_margin_s
    site.go(200)
    session.refresh_from_db()
    site.ctl(site.shelly_server, "POST", f"/_ctl/devices/{PLUG}", {"online": True})
    site.go(100)
    session.refresh_from_db()
    payment.refresh_from_db()
    assert (session.state, session.reason) == (State.CANCELLED, Reason.RECONCILIATION)
    assert session.delivered_s is not None
    assert 60 <= session.delivered_s <= 60 + margin_s
    assert payment.charge_minor == 250 * (session.delivered_s - 60) // 60
    assert [cause for _, cause in site.relay()][:2] == ["request", "timer"]


def test_minutes_between_the_old_timer_and_a_late_on_are_given_again(site: World) -> None:
    """The device is away when the extension comes, goes off by its timer, and answers again before the new end."""
    UsagePlan.objects.update(max_total_s=3000)
    site.plan.refresh_from_db()
    long = site.add_plan(site.device, duration_s=600, extendable=True)
    session = running(site)
    payment = ordered(site, session, long)
    site.ctl(site.shelly_server, "POST", f"/_ctl/devices/{PLUG}", {"online": False})
    site.at_checkout(payment, "pay")
    site.tell(session)
    site.go(200)
    site.ctl(site.shelly_server, "POST", f"/_ctl/devices/{PLUG}", {"online": True})
    site.go(1000)
    session.refresh_from_db()
    assert (session.state, session.delivered_s) == (State.COMPLETED, 660)
    changes = site.ledger(site.shelly_server, "relay")
    on_s = sum(off["t"] - on["t"] for on, off in zip(changes[::2], changes[1::2], strict=True))
    assert [one["cause"] for one in changes] == ["request", "timer", "request", "request"]
    assert on_s >= 660


# -- standing still


def test_an_extension_in_a_power_hold_adds_its_minutes_and_the_resume_arms_them(site: World) -> None:
    session = running(site)
    payment = ordered(site, session)
    with transaction.atomic():
        on_power_order(PowerOrder(site.device.pk, "pause", "power is short", site.now))
    site.go(10)
    site.at_checkout(payment, "pay")
    sent = len(site.switched())
    site.tell(session)
    payment.refresh_from_db()
    session.refresh_from_db()
    assert (session.state, payment.status) == (State.PAUSED, PaymentStatus.AUTHORIZED)
    assert payment.applied_at is not None
    assert len(site.switched()) == sent
    with transaction.atomic():
        on_power_order(PowerOrder(site.device.pk, "resume", "power is back", site.now))
    site.go(200)
    session.refresh_from_db()
    payment.refresh_from_db()
    assert (session.state, session.delivered_s, payment.status) == (State.COMPLETED, 120, PaymentStatus.SUCCEEDED)
    assert timers(site)[-1] > 120 - 10


def test_an_extension_while_the_relay_is_switched_on_again_waits_for_its_confirmation(site: World) -> None:
    session = running(site)
    payment = ordered(site, session)
    site.settings.NUMBERS = replace(site.settings.NUMBERS, status_every_s=2)
    site.fault(site.shelly_server, on="switch_on", do="drop", times=1)
    site.ctl(site.shelly_server, "POST", f"/_ctl/devices/{PLUG}", {"press": 0})
    site.go(33)
    session.refresh_from_db()
    assert session.paused_at is not None
    site.at_checkout(payment, "pay")
    site.tell(session)
    re_on = RelayCommand.objects.filter(reason="re_on").latest("pk")
    assert not RelayCommand.objects.filter(reason="extend").exists()
    site.go(300)
    re_on.refresh_from_db()
    session.refresh_from_db()
    payment.refresh_from_db()
    assert session.delivered_s == 120
    assert (session.state, payment.status) == (State.COMPLETED, PaymentStatus.SUCCEEDED)
