"""What a guest reads about more time: the offer, the way to pay, what waits, what was added, what came too late."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from devices.models import UsagePlan
from sessions_app import extending
from sessions_app.guest import extend
from sessions_app.guest.visit import find
from sessions_app.models import DeviceSession, Payment, QueueEntry, Refund
from sessions_app.payments.settling import settle
from sessions_app.states import PaymentStatus, Purpose, RefundStatus, State
from tests.sessions_app.extensions import ordered, paid_before_the_end, running
from tests.sessions_app.guest_pages import words
from tests.world import World


@pytest.fixture
def site(world: World, settings: Any, tmp_path: Any) -> World:
    settings.STATIC_ROOT = str(tmp_path)
    UsagePlan.objects.filter(pk=world.plan.pk).update(duration_s=60, extendable=True, max_total_s=300)
    world.plan.refresh_from_db()
    return world


def link(session: DeviceSession, step: str = "") -> str:
    return f"/session/{session.token}/{step}"


def read(session: DeviceSession, step: str = "") -> str:
    return words(Client().get(link(session, step)))


def test_the_running_page_offers_the_one_plan_with_its_price(site: World) -> None:
    session = running(site)
    assert "Add 60 s for €2.50" in read(session).replace("1 min", "60 s")
    assert "Can be extended to" in read(session)


def test_of_several_plans_the_page_offers_time_and_the_next_page_the_choice(site: World) -> None:
    site.add_plan(site.device, name="Longer", duration_s=120, price_minor=400, extendable=True, sort_order=1)
    session = running(site)
    assert "Add time" in read(session)
    body = Client().get(link(session, "extend/")).content.decode()
    assert "How much longer?" in body
    assert body.count('type="radio"') == 2
    assert "Pay €4.00, add" in words(Client().get(link(session, "extend/")))


def test_the_running_page_says_that_somebody_waits_where_time_could_be_added(site: World) -> None:
    session = running(site)
    QueueEntry.objects.create(token_hash="h", token="t", device=site.device)
    text = read(session)
    assert "Somebody waits for Washer 1, so it is free again at the time you see." in text
    assert "Add 60 s" not in text


def test_paying_leads_to_stripe_once_and_back_to_the_running_page(site: World) -> None:
    session = running(site)
    first = Client().post(link(session, "extend/"), {"plan": site.plan.pk})
    again = Client().post(link(session, "extend/"), {"plan": site.plan.pk})
    payment = Payment.objects.get(purpose=Purpose.EXTENSION)
    assert first.status_code == 303
    assert first["Location"] == again["Location"] == payment.checkout_url
    back = Client().get(link(session, "back/"))
    assert back["Location"] == link(session)
    text = read(session)
    assert "not paid yet. Nothing is charged until you pay." in text
    assert "Not paid yet? Continue to pay €2.50" in text
    assert "No extra time, pay nothing for it" in text
    assert Client().get(link(session, "extend/"))["Location"] == link(session)


def test_back_from_paying_the_page_looks_the_payment_up_and_then_names_the_new_end(site: World) -> None:
    session = running(site)
    payment = ordered(site, session)
    site.at_checkout(payment, "pay")
    Client().get(link(session, "paid/"))
    page = Client().get(link(session))
    assert "We look up your payment of €2.50" in words(page)
    assert 'data-pace="fast"' in page.content.decode()
    site.go(5)
    text = read(session)
    assert "Extended by" in text
    assert "€5.00 paid." in text


def test_an_extension_that_is_only_reserved_is_not_called_paid(site: World) -> None:
    session = running(site)
    payment = ordered(site, session)
    site.at_checkout(payment, "pay")
    settle(payment, by="page")
    assert "€2.50 paid, €2.50 reserved." in read(session)


def test_dropping_closes_the_payment_page_and_takes_the_line_away(site: World) -> None:
    session = running(site)
    payment = ordered(site, session)
    gone = Client().post(link(session, "extend/cancel/"))
    assert gone["Location"] == link(session)
    assert "not paid yet" not in read(session)
    assert "The payment page of the extra time is being closed." in read(session, "extend/")
    site.go(2)
    payment.refresh_from_db()
    assert payment.status == PaymentStatus.VOIDED
    assert "You were not charged" not in read(session)
    assert "Add " in read(session)


def test_reading_orders_and_drops_nothing(site: World) -> None:
    session = running(site)
    assert Client().get(link(session, "extend/")).status_code == 200
    assert Client().get(link(session, "extend/cancel/")).status_code == 405
    assert not Payment.objects.filter(purpose=Purpose.EXTENSION).exists()


def test_buying_time_needs_a_form_of_ours(site: World) -> None:
    session = running(site)
    strict = Client(enforce_csrf_checks=True)
    for step in ("extend/", "extend/cancel/"):
        assert strict.post(link(session, step), {"plan": site.plan.pk}).status_code == 403


def test_a_refusal_says_first_that_nothing_was_charged(site: World) -> None:
    session = running(site)
    QueueEntry.objects.create(token_hash="h", token="t", device=site.device)
    refused = Client().post(link(session, "extend/"), {"plan": site.plan.pk})
    assert refused.status_code == 409
    text = words(refused)
    assert "Nothing was charged" in text
    assert "Somebody waits for Washer 1" in text
    assert "/extend/" not in Client().get(link(session)).content.decode()


@pytest.mark.parametrize("plan", ["", "x", "999999"])
def test_a_plan_that_is_not_offered_is_not_sold(site: World, plan: str) -> None:
    session = running(site)
    assert Client().post(link(session, "extend/"), {"plan": plan}).status_code == 409
    assert not Payment.objects.filter(purpose=Purpose.EXTENSION).exists()


def test_each_refusal_has_its_own_sentence(site: World) -> None:
    session = running(site)
    visit = find(session.token, now=site.now)
    assert visit is not None
    pages = [extend.refusal(visit, why) for why in extending.No]
    assert {page.headline for page in pages} == {"Nothing was charged"}
    assert len({page.answer for page in pages}) == len(extending.No)


def test_a_session_that_is_over_leads_back_to_its_page(site: World) -> None:
    session = running(site)
    site.go(70)
    assert Client().get(link(session, "extend/"))["Location"] == link(session)
    assert Client().post(link(session, "extend/"), {"plan": site.plan.pk})["Location"] == link(session)


def test_a_payment_that_came_too_late_is_the_first_thing_the_page_says(site: World) -> None:
    session, payment = paid_before_the_end(site, 0.2)
    site.go(30)
    session.refresh_from_db()
    payment.refresh_from_db()
    assert session.state == State.COMPLETED
    text = read(session)
    late = "You were not charged €2.50: 1 min more came too late.".replace("1 min", "60 s")
    assert late in text.replace("1 min", "60 s")
    assert text.index("You were not charged") < text.index("€2.50 paid for")


def test_what_was_taken_at_once_and_came_too_late_comes_back(site: World) -> None:
    session, payment = paid_before_the_end(site, 0.2)
    site.go(30)
    Payment.objects.filter(pk=payment.pk).update(
        status=PaymentStatus.SUCCEEDED, captured_minor=250, refund_promised_minor=250
    )
    assert "€2.50 is on its way back to you" in read(session)
    refund = Refund.objects.create(payment=payment, amount_minor=250, reason="too_late", status=RefundStatus.FAILED)
    text = read(session)
    assert "We still owe you €2.50" in text
    assert "The refund did not go through" not in text  # of the session's own money nothing is owed
    refund.delete()
    Payment.objects.filter(pk=payment.pk).update(refunded_minor=250)
    assert "€2.50 was paid back to you" in read(session)
