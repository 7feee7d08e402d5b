"""Refunds that staff decides on: who may give back how much, never twice, never more than was taken."""

from __future__ import annotations

from html import unescape

import pytest
from django.test import Client
from django.urls import reverse

from hygate.models import AuditEvent, Role, SiteSettings, User
from sessions_app import services
from sessions_app.models import DeviceSession, Payment, Refund
from sessions_app.payments import giving_back
from sessions_app.states import PaymentStatus, Reason, RefundStatus, State
from tests.world import World, kinds_of


@pytest.fixture
def operator(transactional_db: None) -> User:
    SiteSettings.objects.update_or_create(pk=1, defaults={"refund_limit_minor": 100})
    return User.objects.create(email="otto@example.com", role=Role.OPERATOR)


@pytest.fixture
def admin(transactional_db: None) -> User:
    return User.objects.create(email="admin@example.com", role=Role.ADMINISTRATOR)


def used(world: World) -> Payment:
    """A session that ran its whole time, paid and captured: 250."""
    session = world.buy()
    world.tell(session)
    world.go(60)
    payment = session.payments.get()
    assert (payment.status, payment.captured_minor) == (PaymentStatus.SUCCEEDED, 250)
    return payment


def give(payment: Payment, amount: int, user: User, *, seen: int | None = None) -> Refund:
    payment.refresh_from_db()
    promised = payment.refund_promised_minor if seen is None else seen
    return giving_back.refund(
        payment=payment, amount_minor=amount, user=user, reason="The drum did not turn", seen_promised_minor=promised
    )


def browser(user: User) -> Client:
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def refund_page(payment: Payment) -> str:
    return reverse("dashboard:payment_refund", args=[payment.pk])


def test_a_refund_goes_back_at_stripe_and_says_who_gave_it(world: World, admin: User) -> None:
    payment = used(world)
    made = give(payment, 120, admin)
    world.go(5)
    payment.refresh_from_db()
    made.refresh_from_db()
    assert world.money() == [("authorized", 250), ("captured", 250), ("refunded", 120)]
    assert (payment.status, payment.refunded_minor) == (PaymentStatus.PARTIALLY_REFUNDED, 120)
    assert (made.status, made.made_by) == (RefundStatus.SUCCEEDED, f"user:{admin.pk}")
    event = AuditEvent.objects.get(kind="refund_owed")
    assert (event.actor, event.data["reason"]) == (f"user:{admin.pk}", "The drum did not turn")


def test_an_operator_gives_back_up_to_the_limit_of_each_payment_and_no_more(world: World, operator: User) -> None:
    payment = used(world)
    with pytest.raises(giving_back.CannotRefund, match="Ask an administrator"):
        give(payment, 101, operator)
    give(payment, 60, operator)
    with pytest.raises(giving_back.CannotRefund, match="Ask an administrator"):
        give(payment, 41, operator)
    give(payment, 40, operator)
    assert giving_back.limit_for(payment, operator) == 0
    world.go(5)
    assert sum(amount for kind, amount in world.money() if kind == "refunded") == 100


def test_an_administrator_gives_back_what_was_taken_and_no_more(world: World, admin: User) -> None:
    payment = used(world)
    with pytest.raises(giving_back.CannotRefund, match="more than was taken"):
        give(payment, 251, admin)
    give(payment, 200, admin)
    with pytest.raises(giving_back.CannotRefund, match="more than was taken"):
        give(payment, 51, admin)
    give(payment, 50, admin)
    world.go(5)
    payment.refresh_from_db()
    assert payment.status == PaymentStatus.REFUNDED


@pytest.mark.parametrize("amount", [0, -5])
def test_nothing_and_less_cannot_be_given_back(world: World, admin: User, amount: int) -> None:
    with pytest.raises(giving_back.CannotRefund):
        give(used(world), amount, admin)
    assert Refund.objects.count() == 0


def test_money_that_is_only_held_is_not_refunded(world: World, admin: User) -> None:
    session = world.buy()
    world.tell(session)
    with pytest.raises(giving_back.CannotRefund, match="Nothing is captured"):
        give(session.payments.get(), 10, admin)


def test_a_form_that_is_sent_twice_pays_back_once(world: World, admin: User) -> None:
    payment = used(world)
    give(payment, 50, admin, seen=0)
    with pytest.raises(giving_back.MovedOn):
        give(payment, 50, admin, seen=0)
    world.go(5)
    assert [entry for entry in world.money() if entry[0] == "refunded"] == [("refunded", 50)]


