"""The page of a session that is not over, state by state: the money first, then what goes on, then the choice."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client

from devices.models import Device
from hygate import clock
from sessions_app import services
from sessions_app.models import DeviceSession, Payment
from sessions_app.states import State
from tests.sessions_app.guest_pages import (
    CAPTURED,
    LINK,
    PENDING,
    Make,
    _static_files_need_no_collecting,
    device,
    given,
    make,
    ran,
    read,
)

__all__ = ["_static_files_need_no_collecting", "device", "make"]
pytestmark = pytest.mark.django_db


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


def test_money_given_back_before_it_starts_is_said(client: Client, make: Make) -> None:
    make(State.GRACE, pay=given(360, 360), grace_ends_at=clock.now() + timedelta(minutes=5))
    assert "€3.60 was paid back to you. You pay nothing for this session." in read(client)


@pytest.mark.parametrize(
    ("reserved", "pace"), [(0, "calm"), (360, "slow")], ids=["all of the money is taken", "its taking is under way"]
)
def test_a_running_page_asks_more_often_while_money_moves(client: Client, make: Make, reserved: int, pace: str) -> None:
    make(State.RUNNING, pay={} if reserved else CAPTURED, **ran(24, off_requested_at=None, delivered_s=None))
    assert f'data-pace="{pace}"' in client.get(LINK).content.decode()


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
