"""The edges of the money rules: partial captures, refunds as rows, late funds, refused captures, lost answers."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from hygate.models import Alert, AuditEvent
from sessions_app import selling, services
from sessions_app.models import DeviceSession, Payment, Refund, StripeWatch, WebhookEvent
from sessions_app.payments import checkout, importing, settling
from sessions_app.payments.checkout import CheckoutUnavailable, open_checkout
from sessions_app.states import PaymentStatus, Reason, RefundStatus, State
from tests.world import World, kinds_of


def running(world: World) -> DeviceSession:
    session = world.buy()
    world.tell(session)
    world.go(8)
    session.refresh_from_db()
    assert session.state == State.RUNNING
    return session


def stop_after(world: World, session: DeviceSession, seconds: float) -> None:
    assert session.started_at is not None
    world.manual.set(session.started_at + timedelta(seconds=seconds))
    assert services.stop_by_guest(session)


def intent_of(world: World) -> str:
    entries = [entry for entry in world.ledger(world.stripe_server) if entry["kind"] == "authorized"]
    return str(entries[-1]["payment_intent"])


# -- capture


def test_a_session_stopped_before_its_capture_is_captured_in_part_without_a_refund(world: World) -> None:
    world.fault(world.stripe_server, on="payment_intents.capture", do="drop", times=3)
    session = running(world)
    stop_after(world, session, 10.2)
    world.go(60)
    assert world.money() == [("authorized", 250), ("captured", 125)]
    assert Refund.objects.count() == 0
    payment = session.payments.get()
    assert (payment.status, payment.captured_minor, payment.charge_minor) == (PaymentStatus.SUCCEEDED, 125, 125)


def test_a_charge_that_stripe_calls_too_small_lets_the_hold_go(world: World) -> None:
    world.fault(world.stripe_server, on="payment_intents.capture", do="drop", times=3)
    session = running(world)
    stop_after(world, session, 1.5)
    world.go(60)
    assert world.money() == [("authorized", 250), ("voided", 250)]
    assert session.payments.get().status == PaymentStatus.VOIDED


@pytest.mark.parametrize("fault", ["act_then_drop", "drop"])
def test_a_capture_whose_answer_was_lost_is_made_once(world: World, fault: str) -> None:
    world.fault(world.stripe_server, on="payment_intents.capture", do=fault, times=1)
    running(world)
    world.go(40)
    assert world.money() == [("authorized", 250), ("captured", 250)]


def test_a_capture_that_stripe_stored_as_a_failure_is_made_under_a_new_key(world: World) -> None:
    world.ctl(world.stripe_server, "POST", "/_ctl/stored_500", {"on": "payment_intents.capture", "times": 1})
    session = running(world)
    world.go(60)
    assert world.money() == [("authorized", 250), ("captured", 250)]
    assert session.payments.get().key_number == 2


def test_a_hold_that_is_gone_when_captured_ends_the_session_with_off_and_one_alert(world: World) -> None:
    session = world.buy()
    world.tell(session)
    world.fault(world.stripe_server, on="payment_intents.capture", do="drop", times=1)
    world.go(6)
    world.ctl(world.stripe_server, "POST", f"/_ctl/payment_intents/{intent_of(world)}/cancel")
    world.go(60)
    session.refresh_from_db()
    assert (session.state, session.reason) == (State.CANCELLED, Reason.PAYMENT_FAILED)
    assert world.relay() == [(True, "request"), (False, "request")]
    assert Alert.objects.filter(kind="capture_failed").count() == 1
    assert not [kind for kind, _ in world.money() if kind == "captured"]


def test_a_hold_cancelled_at_the_bank_during_the_grace_never_starts(world: World) -> None:
    world.plan.grace_s = 90
    world.plan.save(update_fields=["grace_s"])
    session = world.buy()
    world.tell(session)
    world.ctl(world.stripe_server, "POST", f"/_ctl/payment_intents/{intent_of(world)}/cancel")
    world.go(200)
    session.refresh_from_db()
    assert (session.state, session.reason) == (State.CANCELLED, Reason.PAYMENT_FAILED)
    assert world.switched() == []
    assert not Alert.objects.filter(kind="capture_failed").exists()


def test_a_hold_that_the_bank_s_news_calls_gone_while_power_is_on_is_told_to_a_person(world: World) -> None:
    world.fault(world.stripe_server, on="payment_intents.capture", do="drop", times=3)
    session = running(world)
    world.ctl(world.stripe_server, "POST", f"/_ctl/payment_intents/{intent_of(world)}/cancel")
    settling.settle(session.payments.get(), by="webhook")
    world.go(60)
    session.refresh_from_db()
    assert (session.state, session.reason) == (State.CANCELLED, Reason.PAYMENT_FAILED)
    assert Alert.objects.filter(kind="capture_failed").count() == 1


# -- refunds


def test_a_refund_waits_out_stripe_and_is_made_exactly_once(world: World) -> None:
    session = running(world)
    world.fault(world.stripe_server, on="refunds.create", do="drop", times=8)
    stop_after(world, session, 10.2)
    world.go(30)
    refund = Refund.objects.get()
    assert refund.status in (RefundStatus.OWED, RefundStatus.REQUESTED)
    world.go(600)
    assert [entry for entry in world.money() if entry[0] == "refunded"] == [("refunded", 125)]


def test_a_refund_whose_answer_was_lost_is_not_made_twice(world: World) -> None:
    session = running(world)
    world.fault(world.stripe_server, on="refunds.create", do="act_then_drop", times=1)
    stop_after(world, session, 10.2)
    world.go(60)
    assert [entry for entry in world.money() if entry[0] == "refunded"] == [("refunded", 125)]
    assert session.payments.get().refunded_minor == 125


def test_a_refund_that_stripe_made_and_answered_with_a_stored_failure_is_found_again(world: World) -> None:
    session = running(world)
    world.ctl(world.stripe_server, "POST", "/_ctl/stored_500", {"on": "refunds.create", "times": 1, "act": True})
    stop_after(world, session, 10.2)
    world.go(120)
    assert [entry for entry in world.money() if entry[0] == "refunded"] == [("refunded", 125)]
    assert Refund.objects.get().status == RefundStatus.SUCCEEDED


def test_a_pending_refund_is_not_shown_as_paid_back_until_it_is(world: World) -> None:
    world.ctl(world.stripe_server, "POST", "/_ctl/refunds", {"mode": "pending"})
    session = running(world)
    stop_after(world, session, 10.2)
    world.go(40)
    payment = session.payments.get()
    assert (payment.refund_promised_minor, payment.refunded_minor) == (125, 0)
    refund = Refund.objects.get()
    assert refund.status == RefundStatus.PENDING
    world.ctl(world.stripe_server, "POST", f"/_ctl/refunds/{refund.stripe_id}", {"status": "succeeded"})
    world.go(40)
    payment.refresh_from_db()
    assert (payment.status, payment.refunded_minor) == (PaymentStatus.PARTIALLY_REFUNDED, 125)


def test_a_refund_that_fails_raises_one_alert_and_can_be_owed_again(world: World) -> None:
    world.ctl(world.stripe_server, "POST", "/_ctl/refunds", {"mode": "failed"})
    session = running(world)
    stop_after(world, session, 10.2)
    world.go(120)
    refund = Refund.objects.get()
    assert refund.status == RefundStatus.FAILED
    assert Alert.objects.filter(kind="refund_failed").count() == 1
    assert session.payments.get().refund_promised_minor == 0


def test_a_refund_of_which_a_webhook_says_that_it_failed_is_told_to_a_person(world: World) -> None:
    world.ctl(world.stripe_server, "POST", "/_ctl/refunds", {"mode": "pending"})
    session = running(world)
    stop_after(world, session, 10.2)
    world.go(5)
    refund = Refund.objects.get()
    world.ctl(world.stripe_server, "POST", f"/_ctl/refunds/{refund.stripe_id}", {"status": "failed"})
    importing.import_refunds(refund.payment_id)
    refund.refresh_from_db()
    assert refund.status == RefundStatus.FAILED
    assert Alert.objects.filter(kind="refund_failed", closed_at__isnull=True).count() == 1


def test_the_alert_about_a_failed_refund_closes_when_its_amount_went_back(world: World) -> None:
    world.ctl(world.stripe_server, "POST", "/_ctl/refunds", {"mode": "failed"})
    session = running(world)
    stop_after(world, session, 10.2)
    world.go(120)
    failed = Alert.objects.get(kind="refund_failed")
    world.ctl(world.stripe_server, "POST", "/_ctl/refunds", {"mode": "succeeded"})
    order = session.payments.get()
    for amount_minor, is_open in ((100, True), (25, False)):
        Refund.objects.create(payment=order, amount_minor=amount_minor, reason="staff", due_at=world.now)
        world.go(10)
        failed.refresh_from_db()
        assert (failed.closed_at is None) is is_open


def test_a_refund_s_key_is_not_used_longer_than_stripe_keeps_it(world: World) -> None:
    """Stripe made the refund at the first call, twenty-five hours ago, and has forgotten that call's key."""
    session = running(world)
    world.fault(world.stripe_server, on="refunds.create", do="act_then_drop", times=1)
    stop_after(world, session, 10.2)
    world.go(0)
    world.manual.set(world.now + timedelta(hours=25))
    world.go(60)
    assert [entry for entry in world.money() if entry[0] == "refunded"] == [("refunded", 125)]
    assert Refund.objects.get().status == RefundStatus.SUCCEEDED


