"""The team: who may add, lower, switch off; that an administrator is always left; and that all of it is audited."""

from __future__ import annotations

import re
import threading
from contextlib import suppress
from html import unescape

import pytest
from django.db import connections
from django.test import Client
from django.urls import reverse

from hygate import team
from hygate.models import AuditEvent, Role, User

pytestmark = pytest.mark.django_db


@pytest.fixture
def admin() -> User:
    return User.objects.create(email="admin@example.com", role=Role.ADMINISTRATOR, first_name="Anna")


@pytest.fixture
def operator() -> User:
    return User.objects.create(email="otto@example.com", role=Role.OPERATOR, first_name="Otto")


def browser(user: User) -> Client:
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def url(name: str, person: User | None = None) -> str:
    return reverse(f"dashboard:team_{name}", args=[person.pk] if person else [])


def role_of(person: User) -> str:
    return User.objects.values_list("role", flat=True).get(pk=person.pk)


def test_a_new_colleague_gets_a_password_that_is_shown_once(admin: User) -> None:
    page = {"email": "New@Example.com", "name": "Nina", "role": "operator"}
    answer = browser(admin).post(url("add"), page)
    shown = re.search(r'class="once mono">([^<]+)<', answer.content.decode())
    assert shown
    assert answer["Cache-Control"] == "no-store"
    made = User.objects.get(email="new@example.com")
    assert made.check_password(shown[1])
    assert made.role == Role.OPERATOR
    assert shown[1] not in browser(admin).get(reverse("dashboard:team")).content.decode()
    event = AuditEvent.objects.get(kind="team_added")
    assert (event.actor, event.data) == (f"user:{admin.pk}", {"person": made.pk, "role": "operator"})


def test_an_address_has_one_login(admin: User, operator: User) -> None:
    answer = browser(admin).post(url("add"), {"email": "OTTO@example.com", "name": "X", "role": "operator"})
    assert answer.status_code == 422
    assert "Somebody has this address already" in answer.content.decode()
    assert User.objects.count() == 2


def test_the_last_administrator_can_neither_be_lowered_nor_switched_off(admin: User, operator: User) -> None:
    answer = browser(admin).post(url("role", admin), {"role": "operator"}, follow=True)
    assert "This is the last administrator" in unescape(answer.content.decode())
    browser(admin).post(url("deactivate", admin))
    admin.refresh_from_db()
    assert (admin.role, admin.is_active) == (Role.ADMINISTRATOR, True)
    assert not AuditEvent.objects.exists()


def test_a_switched_off_administrator_does_not_count_as_one(admin: User) -> None:
    away = User.objects.create(email="away@example.com", role=Role.ADMINISTRATOR, is_active=False)
    with pytest.raises(team.NotAllowed):
        team.set_role(person=admin, role=Role.OPERATOR, by=admin)
    team.set_active(person=away, is_active=True, by=admin)
    team.set_role(person=admin, role=Role.OPERATOR, by=admin)
    assert role_of(admin) == Role.OPERATOR


def test_nobody_raises_his_own_role(admin: User, operator: User) -> None:
    assert browser(operator).post(url("role", operator), {"role": "administrator"}).status_code == 403
    with pytest.raises(team.NotAllowed):
        team.set_role(person=operator, role=Role.ADMINISTRATOR, by=operator)
    stale = User.objects.get(pk=admin.pk)
    User.objects.filter(pk=admin.pk).update(role=Role.OPERATOR)
    User.objects.create(email="other@example.com", role=Role.ADMINISTRATOR)
    with pytest.raises(team.NotAllowed):
        team.set_role(person=stale, role=Role.ADMINISTRATOR, by=stale)
    assert role_of(admin) == Role.OPERATOR


def test_a_lowered_administrator_keeps_no_power_of_a_superuser(admin: User) -> None:
    other = User.objects.create_superuser("boss@example.com", "correct horse battery")
    team.set_role(person=other, role=Role.OPERATOR, by=admin)
    other.refresh_from_db()
    assert (other.role, other.is_superuser) == (Role.OPERATOR, False)


def test_who_is_switched_off_is_out_at_once(admin: User, operator: User) -> None:
    his = browser(operator)
    assert his.get(reverse("dashboard:overview")).status_code == 200
    browser(admin).post(url("deactivate", operator))
    assert his.get(reverse("dashboard:overview")).status_code == 302
    browser(admin).post(url("activate", operator))
    assert his.get(reverse("dashboard:overview")).status_code == 200
    assert list(AuditEvent.objects.values_list("kind", flat=True)) == ["team_deactivated", "team_activated"]


def test_a_new_password_ends_every_login_made_with_the_old_one(admin: User, operator: User) -> None:
    his = browser(operator)
    answer = browser(admin).post(url("password", operator), headers={"HX-Request": "true"})
    shown = re.search(r'class="once mono">([^<]+)<', answer.content.decode())
    assert shown
    assert "<html" not in answer.content.decode(), "htmx swaps it into the dialog"
    assert his.get(reverse("dashboard:overview")).status_code == 302
    operator.refresh_from_db()
    assert operator.check_password(shown[1])
    assert shown[1] not in str(list(AuditEvent.objects.values_list("data", flat=True)))


def test_asking_for_a_password_changes_nothing_before_it_is_confirmed(admin: User, operator: User) -> None:
    before = User.objects.values_list("password", flat=True).get(pk=operator.pk)
    assert browser(admin).get(url("password", operator)).status_code == 200
    assert User.objects.values_list("password", flat=True).get(pk=operator.pk) == before


@pytest.mark.django_db(transaction=True)
def test_two_administrators_cannot_lower_each_other_at_once(admin: User) -> None:
    other = User.objects.create(email="other@example.com", role=Role.ADMINISTRATOR)
    start = threading.Barrier(2)

    def lower(person: User, by: User) -> None:
        start.wait()
        try:
            with suppress(team.NotAllowed):  # whoever comes second is none any more
                team.set_role(person=person, role=Role.OPERATOR, by=by)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=lower, args=pair) for pair in ((admin, other), (other, admin))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert User.objects.filter(role=Role.ADMINISTRATOR, is_active=True).count() == 1
