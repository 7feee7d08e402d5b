"""One purchase, from hold to completed, against both simulators."""

from __future__ import annotations

from datetime import timedelta

import pytest

from sessions_app import selling, services
from sessions_app.models import Payment
from sessions_app.payments.checkout import open_checkout
from sessions_app.states import PaymentStatus, Reason, State
from tests.world import World, kinds_of


def test_a_purchase_runs_its_time_and_is_captured_exactly_once(world: World) -> None:
    session = world.buy()
    world.tell(session)
    session.refresh_from_db()
    assert session.state == State.GRACE
    world.go(8)
    session.refresh_from_db()
    assert session.state == State.RUNNING
    assert session.started_at is not None and session.ends_at is not None
    assert session.ends_at - session.started_at == timedelta(seconds=20)
    world.go(25)
    session.refresh_from_db()
    payment = session.payments.get()
    assert session.state == State.COMPLETED
    assert session.delivered_s == 20
    assert world.relay() == [(True, "request"), (False, "request")]
    assert world.money() == [("authorized", 250), ("captured", 250)]
    assert (payment.status, payment.captured_minor, payment.charge_minor) == (PaymentStatus.SUCCEEDED, 250, 250)


def test_off_is_requested_within_a_second_of_the_end_and_every_on_carries_a_timer(world: World) -> None:
    session = world.buy()
    world.tell(session)
    world.go(40)
    session.refresh_from_db()
    on, off = world.switched()
    assert on["body"]["toggle_after"] == 20 + world.settings.NUMBERS.timer_margin_s
    assert "toggle_after" not in off["body"]
    assert session.ends_at is not None
    assert 0 <= off["t"] - session.ends_at.timestamp() <= 1.0


def test_the_audit_tells_every_step(world: World) -> None:
    session = world.buy()
    world.tell(session)
    world.go(40)
    told = [kind for kind in kinds_of(session) if not kind.startswith("settlement")]
    assert told == [
        "slot_held",
        "checkout_opened",
        "payment_authorized",
        "session_grace",
        "session_starting",
        "relay_on_wanted",
        "shelly_on_sent",
        "shelly_on_success",
        "relay_on_confirmed",
        "session_running",
        "payment_captured",
        "session_stopping",
        "relay_off_wanted",
        "shelly_off_sent",
        "shelly_off_success",
        "relay_off_confirmed",
        "session_completed",
    ]


def test_the_reconciler_finds_a_payment_nobody_told_of(world: World) -> None:
    session = world.buy()
    world.go(35)
    session.refresh_from_db()
    assert session.state not in (State.HELD, State.CANCELLED)
    assert session.payments.get().settled_by == "reconciler"


def test_a_start_that_never_confirms_is_voided_and_ends_with_off(world: World) -> None:
    world.fault(world.shelly_server, on="switch_on", do="status", status=200, times=-1)
    session = world.buy()
    world.tell(session)
    world.go(200)
    session.refresh_from_db()
    assert (session.state, session.reason) == (State.CANCELLED, Reason.START_FAILED)
    assert world.money() == [("authorized", 250), ("voided", 250)]
    assert world.switched()[-1]["body"]["on"] is False
    assert world.availability() == "free"


def test_an_offline_device_costs_the_guest_nothing(world: World) -> None:
    session = world.buy()
    world.ctl(world.shelly_server, "POST", f"/_ctl/devices/{world.device.shelly_id}", {"online": False})
    world.tell(session)
    world.go(300)
    session.refresh_from_db()
    assert (session.state, session.reason) == (State.CANCELLED, Reason.START_FAILED)
    assert session.payments.get().status == PaymentStatus.VOIDED
    assert world.relay() == []


def test_a_declined_card_leaves_the_hold_and_the_hold_ends_in_time(world: World) -> None:
    session = world.hold()
    payment = session.payments.get()
    open_checkout(payment)
    world.at_checkout(payment, "decline")
    world.go(100)
    session.refresh_from_db()
    assert session.state == State.HELD
    world.go(600)
    session.refresh_from_db()
    assert (session.state, session.reason) == (State.CANCELLED, Reason.HOLD_EXPIRED)
    assert session.payments.get().status == PaymentStatus.FAILED
    assert world.money() == []
    assert world.availability() == "free"


def test_two_guests_cannot_hold_one_device(world: World) -> None:
    world.hold()
    with pytest.raises(selling.CannotBuy) as refused:
        world.hold()
    assert refused.value.kind == "busy"
    assert Payment.objects.count() == 1


def test_cancel_in_grace_takes_nothing(world: World) -> None:
    session = world.buy()
    world.tell(session)
    assert services.cancel_by_guest(session)
    world.go(60)
    assert world.money() == [("authorized", 250), ("voided", 250)]
    assert world.switched() == []


def test_cancel_while_on_waits_makes_off_the_last_word(world: World) -> None:
    world.fault(world.shelly_server, on="switch_on", do="status", status=500, times=1)
    session = world.buy()
    world.tell(session)
    world.go(5.5)
    session.refresh_from_db()
    assert session.state == State.STARTING
    assert services.cancel_by_guest(session)
    world.go(60)
    assert world.switched()[-1]["body"]["on"] is False
    assert world.money()[-1] == ("voided", 250)
    assert world.relay() in ([], [(True, "request"), (False, "request")])


def test_stop_early_gives_back_the_minutes_that_were_not_used(world: World) -> None:
    session = world.buy()
    world.tell(session)
    world.go(8)
    session.refresh_from_db()
    assert session.started_at is not None
    world.manual.set(session.started_at + timedelta(seconds=5.5))
    assert services.stop_by_guest(session)
    world.go(60)
    session.refresh_from_db()
    assert (session.state, session.reason, session.delivered_s) == (State.CANCELLED, Reason.STOPPED_BY_GUEST, 5)
    assert world.money() == [("authorized", 250), ("captured", 250), ("refunded", 188)]
    payment = session.payments.get()
    assert (payment.status, payment.refunded_minor) == (PaymentStatus.PARTIALLY_REFUNDED, 188)


def test_an_on_that_acted_but_never_answered_is_read_before_it_is_sent_again(world: World) -> None:
    world.fault(world.shelly_server, on="switch_on", do="act_then_drop", times=1)
    session = world.buy()
    world.tell(session)
    world.go(12)
    session.refresh_from_db()
    assert session.state == State.RUNNING
    assert len([entry for entry in world.switched() if entry["body"]["on"]]) == 1


def test_cancelling_a_hold_frees_the_slot_only_after_stripe_has_expired_it(world: World) -> None:
    session = world.hold()
    open_checkout(session.payments.get())
    assert services.cancel_by_guest(session)
    session.refresh_from_db()
    assert session.state == State.HELD
    world.go(1)
    session.refresh_from_db()
    assert (session.state, session.reason) == (State.CANCELLED, Reason.STOPPED_BY_GUEST)
    assert session.payments.get().status == PaymentStatus.VOIDED


def test_a_payment_that_beats_the_cancel_is_given_back(world: World) -> None:
    session = world.buy()
    assert services.cancel_by_guest(session)
    world.go(5)
    session.refresh_from_db()
    assert (session.state, session.reason) == (State.CANCELLED, Reason.STOPPED_BY_GUEST)
    assert world.money() == [("authorized", 250), ("voided", 250)]


def test_a_high_power_device_is_not_sold_without_an_energy_source(world: World) -> None:
    world.device.rated_w = 11_000
    world.device.save(update_fields=["rated_w"])
    with pytest.raises(selling.CannotBuy) as refused:
        world.hold()
    assert refused.value.kind == "no_power"
