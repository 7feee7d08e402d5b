"""Problems that guests report: one tap, what the relay did goes with it, and staff's answer under the same link."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from django.core.cache import cache
from django.test import Client
from django.urls import reverse

from devices.models import Device, DeviceCode
from hygate import attempts, clock
from hygate.attempts import TooOften
from hygate.models import Alert, AuditEvent, Role, SiteSettings, User
from sessions_app.models import DeviceSession, ProblemReport
from sessions_app.problems import services
from sessions_app.problems.models import Cause
from sessions_app.problems.views import OF_SESSIONS
from sessions_app.states import State
from tests.sessions_app.guest_pages import (
    CAPTURED,
    LINK,
    Make,
    _static_files_need_no_collecting,
    device,
    make,
    ran,
    read,
    words,
)
from tests.sessions_app.test_concurrency import at_once

if TYPE_CHECKING:
    from tests.world import World

__all__ = ["_static_files_need_no_collecting", "device", "make"]
pytestmark = pytest.mark.django_db
REPORT = f"{LINK}report/"


@pytest.fixture(autouse=True)
def fresh_slots(db: None) -> None:
    cache.clear()


@pytest.fixture
def guest() -> Client:
    return Client()


def running(make: Make) -> DeviceSession:
    now = clock.now()
    return make(State.RUNNING, pay=CAPTURED, started_at=now, ends_at=now + timedelta(hours=1))


def tap(guest: Client, cause: str = "no_power") -> str:
    answer = guest.post(REPORT, {"cause": cause})
    assert answer.status_code == 303
    return str(answer["Location"])


def staff(role: str = Role.OPERATOR) -> Client:
    client = Client()
    user = User.objects.create_user(f"{role}@site.example", role=role, is_staff=True, first_name="Maeve")
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def do(client: Client, name: str, one: ProblemReport, **said: str) -> str:
    answer = client.post(reverse(f"dashboard:{name}", args=[one.pk]), said, follow=True)
    assert answer.status_code == 200
    return words(answer)


# -- the guest


def test_one_tap_reports_and_the_money_stands_first(make: Make, guest: Client) -> None:
    running(make)
    assert "Report a problem" in read(guest)
    page = guest.get(REPORT)
    text = words(page)
    assert text.index("€3.60 paid.") < text.index("What went wrong?") < text.index("It has no power")
    assert page.content.decode().count('name="cause"') == 5
    after = tap(guest)
    one = ProblemReport.objects.get()
    assert after == f"{REPORT}{one.reference}/"
    assert re.fullmatch("P-[2-9A-HJ-NP-Z]{4}", one.reference)
    text = read(guest, after)
    assert text.index("€3.60 paid.") < text.index("Thank you, Seaside Camping knows")
    assert one.reference in text
    assert "To be seen by Seaside Camping" in text
    assert f"Your report {one.reference}" in read(guest)


def test_the_same_cause_again_leads_to_the_same_report_and_another_to_another(make: Make, guest: Client) -> None:
    running(make)
    first = tap(guest)
    assert tap(guest) == first
    assert tap(guest, "machine") != first
    assert "You told us already" in read(guest, REPORT)
    assert ProblemReport.objects.count() == Alert.objects.count() == 2


def test_after_it_was_closed_the_same_cause_is_a_new_report(make: Make, guest: Client) -> None:
    running(make)
    first = tap(guest)
    ProblemReport.objects.update(closed_at=clock.now())
    assert tap(guest) != first


@pytest.mark.django_db(transaction=True)
def test_two_taps_at_once_are_one_report(make: Make) -> None:
    session = running(make)
    results = at_once(5, lambda _index: services.report(session, Cause.NO_POWER, language="en").reference)
    assert len(set(results)) == 1
    assert ProblemReport.objects.count() == Alert.objects.count() == 1


@pytest.mark.parametrize("cause", ["", "sticker", "drop table", "NO_POWER"])
def test_only_the_causes_on_the_page_are_taken(make: Make, guest: Client, cause: str) -> None:
    running(make)
    assert tap(guest, cause) == REPORT
    assert not ProblemReport.objects.exists()


@pytest.mark.parametrize("state", [State.HELD, State.GRACE, State.WAITING_FOR_POWER])
def test_before_the_machine_was_asked_for_anything_there_is_nothing_to_report(
    make: Make, guest: Client, state: State
) -> None:
    make(state, grace_ends_at=clock.now() + timedelta(minutes=5))
    assert "Report a problem" not in read(guest)
    assert guest.get(REPORT).status_code == guest.post(REPORT, {"cause": "other"}).status_code == 303
    assert not ProblemReport.objects.exists()


def test_reports_of_one_session_have_an_end(make: Make, guest: Client) -> None:
    running(make)
    for _ in range(services.MOST):
        tap(guest)
        ProblemReport.objects.update(closed_at=clock.now())
    tap(guest)
    assert ProblemReport.objects.count() == services.MOST


def test_one_network_cannot_report_without_end_and_what_was_told_stays_open(make: Make, guest: Client) -> None:
    running(make)
    first = tap(guest)
    for _ in range(19):
        assert not isinstance(attempts.take("report@127.0.0.1", OF_SESSIONS), TooOften)
    refused = guest.post(REPORT, {"cause": "machine"})
    assert refused.status_code == 429
    assert 3500 < int(refused["Retry-After"]) <= 3601
    text = words(refused)
    assert text.index("€3.60 paid.") < text.index("Too many reports")
    assert ProblemReport.objects.count() == 1
    assert tap(guest) == first
    elsewhere = guest.post(REPORT, {"cause": "machine"}, REMOTE_ADDR="192.0.2.9")
    assert elsewhere.status_code == 303


def test_words_can_be_added_once(make: Make, guest: Client) -> None:
    running(make)
    page = tap(guest)
    assert "Anything to add?" in read(guest, page)
    guest.post(page, {"note": "The drum is full of water. " * 30})
    guest.post(page, {"note": "something else"})
    text = read(guest, page)
    assert "The drum is full of water." in text
    assert "Anything to add?" not in text
    assert len(ProblemReport.objects.get().note) == 500


def test_a_report_is_opened_by_its_own_sessions_link_only(make: Make, guest: Client, device: Device) -> None:
    running(make)
    foreign = services.report_label("W17Q4", device, language="en")
    assert guest.get(f"{REPORT}{foreign.reference}/").status_code == 404
    assert guest.post(f"{REPORT}{foreign.reference}/", {"note": "x"}).status_code == 404


def test_what_a_guest_or_staff_writes_is_never_markup(make: Make, guest: Client) -> None:
    running(make)
    page = tap(guest)
    guest.post(page, {"note": "<script>alert(1)</script>"})
    operator, one = staff(), ProblemReport.objects.get()
    do(operator, "problem_answer", one, answer="<img src=x>")
    for client, url in ((guest, page), (operator, reverse("dashboard:problem", args=[one.pk]))):
        body = client.get(url).content.decode()
        assert "<script>alert" not in body
        assert "<img src=x" not in body


def test_over_the_money_line_is_what_the_session_page_says(make: Make, guest: Client) -> None:
    make(
        State.CANCELLED,
        pay={**CAPTURED, "charge_minor": 216, "refund_promised_minor": 144},
        reason="relay_off_prematurely",
        **ran(36, closed_at=clock.now()),
    )
    assert "€1.44 is on its way back to you." in read(guest, REPORT)
    assert "€1.44 is on its way back to you." in read(guest, tap(guest, "too_early"))


# -- what goes with it


def test_the_relays_log_goes_with_the_report_and_is_kept_as_it_was(world: World) -> None:
    session = world.buy()
    world.tell(session)
    world.go(15)
    one = services.report(DeviceSession.objects.get(pk=session.pk), Cause.NO_POWER, language="de")
    told = [(line["what"], line["answer"]) for line in one.evidence]
    whats = [what for what, _ in told]
    assert whats.index("ON wanted") < whats.index("ON sent, attempt 1") < whats.index("ON confirmed by read-back")
    assert any(what == "Last reading" and answer.startswith("output on") for what, answer in told)
    assert ("Reported", "relay online") in told
    assert all(line["at"] for line in one.evidence)
    assert session.token not in str(one.evidence)
    before = one.evidence
    world.go(60)
    services.report(DeviceSession.objects.get(pk=session.pk), Cause.NO_POWER, language="de")
    assert ProblemReport.objects.get().evidence == before


# -- the label


@pytest.mark.parametrize("code", ["W17Q4", "OLD77", "NEVER1"])
def test_an_odd_label_is_reported_for_known_replaced_and_unknown_codes(
    guest: Client, device: Device, code: str
) -> None:
    DeviceCode.objects.create(device=device, code="OLD77", retired_at=clock.now())
    scanned = guest.get(f"/d/{code}/").content.decode()
    assert f'href="/d/{code}/report/"' in scanned
    assert "This sticker looks odd" in scanned
    page = f"/d/{code}/report/"
    assert "Do not pay on a page of another address than 127.0.0.1:8000." in read(guest, page)
    after = guest.post(page)
    assert (after.status_code, after["Location"]) == (303, f"{page}?sent=1")
    text = read(guest, after["Location"])
    assert "Thank you, we will look at it" in text
    assert "Do not pay on a page of another address than 127.0.0.1:8000." in text
    one = ProblemReport.objects.get()
    assert (one.code, one.cause, one.session, one.device) == (
        code,
        Cause.STICKER,
        None,
        None if code == "NEVER1" else device,
    )
    assert Alert.objects.get().kind == "problem_report"


def test_the_report_page_does_not_say_which_codes_exist(guest: Client, device: Device) -> None:
    known, unknown = (read(guest, f"/d/{code}/report/") for code in ("W17Q4", "X17Q4"))
    assert known == unknown


def test_a_label_is_reported_once_while_the_report_is_open(guest: Client, device: Device) -> None:
    guest.post("/d/W17Q4/report/")
    guest.post("/d/W17Q4/report/")
    assert ProblemReport.objects.count() == Alert.objects.count() == 1


def test_one_network_cannot_report_labels_without_end(guest: Client, device: Device) -> None:
    answers = [guest.post(f"/d/CODE{number}/report/").status_code for number in range(7)]
    assert answers == [303] * 5 + [429] * 2
    assert ProblemReport.objects.count() == 5
    assert "Too many reports" in words(guest.post("/d/CODE9/report/"))


def test_a_label_is_not_reported_by_looking(guest: Client, device: Device) -> None:
    guest.get("/d/W17Q4/report/?sent=1")
    assert not ProblemReport.objects.exists()


# -- the staff


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.ADMINISTRATOR])
def test_staff_sees_answers_and_closes_and_the_guest_reads_each(make: Make, guest: Client, role: str) -> None:
    running(make)
    page = tap(guest)
    one, person = ProblemReport.objects.get(), staff(role)
    alert = Alert.objects.get(closed_at=None)
    assert one.reference in words(person.get(reverse("dashboard:problems")))
    assert reverse("dashboard:problem", args=[one.pk]) in person.get(reverse("dashboard:overview")).content.decode()
    do(person, "problem_seen", one)
    assert "Seen by Seaside Camping" in read(guest, page)
    assert Alert.objects.filter(closed_at=None).exists()
    do(person, "problem_answer", one, answer="The fuse was out.\nIt is back in.")
    text = read(guest, page)
    assert "Seaside Camping has answered Your reference" in text, "no thanks for the report once it is answered"
    assert "Their answer The fuse was out." in text
    assert "Maeve, Seaside Camping" in text
    assert "Read the answer to your report" in read(guest)
    alert.refresh_from_db()
    assert alert.closed_at is not None
    do(person, "problem_close", one)
    assert "Closed" in read(guest, page)
    kinds = AuditEvent.objects.filter(kind__startswith="problem_").order_by("pk").values_list("kind", "actor")
    user = f"user:{User.objects.get().pk}"
    assert list(kinds) == [
        ("problem_reported", "guest"),
        ("problem_seen", user),
        ("problem_answered", user),
        ("problem_closed", user),
    ]


def test_closing_without_an_answer_closes_the_alert_too(make: Make, guest: Client) -> None:
    running(make)
    tap(guest)
    assert "Closed." in do(staff(), "problem_close", ProblemReport.objects.get())
    assert not Alert.objects.filter(closed_at=None).exists()


def test_nothing_is_done_twice_or_to_a_closed_report(make: Make, guest: Client) -> None:
    running(make)
    tap(guest)
    one, person = ProblemReport.objects.get(), staff()
    do(person, "problem_seen", one)
    assert "Somebody was quicker" in do(person, "problem_seen", one)
    do(person, "problem_close", one)
    assert "closed already" in do(person, "problem_close", one)
    assert "nothing was done" in do(person, "problem_answer", one, answer="too late")
    one.refresh_from_db()
    assert one.answer == ""


def test_an_answer_needs_words(make: Make, guest: Client) -> None:
    running(make)
    tap(guest)
    answer = staff().post(reverse("dashboard:problem_answer", args=[ProblemReport.objects.get().pk]), {"answer": " "})
    assert answer.status_code == 422


def test_the_alert_is_mailed_as_every_other_and_says_what_to_do(make: Make, guest: Client) -> None:
    running(make)
    tap(guest)
    alert = Alert.objects.get()
    assert alert.title == "A guest reports: It has no power, Washer 1"
    assert ProblemReport.objects.get().reference in alert.advice
    assert alert.due_at is not None
    page = staff().get(reverse("dashboard:overview")).content.decode()
    assert "#problem-report" in page


def test_the_sessions_page_and_timeline_show_its_reports(make: Make, guest: Client) -> None:
    session = running(make)
    tap(guest)
    one = ProblemReport.objects.get()
    text = words(staff().get(reverse("dashboard:session", args=[session.pk])))
    assert f"{one.reference} It has no power New" in text
    assert f"by the guest · It has no power · {one.reference}" in text


@pytest.mark.parametrize("state", ["", "open", "answered", "closed", "nonsense"])
def test_the_list_filters_by_state(make: Make, guest: Client, state: str) -> None:
    running(make)
    tap(guest)
    shown = ProblemReport.objects.get().reference in words(staff().get(reverse("dashboard:problems"), {"state": state}))
    assert shown is (state in ("", "open", "nonsense"))


# -- the site's words


def test_terms_and_privacy_stand_at_the_foot_only_with_an_address_of_the_web(guest: Client, device: Device) -> None:
    SiteSettings.objects.update_or_create(
        pk=1, defaults={"terms_url": "https://seaside.example/terms", "privacy_url": "javascript:alert(1)"}
    )
    body = guest.get("/d/W17Q4/").content.decode()
    assert 'href="https://seaside.example/terms"' in body
    assert "javascript:" not in body


def test_the_general_settings_take_who_sells_and_refuse_other_addresses() -> None:
    person = staff(Role.ADMINISTRATOR)
    plain = {"company": "Seaside", "brand_color": "#153e63", "refund_limit": "50", "devices_enabled": "on"}
    good = {
        "legal_name": "Seaside Ltd",
        "legal_address": "Strand Road 12, Rosslare",
        "vat_number": "IE 1X",
        "contact_email": "desk@seaside.example",
        "terms_url": "https://seaside.example/terms",
        "privacy_url": "http://seaside.example/privacy",
    }
    assert person.post(reverse("dashboard:settings"), plain | good).status_code == 303
    site = SiteSettings.current()
    assert {name: getattr(site, name) for name in good} == good
    assert "Strand Road 12, Rosslare" in person.get(reverse("dashboard:settings")).content.decode()
    for wrong in ({"terms_url": "ftp://x.example"}, {"privacy_url": "javascript:alert(1)"}, {"contact_email": "desk"}):
        assert person.post(reverse("dashboard:settings"), plain | good | wrong).status_code == 422
