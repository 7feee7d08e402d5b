"""What cannot be answered: a page of our own with a reference and a way back, and never a trace."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.test import Client
from structlog.testing import capture_logs

from hygate.models import Role, User

pytestmark = pytest.mark.django_db
REFERENCE = re.compile(r"E-[2-9A-Z]{8}\b")


def staff() -> Client:
    client = Client(raise_request_exception=False)
    client.force_login(
        User.objects.create(email="operator@example.com", role=Role.OPERATOR),
        backend="django.contrib.auth.backends.ModelBackend",
    )
    return client


def answered(client: Client, path: str) -> tuple[int, str, str, list[Any]]:
    """Status, page, the reference on it, and what the log says beside that reference."""
    with capture_logs() as logged:
        answer = client.get(path)
    html = answer.content.decode()
    (found,) = set(REFERENCE.findall(html))
    assert answer["X-Reference"] == found
    return answer.status_code, html, found, [one for one in logged if one.get("reference") == found]


def broken(monkeypatch: pytest.MonkeyPatch, view: str, error: Exception) -> None:
    """The next page asks this, and it fails."""

    def fail(*_args: Any, **_kwargs: Any) -> Any:
        raise error

    monkeypatch.setattr(view, fail)


@pytest.mark.parametrize("path", ["/nowhere/", "/dashboard/nowhere/", "/dashboard/sessions/999/"])
def test_a_page_that_is_not_there_says_so_with_a_reference(path: str) -> None:
    status, html, _reference, (line,) = answered(staff(), path)
    assert status == 404
    assert "There is nothing here" in html
    assert (line["status"], line["path"]) == (404, path)


def test_staff_are_led_back_to_the_dashboard_and_guests_to_their_label() -> None:
    assert 'href="/dashboard/"' in staff().get("/dashboard/nowhere/").content.decode()
    guests = Client().get("/nowhere/").content.decode()
    assert "scan the label" in guests
    assert "/dashboard/" not in guests


@pytest.mark.parametrize(
    ("path", "says"), [("/dashboard/team/", "for administrators"), ("/dashboard/audit/", "for administrators")]
)
def test_what_a_role_may_not_open_has_a_reference_too(path: str, says: str) -> None:
    status, html, _reference, (line,) = answered(staff(), path)
    assert status == 403
    assert says in html
    assert line["path"] == path


def test_a_refusal_of_django_s_own_has_our_page(monkeypatch: pytest.MonkeyPatch) -> None:
    broken(monkeypatch, "sessions_app.dashboard.find.hits_for", PermissionDenied("secret words"))
    status, html, _reference, lines = answered(staff(), "/dashboard/find/?find=washer")
    assert (status, len(lines)) == (403, 1)
    assert "secret words" not in html


@pytest.mark.parametrize(
    ("view", "path", "says"),
    [
        ("sessions_app.dashboard.find.hits_for", "/dashboard/find/?find=washer", 'href="/dashboard/"'),
        ("sessions_app.guest.labels.read", "/d/WASH1/", "paid back"),
    ],
)
def test_a_mistake_of_ours_shows_no_trace(monkeypatch: pytest.MonkeyPatch, view: str, path: str, says: str) -> None:
    broken(monkeypatch, view, RuntimeError("the-inside-of-hygate"))
    status, html, _reference, lines = answered(staff(), path)
    assert (status, len(lines)) == (500, 1)
    assert says in html
    for inside in ("the-inside-of-hygate", "Traceback", "RuntimeError", ".py"):
        assert inside not in html


@pytest.mark.parametrize(
    ("path", "says"), [("/d/WASH1/", "nothing was charged"), ("/dashboard/setup/close/", 'href="/dashboard/"')]
)
def test_a_form_that_is_not_ours_is_refused_with_a_reference(path: str, says: str) -> None:
    client = Client(enforce_csrf_checks=True)
    with capture_logs() as logged:
        answer = client.post(path)
    html = answer.content.decode()
    assert answer.status_code == 403
    assert says in html
    (found,) = set(REFERENCE.findall(html))
    assert answer["X-Reference"] == found
    (line,) = [one for one in logged if one.get("reference") == found]
    assert "CSRF" in line["why"]


def test_two_mishaps_have_two_references() -> None:
    client = staff()
    assert answered(client, "/nowhere/")[2] != answered(client, "/nowhere/")[2]
