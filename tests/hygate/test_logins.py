"""Logging in: password, second factor, temporary passwords, and what slows down whoever guesses."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal import auth
from django.core.cache import cache
from django.db import connections
from django.test import Client

from hygate import attempts, team
from hygate.attempts import Limit, Slot, TooOften
from hygate.models import AuditEvent, Role, User

PASSWORD = "correct horse battery"
LOGIN, CODE, DASHBOARD = "/account/login/", "/account/login/code/", "/dashboard/team/"
HOME, ELSEWHERE = "192.0.2.7", "198.51.100.9"
pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _fresh_cache_and_quick_hashes(db: None, settings: Any) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    cache.clear()


@pytest.fixture
def person() -> User:
    return User.objects.create_user("admin@example.com", PASSWORD, role=Role.ADMINISTRATOR)


def log_in(client: Client, password: str = PASSWORD, *, address: str = HOME, email: str = "admin@example.com") -> Any:
    return client.post(LOGIN, {"login": email, "password": password}, REMOTE_ADDR=address)


def code_now(person: User) -> str:
    authenticator = Authenticator.objects.get(user=person, type=Authenticator.Type.TOTP)
    secret = authenticator.wrap().instance.data["secret"]
    from hygate import secrets

    counter = next(iter(auth.yield_hotp_counters_from_time()))
    return str(auth.format_hotp_value(auth.hotp_value(secrets.decrypt(secret), counter)))


def with_second_factor(client: Client) -> None:
    """Set an app up as a person does: the password once more, scan, type the code."""
    assert client.get("/account/security/app/")["Location"].startswith("/account/again/")
    client.post("/account/again/", {"password": PASSWORD})
    client.get("/account/security/app/")
    counter = next(iter(auth.yield_hotp_counters_from_time()))
    code = auth.format_hotp_value(auth.hotp_value(client.session["mfa.totp.secret"], counter))
    assert client.post("/account/security/app/", {"code": code}).status_code == 302
    cache.clear()  # the code just typed counts as used


def test_login_gives_a_new_session_and_audits_who_came(person: User) -> None:
    client = Client()
    session = client.session
    session.save()
    before = session.session_key or ""
    client.cookies["sessionid"] = before
    assert log_in(client)["Location"] == "/dashboard/"
    assert client.cookies["sessionid"].value != before
    assert client.get(DASHBOARD).status_code == 200
    assert AuditEvent.objects.get(kind="login").actor == f"user:{person.pk}"


def test_only_a_post_logs_out(person: User) -> None:
    client = Client()
    log_in(client)
    assert "Log out?" in client.get("/account/logout/").content.decode()
    assert client.get(DASHBOARD).status_code == 200
    client.post("/account/logout/")
    assert client.get(DASHBOARD).status_code == 302


@pytest.mark.parametrize("path", ["/account/signup/", "/account/reset/", "/account/password/reset/", "/account/email/"])
def test_there_is_no_sign_up_no_change_of_address_and_no_reset_by_mail(path: str) -> None:
    assert Client().get(path).status_code == 404


def test_a_second_factor_is_asked_for_once_it_is_set_up(person: User) -> None:
    client = Client()
    log_in(client)
    with_second_factor(client)
    client.post("/account/logout/")

    answer = log_in(client)
    assert answer["Location"] == CODE
    assert client.get(DASHBOARD).status_code == 302, "the password alone opens nothing"
    assert client.post(CODE, {"code": "000000"}).status_code == 200
    assert client.post(CODE, {"code": code_now(person)})["Location"] == "/dashboard/"
    assert client.get(DASHBOARD).status_code == 200


def test_the_page_that_sets_an_app_up_shows_its_code_as_an_image(person: User) -> None:
    client = Client()
    log_in(client)
    client.post("/account/again/", {"password": PASSWORD})
    page = client.get("/account/security/app/").content.decode()
    assert 'src="data:image/svg+xml;base64,' in page
    assert client.session["mfa.totp.secret"] in page
    assert " style=" not in page


def test_a_recovery_code_works_once(person: User) -> None:
    client = Client()
    log_in(client)
    with_second_factor(client)
    codes = Authenticator.objects.get(user=person, type=Authenticator.Type.RECOVERY_CODES).wrap().get_unused_codes()
    shown = client.get("/account/security/codes/").content.decode()
    assert all(code in shown for code in codes)
    client.post("/account/logout/")
    log_in(client)
    assert client.post(CODE, {"code": codes[0]}).status_code == 302
    client.post("/account/logout/")
    log_in(client)
    assert client.post(CODE, {"code": codes[0]}).status_code == 200


def test_secrets_of_second_factors_are_encrypted_at_rest(person: User) -> None:
    client = Client()
    log_in(client)
    with_second_factor(client)
    stored = Authenticator.objects.get(type=Authenticator.Type.TOTP).data["secret"]
    assert stored.startswith("gAAAA")


def test_removing_the_app_asks_for_the_password_when_the_login_is_old(
    person: User, django_capture_on_commit_callbacks: Any
) -> None:
    client = Client()
    with time_machine.travel("2026-11-21T12:00:00Z", tick=False) as traveller:
        log_in(client)
        with django_capture_on_commit_callbacks(execute=True):
            with_second_factor(client)
        traveller.shift(timedelta(hours=1))
        answer = client.post("/account/security/app/remove/")
        assert answer["Location"].startswith("/account/again/")
        assert Authenticator.objects.filter(type=Authenticator.Type.TOTP).exists()
        client.post("/account/again/", {"password": PASSWORD})
        client.post("/account/security/app/remove/")
        assert not Authenticator.objects.exists()
    kinds = set(AuditEvent.objects.values_list("kind", flat=True))
    assert {"second_factor_added", "second_factor_removed"} <= kinds


def test_a_temporary_password_opens_only_the_page_that_changes_it(person: User) -> None:
    _colleague, given = team.add_person(email="otto@example.com", name="Otto", role=Role.OPERATOR, by=person)
    client = Client()
    log_in(client, given, email="otto@example.com")
    assert client.get("/dashboard/")["Location"] == "/account/password/"
    live = client.get("/dashboard/live/", headers={"HX-Request": "true"})
    assert (live.status_code, live["HX-Redirect"]) == (204, "/account/password/")
    again = Client()
    log_in(again, given, email="otto@example.com")
    assert again.get("/dashboard/")["Location"] == "/account/password/", "a second login does not get around it"

    own = "my own long password"
    client.post("/account/password/", {"oldpassword": given, "password1": own, "password2": own})
    assert client.get("/dashboard/").status_code == 200
    assert again.get("/dashboard/")["Location"].startswith(LOGIN), "the other browser is logged out"
    fresh = Client()
    log_in(fresh, own, email="otto@example.com")
    assert fresh.get("/dashboard/").status_code == 200
    assert not any(given in str(event.data) for event in AuditEvent.objects.all())


def test_a_switched_off_login_says_so_and_opens_nothing(person: User) -> None:
    User.objects.filter(pk=person.pk).update(is_active=False)
    client = Client()
    log_in(client)
    assert client.get(DASHBOARD).status_code == 302


def test_guessing_is_slowed_and_told_when_to_try_again(person: User) -> None:
    client = Client()
    for _ in range(5):
        assert log_in(client, "wrong").status_code == 200
    refused = log_in(client)
    assert refused.status_code == 429
    assert "Try again in 5 minutes" in refused.content.decode()
    assert 295 <= int(refused["Retry-After"]) <= 301


def test_guessing_elsewhere_does_not_lock_the_administrator_out(person: User) -> None:
    for _ in range(40):
        log_in(Client(), "wrong", address=ELSEWHERE)
    assert log_in(Client(), address=ELSEWHERE).status_code == 429
    assert log_in(Client(), address=HOME)["Location"] == "/dashboard/"


def test_one_address_that_tries_many_accounts_is_slowed_as_well(person: User) -> None:
    answers = [log_in(Client(), "wrong", email=f"p{n}@example.com").status_code for n in range(31)]
    assert answers == [200] * 30 + [429]


def test_a_slot_comes_free_again_after_its_time(person: User) -> None:
    with time_machine.travel("2026-11-21T12:00:00Z", tick=False) as traveller:
        for _ in range(5):
            log_in(Client(), "wrong")
            traveller.shift(timedelta(seconds=30))
        refused = log_in(Client())
        assert refused.status_code == 429
        assert "Try again in 3 minutes" in refused.content.decode()
        traveller.shift(timedelta(seconds=int(refused["Retry-After"])))
        assert log_in(Client()).status_code == 302


def test_logins_that_succeed_use_no_slot_up(person: User) -> None:
    assert [log_in(Client()).status_code for _ in range(8)] == [302] * 8


def test_one_household_of_ipv6_is_one_address(person: User) -> None:
    for number in range(5):
        log_in(Client(), "wrong", address=f"2001:db8:1:2:{number}::{number}")
    assert log_in(Client(), address="2001:db8:1:2:ffff::1").status_code == 429
    assert log_in(Client(), address="2001:db8:1:3::1").status_code == 302


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:DB8:1:2::1", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unix:", "unix:"),
    ],
)
def test_an_address_is_counted_as_its_network(address: str, network: str) -> None:
    assert attempts.network_of(address) == network


def test_the_login_page_speaks_as_the_others_do(person: User) -> None:
    page = Client().get(LOGIN).content.decode()
    assert "E-mail address</label>" in page
    assert "Stay logged in on this device for 14 days" in page
    assert "placeholder" not in page
    for email in ("admin@example.com", "nobody@example.com"):
        assert "The e-mail address or the password is wrong." in log_in(Client(), "wrong", email=email).content.decode()


def test_a_forged_forwarding_header_gives_no_new_slots(person: User) -> None:
    """Without a proxy that we trust, nobody says where he comes from but the connection itself."""
    for number in range(5):
        Client().post(
            LOGIN,
            {"login": "admin@example.com", "password": "wrong"},
            REMOTE_ADDR=HOME,
            headers={"X-Forwarded-For": f"203.0.113.{number}"},
        )
    assert log_in(Client()).status_code == 429


def test_codes_are_counted_for_the_account_wherever_they_come_from(person: User) -> None:
    client = Client()
    log_in(client)
    with_second_factor(client)
    answers = []
    for number in range(21):
        attacker = Client()
        log_in(attacker, address=f"198.51.100.{number}")
        answers.append(attacker.post(CODE, {"code": "000000"}, REMOTE_ADDR=f"198.51.100.{number}").status_code)
    assert answers == [200] * 20 + [429]


@pytest.mark.django_db(transaction=True)
def test_tries_at_the_same_moment_cannot_share_a_slot() -> None:
    results: list[Slot | TooOften] = []

    def try_it() -> None:
        try:
            results.append(attempts.take("race", Limit(3, 60)))
        finally:
            connections.close_all()

    threads = [threading.Thread(target=try_it) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(isinstance(one, Slot) for one in results) == 3
    assert all(55 <= one.wait_s <= 61 for one in results if isinstance(one, TooOften))