def test_a_refund_made_in_stripe_s_own_dashboard_is_imported_by_its_webhook(world: World) -> None:
    session = running(world)
    world.go(40)
    intent = intent_of(world)
    world.ctl(world.stripe_server, "POST", f"/_ctl/payment_intents/{intent}/refund", {"amount": 100})
    WebhookEvent.objects.create(event_id="evt_r", kind="refund.created", intent_id=intent, due_at=world.now)
    world.go(1)
    payment = session.payments.get()
    assert (payment.status, payment.refunded_minor) == (PaymentStatus.PARTIALLY_REFUNDED, 100)
    assert Refund.objects.get().made_by == "stripe"


def test_what_we_owe_shrinks_by_what_was_refunded_at_stripe(world: World) -> None:
    session = running(world)
    world.fault(world.stripe_server, on="refunds.create", do="drop", times=3)
    stop_after(world, session, 5.5)
    world.go(1)
    world.ctl(world.stripe_server, "POST", f"/_ctl/payment_intents/{intent_of(world)}/refund", {"amount": 250})
    world.go(120)
    assert [entry for entry in world.money() if entry[0] == "refunded"] == [("refunded", 250)]
    payment = session.payments.get()
    assert (payment.status, payment.refunded_minor, payment.refund_promised_minor) == (PaymentStatus.REFUNDED, 250, 250)
    assert set(Refund.objects.values_list("status", flat=True)) == {RefundStatus.COVERED, RefundStatus.SUCCEEDED}


