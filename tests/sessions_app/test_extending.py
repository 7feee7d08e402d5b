"""More minutes for a session that is running: what may be bought, when it joins, and what becomes of its money."""

from __future__ import annotations

from datetime import timedelta

import pytest

from devices.models import UsagePlan
from sessions_app import extending
from sessions_app.extending import CannotExtend, No
from sessions_app.models import DeviceSession, Payment
from sessions_app.payments.checkout import open_checkout
from sessions_app.states import PaymentStatus, Purpose, State
from tests.sessions_app.extensions import (
    extended,
    left_until_end,
    ordered,
    orders,
    running,
    site,
    timers,
)
from tests.world import World, kinds_of

__all__ = ["site"]


# -- bought in time


def test_an_extension_runs_on_without_a_gap_and_both_orders_are_captured_whole(site: World) -> None:
    session = running(site)
    ends_at = session.ends_at
    payment = extended(site, session)
    assert payment.applied_at == site.now
    assert ends_at is not None
    assert (session.ends_at, session.duration_s) == (ends_at + timedelta(seconds=60), 120)
    site.go(130)
    session.refresh_from_db()
    assert (session.state, session.delivered_s) == (State.COMPLETED, 120)
    assert site.relay() == [(True, "request"), (False, "request")]
    assert [kind for kind, _ in site.money()] == ["authorized", "captured", "authorized", "captured"]
    assert [(one.status, one.charge_minor) for one in orders(session)] == [(PaymentStatus.SUCCEEDED, 250)] * 2


def test_extension_rearms_relay_timer(site: World) -> None:
    session = running(site)
    extended(site, session)
    assert DeviceSession.objects.filter(pk=session.pk, timer_ends_at=None).exists()
    site.go(3)
    left_s = left_until_end(site, session)
    assert timers(site)[0] == 60 + site.settings.NUMBERS.timer_margin_s
    assert timers(site)[1] == pytest.approx(left_s + 3 + site.settings.NUMBERS.timer_margin_s, abs=2)
    assert session.timer_ends_at is not None and session.ends_at is not None
    assert session.timer_ends_at >= session.ends_at + timedelta(seconds=5)


def test_an_extension_is_captured_only_when_the_new_timer_is_read_back(site: World) -> None:
    session = running(site)
    site.fault(site.shelly_server, on="switch_on", do="drop", times=2)
    payment = extended(site, session)
    site.go(1)
    payment.refresh_from_db()
    assert (payment.status, payment.capture_wanted_at) == (PaymentStatus.AUTHORIZED, None)
    site.go(30)
    payment.refresh_from_db()
    assert payment.status == PaymentStatus.SUCCEEDED


def test_the_off_comes_at_the_new_end_and_not_at_the_old_one(site: World) -> None:
    session = running(site)
    extended(site, session)
    site.go(130)
    session.refresh_from_db()
    off = site.switched()[-1]
    assert session.ends_at is not None
    assert off["body"]["on"] is False
    assert 0 <= off["t"] - session.ends_at.timestamp() <= 1.0
    assert len([entry for entry in site.switched() if not entry["body"]["on"]]) == 1


def test_the_trail_names_the_extension(site: World) -> None:
    session = running(site)
    extended(site, session)
    told = kinds_of(session)
    assert told[told.index("extension_ordered") :][:4] == [
        "extension_ordered",
        "checkout_opened",
        "payment_authorized",
        "extended",
    ]


def test_a_session_may_be_extended_again_up_to_its_limit(site: World) -> None:
    session = running(site)
    for _ in range(4):
        extended(site, session)
        site.go(5)
    with pytest.raises(CannotExtend) as refused:
        extending.order(session, site.plan)
    assert refused.value.why == No.LONGEST
    site.go(310)
    session.refresh_from_db()
    assert (session.state, session.delivered_s) == (State.COMPLETED, 300)
    assert [one.captured_minor for one in orders(session)] == [250] * 5
    assert [one.ref for one in orders(session)] == [f"{session.reference}-{n}" for n in range(1, 6)]


def test_money_that_cannot_be_held_is_taken_at_once_and_kept_when_delivered(site: World) -> None:
    session = running(site)
    payment = ordered(site, session)
    site.at_checkout(payment, "pay_later")
    intents = site.stripe.books.intents
    site.go(35)
    payment.refresh_from_db()
    assert payment.status == PaymentStatus.PENDING
    assert intents
    site.go(60)
    session.refresh_from_db()
    assert (session.state, session.duration_s) == (State.COMPLETED, 60)


# -- one order at a time


def test_a_second_tap_leads_to_the_same_payment_page(site: World) -> None:
    session = running(site)
    first = ordered(site, session)
    again = extending.order(session, site.plan)
    assert again.pk == first.pk
    assert open_checkout(again) == first.checkout_url
    assert Payment.objects.filter(purpose=Purpose.EXTENSION).count() == 1


def test_a_dropped_extension_is_expired_at_stripe_and_another_may_follow(site: World) -> None:
    session = running(site)
    first = ordered(site, session)
    assert extending.drop(session)
    assert not extending.drop(session)
    with pytest.raises(CannotExtend) as refused:
        extending.order(session, site.plan)
    assert refused.value.why == No.PENDING
    site.go(1)
    first.refresh_from_db()
    assert first.status == PaymentStatus.VOIDED
    assert site.stripe.books.sessions[first.checkout_id or ""]["status"] == "expired"
    extended(site, session)
    assert session.duration_s == 120


def test_a_payment_that_beats_the_drop_goes_back_and_adds_nothing(site: World) -> None:
    session = running(site)
    payment = ordered(site, session)
    site.at_checkout(payment, "pay")
    assert extending.drop(session)
    site.go(40)
    payment.refresh_from_db()
    session.refresh_from_db()
    assert (payment.status, payment.applied_at, session.duration_s) == (PaymentStatus.VOIDED, None, 60)
    assert session.state == State.RUNNING


def test_an_extension_that_nobody_pays_is_expired_when_it_is_as_old_as_a_hold(site: World) -> None:
    UsagePlan.objects.update(duration_s=3600, max_total_s=7200)
    site.plan.refresh_from_db()
    session = running(site)
    payment = ordered(site, session)
    site.go(590)
    payment.refresh_from_db()
    assert payment.status == PaymentStatus.PENDING
    site.go(15)
    payment.refresh_from_db()
    session.refresh_from_db()
    assert payment.status == PaymentStatus.FAILED
    assert (session.state, session.duration_s) == (State.RUNNING, 3600)


def test_a_declined_card_changes_nothing(site: World) -> None:
    session = running(site)
    payment = ordered(site, session)
    site.at_checkout(payment, "decline")
    site.go(70)
    session.refresh_from_db()
    assert (session.state, session.delivered_s) == (State.COMPLETED, 60)
    assert site.money() == [("authorized", 250), ("captured", 250)]


def test_the_reconciler_finds_a_paid_extension_that_nobody_told_of(site: World) -> None:
    session = running(site)
    payment = ordered(site, session)
    site.at_checkout(payment, "pay")
    site.go(40)
    payment.refresh_from_db()
    assert payment.applied_at is not None
    assert payment.settled_by == "reconciler"
