"""The audit log as a page: what it tells, what narrows it, its file, and the button that proves it."""

from __future__ import annotations

import csv
import io
import re
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from devices.models import Location
from hygate import audit, clock, sealing, verifying
from hygate.models import AuditEvent, Role, SiteSettings, User
from sessions_app.dashboard import audit_log
from sessions_app.payments import keyring
from tests.sessions_app.sales import Shop, browser, file_of

pytestmark = pytest.mark.django_db(transaction=True)
URL, VERIFY = "/dashboard/audit/", "/dashboard/audit/verify/"
HTMX = {"HX-Request": "true"}


@pytest.fixture
def shop(manual_clock: Any) -> Shop:
    return Shop()


@pytest.fixture
def admin(shop: Shop) -> Client:
    return browser(Role.ADMINISTRATOR)


def page(client: Client, **query: str) -> str:
    """The page's words, its tags taken out."""
    html = client.get(URL, query).content.decode()
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html.partition("<main")[2])).split())


def rows(client: Client, **query: str) -> list[str]:
    body = client.get(URL, query).content.decode().partition("<tbody>")[2].partition("</tbody>")[0]
    return [" ".join(unescape(re.sub(r"<[^>]+>", " ", row)).split()) for row in body.split("</tr>")[:-1]]


def person(email: str, name: str) -> User:
    return User.objects.create(email=email, first_name=name)


def test_an_edit_says_who_when_and_from_what_to_what(shop: Shop, admin: Client) -> None:
    User.objects.filter(email="administrator@example.com").update(first_name="Ada")
    form = {"name": "Wash house", "timezone": "Europe/Vienna", "currency": "eur", "high_power_w": "2500"}
    assert admin.post(f"/dashboard/locations/{shop.house.pk}/edit/", form).status_code == 303
    (row,) = (row for row in rows(admin) if "Location edited" in row)
    assert "2026-11-21 13:00:00" in row, "the site's own time"
    assert "Ada" in row
    assert "name: Laundry house → Wash house" in row


def test_what_must_not_be_in_the_log_is_only_said_to_have_changed(shop: Shop, admin: Client) -> None:
    changes = audit.change(SiteSettings.current(), {"contact_email": "boss@example.com", "company": "Seaside"})
    audit.write("settings_edited", actor="user:1", **changes)
    assert "boss@example.com" not in str(AuditEvent.objects.get(kind="settings_edited").data)
    (row,) = rows(admin, kind="settings_edited")
    assert "company: Hygate → Seaside" in row
    assert "contact email changed; its value is not kept here" in row


def test_a_moment_and_a_row_are_written_as_json_keeps_them(shop: Shop) -> None:
    told = audit.change(shop.washer, {"maintenance_until": datetime(2026, 1, 2, tzinfo=UTC), "location": shop.pier})
    assert told["after"] == {"location": shop.pier.pk, "maintenance_until": "2026-01-02T00:00:00+00:00"}
    assert told["before"] == {"location": shop.house.pk, "maintenance_until": None}


def test_a_moment_that_was_changed_is_told_in_the_sites_time(shop: Shop, admin: Client) -> None:
    told = audit.change(shop.washer, {"maintenance_until": datetime(2026, 1, 2, 8, 30, 0, 5, tzinfo=UTC)})
    audit.write("device_edited", actor="user:1", device=shop.washer.pk, **told)
    (row,) = rows(admin, kind="device_edited")
    assert "maintenance until: – → 2026-01-02 09:30:00" in row


def test_a_role_says_what_it_was(shop: Shop, admin: Client) -> None:
    colleague = person("colleague@example.com", "Otto")
    assert admin.post(f"/dashboard/team/{colleague.pk}/role/", {"role": Role.ADMINISTRATOR}).status_code == 303
    (row,) = rows(admin, kind="team_role")
    assert "role: operator → administrator" in row
    assert "person Otto" in row