def test_a_refund_that_no_longer_fits_is_asked_for_anew_without_alarming_anybody(world: World) -> None:
    """Nobody told us that 200 went back in Stripe's own dashboard: our 125 are refused, and 50 of them are left."""
    session = running(world)
    there = f"/_ctl/payment_intents/{intent_of(world)}/refund"
    world.ctl(world.stripe_server, "POST", there, {"amount": 200})
    stop_after(world, session, 10.2)
    world.go(60)
    assert [amount for kind, amount in world.money() if kind == "refunded"] == [200, 50]
    assert session.payments.get().refunded_minor == 250
    assert not Alert.objects.filter(kind="refund_failed").exists()


# -- holds


def test_stripe_s_silence_at_the_hold_s_end_keeps_the_slot(world: World) -> None:
    session = world.hold()
    open_checkout(session.payments.get())
    world.fault(world.stripe_server, on="checkout.sessions.expire", do="drop", times=-1)
    world.go(700)
    session.refresh_from_db()
    assert session.state == State.HELD
    with pytest.raises(selling.CannotBuy):
        world.hold()
    world.ctl(world.stripe_server, "DELETE", "/_ctl/faults")
    world.go(90)
    session.refresh_from_db()
    assert session.state == State.CANCELLED


def test_a_guest_who_pays_in_the_last_second_of_the_hold_gets_the_device(world: World) -> None:
    session = world.hold()
    payment = session.payments.get()
    open_checkout(payment)
    world.go(599.5)
    world.at_checkout(payment, "pay")
    world.go(60)
    session.refresh_from_db()
    assert session.state == State.COMPLETED
    assert world.money() == [("authorized", 250), ("captured", 250)]


