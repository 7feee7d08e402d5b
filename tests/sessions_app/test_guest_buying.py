"""From the label to Stripe and back: one hold a tap, limits for who never pays, a cookie that leads back."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from devices.models import Device, UsagePlan
from hygate import clock
from sessions_app.guest import cookie, unpaid
from sessions_app.models import DeviceSession, Payment
from sessions_app.payments import checkout, settling
from sessions_app.payments.checkout import CheckoutUnavailable
from sessions_app.states import State
from tests.sessions_app.guest_pages import (
    LINK,
    PENDING,
    STRIPE,
    Make,
    _static_files_need_no_collecting,
    device,
    make,
    opened,
    plan,
    read,
    words,
)

__all__ = ["_static_files_need_no_collecting", "device", "make", "plan"]
pytestmark = pytest.mark.django_db


def test_paying_leads_to_stripe_and_the_cookie_leads_back(
    client: Client, plan: UsagePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkout, "open_checkout", opened)
    response = client.post("/d/W17Q4/", {"plan": plan.pk})
    assert response.status_code == 303
    assert response["Location"] == STRIPE
    session = DeviceSession.objects.get()
    kept = response.cookies[cookie.NAME]
    assert kept["httponly"]
    assert kept["samesite"] == "Lax"
    assert session.token not in kept.value

    page = client.get("/d/W17Q4/")
    assert "Kept for you until" in words(page)
    assert "Continue to pay €3.60" in words(page)
    assert STRIPE in page.content.decode()
    assert f"/session/{session.token}/cancel/" in page.content.decode()
    assert "Kept for you" not in read(Client(), "/d/W17Q4/")

    DeviceSession.objects.update(state=State.GRACE, grace_ends_at=clock.now())
    assert client.get("/d/W17Q4/")["Location"] == f"/session/{session.token}/"


def test_a_second_tap_makes_no_second_hold(client: Client, plan: UsagePlan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkout, "open_checkout", opened)
    client.post("/d/W17Q4/", {"plan": plan.pk})
    again = client.post("/d/W17Q4/", {"plan": plan.pk})
    assert (again.status_code, again["Location"]) == (303, "/d/W17Q4/")
    assert DeviceSession.objects.count() == 1


def let_go(client: Client, plan: UsagePlan, address: str = "192.0.2.7", paid_at: Any = None) -> int:
    """Buy as a phone without cookies, and let the hold run out; answers what the tap was answered."""
    status = client.post("/d/W17Q4/", {"plan": plan.pk}, REMOTE_ADDR=address).status_code
    client.cookies.clear()
    live = DeviceSession.objects.filter(state=State.HELD)
    Payment.objects.filter(session__in=live).update(authorized_at=paid_at)
    live.update(state=State.CANCELLED, reason="hold_expired", closed_at=clock.now())
    return status


@pytest.fixture
def stripe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkout, "open_checkout", lambda _order: STRIPE)


def test_a_network_that_never_pays_has_to_wait_and_others_need_not(
    client: Client, plan: UsagePlan, stripe: None
) -> None:
    assert [let_go(client, plan) for _ in range(5)] == [303] * 4 + [429]
    refused = client.post("/d/W17Q4/", {"plan": plan.pk}, REMOTE_ADDR="192.0.2.7")
    assert int(refused["Retry-After"]) > 0
    assert "Kept too often without paying" in words(refused)
    assert "Nothing was charged" in words(refused)
    assert let_go(client, plan, "198.51.100.9") == 303
    assert read(client, "/d/W17Q4/")


def test_holds_that_are_paid_for_are_not_counted(client: Client, plan: UsagePlan, stripe: None) -> None:
    assert [let_go(client, plan, paid_at=clock.now()) for _ in range(8)] == [303] * 8
    assert [let_go(client, plan) for _ in range(5)] == [303] * 4 + [429]


def test_a_network_cannot_keep_every_device(client: Client, plan: UsagePlan, stripe: None) -> None:
    other = Device.objects.create(
        location=plan.device.location, account=plan.device.account, shelly_id="def", name="Washer 2"
    )
    for number in range(20):
        old = DeviceSession.objects.create(
            reference=f"S-{number}",
            token_hash=f"{number}",
            token="x",
            device=other,
            duration_s=60,
            state=State.CANCELLED,
            reason="hold_expired",
            hold_expires_at=clock.now(),
        )
        Payment.objects.create(
            session=old, ref=f"S-{number}-1", amount_minor=1, currency="eur", duration_s=60, checkout_key=f"{number}"
        )
        unpaid.remember(old, "192.0.2.7")
    assert let_go(client, plan) == 429


def test_who_comes_second_is_told_before_paying(client: Client, plan: UsagePlan, make: Make) -> None:
    make(State.HELD, pay=PENDING)
    response = client.post("/d/W17Q4/", {"plan": plan.pk})
    assert response.status_code == 409
    assert "in use, or somebody is paying for it" in words(response)


def test_a_payment_page_that_does_not_answer_can_be_tried_again(
    client: Client, plan: UsagePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(_payment: Payment) -> str:
        raise CheckoutUnavailable("no answer")

    monkeypatch.setattr(checkout, "open_checkout", silent)
    response = client.post("/d/W17Q4/", {"plan": plan.pk}, follow=True)
    text = words(response)
    assert "Nothing was charged" in text
    assert "The payment page does not answer." in text
    monkeypatch.setattr(checkout, "open_checkout", opened)
    assert client.post(f"{response.request['PATH_INFO']}pay/")["Location"] == STRIPE


def test_another_devices_plan_is_not_sold_here(client: Client, device: Device, plan: UsagePlan) -> None:
    assert client.post("/d/W17Q4/", {"plan": plan.pk + 1})["Location"] == "/d/W17Q4/"
    assert client.post("/d/W17Q4/", {"plan": "x"})["Location"] == "/d/W17Q4/"
    assert not DeviceSession.objects.exists()


def test_buying_and_stopping_need_a_form_of_ours(plan: UsagePlan, make: Make) -> None:
    strict = Client(enforce_csrf_checks=True)
    make(State.GRACE, grace_ends_at=clock.now())
    for path in ("/d/W17Q4/", f"{LINK}start/", f"{LINK}cancel/", f"{LINK}stop/", f"{LINK}pay/"):
        response = strict.post(path, {"plan": plan.pk})
        assert response.status_code == 403
        assert "Please try once more" in words(response)


def test_a_forged_cookie_is_no_cookie(client: Client, plan: UsagePlan) -> None:
    client.cookies[cookie.NAME] = "rubbish:rubbish"
    assert "Free now" in read(client, "/d/W17Q4/")


def test_the_phone_remembers_its_twenty_newest_links(client: Client, rf: Any) -> None:
    from django.http import HttpResponse

    for number in range(25):
        request = rf.get("/")
        request.COOKIES = {name: morsel.value for name, morsel in client.cookies.items()}
        client.cookies.update(cookie.remember(request, HttpResponse(), f"token-{number}").cookies)
    request = rf.get("/")
    request.COOKIES = {name: morsel.value for name, morsel in client.cookies.items()}
    assert cookie.tokens(request) == [f"token-{number}" for number in range(24, 4, -1)]
    assert len(client.cookies[cookie.NAME].value) < 4000


def test_leaving_stripe_leads_to_the_label_where_the_hold_waits(client: Client, make: Make) -> None:
    make(State.HELD, pay=PENDING)
    response = client.get(f"{LINK}back/")
    assert (response.status_code, response["Location"]) == (303, "/d/W17Q4/")
    assert "Continue to pay" in read(client, "/d/W17Q4/")


def test_coming_back_paid_only_hints(client: Client, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    hinted: list[int] = []
    monkeypatch.setattr(settling, "nudge", lambda which: hinted.append(which.pk))
    session = make(State.HELD, pay=PENDING)
    response = client.get(f"{LINK}paid/")
    assert (response.status_code, response["Location"]) == (303, LINK)
    assert hinted == [session.pk]