def test_a_double_click_in_the_browser_pays_back_once(world: World, operator: User) -> None:
    payment, page = used(world), {"amount": "0.40", "reason": "Soap drawer jammed", "seen": "0"}
    html = browser(operator).get(refund_page(payment)).content.decode()
    assert 'name="seen" value="0"' in html
    assert "At most €1.00." in html
    first = browser(operator).post(refund_page(payment), page, follow=True)
    second = browser(operator).post(refund_page(payment), page, follow=True)
    assert "€0.40 go back" in first.content.decode()
    assert "nothing more was done" in second.content.decode()
    assert Refund.objects.count() == 1


@pytest.mark.parametrize(
    ("page", "sentence"),
    [
        ({"amount": "1.01"}, "Between €0.01 and €1.00."),
        ({"amount": "0.405"}, "EUR has 2 decimal places."),
        ({"amount": "NaN"}, "Enter a number."),
        ({"reason": " "}, "Say why, in a few words."),
        ({"seen": ""}, ""),
    ],
)
def test_a_wrong_form_pays_nothing_back(world: World, operator: User, page: dict[str, str], sentence: str) -> None:
    payment = used(world)
    answer = browser(operator).post(
        refund_page(payment), {"amount": "0.40", "reason": "Soap drawer jammed", "seen": "0"} | page
    )
    assert answer.status_code == 422
    assert sentence in unescape(answer.content.decode())
    assert Refund.objects.count() == 0


def test_all_of_it_and_another_amount_are_two_answers(world: World, admin: User) -> None:
    payment, page = used(world), {"what": "all", "reason": "Soap drawer jammed", "seen": "0"}
    answer = browser(admin).post(refund_page(payment), {**page, "amount": "0.40"})
    assert answer.status_code == 422
    assert "Choose “Another amount” for this" in unescape(answer.content.decode())
    assert Refund.objects.count() == 0
    assert browser(admin).post(refund_page(payment), page).status_code == 303
    assert Refund.objects.get().amount_minor == payment.captured_minor


def test_the_button_is_there_while_something_can_go_back(world: World, admin: User) -> None:
    payment = used(world)
    page = reverse("dashboard:session", args=[payment.session_id])
    assert refund_page(payment) in browser(admin).get(page).content.decode()
    give(payment, 250, admin)
    assert refund_page(payment) not in browser(admin).get(page).content.decode()
    answer = browser(admin).get(refund_page(payment), follow=True)
    assert "Nothing is left to pay back" in answer.content.decode()


def test_the_settlement_does_not_pay_back_again_what_staff_gave(world: World, admin: User) -> None:
    session = world.buy()
    world.tell(session)
    world.go(11)
    give(session.payments.get(), 250, admin)
    services.stop_by_guest(session)
    world.go(30)
    assert sum(amount for kind, amount in world.money() if kind == "refunded") == 250


def running(world: World) -> DeviceSession:
    session = world.buy()
    world.tell(session)
    world.go(12)
    session.refresh_from_db()
    assert session.state == State.RUNNING
    return session


def test_marked_as_failed_a_running_session_goes_off_and_every_cent_goes_back(world: World, admin: User) -> None:
    session = running(world)
    assert services.mark_failed(session, admin, "It never heated")
    world.go(20)
    session.refresh_from_db()
    assert (session.state, session.reason, session.delivered_s) == (State.CANCELLED, Reason.FORCE_ENDED, 0)
    assert world.relay()[-1][0] is False
    assert world.money()[-1] == ("refunded", 250)
    assert "marked_failed" in kinds_of(session)


def test_marked_as_failed_before_power_nothing_is_charged(world: World, admin: User) -> None:
    session = world.buy()
    world.tell(session)
    assert services.mark_failed(session, admin, "Broken door")
    world.go(20)
    assert world.money() == [("authorized", 250), ("voided", 250)]
    assert world.relay() == []


def test_what_is_over_cannot_be_marked_as_failed(world: World, admin: User) -> None:
    payment = used(world)
    assert not services.mark_failed(payment.session, admin, "late")
    assert Refund.objects.count() == 0


def test_only_administrators_mark_as_failed(world: World, operator: User) -> None:
    session = running(world)
    address = reverse("dashboard:session_mark-failed", args=[session.pk])
    assert browser(operator).post(address, {"reason": "because"}).status_code == 403
    session.refresh_from_db()
    assert session.state == State.RUNNING
    assert not AuditEvent.objects.filter(kind="marked_failed").exists()
