"""What a guest reads: every state's first sentence about the money, and pages that tell nobody else."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from datetime import timedelta
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.utils.html import strip_tags

from devices.models import Device, DeviceCode, DeviceKind, Location, ShellyAccount, UsagePlan
from hygate import audit, clock
from hygate.models import SiteSettings
from sessions_app import selling, services
from sessions_app.guest import cookie, unpaid
from sessions_app.models import DeviceSession, Payment, Refund
from sessions_app.payments import checkout, settling
from sessions_app.payments.checkout import CheckoutUnavailable
from sessions_app.states import PaymentStatus, RefundStatus, State

pytestmark = pytest.mark.django_db

STATIC = Path(__file__).resolve().parents[2] / "hygate" / "static" / "hygate"
TOKEN = "a-token-that-nobody-guesses"
STRIPE = "https://checkout.stripe.com/c/pay/cs_test_1"
LINK = f"/session/{TOKEN}/"

Make = Callable[..., DeviceSession]
CAPTURED = {"status": PaymentStatus.SUCCEEDED, "captured_minor": 360}
PENDING = {"status": PaymentStatus.PENDING, "authorized_at": None}


@pytest.fixture(autouse=True)
def _static_files_need_no_collecting(settings: Any, tmp_path: Path) -> None:
    settings.STATIC_ROOT = str(tmp_path)


@pytest.fixture
def device(manual_clock: clock.ManualClock) -> Device:
    location = Location.objects.create(name="Seaside Camping", timezone="Europe/Vienna", contact_phone="+43 1 234")
    account = ShellyAccount.objects.create(name="demo", server_url="http://127.0.0.1:1", auth_key="key")
    made = Device.objects.create(
        location=location,
        account=account,
        shelly_id="abc",
        name="Washer 1",
        place="Laundry room",
        kind=DeviceKind.WASHER,
        online=True,
        seen_at=clock.now(),
    )
    DeviceCode.objects.create(device=made, code="W17Q4")
    return made


@pytest.fixture
def plan(device: Device) -> UsagePlan:
    return add_plan(device, "Everyday", 3600, 360)


def add_plan(device: Device, name: str, duration_s: int, price_minor: int, **more: Any) -> UsagePlan:
    return UsagePlan.objects.create(
        device=device, name=name, duration_s=duration_s, price_minor=price_minor, **{"grace_s": 300, **more}
    )


@pytest.fixture
def make(device: Device) -> Make:
    """A session in a state, with its start order: ``make(State.GRACE, pay={...}, grace_ends_at=...)``."""

    def session(state: str, *, pay: dict[str, Any] | None = None, **more: Any) -> DeviceSession:
        now = clock.now()
        fields: dict[str, Any] = {
            "reference": "S-7QK4",
            "token_hash": hashlib.sha256(TOKEN.encode()).hexdigest(),
            "token": TOKEN,
            "device": device,
            "plan_name": "Everyday",
            "duration_s": 3600,
            "grace_s": 300,
            "state": state,
            "created_at": now,
            "hold_expires_at": now + timedelta(minutes=10),
        }
        made = DeviceSession.objects.create(**{**fields, **more})
        order = {
            "status": PaymentStatus.AUTHORIZED,
            "authorized_at": now,
            "amount_minor": 360,
            "currency": "eur",
            "duration_s": made.duration_s,
            "plan_name": "Everyday",
            "checkout_url": STRIPE,
            "checkout_params": "{}",
        }
        Payment.objects.create(session=made, ref="S-7QK4-1", checkout_key="k", **{**order, **(pay or {})})
        return made

    return session


def ran(minutes: float = 36, **more: Any) -> dict[str, Any]:
    """The clocks of a session whose relay was on for so long, until now."""
    now = clock.now()
    started = now - timedelta(minutes=minutes)
    return {
        "started_at": started,
        "ends_at": started + timedelta(hours=1),
        "off_requested_at": now,
        "delivered_s": int(minutes * 60),
        **more,
    }


def words(response: Any) -> str:
    """What is to be read on a page, in one line."""
    body = re.sub(r"<head>.*?</head>", " ", response.content.decode(), flags=re.DOTALL)
    body = re.sub(r"</(?:p|dt|dd|li|h1|h2)>", " ", body)
    return re.sub(r"\s+", " ", unescape(strip_tags(body)).replace("\u00a0", " "))


def read(client: Client, path: str = LINK) -> str:
    response = client.get(path)
    assert response.status_code == 200
    return words(response)


# -- the label


def test_the_only_plan_is_offered_with_its_price_on_the_button(client: Client, plan: UsagePlan) -> None:
    text = read(client, "/d/W17Q4/")
    assert "Free now" in text
    assert "Everyday, 60 min" in text
    assert "Pay €3.60 and start" in text
    assert "If Washer 1 does not start, you pay nothing." in text
    assert "5 min to load first." in text
    assert "All times: Vienna time" in text
    assert "Help: +43 1 234" in text


def test_of_several_plans_the_first_is_chosen(client: Client, device: Device, plan: UsagePlan) -> None:
    add_plan(device, "Deep clean", 5400, 480, sort_order=2)
    body = client.get("/d/W17Q4/").content.decode()
    assert re.findall(r'value="(\d+)" required checked', body) == [str(plan.pk)]
    assert "Pay €3.60 and start" in body
    assert "Pay €4.80 and start" in body


def test_a_short_plan_is_spelled_in_seconds(client: Client, device: Device) -> None:
    add_plan(device, "Test", 20, 100, grace_s=0)
    text = read(client, "/d/W17Q4/")
    assert "Test, 20 s" in text
    assert "Power comes at once" in text


def test_vat_is_named_only_where_there_is_vat(client: Client, device: Device, plan: UsagePlan) -> None:
    assert "VAT included" not in read(client, "/d/W17Q4/")
    UsagePlan.objects.update(vat_rate_bp=2000)
    assert "VAT included" in read(client, "/d/W17Q4/")


@pytest.mark.parametrize("typed", ["w17q4", "W1 7Q4", "w1-7q4"])
def test_a_typed_code_leads_to_the_printed_one(client: Client, plan: UsagePlan, typed: str) -> None:
    response = client.get(f"/d/{typed}/")
    assert response.status_code == 302
    assert response["Location"] == "/d/W17Q4/"


def test_a_device_without_plans_sells_nothing(client: Client, device: Device) -> None:
    assert "Nothing is sold on Washer 1 at the moment." in read(client, "/d/W17Q4/")


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("busy", "Free at about 13:18, in 18 min."),
        ("maintenance", "Back at about 13:18."),
        ("offline", "Back at about 13:18."),
        ("no_power", "Power expected at about 13:18."),
    ],
)
def test_when_it_is_known_the_page_says_when(
    client: Client, plan: UsagePlan, monkeypatch: pytest.MonkeyPatch, kind: str, sentence: str
) -> None:
    until = clock.now() + timedelta(minutes=18)
    monkeypatch.setattr(selling, "availability", lambda *_: selling.Availability(kind, until))
    text = read(client, "/d/W17Q4/")
    assert sentence in text
    assert "Pay €" not in text


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("busy", "Washer 1 is in use, or somebody is paying for it."),
        ("maintenance", "We do not know yet when it is back."),
        ("offline", "Washer 1 does not answer us right now."),
        ("no_power", "There is not enough power for Washer 1 right now."),
        ("not_for_sale", "Nothing is sold on Washer 1 at the moment."),
        ("disabled", "Seaside Camping sells nothing here at the moment."),
    ],
)
def test_each_reason_has_its_own_sentence(
    client: Client, plan: UsagePlan, monkeypatch: pytest.MonkeyPatch, kind: str, sentence: str
) -> None:
    monkeypatch.setattr(selling, "availability", lambda *_: selling.Availability(kind))
    text = read(client, "/d/W17Q4/")
    assert sentence in text
    assert text.index("Nothing was charged.") < text.index(sentence)


def test_a_free_one_of_the_same_kind_is_offered_instead(client: Client, device: Device, plan: UsagePlan) -> None:
    second = Device.objects.create(
        location=device.location, account=device.account, shelly_id="def", name="Washer 2", kind=DeviceKind.WASHER
    )
    Device.objects.filter(pk=second.pk).update(online=True, seen_at=clock.now())
    DeviceCode.objects.create(device=second, code="W28R5")
    add_plan(second, "Everyday", 3600, 360)
    Device.objects.filter(pk=device.pk).update(maintenance_since=clock.now())
    response = client.get("/d/W17Q4/")
    assert "Use Washer 2, free now" in words(response)
    assert 'href="/d/W28R5/"' in response.content.decode()


def test_a_retired_label_says_so_and_sells_nothing(client: Client, device: Device, plan: UsagePlan) -> None:
    DeviceCode.objects.create(device=device, code="OLD77", retired_at=clock.now())
    response = client.get("/d/OLD77/")
    assert response.status_code == 410
    assert "This label was replaced" in words(response)
    assert "Washer 1" not in words(response)
    assert client.post("/d/OLD77/", {"plan": plan.pk}).status_code == 410
    assert not DeviceSession.objects.exists()


def test_an_unknown_code_is_a_page_of_its_own(client: Client, db: None) -> None:
    response = client.get("/d/ZZZZZ/")
    assert response.status_code == 404
    assert "We do not know this code" in words(response)


# -- buying


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


def opened(payment: Payment) -> str:
    Payment.objects.filter(pk=payment.pk).update(checkout_url=STRIPE)
    return STRIPE


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


# -- the session's page, state by state


def test_while_the_payment_is_checked(client: Client, make: Make) -> None:
    make(State.HELD, pay=PENDING)
    text = read(client)
    assert "You cannot be charged twice." in text
    assert "Checking your payment" in text
    assert "Cancel and pay nothing" in text


def test_a_hold_that_was_called_off_says_so_at_once(client: Client, make: Make) -> None:
    make(State.HELD, pay=PENDING, reason="stopped_by_guest")
    assert "Cancelled. You pay nothing." in read(client)


def test_in_the_grace_period_the_money_is_reserved(client: Client, make: Make) -> None:
    make(State.GRACE, grace_ends_at=clock.now() + timedelta(minutes=5))
    text = read(client)
    assert "€3.60 is reserved, not charged." in text
    assert "Power comes at 13:05" in text
    assert text.index("reserved") < text.index("Power comes at 13:05")
    assert "Start now" in text
    assert "5:00" in text


def test_money_that_was_taken_at_once_is_not_called_reserved(client: Client, make: Make) -> None:
    make(State.GRACE, pay=CAPTURED, grace_ends_at=clock.now() + timedelta(minutes=5))
    text = read(client)
    assert "€3.60 paid. It comes back if Washer 1 does not start." in text
    assert "reserved" not in text


def test_waiting_for_power(client: Client, make: Make) -> None:
    make(State.WAITING_FOR_POWER, power_wait_ends_at=clock.now() + timedelta(minutes=30))
    text = read(client)
    assert "€3.60 is reserved, not charged." in text
    assert "No power by 13:30? Then we cancel, and you pay nothing." in text


def test_switching_on_shows_that_the_time_has_not_started(client: Client, make: Make) -> None:
    make(State.STARTING)
    text = read(client)
    assert "€3.60 is reserved, not charged. Still true until Washer 1 answers." in text
    assert "60:00 not started yet" in text


def test_running_counts_to_its_end(client: Client, make: Make) -> None:
    make(State.RUNNING, pay=CAPTURED, **ran(18, off_requested_at=None, delivered_s=None))
    text = read(client)
    assert "€3.60 paid. Minutes you do not get are paid back." in text
    assert "On until 13:42" in text
    assert "42:00" in text


def test_a_silent_device_says_that_only_confirmed_minutes_are_paid(client: Client, device: Device, make: Make) -> None:
    Device.objects.update(online=False)
    make(State.RUNNING, pay=CAPTURED, **ran(18, off_requested_at=None, delivered_s=None))
    assert "You pay only for confirmed minutes" in read(client)


def test_a_power_hold_keeps_the_minutes(client: Client, make: Make) -> None:
    now = clock.now()
    clocks = {"started_at": now - timedelta(minutes=60), "paused_at": now - timedelta(minutes=23)}
    make(State.PAUSED, pay=CAPTURED, pause_ends_at=now + timedelta(minutes=7), **clocks)
    text = read(client)
    assert "Standing still costs nothing." in text
    assert "Your 23 min are safe" in text
    assert "Stop here, get €1.38 back" in text


def test_switching_off_says_that_nothing_more_is_charged(client: Client, make: Make) -> None:
    make(State.STOPPING, pay={**CAPTURED, "charge_minor": 360}, **ran(60))
    text = read(client)
    assert "€3.60 paid. Nothing more will be charged." in text
    assert "Time is up" in text
    assert "waiting for OFF" in text


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


def given(promised: int, returned: int) -> dict[str, Any]:
    """Money that staff gives back."""
    return {**CAPTURED, "refund_promised_minor": promised, "refunded_minor": returned}


@pytest.mark.parametrize(
    ("state", "columns", "says"),
    [
        (State.GRACE, {"grace_ends_at": 5}, "Free at about 14:05, in 65 min."),
        (State.STARTING, {"grace_ends_at": -1}, "Free at about 13:59, in 59 min."),
        (State.RUNNING, {"started_at": -36, "ends_at": 24}, "Free at about 13:24, in 24 min."),
        (State.WAITING_FOR_POWER, {"grace_ends_at": -1}, "Washer 1 is in use"),
        (State.PAUSED, {"ends_at": 24, "paused_at": -1}, "Washer 1 is in use"),
        (State.HELD, {}, "Washer 1 is in use"),
    ],
)
def test_when_a_busy_device_is_free_is_said_where_it_is_known(
    client: Client, make: Make, state: State, columns: dict[str, int], says: str
) -> None:
    make(state, **{name: clock.now() + timedelta(minutes=minutes) for name, minutes in columns.items()})
    text = read(client, "/d/W17Q4/")
    assert says in text
    assert ("Free at about" in text) == says.startswith("Free")


@pytest.mark.parametrize(
    ("money", "says", "stop"),
    [
        ((100, 100), "€1.00 was paid back to you. €3.60 paid.", "You get €0.44 back if you stop now"),
        ((100, 0), "€1.00 is on its way back to you. €3.60 paid.", "You get €0.44 back if you stop now"),
        ((360, 360), "€3.60 was paid back to you. You pay nothing for this session.", "Nothing comes back if you stop"),
    ],
)
def test_what_staff_gave_back_while_it_runs_is_not_promised_again(
    client: Client, make: Make, money: tuple[int, int], says: str, stop: str
) -> None:
    now, (first, *_rest) = clock.now(), says.split(". ")
    ends = {"started_at": now - timedelta(minutes=36), "ends_at": now + timedelta(minutes=24)}
    session = make(State.RUNNING, pay=given(*money), **ends)
    assert says in read(client)
    question = read(client, f"{LINK}stop/")
    assert stop in question
    assert first in question
    paused = {"state": State.PAUSED, "paused_at": now, "pause_ends_at": now + timedelta(minutes=30)}
    DeviceSession.objects.filter(pk=session.pk).update(**paused)
    standing = read(client)
    assert says in standing
    assert ("Stop here, get €0.44 back" in standing) == (money[0] == 100)
    DeviceSession.objects.filter(pk=session.pk).update(state=State.RUNNING, paused_at=None)
    Device.objects.update(online=False)
    assert first in read(client)


def test_what_comes_back_is_counted_for_each_order(client: Client, make: Make) -> None:
    """As the settlement does it: what staff gave back of the first order takes nothing from the second."""
    now = clock.now()
    ends = {"started_at": now - timedelta(minutes=30), "ends_at": now + timedelta(minutes=90), "duration_s": 7200}
    session = make(State.RUNNING, pay={**given(360, 360), "duration_s": 3600}, **ends)
    more = {"purpose": "extension", "applied_at": now, "amount_minor": 360, "currency": "eur", "duration_s": 3600}
    Payment.objects.create(session=session, ref="S-7QK4-2", checkout_key="k2", checkout_params="{}", **CAPTURED, **more)
    assert "You get €3.60 back if you stop now" in read(client, f"{LINK}stop/")


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


def test_money_given_back_before_it_starts_is_said(client: Client, make: Make) -> None:
    make(State.GRACE, pay=given(360, 360), grace_ends_at=clock.now() + timedelta(minutes=5))
    assert "€3.60 was paid back to you. You pay nothing for this session." in read(client)


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


@pytest.mark.parametrize(
    ("reserved", "pace"), [(0, "calm"), (360, "slow")], ids=["all of the money is taken", "its taking is under way"]
)
def test_a_running_page_asks_more_often_while_money_moves(client: Client, make: Make, reserved: int, pace: str) -> None:
    make(State.RUNNING, pay={} if reserved else CAPTURED, **ran(24, off_requested_at=None, delivered_s=None))
    assert f'data-pace="{pace}"' in client.get(LINK).content.decode()


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


# -- what a guest does


def test_stop_early_asks_first_and_says_what_comes_back(client: Client, make: Make) -> None:
    session = make(State.RUNNING, pay=CAPTURED, **ran(36, off_requested_at=None, delivered_s=None))
    text = read(client, f"{LINK}stop/")
    assert "You get €1.44 back if you stop now" in text
    assert "perhaps with water in it" in text
    session.refresh_from_db()
    assert session.state == State.RUNNING


@pytest.mark.parametrize(
    ("step", "service"), [("start", "start_now"), ("cancel", "cancel_by_guest"), ("stop", "stop_by_guest")]
)
def test_each_button_calls_its_service_and_returns(
    client: Client, make: Make, monkeypatch: pytest.MonkeyPatch, step: str, service: str
) -> None:
    asked: list[int] = []
    session = make(State.GRACE, grace_ends_at=clock.now())
    monkeypatch.setattr(services, service, lambda which: asked.append(which.pk))
    response = client.post(f"{LINK}{step}/")
    assert (response.status_code, response["Location"]) == (303, LINK)
    assert asked == [session.pk]


@pytest.mark.parametrize("step", ["start", "cancel", "pay"])
def test_reading_never_changes_anything(client: Client, make: Make, step: str) -> None:
    make(State.GRACE, grace_ends_at=clock.now())
    assert client.get(f"{LINK}{step}/").status_code == 405


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


# -- what no page does


EVERY: dict[str, tuple[str, dict[str, Any]]] = {
    "held": (State.HELD, PENDING),
    "grace": (State.GRACE, {}),
    "starting": (State.STARTING, {}),
    "running": (State.RUNNING, CAPTURED),
    "stopping": (State.STOPPING, {**CAPTURED, "charge_minor": 216}),
    "completed": (State.COMPLETED, {**CAPTURED, "charge_minor": 216}),
}


def pages_of(client: Client, make: Make) -> list[Any]:
    responses = [client.get(path) for path in ("/d/W17Q4/", "/d/ZZZZZ/", "/session/unknown/", "/nothing/here/")]
    for state, pay in EVERY.values():
        Payment.objects.all().delete()
        DeviceSession.objects.all().delete()
        extra = ran(36) if state in (State.RUNNING, State.STOPPING, State.COMPLETED) else {}
        make(state, pay=pay, grace_ends_at=clock.now() + timedelta(minutes=5), **extra)
        responses.append(client.get(LINK))
    return responses


def test_no_page_has_inline_scripts_styles_or_strangers(client: Client, plan: UsagePlan, make: Make) -> None:
    for response in pages_of(client, make):
        body = response.content.decode()
        assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", body)
        assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", body))
        assert not re.search(r'<(?:link|script|img|use|iframe)[^>]*(?:src|href)="(?:https?:)?//', body)
        assert "Simulation: no real money, no real machines." in body


def test_a_page_with_all_it_loads_is_small(client: Client, plan: UsagePlan, make: Make) -> None:
    loaded = sum((STATIC / name).stat().st_size for name in ("guest.css", "guest.js", "sprite.svg", "icon.svg"))
    for response in pages_of(client, make):
        assert loaded + len(response.content) < 100_000


def test_a_session_page_is_kept_by_nobody(client: Client, make: Make) -> None:
    make(State.GRACE, grace_ends_at=clock.now())
    for path in (LINK, "/session/unknown/", f"{LINK}back/"):
        response = client.get(path)
        assert response["Cache-Control"] == "no-store"
        assert response["Referrer-Policy"] == "no-referrer"
        assert response["X-Robots-Tag"] == "noindex"
    assert client.get("/session/unknown/").status_code == 404


def test_a_session_page_takes_three_queries(client: Client, make: Make, django_assert_max_num_queries: Any) -> None:
    make(State.GRACE, grace_ends_at=clock.now())
    with django_assert_max_num_queries(3):
        client.get(LINK)


def test_asking_again_costs_nothing_until_there_is_news(client: Client, make: Make) -> None:
    session = make(State.GRACE, grace_ends_at=clock.now() + timedelta(minutes=5))
    asks = {"X-Requested-With": "hygate"}
    first = client.get(LINK, headers=asks)
    assert first.content.decode().startswith("<main")
    again = client.get(LINK, headers={**asks, "If-None-Match": first["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    DeviceSession.objects.filter(pk=session.pk).update(state=State.STARTING)
    news = client.get(LINK, headers={**asks, "If-None-Match": first["ETag"]})
    assert news.status_code == 200
    assert "switching on" in news.content.decode()


def test_counting_down_is_no_news(client: Client, make: Make, later: Callable[[float], Any]) -> None:
    make(State.RUNNING, pay=CAPTURED, **ran(18, off_requested_at=None, delivered_s=None))
    first = client.get(LINK)["ETag"]
    later(60)
    assert client.get(LINK)["ETag"] == first


def test_without_a_script_a_page_that_changes_reloads_itself(client: Client, make: Make) -> None:
    session = make(State.STARTING)
    assert '<noscript><meta http-equiv="refresh" content="5"></noscript>' in client.get(LINK).content.decode()
    DeviceSession.objects.filter(pk=session.pk).update(state=State.CANCELLED, reason="start_failed")
    Payment.objects.update(status=PaymentStatus.VOIDED)
    assert "refresh" not in client.get(LINK).content.decode()


def test_a_devices_name_cannot_write_html(client: Client, plan: UsagePlan) -> None:
    Device.objects.update(name="<script>alert(1)</script>", place='"><img src=x>')
    body = client.get("/d/W17Q4/").content.decode()
    assert "<script>alert" not in body
    assert "<img" not in body


# -- files


@pytest.mark.parametrize(("color", "text"), [("#153e63", "#fff"), ("#ffc531", "#000"), ("red;}", "#fff")])
def test_the_operators_colour_comes_with_readable_words(client: Client, plan: UsagePlan, color: str, text: str) -> None:
    SiteSettings.objects.update_or_create(pk=1, defaults={"brand_color": color})
    chosen = color if color.startswith("#") else "#153e63"
    address = f"/brand-{chosen[1:]}.css"
    assert f'href="{address}"' in client.get("/d/W17Q4/").content.decode()
    response = client.get(address)
    assert response.content.decode() == f":root {{ --brand: {chosen}; --brand-text: {text}; }}\n"
    assert "immutable" in response["Cache-Control"]


def test_the_qr_code_is_served_as_svg_and_png(client: Client, device: Device) -> None:
    svg, png = client.get("/d/W17Q4/qr.svg"), client.get("/d/W17Q4/qr.png")
    assert (svg["Content-Type"], png["Content-Type"]) == ("image/svg+xml", "image/png")
    assert b"<path" in svg.content
    assert png.content.startswith(b"\x89PNG")
    assert client.get("/d/ZZZZZ/qr.png").status_code == 404


def test_the_png_holds_the_codes_own_pattern() -> None:
    import io

    from PIL import Image

    from devices import qr

    url = "https://hygate.example/d/W17Q4/"
    image = Image.open(io.BytesIO(qr.png(url))).convert("1")
    step = qr.PIXELS_A_MODULE
    modules = qr._code(url).get_matrix()
    assert image.size == (len(modules) * step, len(modules) * step)
    for y, row in enumerate(modules):
        for x, dark in enumerate(row):
            assert (image.getpixel((x * step + step // 2, y * step + step // 2)) == 0) == bool(dark)