def test_a_create_whose_answer_was_lost_makes_one_checkout(world: World) -> None:
    world.fault(world.stripe_server, on="checkout.sessions.create", do="act_then_drop", times=1)
    session = world.hold()
    with pytest.raises(CheckoutUnavailable):
        open_checkout(session.payments.get())
    assert open_checkout(session.payments.get()).startswith("http")
    assert len(world.ctl(world.stripe_server, "GET", "/_ctl/checkout")) == 1


def test_a_create_that_nobody_repeated_is_found_and_expired_at_the_hold_s_end(world: World) -> None:
    """The web process died between Stripe's commit and ours: the stored key finds what it made."""
    world.fault(world.stripe_server, on="checkout.sessions.create", do="act_then_drop", times=1)
    session = world.hold()
    with pytest.raises(CheckoutUnavailable):
        open_checkout(session.payments.get())
    world.go(20)
    assert session.payments.get().checkout_id is not None
    world.go(650)
    session.refresh_from_db()
    assert session.state == State.CANCELLED
    assert [one["status"] for one in world.ctl(world.stripe_server, "GET", "/_ctl/checkout")] == ["expired"]


def test_a_create_that_stripe_stored_as_a_failure_works_on_the_next_try(world: World) -> None:
    world.ctl(world.stripe_server, "POST", "/_ctl/stored_500", {"on": "checkout.sessions.create", "times": 1})
    session = world.hold()
    with pytest.raises(CheckoutUnavailable):
        open_checkout(session.payments.get())
    assert open_checkout(session.payments.get()).startswith("http")


def test_a_price_below_stripe_s_minimum_is_never_offered_for_payment(world: World) -> None:
    plan = world.add_plan(world.device, price_minor=49)
    with pytest.raises(selling.CannotBuy):
        world.hold(plan=plan)


def test_a_payment_nobody_tells_of_is_found_one_period_after_its_page_was_opened(world: World, settings: Any) -> None:
    settings.NUMBERS = replace(settings.NUMBERS, recon_s=3)
    session = world.buy()
    world.go(3.5)
    assert session.payments.get().settled_by == "reconciler"


def test_guests_beyond_those_who_may_wait_for_stripe_are_told_at_once(world: World) -> None:
    session = world.hold()
    taken = [checkout._places.acquire(blocking=False) for _ in range(checkout.MOST_AT_ONCE)]
    try:
        assert all(taken)
        with pytest.raises(CheckoutUnavailable):
            open_checkout(session.payments.get())
    finally:
        for _ in taken:
            checkout._places.release()
    assert open_checkout(session.payments.get()).startswith("http")


# -- late funds


def pay_later(world: World) -> DeviceSession:
    session = world.hold()
    open_checkout(session.payments.get())
    world.at_checkout(session.payments.get(), "pay_later")
    world.go(640)
    session.refresh_from_db()
    assert (session.state, session.reason) == (State.CANCELLED, Reason.HOLD_EXPIRED)
    assert session.payments.get().status == PaymentStatus.PENDING
    return session


def money_arrives(world: World, payment: Payment, *, succeed: bool = True) -> None:
    world.ctl(world.stripe_server, "POST", f"/_ctl/checkout/{payment.checkout_id}/async", {"succeed": succeed})
    world.go(60)


def test_late_money_starts_when_the_device_is_free(world: World) -> None:
    old = pay_later(world)
    payment = old.payments.get()
    money_arrives(world, payment)
    payment.refresh_from_db()
    new = payment.session
    assert new.continues == old
    assert new.state == State.COMPLETED
    assert (payment.status, payment.captured_minor, payment.charge_minor) == (PaymentStatus.SUCCEEDED, 250, 250)
    old.refresh_from_db()
    assert old.state == State.CANCELLED


