"""The page of a session that is over: what became of the money before why it ended."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from hygate import audit, clock
from sessions_app.models import DeviceSession, Payment, Refund
from sessions_app.states import PaymentStatus, RefundStatus, State
from tests.sessions_app.guest_pages import (
    CAPTURED,
    LINK,
    Make,
    _static_files_need_no_collecting,
    device,
    given,
    make,
    plan,
    ran,
    read,
)

__all__ = ["_static_files_need_no_collecting", "device", "make", "plan"]
pytestmark = pytest.mark.django_db


def test_complete(client: Client, make: Make) -> None:
    make(State.COMPLETED, pay={**CAPTURED, "charge_minor": 360}, **ran(60, closed_at=clock.now()))
    text = read(client)
    assert "€3.60 paid for 60 min. All of them were delivered." in text
    assert "Done at 13:00" in text
    assert "Wash again" in text


def off_by_timer(session: DeviceSession) -> None:
    """As ``moves`` writes it down when nobody could read the relay until its own timer had run out."""
    audit.write(f"session_{session.state}", session=session.pk, device=session.device_id, proof="timer")


@pytest.mark.parametrize(("proof", "says"), [("timer", "Off by its own timer 13:00:30"), ("reading", "Confirmed off")])
def test_off_is_called_confirmed_only_where_it_was_read(client: Client, make: Make, proof: str, says: str) -> None:
    now = clock.now()
    closed = {"closed_at": now + timedelta(seconds=36), "timer_ends_at": now + timedelta(seconds=30)}
    session = make(State.COMPLETED, pay={**CAPTURED, "charge_minor": 360}, **ran(60, **closed))
    if proof == "timer":
        off_by_timer(session)
    text = read(client)
    assert says in text
    assert ("Confirmed off" in text) == (proof == "reading")


def test_stopped_while_out_of_reach_is_told_to_go_off_and_no_more(client: Client, make: Make) -> None:
    now = clock.now()
    closed = {"closed_at": now + timedelta(seconds=36), "timer_ends_at": now + timedelta(seconds=30)}
    pay = {**CAPTURED, "charge_minor": 216, "refund_promised_minor": 144}
    off_by_timer(make(State.CANCELLED, reason="stopped_by_guest", pay=pay, **ran(36, **closed)))
    text = read(client)
    assert "Washer 1 told to switch off 13:00:00" in text
    assert "Off by its own timer 13:00:30" in text
    assert "Washer 1 off" not in text


@pytest.mark.parametrize("final", [State.COMPLETED, State.CANCELLED])
def test_stopped_early_by_the_guest(client: Client, make: Make, final: State) -> None:
    pay = {**CAPTURED, "charge_minor": 216, "refund_promised_minor": 144}
    make(final, reason="stopped_by_guest", pay=pay, **ran(36, closed_at=clock.now()))
    text = read(client)
    assert "€1.44 is on its way back to you" in text
    assert "36 min used €2.16 24 min paid back €1.44" in text


def test_stopped_before_the_capture_charges_only_what_was_used(client: Client, make: Make) -> None:
    pay = {"status": PaymentStatus.SUCCEEDED, "captured_minor": 216, "charge_minor": 216}
    make(State.CANCELLED, reason="stopped_by_guest", pay=pay, **ran(36, closed_at=clock.now()))
    text = read(client)
    assert "You paid €2.16" in text
    assert "24 min not charged €1.44" in text
    assert "on its way back" not in text


def test_a_plan_that_keeps_its_price_says_so(client: Client, make: Make) -> None:
    pay = {**CAPTURED, "charge_minor": 360}
    make(State.CANCELLED, reason="stopped_by_guest", refund_unused=False, pay=pay, **ran(36, closed_at=clock.now()))
    assert "This plan keeps its price when you stop early." in read(client)


@pytest.mark.parametrize(
    ("reason", "what"),
    [
        ("relay_off_prematurely", "Washer 1 lost power at 13:00 and did not come back on."),
        ("force_ended_by_admin", "Seaside Camping ended this session at 13:00."),
        ("stopped_by_staff", "Seaside Camping stopped Washer 1 at 13:00."),
        ("no_power", "The site had no more power to give at 13:00."),
    ],
)
def test_interrupted_says_the_money_first(client: Client, make: Make, reason: str, what: str) -> None:
    pay = {**CAPTURED, "charge_minor": 210, "refund_promised_minor": 150, "refunded_minor": 150}
    make(State.CANCELLED, reason=reason, pay=pay, **ran(35, closed_at=clock.now()))
    text = read(client)
    assert "€1.50 was paid back to you" in text
    assert "We do not keep money for minutes you did not get." in text
    assert text.index("€1.50 was paid back") < text.index(what)


def test_what_staff_gives_back_afterwards_is_no_other_end(client: Client, make: Make) -> None:
    closed = ran(60, closed_at=clock.now())
    session = make(State.COMPLETED, pay={**given(100, 0), "charge_minor": 360}, **closed)
    text = read(client)
    assert text.index("€1.00 is on its way back to you. €3.60 paid for 60 min.") < text.index("Done at 13:00")
    assert "Stopped early" not in text
    assert "Sending €1.00 to your bank" in text
    assert 'data-pace="slow"' in client.get(LINK).content.decode()
    Payment.objects.update(refunded_minor=100)
    assert "€1.00 was paid back to you. €3.60 paid for 60 min." in read(client)
    Payment.objects.update(refunded_minor=0)
    Refund.objects.create(payment=session.payments.get(), amount_minor=100, status=RefundStatus.FAILED)
    text = read(client)
    assert "We still owe you €1.00. The refund did not go through." in text
    assert "Done at 13:00" in text


def test_a_refund_that_failed_is_still_owed_until_another_is_under_way(client: Client, make: Make) -> None:
    session = make(
        State.COMPLETED,
        reason="stopped_by_guest",
        pay={**CAPTURED, "charge_minor": 216},
        **ran(36, closed_at=clock.now()),
    )
    order = session.payments.get()
    Refund.objects.create(payment=order, amount_minor=144, reason="undelivered", status=RefundStatus.FAILED)
    text = read(client)
    assert "We still owe you €1.44 The refund did not go through." in text
    assert "24 min owed to you" in text
    assert "€1.44 did not reach your bank" in text
    assert "on its way back" not in text
    Refund.objects.create(payment=order, amount_minor=144, reason="undelivered", status=RefundStatus.REQUESTED)
    Payment.objects.update(refund_promised_minor=144)
    assert "€1.44 is on its way back to you" in read(client)
    Refund.objects.filter(status=RefundStatus.REQUESTED).update(status=RefundStatus.SUCCEEDED)
    Payment.objects.update(refunded_minor=144)
    assert "€1.44 was paid back to you" in read(client)


def test_a_refund_of_what_was_never_used_says_so_too_when_it_failed(client: Client, make: Make) -> None:
    session = make(State.CANCELLED, reason="start_failed", pay={**CAPTURED, "charge_minor": 0}, closed_at=clock.now())
    Refund.objects.create(
        payment=session.payments.get(), amount_minor=360, reason="start_failed", status=RefundStatus.FAILED
    )
    text = read(client)
    assert text.index("We still owe you €3.60") < text.index("We could not ask Washer 1")


def test_a_start_that_failed_charges_nothing(client: Client, make: Make) -> None:
    pay = {"status": PaymentStatus.VOIDED, "charge_minor": 0}
    make(State.CANCELLED, reason="start_failed", pay=pay, closed_at=clock.now())
    text = read(client)
    assert "You were not charged" in text
    assert "The €3.60 we had reserved is released." in text
    assert text.index("You were not charged") < text.index("We could not ask Washer 1 to switch on in time")


def test_a_start_that_failed_gives_back_what_was_taken(client: Client, make: Make) -> None:
    pay = {**CAPTURED, "charge_minor": 0, "refund_promised_minor": 360}
    make(State.CANCELLED, reason="start_failed", pay=pay, closed_at=clock.now())
    text = read(client)
    assert "€3.60 is on its way back to you" in text
    assert "You were not charged" not in text


def test_money_that_came_too_late_comes_back_even_before_the_refund_is_written(client: Client, make: Make) -> None:
    make(State.CANCELLED, reason="hold_expired", pay=CAPTURED, closed_at=clock.now())
    text = read(client)
    assert "€3.60 is on its way back to you" in text
    assert "Your payment came after the hold had run out." in text


@pytest.mark.parametrize(
    ("reason", "pay", "sentence"),
    [
        ("hold_expired", {"status": PaymentStatus.FAILED, "authorized_at": None}, "The hold ran out before a payment"),
        ("hold_expired", {"status": PaymentStatus.VOIDED}, "Your payment came after the hold had run out."),
        ("payment_failed", {"status": PaymentStatus.FAILED, "authorized_at": None}, "The payment was not completed."),
        ("stopped_by_guest", {"status": PaymentStatus.VOIDED}, "Cancelled. You pay nothing."),
        ("no_power", {"status": PaymentStatus.VOIDED}, "The site had no power to give to Washer 1 in time."),
    ],
)
def test_what_never_began_costs_nothing(
    client: Client, make: Make, reason: str, pay: dict[str, Any], sentence: str
) -> None:
    make(State.CANCELLED, reason=reason, pay=pay, closed_at=clock.now())
    text = read(client)
    assert sentence in text
    assert "You were not charged" in text or "You pay nothing" in text
    assert "Cancelled. Cancelled." not in text, "a screen reader says it twice"