def written(shop: Shop) -> None:
    """1 to 4, oldest first; each differs in who, what, when and about what."""
    sold = shop.sell()
    otto = person("otto@example.com", "Otto")
    long_ago = clock.now() - timedelta(days=40)
    first = audit.event("slot_held", actor="guest", session=sold.session_id, payment=sold.pk, device=shop.washer.pk)
    first.at = long_ago
    audit.write_all(
        [
            first,
            audit.event("force_end", actor=f"user:{otto.pk}", device=shop.pole.pk, reason="Smoke"),
            audit.event("session_running", session=sold.session_id, device=shop.washer.pk),
            audit.event(
                "payment_captured", actor="webhook", session=sold.session_id, payment=sold.pk, amount_minor=250
            ),
        ]
    )


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, [4, 3, 2, 1]),
        ({"kind": "force_end"}, [2]),
        ({"who": "staff"}, [2]),
        ({"who": "guests"}, [1]),
        ({"who": "hygate"}, [4, 3]),
        ({"from": "2026-11-01"}, [4, 3, 2]),
        ({"to": "2026-11-01"}, [1]),
        ({"find": "s-00001"}, [4, 3, 1]),
        ({"find": "S-00001-1"}, [4, 3, 1]),
        ({"find": "pole 1"}, [2]),
        ({"find": "3"}, [3]),
        ({"find": "nothing like it"}, []),
        ({"kind": "no_such_kind", "who": "user:0", "device": "x"}, [4, 3, 2, 1]),
    ],
)
def test_events_are_narrowed_and_found(shop: Shop, admin: Client, query: dict[str, str], found: list[int]) -> None:
    written(shop)
    sealing.seal()
    assert [int(row.split()[0]) for row in rows(admin, **query)] == found


def test_events_of_a_person_and_of_a_device(shop: Shop, admin: Client) -> None:
    written(shop)
    otto = User.objects.get(first_name="Otto")
    assert [row.split()[-2:] for row in rows(admin, who=f"user:{otto.pk}")] == [["Pole", "1"]]
    assert len(rows(admin, device=str(shop.washer.pk))) == 2


def test_a_filter_without_a_match_says_so(shop: Shop, admin: Client) -> None:
    written(shop)
    assert "No event matches these filters." in page(admin, find="nothing like it")


def test_an_event_leads_to_what_it_is_about(shop: Shop, admin: Client) -> None:
    written(shop)
    html = admin.get(URL, {"kind": "payment_captured"}).content.decode()
    assert "Captured · €2.50" in page(admin, kind="payment_captured")
    session = AuditEvent.objects.get(kind="payment_captured").session
    assert f'href="/dashboard/sessions/{session}/"' in html
    assert f'href="/dashboard/payments/{AuditEvent.objects.get(kind="payment_captured").payment}/"' in html


def test_the_file_has_all_of_it_and_runs_nothing(shop: Shop, admin: Client) -> None:
    written(shop)
    audit.write("plan_edited", actor="user:0", changed=["name"], before={"name": "a"}, after={"name": "=1+1"})
    sealing.seal()
    head, *lines = file_of(admin.get(URL, {"csv": "1"}))
    assert head[:4] == ["Number", "When", "Who", "What"]
    by_kind = {line[3]: dict(zip(head, line, strict=True)) for line in lines}
    assert len(lines) == 5
    assert by_kind["force_end"]["Who"] == "Otto"
    assert by_kind["force_end"]["More"] == "reason: Smoke"
    assert by_kind["slot_held"]["When"] == "2026-10-12 14:00:00"
    assert (by_kind["plan_edited"]["Before"], by_kind["plan_edited"]["After"]) == ("name: a", "name: =1+1")
    assert by_kind["plan_edited"]["Seal"] == AuditEvent.objects.get(kind="plan_edited").hmac


def test_a_cell_that_a_spreadsheet_would_run_is_quoted(shop: Shop, admin: Client) -> None:
    User.objects.filter(email="administrator@example.com").update(first_name="=cmd()")
    written(shop)
    audit.write("login", actor=f"user:{User.objects.get(first_name='=cmd()').pk}")
    text = b"".join(admin.get(URL, {"csv": "1"}).streaming_content).decode("utf-8-sig")  # type: ignore[attr-defined]
    assert [line[2] for line in csv.reader(io.StringIO(text)) if line[3] == "login"] == ["'=cmd()"]


def test_a_page_of_the_log_takes_ten_queries_at_most(shop: Shop, admin: Client) -> None:
    for _ in range(12):
        sold = shop.sell()
        audit.write("slot_held", actor="guest", session=sold.session_id, payment=sold.pk, device=shop.washer.pk)
    keyring.in_force()  # a process reads the keys once in five seconds
    with CaptureQueriesContext(connection) as asked:
        assert admin.get(URL).status_code == 200
    assert len(asked) <= 10, [one["sql"] for one in asked]