def test_late_money_for_a_device_that_somebody_else_has_goes_back_whole(world: World) -> None:
    old = pay_later(world)
    world.hold()
    money_arrives(world, old.payments.get())
    world.go(60)
    payment = old.payments.get()
    assert (payment.status, payment.refunded_minor) == (PaymentStatus.REFUNDED, 250)
    assert world.switched() == []


def test_late_money_that_never_comes_is_closed(world: World) -> None:
    old = pay_later(world)
    money_arrives(world, old.payments.get(), succeed=False)
    world.go(60)
    assert old.payments.get().status in (PaymentStatus.FAILED, PaymentStatus.VOIDED)
    assert world.switched() == []


# -- the watch


def test_an_event_that_no_webhook_brought_is_followed_within_two_minutes(world: World) -> None:
    world.go(61)
    session = running(world)
    world.go(40)
    world.ctl(world.stripe_server, "POST", f"/_ctl/payment_intents/{intent_of(world)}/refund", {"amount": 50})
    world.go(130)
    assert session.payments.get().refunded_minor == 50


def test_the_daily_compare_finds_a_refund_that_no_event_told_of(world: World) -> None:
    session = running(world)
    world.go(200)
    world.ctl(world.stripe_server, "POST", "/_ctl/webhooks", {"create": False})
    world.ctl(world.stripe_server, "POST", f"/_ctl/payment_intents/{intent_of(world)}/refund", {"amount": 70})
    assert session.payments.get().refunded_minor == 0
    StripeWatch.objects.update(compare_due_at=world.now, due_at=world.now)
    world.go(30)
    assert session.payments.get().refunded_minor == 70


def test_the_daily_compare_alerts_on_money_that_we_do_not_know(world: World) -> None:
    session = running(world)
    world.go(200)
    Payment.objects.update(captured_minor=200, charge_minor=200)
    StripeWatch.objects.update(compare_due_at=world.now, due_at=world.now)
    world.go(30)
    assert Alert.objects.filter(kind="money_differs", payment=session.payments.get().pk).count() == 1


def test_the_reconciler_keeps_within_its_read_budget(world: World, settings: Any) -> None:
    from dataclasses import replace

    from sessions_app.payments.budget import reserve_read

    settings.NUMBERS = replace(settings.NUMBERS, stripe_reads_per_s=2)
    start = world.now
    answers = [reserve_read() for _ in range(4)]
    assert [one is None for one in answers] == [True, True, False, False] or world.now - start >= timedelta(seconds=0.5)


def test_a_dispute_raises_an_alert_and_refunds_nothing(world: World) -> None:
    session = running(world)
    world.go(40)
    WebhookEvent.objects.create(
        event_id="evt_d", kind="charge.dispute.created", intent_id=intent_of(world), due_at=world.now
    )
    world.go(5)
    assert Alert.objects.filter(kind="dispute").count() == 1
    assert Refund.objects.count() == 0
    assert "payment_disputed" in kinds_of(session)


def test_an_event_of_the_other_mode_moves_nothing(world: World) -> None:
    session = world.buy()
    WebhookEvent.objects.create(
        event_id="evt_l",
        kind="checkout.session.completed",
        payment_ref=session.payments.get().ref,
        livemode=True,
        due_at=world.now,
    )
    world.go(0)
    assert WebhookEvent.objects.get(event_id="evt_l").effect == "other mode"
    session.refresh_from_db()
    assert session.state == State.HELD
    assert AuditEvent.objects.filter(kind="session_grace").count() == 0


def test_the_old_link_of_a_late_order_opens_the_session_it_went_on_in(world: World) -> None:
    from django.test import Client

    old = pay_later(world)
    link = f"/session/{old.token}/"
    money_arrives(world, old.payments.get())
    page = Client().get(link)
    assert page.status_code == 200
    assert "paid" in page.content.decode()
