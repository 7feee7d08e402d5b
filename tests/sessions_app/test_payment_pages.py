"""Payments: what a list adds up to, what waits to go back, and one payment with everything about it."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.urls import reverse

from hygate import audit, clock
from hygate.models import Alert
from sessions_app.dashboard import frame
from sessions_app.dashboard import payments as pages
from sessions_app.models import Payment
from sessions_app.payments import alerts
from sessions_app.states import RefundStatus
from tests.sessions_app.sales import Shop, browser

pytestmark = pytest.mark.django_db
LIST = "/dashboard/payments/"


@pytest.fixture
def shop() -> Shop:
    return Shop()


def page(url: str, **query: str) -> str:
    return unescape(browser().get(url, query).content.decode())


def owing(shop: Shop, status: str, age_s: int = 600) -> Payment:
    payment = shop.sell(payment={"refund_promised_minor": 90})
    shop.refund(payment, 90, status=status, created_at=clock.now() - timedelta(seconds=age_s))
    return payment


def test_the_list_says_what_it_adds_up_to_each_currency_apart(shop: Shop) -> None:
    for price in (250, 360):
        shop.sell(price=price, refunded=10)
    shop.sell(price=400, captured=0)
    shop.sell(price=700, device=shop.pole, currency="chf")
    chf, eur = pages.totals(Payment.objects.all())
    assert (eur.currency, eur.count, eur.captured_minor, eur.refunded_minor, eur.kept_minor) == ("eur", 2, 610, 20, 590)
    assert (chf.currency, chf.count, chf.kept_minor) == ("chf", 1, 700)
    html = page(LIST, location=str(shop.house.pk))
    assert "What was found adds up to" in html
    assert "€5.90" in html
    assert "CHF" not in html.partition('id="totals"')[2]


@pytest.mark.parametrize(
    ("status", "age_s", "late"),
    [
        (RefundStatus.OWED, 600, 1),
        (RefundStatus.REQUESTED, 600, 1),
        (RefundStatus.OWED, 5, 0),
        (RefundStatus.PENDING, 600, 0),
        (RefundStatus.SUCCEEDED, 600, 0),
    ],
)
def test_a_refund_that_is_owed_for_longer_stands_out(shop: Shop, status: str, age_s: int, late: int) -> None:
    owing(shop, status, age_s)
    browser()  # somebody must be there to count
    assert frame.badge().late == late
    html = page(LIST, refund="stuck")
    assert ("No payment matches" in html) == (not late)
    assert ("late or failed" in html) == bool(late)
    assert ("Not paid back yet" in html) == (status != RefundStatus.SUCCEEDED)


def test_a_failed_refund_stands_out_until_it_is_made_good(shop: Shop) -> None:
    payment = owing(shop, RefundStatus.FAILED)
    browser()
    alerts.refund_failed(payment.refunds.get())
    assert frame.badge().late == 1
    assert "€0.90 failed" in page(LIST)
    assert "Washer 2" in page(LIST, refund="stuck").partition("<tbody>")[2]
    alerts.refund_made_good(payment.refunds.get())
    assert frame.badge().late == 0
    assert "Nothing is owed." in page(LIST)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (RefundStatus.OWED, "Refund owed"),
        (RefundStatus.REQUESTED, "Refund requested"),
        (RefundStatus.PENDING, "Refund at the bank"),
        (RefundStatus.FAILED, "Refund failed"),
        (RefundStatus.SUCCEEDED, ""),
    ],
)
def test_a_line_of_the_list_says_what_is_still_to_go_back(shop: Shop, status: str, words: str) -> None:
    payment, other = owing(shop, status), shop.sell()
    if status == RefundStatus.FAILED:
        alerts.refund_failed(payment.refunds.get())
    lines = {line.payment.pk: [said for _, said in line.waits] for line in pages.told([payment, other])}
    assert lines == {payment.pk: [words] if words else [], other.pk: []}
    assert (words or "Succeeded") in page(LIST).partition("<tbody>")[2]


def test_one_payment_with_everything_about_it(shop: Shop) -> None:
    payment = shop.sell(refunded=90, payment={"intent_id": "pi_42", "checkout_id": "cs_live_42", "method": "card"})
    shop.refund(payment, 20, status=RefundStatus.OWED, made_by="user:999", stripe_id="re_1")
    audit.write("payment_succeeded", session=payment.session_id, payment=payment.pk, amount_minor=250)
    Alert.objects.create(key="d", kind="dispute", title="It is disputed", payment=payment.pk)
    html = page(f"{LIST}{payment.pk}/")
    for words in ("€2.50", "pi_42", "cs_live_42", "re_1", "by a former colleague", "minutes that were not delivered"):
        assert words in html, words
    for words in ("It is disputed", "Paid · €2.50", payment.session.reference, "In a simulation there is no page"):
        assert words in html, words
    assert html.count(' across">') == 3, "who gave it back, and Stripe's id, have a line each"
    assert "Play money" not in html
    assert "the-link-of" not in html


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (RefundStatus.OWED, "On its way back"),
        (RefundStatus.FAILED, "Not paid back"),
        (RefundStatus.COVERED, "Paid back"),
    ],
)
def test_a_session_says_of_each_refund_where_it_stands(shop: Shop, status: str, words: str) -> None:
    payment = shop.sell(refunded=90)
    shop.refund(payment, 20, status=status)
    html = page(reverse("dashboard:session", args=[payment.session_id]))
    told = re.findall(r"<dt>([^<]+)</dt><dd>€0.20, ", html)
    assert told == [words]


@pytest.mark.parametrize(
    ("checkout", "key", "url"),
    [
        ("cs_live_1", "sk_test_1", "https://dashboard.stripe.com/payments/pi_1"),
        ("cs_test_1", "sk_live_1", "https://dashboard.stripe.com/test/payments/pi_1"),
        ("", "rk_live_1", "https://dashboard.stripe.com/payments/pi_1"),
    ],
)
def test_the_link_to_stripe_leads_to_where_the_money_moved(settings: Any, checkout: str, key: str, url: str) -> None:
    settings.SIMULATED, settings.STRIPE_KEY = False, key
    assert pages.stripe_url(Payment(checkout_id=checkout, intent_id="pi_1")) == url
    assert pages.stripe_url(Payment(checkout_id=checkout)) == ""