# -- the proof


def proven(client: Client, **form: str) -> str:
    html = client.post(VERIFY, form, headers=HTMX).content.decode()
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


def test_an_untouched_log_is_verified_up_to_its_last_event(shop: Shop, admin: Client) -> None:
    written(shop)
    sealing.seal()
    assert "Verified up to event 4 at 13:00:00" in proven(admin)
    told = AuditEvent.objects.get(kind="audit_verified")
    assert told.data == {"until": 4, "ok": True}


def test_the_first_bad_row_is_named(shop: Shop, admin: Client) -> None:
    written(shop)
    sealing.seal()
    AuditEvent.objects.filter(seq=2).update(data={"reason": "Nothing"})
    said = proven(admin)
    assert "The audit log was changed" in said
    assert "Row 2" in said
    assert AuditEvent.objects.get(kind="audit_verified").data["ok"] is False


def test_events_that_nobody_seals_are_told(shop: Shop, admin: Client, later: Any) -> None:
    written(shop)
    sealing.seal()
    audit.write("login", actor="user:1")
    later(61)
    assert "1 newer wait for a seal for more than a minute" in proven(admin)


def test_a_long_chain_is_walked_in_bounded_steps_that_end_as_one_walk_does(
    shop: Shop, admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    audit.write_all(audit.event("login", actor="user:1", number=number) for number in range(10))
    sealing.seal()
    monkeypatch.setattr(verifying, "STEP", 4)
    monkeypatch.setattr(audit_log, "A_LOOK_S", 0.0)
    html, steps = admin.post(VERIFY, headers=HTMX).content.decode(), 1
    assert "Verified up to event 4 of 10 so far." in html
    assert not AuditEvent.objects.filter(kind="audit_verified").exists()
    while (rest := re.search(r'name="from" value="([^"]+)"', html)) is not None:
        html, steps = admin.post(VERIFY, {"from": rest[1]}, headers=HTMX).content.decode(), steps + 1
    assert steps == 3
    assert "Verified up to event 10 at" in html


def test_a_bad_row_in_a_later_step_is_found(shop: Shop, admin: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    audit.write_all(audit.event("login", actor="user:1", number=number) for number in range(10))
    sealing.seal()
    AuditEvent.objects.filter(seq=7).delete()
    monkeypatch.setattr(verifying, "STEP", 4)
    monkeypatch.setattr(audit_log, "A_LOOK_S", 0.0)
    rest = re.search(r'name="from" value="([^"]+)"', admin.post(VERIFY, headers=HTMX).content.decode())
    assert rest is not None
    assert "Row 7 is missing" in proven(admin, **{"from": rest[1]})


@pytest.mark.parametrize("told", ["", "nonsense", '[99, "aa"]'])
def test_a_place_to_go_on_from_that_we_did_not_sign_is_not_believed(shop: Shop, admin: Client, told: str) -> None:
    written(shop)
    sealing.seal()
    AuditEvent.objects.filter(seq=1).update(kind="nothing")
    assert "Row 1" in proven(admin, **{"from": told})


def test_without_a_script_the_verdict_is_a_page(shop: Shop, admin: Client) -> None:
    written(shop)
    sealing.seal()
    html = admin.post(VERIFY).content.decode()
    assert "<!doctype html>" in html
    assert "Verified up to event 4 at" in html


def test_operators_find_neither_the_page_nor_its_entry(shop: Shop, admin: Client) -> None:
    operator = browser(Role.OPERATOR)
    assert operator.get(URL).status_code == 403
    assert operator.post(VERIFY).status_code == 403
    assert URL not in operator.get("/dashboard/sessions/").content.decode()
    assert URL in admin.get("/dashboard/sessions/").content.decode()


def test_a_person_who_is_gone_and_a_place_that_was_never_there_break_no_row(shop: Shop, admin: Client) -> None:
    audit.write("location_edited", actor="user:999", location=5, changed=["name"])
    (row,) = rows(admin, kind="location_edited")
    assert "a former colleague" in row
    assert not Location.objects.filter(pk=5).exists()
