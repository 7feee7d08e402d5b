"""An open page that asks again: cheap while nothing is new, and never told so when something is."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import F
from django.test import Client
from django.test.utils import CaptureQueriesContext

from devices.models import Device, Location
from hygate import clock
from sessions_app import services
from sessions_app.guest import asked_again, pages, power
from sessions_app.guest.shapes import SessionPage
from sessions_app.guest.visit import Visit
from sessions_app.models import DeviceSession, GuestMail, Payment, ProblemReport, QueueEntry, Refund
from sessions_app.states import RefundStatus, State
from tests.world import World

Change = Callable[[DeviceSession], Any]


@pytest.fixture(autouse=True)
def _static_files_need_no_collecting(settings: Any, tmp_path: Any) -> None:
    settings.STATIC_ROOT = str(tmp_path)


@pytest.fixture
def running(world: World) -> DeviceSession:
    plan = world.add_plan(world.device, duration_s=3600, grace_s=0)
    session = world.buy(plan=plan)
    world.tell(session)
    world.go(6)
    session.refresh_from_db()
    assert session.state == State.RUNNING
    return session


class Page:
    """One open page. ``ask()`` is its script's question with the version that it shows."""

    def __init__(self, session: DeviceSession, **headers: str) -> None:
        self.link, self.headers, self.client = f"/session/{session.token}/", headers, Client()
        self.version = self.client.get(self.link, headers=headers)["ETag"]

    def ask(self) -> Any:
        more = {"x-requested-with": "hygate", "if-none-match": self.version, **self.headers}
        answer = self.client.get(self.link, headers=more)
        self.version = answer["ETag"]
        return answer

    def queries(self) -> int:
        with CaptureQueriesContext(connection) as asked:
            self.ask()
        return len(asked)


def test_after_the_first_answer_nothing_new_costs_one_query(running: DeviceSession) -> None:
    page = Page(running)
    assert page.ask().status_code == 304
    assert page.queries() == 1


def test_every_process_knows_a_page_that_another_one_made(running: DeviceSession) -> None:
    page = Page(running)
    page.ask()
    page.client = Client()  # with a handler of its own, as another process has
    assert page.queries() == 1


@pytest.mark.parametrize("etag", ["", '"', 'W/"x"', 'W/"{version}.0.{seal}"', 'W/"{version}.ffffffff.{seal}"'])
def test_an_etag_that_nobody_gave_away_has_the_page_made(running: DeviceSession, etag: str) -> None:
    page = Page(running)
    page.ask()
    mark = asked_again.Mark.read(page.version)
    assert mark is not None
    page.version = etag.format(version=mark.version, seal=mark.seal)
    assert page.queries() > 1


def test_the_short_answer_carries_the_clock_and_keeps_nothing(running: DeviceSession) -> None:
    page = Page(running)
    page.ask()
    answer = page.ask()
    assert answer.status_code == 304
    assert answer.content == b""
    assert int(answer["X-Hygate-Now"]) == int(clock.now().timestamp() * 1000)
    assert answer["Cache-Control"] == "no-store"


def pause(session: DeviceSession) -> None:
    DeviceSession.objects.filter(pk=session.pk).update(paused_at=clock.now(), pause_ends_at=clock.now())


