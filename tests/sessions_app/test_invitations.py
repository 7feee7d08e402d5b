"""An invited colleague chooses a password behind a mailed link: once, for some days, and nobody else ever sees it."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.core import mail
from django.test import Client
from django.urls import reverse

from hygate import clock, invitations, team
from hygate.models import AuditEvent, Role, User
from tests.sessions_app.test_team import browser, url

pytestmark = pytest.mark.django_db
PAGE = {"email": "New@Example.com", "name": "Nina", "role": "operator", "invite": "on"}
OWN = "a-boat-for-nina-7"


@pytest.fixture
def admin() -> User:
    return User.objects.create(email="admin@example.com", role=Role.ADMINISTRATOR, first_name="Anna")


def invited(admin: User) -> tuple[User, str]:
    """The person, and the path of the link in the mail."""
    assert browser(admin).post(url("add"), PAGE).status_code == 303
    found = re.search(r"https?://[^/]+(/account/invitation/\S+)", str(mail.outbox[-1].body))
    assert found
    return User.objects.get(email="new@example.com"), found[1]


def choose(path: str, password: str = OWN) -> Any:
    """As a browser does: open the link, follow it to the form, send the form."""
    client = Client()
    opened = client.get(path, follow=True)
    where = opened.redirect_chain[-1][0] if opened.redirect_chain else path
    return client.post(where, {"new_password1": password, "new_password2": password})


def test_an_invited_colleague_chooses_a_password_that_nobody_has_seen(admin: User) -> None:
    person, path = invited(admin)
    assert (mail.outbox[-1].to, person.has_usable_password()) == (["new@example.com"], False)
    assert "invited, no password yet" in browser(admin).get(reverse("dashboard:team")).content.decode()
    answer = choose(path)
    assert (answer.status_code, answer["Location"]) == (302, reverse("account_login"))
    person.refresh_from_db()
    assert person.check_password(OWN)
    assert not person.groups.exists(), "it need not be changed at the first login"
    told = AuditEvent.objects.filter(kind__in=("team_added", "invitation_accepted")).order_by("pk")
    assert [one.actor for one in told] == [f"user:{admin.pk}", f"user:{person.pk}"]
    assert path.rpartition("/")[0].rpartition("/")[2] not in str([one.data for one in told])


def test_a_link_is_good_once(admin: User) -> None:
    person, path = invited(admin)
    choose(path)
    assert choose(path, "another-boat-8").status_code == 410
    person.refresh_from_db()
    assert person.check_password(OWN)


def test_a_weak_password_is_refused_and_the_link_stays_good(admin: User) -> None:
    person, path = invited(admin)
    assert choose(path, "password").status_code == 200
    person.refresh_from_db()
    assert not person.has_usable_password()
    assert choose(path).status_code == 302


@pytest.mark.parametrize(("days", "status"), [(invitations.DAYS - 1, 302), (invitations.DAYS + 1, 410)])
def test_a_link_ends_after_some_days(admin: User, days: int, status: int) -> None:
    _person, path = invited(admin)
    with time_machine.travel(clock.now() + timedelta(days=days), tick=True):
        assert choose(path).status_code == status


def test_switching_off_or_another_password_ends_the_link(admin: User) -> None:
    person, path = invited(admin)
    team.set_active(person=person, is_active=False, by=admin)
    assert choose(path).status_code == 410
    team.set_active(person=person, is_active=True, by=admin)
    team.reset_password(person=person, by=admin)
    assert choose(path).status_code == 410


def test_an_invitation_is_sent_again_until_a_password_is_chosen(admin: User, monkeypatch: pytest.MonkeyPatch) -> None:
    person, first = invited(admin)
    assert "Invite again" in browser(admin).get(reverse("dashboard:team")).content.decode()
    assert browser(admin).post(url("invite_again", person)).status_code == 303
    assert [one.to for one in mail.outbox] == [["new@example.com"]] * 2
    assert AuditEvent.objects.filter(kind="team_invited_again").count() == 1

    with monkeypatch.context() as refusing:
        refusing.setattr("django.core.mail.EmailMessage.send", lambda _message: (_ for _ in ()).throw(TimeoutError))
        html = browser(admin).post(url("invite_again", person), follow=True).content.decode()
    assert "The mail server did not take the invitation." in html

    assert choose(first).status_code == 302
    assert "Invite again" not in browser(admin).get(reverse("dashboard:team")).content.decode()
    assert "Nothing was mailed" in browser(admin).post(url("invite_again", person), follow=True).content.decode()
    assert len(mail.outbox) == 2


def test_without_a_mail_server_a_password_is_handed_over(admin: User, settings: Any) -> None:
    settings.SENDS_MAIL = False
    assert "Mail an invitation" not in browser(admin).get(url("add")).content.decode()
    answer = browser(admin).post(url("add"), PAGE)
    assert 'class="once mono"' in answer.content.decode()
    assert not mail.outbox


def test_a_mail_server_that_refuses_leaves_a_password_and_no_link(admin: User, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Any] = []

    def refuse(message: Any) -> None:
        sent.append(message.body)
        raise ConnectionRefusedError

    monkeypatch.setattr("django.core.mail.EmailMessage.send", refuse)
    html = browser(admin).post(url("add"), PAGE).content.decode()
    shown = re.search(r'class="once mono">([^<]+)<', html)
    assert shown
    assert "The mail server did not take the invitation." in html
    assert User.objects.get(email="new@example.com").check_password(shown[1])
    found = re.search(r"(/account/invitation/\S+)", sent[0])
    assert found
    assert choose(found[1]).status_code == 410
