"""A phone finds its sessions again when the label on the machine sells to the next one."""

from __future__ import annotations

import pytest
from django.test import Client

from devices.models import UsagePlan
from hygate import clock
from sessions_app.models import DeviceSession
from sessions_app.states import State
from tests.sessions_app.guest_pages import (
    CAPTURED,
    LINK,
    Make,
    _static_files_need_no_collecting,
    device,
    make,
    plan,
    ran,
    read,
)

__all__ = ["_static_files_need_no_collecting", "device", "make", "plan"]
pytestmark = pytest.mark.django_db
MINE = "/mine/"


ON = {"off_requested_at": None, "delivered_s": None}
"""A session whose relay is still on has none of these."""


@pytest.mark.parametrize(
    ("state", "more", "says"),
    [
        (State.RUNNING, {}, "Not over yet · 12:24 · Everyday, 60 min"),
        (State.COMPLETED, {}, "Finished · 12:24 · Everyday, 60 min"),
        (State.CANCELLED, {"reason": "stopped_by_guest"}, "Stopped early · 12:24 · Everyday, 60 min"),
        (State.CANCELLED, {"reason": "hold_expired", "started_at": None}, "Ended · 13:00 · Everyday, 60 min"),
    ],
)
def test_a_phone_is_led_back_to_what_it_opened(
    client: Client, make: Make, state: State, more: dict[str, object], says: str
) -> None:
    session = make(State.RUNNING, pay=CAPTURED, **ran(36, **ON))
    client.get(LINK)
    over = {} if state == State.RUNNING else {"closed_at": clock.now()}
    DeviceSession.objects.filter(pk=session.pk).update(state=state, **more, **over)
    response = client.get(MINE)
    assert f'href="{LINK}"' in response.content.decode()
    assert says in read(client, MINE)
    assert (response["Cache-Control"], response["Referrer-Policy"]) == ("no-store", "no-referrer")


def test_the_label_that_sells_again_shows_the_way_to_them(client: Client, make: Make, plan: UsagePlan) -> None:
    session = make(State.RUNNING, pay=CAPTURED, **ran(36, **ON))
    client.get(LINK)
    DeviceSession.objects.filter(pk=session.pk).update(state=State.COMPLETED, closed_at=clock.now())
    page = client.get("/d/W17Q4/").content.decode()
    assert "Free now" in page
    assert f'href="{MINE}"' in page


def test_a_stranger_finds_nothing(client: Client, make: Make, plan: UsagePlan) -> None:
    make(State.COMPLETED, pay=CAPTURED, closed_at=clock.now(), **ran(60))
    assert "This phone remembers no session." in read(client, MINE)
    assert LINK not in client.get(MINE).content.decode()
    assert f'href="{MINE}"' not in client.get("/d/W17Q4/").content.decode()