CHANGES: dict[str, Change] = {
    "the guest stops": services.stop_by_guest,
    "the relay went off": pause,
    "the end moved": lambda one: DeviceSession.objects.update(ends_at=F("ends_at") + timedelta(minutes=5)),
    "the money is only held": lambda one: Payment.objects.update(status="AUTHORIZED", captured_minor=0),
    "the device is out of reach": lambda one: Device.objects.update(online=False),
    "the device has another name": lambda one: Device.objects.update(name="Washer 9"),
    "the clock of the place changed": lambda one: Location.objects.update(timezone="Europe/Dublin"),
    "a problem was reported": lambda one: ProblemReport.objects.create(
        reference="P-ABCD", session=one, device=one.device, cause="other"
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_changes_a_page_is_shown_at_the_next_question(running: DeviceSession, change: str) -> None:
    page = Page(running)
    page.ask()
    assert page.ask().status_code == 304
    CHANGES[change](running)
    assert page.ask().status_code == 200, f"{change}, and the page was told that nothing is new"


def test_whatever_the_facts_leave_out_is_no_news(running: DeviceSession) -> None:
    """Every quiet column gets another value, and the page that is made anew still has the same version."""
    Device.objects.update(watts=900, energy_wh=70.0)
    DeviceSession.objects.update(energy_from_wh=60.0)
    page = Page(running)
    moved = clock.now() - timedelta(seconds=3)
    Device.objects.update(reading_mark="new", reading_at=moved, seen_at=moved, watts=1500, energy_wh=90.0)
    Payment.objects.update(checked_at=moved, compared_at=moved, attempts=7, last_error="x", unexpected_errors=1)
    DeviceSession.objects.update(attempts=3, last_error="said to staff", unexpected_errors=1)
    assert page.client.get(page.link)["ETag"] == page.version


def test_watts_and_energy_travel_beside_the_page(running: DeviceSession) -> None:
    Device.objects.update(watts=1843, energy_wh=1000.0)
    DeviceSession.objects.update(energy_from_wh=380.0)
    page = Page(running, **{"accept-language": "de"})
    page.ask()
    Device.objects.update(watts=2051, energy_wh=1010.0)
    answer = page.ask()
    assert answer.status_code == 304
    assert json.loads(answer[power.HEADER]) == {"watts": "2.050\u00a0W", "energy": "0,63\u00a0kWh"}


def test_languages_do_not_answer_for_each_other(running: DeviceSession) -> None:
    german, english = Page(running, **{"accept-language": "de"}), Page(running, **{"accept-language": "en"})
    german.ask()
    german.version = english.version
    assert german.ask().status_code == 200


def test_a_page_is_made_anew_now_and_then_even_so(
    running: DeviceSession, later: Callable[[float], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it shows beside its rows grows no older than that."""
    page = Page(running)
    page.ask()
    made: list[str] = []
    make = pages.session_page

    def noted(visit: Visit) -> SessionPage:
        made.append(visit.token)
        return make(visit)

    monkeypatch.setattr(pages, "session_page", noted)
    page.ask()
    assert not made
    later(asked_again.NOTHING_CHANGES_S + 1)
    page.ask()
    assert made


def test_near_its_end_a_page_is_looked_at_closely(running: DeviceSession, later: Callable[[float], Any]) -> None:
    page = Page(running)
    page.ask()
    facts = asked_again.facts_of(running.token)
    assert facts is not None
    assert facts.good_for_s(clock.now()) == asked_again.NOTHING_CHANGES_S
    later(3600 - 50)
    assert facts.good_for_s(clock.now()) == asked_again.SOMETHING_CHANGES_S


def test_what_can_be_added_is_looked_at_more_often(running: DeviceSession) -> None:
    DeviceSession.objects.update(extendable=True)
    facts = asked_again.facts_of(running.token)
    assert facts is not None
    assert facts.good_for_s(clock.now()) == asked_again.OFFER_CHANGES_S


def test_another_day_is_news(running: DeviceSession, later: Callable[[float], Any]) -> None:
    """A moment of another day is said with its day."""
    DeviceSession.objects.update(ends_at=clock.now() + timedelta(days=2))
    before = asked_again.facts_of(running.token)
    later(24 * 3600)
    after = asked_again.facts_of(running.token)
    assert before is not None and after is not None
    assert before.digest != after.digest


@pytest.mark.parametrize("state", [State.PAUSED, State.WAITING_FOR_POWER])
def test_pages_that_tell_of_others_are_made_each_time(running: DeviceSession, state: State) -> None:
    DeviceSession.objects.update(state=state, paused_at=clock.now(), pause_ends_at=clock.now())
    page = Page(running)
    page.ask()
    assert page.queries() > 1


def test_a_link_that_nobody_has_gets_the_page_that_says_so(client: Client, db: None) -> None:
    headers = {"x-requested-with": "hygate", "if-none-match": 'W/"x"'}
    assert client.get("/session/" + "a" * 43 + "/", headers=headers).status_code == 404


def test_somebody_who_waits_is_noticed(running: DeviceSession) -> None:
    page = Page(running)
    page.ask()
    before = asked_again.facts_of(running.token)
    QueueEntry.objects.create(device=running.device, token_hash="h", token="t")
    after = asked_again.facts_of(running.token)
    assert before is not None and after is not None
    assert before.digest != after.digest


def test_a_mail_that_was_asked_for_is_noticed(running: DeviceSession) -> None:
    before = asked_again.facts_of(running.token)
    GuestMail.objects.create(kind="done", session=running, message_id="m")
    after = asked_again.facts_of(running.token)
    assert before is not None and after is not None
    assert before.digest != after.digest


def test_a_refund_that_was_refused_is_noticed(running: DeviceSession) -> None:
    """Nothing else of the payment has to change with it."""
    before = asked_again.facts_of(running.token)
    order = running.payments.get()
    Refund.objects.create(payment=order, amount_minor=100, status=RefundStatus.FAILED, reason="by_staff")
    after = asked_again.facts_of(running.token)
    assert before is not None and after is not None
    assert before.digest != after.digest
