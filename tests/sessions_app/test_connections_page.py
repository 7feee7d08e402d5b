"""The pages that take keys: what is typed can be tried, goes in, and never comes out again."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape
from typing import TYPE_CHECKING, Any

import pytest
from django.test import Client
from django.urls import reverse

from devices.models import AccountStatus, ShellyAccount
from hygate.models import AuditEvent, User

if TYPE_CHECKING:
    from tests.world import World

KEY = "demo-shelly-key"
TYPED = "canary-typed-key-0123456789"
HTMX = {"HX-Request": "true"}


@pytest.fixture
def administrator(world: World) -> Client:
    return browser("administrator")


def browser(role: str) -> Client:
    client = Client()
    client.force_login(User.objects.create_user(f"{role}@example.com", "correct horse battery", role=role))
    return client


def url(name: str, *args: Any) -> str:
    return reverse(f"dashboard:{name}", args=args)


def typed(world: World, **fields: str) -> dict[str, str]:
    return {"name": "demo", "server_url": world.account.server_url, "auth_key": ""} | fields


def test_the_typed_values_are_tried_without_saving(world: World, administrator: Client) -> None:
    form = typed(world, auth_key=TYPED)
    html = administrator.post(url("account_test", world.account.pk), form, headers=HTMX).content.decode()
    assert "The auth key is refused" in html
    assert "t-stop" in html
    assert TYPED not in html
    assert ShellyAccount.objects.get().auth_key == KEY
    assert TYPED not in str(list(AuditEvent.objects.values_list("data", flat=True)))


def test_an_empty_key_tries_the_saved_one(world: World, administrator: Client) -> None:
    html = administrator.post(url("account_test", world.account.pk), typed(world), headers=HTMX).content.decode()
    assert "Connected: 2 devices with 5 relay channels, 0 offline" in html


def test_a_new_account_is_tried_before_it_exists(world: World, administrator: Client) -> None:
    form = typed(world, name="new", auth_key="wrong")
    html = administrator.post(url("account_test_new"), form, headers=HTMX).content.decode()
    assert "The auth key is refused" in html
    assert ShellyAccount.objects.count() == 1


def test_without_javascript_the_form_comes_back_with_the_verdict_and_without_the_key(
    world: World, administrator: Client
) -> None:
    form = typed(world, name="other name", auth_key=TYPED)
    html = administrator.post(url("account_test", world.account.pk), form).content.decode()
    assert "The auth key is refused" in html
    assert 'value="other name"' in html
    assert TYPED not in html
    assert f'action="{url("account_edit", world.account.pk)}"' in html
    saved = administrator.post(url("account_test", world.account.pk), {})
    assert (saved.status_code, saved["Location"]) == (303, url("account", world.account.pk))
    assert "Connected" in administrator.get(saved["Location"]).content.decode()


def test_a_forbidden_server_gets_a_verdict_and_no_request(world: World, administrator: Client) -> None:
    before = len(world.ledger(world.shelly_server, "request"))
    form = typed(world, server_url="http://169.254.169.254", auth_key=TYPED)
    html = administrator.post(url("account_test", world.account.pk), form, headers=HTMX).content.decode()
    assert "This server is not allowed" in html
    assert len(world.ledger(world.shelly_server, "request")) == before


@pytest.mark.parametrize("name", ["account_edit", "account_add"])
def test_the_key_is_written_into_no_page_not_even_after_a_mistake(
    world: World, administrator: Client, name: str
) -> None:
    page = url(name, *([world.account.pk] if name == "account_edit" else []))
    answers = [administrator.get(page), administrator.post(page, typed(world, name="", auth_key=TYPED))]
    assert [answer.status_code for answer in answers] == [200, 422]
    for answer in answers:
        html = answer.content.decode()
        assert KEY not in html
        assert TYPED not in html
        field = re.search(r"<input[^>]*name=\"auth_key\"[^>]*>", html)
        assert field is not None
        assert "value=" not in field[0]
        assert 'type="text"' in field[0], "a password field would be filled and kept by the browser"
        assert 'autocomplete="off"' in field[0]
        assert "data-1p-ignore" in field[0]


def test_saving_a_new_key_starts_the_account_anew(world: World, administrator: Client) -> None:
    world.ctl(world.shelly_server, "POST", "/_ctl/accounts/account-1", {"auth_key": TYPED})
    world.go(40)
    assert ShellyAccount.objects.get().status == AccountStatus.BAD_KEY
    administrator.post(url("account_edit", world.account.pk), typed(world, auth_key=TYPED))
    assert ShellyAccount.objects.get().status == AccountStatus.UNTRIED
    event = AuditEvent.objects.get(kind="account_key_changed")
    assert event.actor.startswith("user:")
    world.go(2)
    assert ShellyAccount.objects.get().status == AccountStatus.OK


def test_the_age_of_a_key_is_shown(world: World, administrator: Client) -> None:
    ShellyAccount.objects.update(key_saved_at=world.now - timedelta(days=80))
    assert "Key 80 days old" in administrator.get(url("accounts")).content.decode()
    assert "The auth key is 80 days old" in administrator.get(url("account", world.account.pk)).content.decode()
    assert "its auth key is 80 days old" in administrator.get(url("overview")).content.decode()


def test_operators_try_nothing(world: World) -> None:
    operator = browser("operator")
    for page in (url("account_test_new"), url("account_test", world.account.pk), url("stripe_test")):
        assert operator.post(page, typed(world, auth_key=TYPED)).status_code == 403
    assert operator.get(url("stripe")).status_code == 403


def test_the_stripe_page_says_what_the_key_is_and_not_what_it_reads(world: World, administrator: Client) -> None:
    world.settings.STRIPE_KEY = "rk_test_CANARYcanary"
    world.settings.STRIPE_WEBHOOK_SECRETS = ["whsec_CANARYone", "whsec_CANARYtwo"]
    page = administrator.get(url("stripe")).content.decode()
    assert "A restricted test key" in page
    assert "2 in force" in page
    verdict = administrator.post(url("stripe_test"), headers=HTMX).content.decode()
    assert "Stripe takes the restricted test key" in verdict
    world.ctl(world.stripe_server, "POST", "/_ctl/keys", {"forbid": "*", "operations": ["refunds.list"]})
    lacking = administrator.post(url("stripe_test"), headers=HTMX).content.decode()
    assert "it lacks Refunds: write" in unescape(lacking)
    assert "CANARY" not in page + verdict + lacking


def test_the_dashboard_says_what_is_wrong_with_the_key(world: World, administrator: Client) -> None:
    world.settings.STRIPE_KEY = "pk_live_CANARY"
    page = unescape(administrator.get(url("overview")).content.decode())
    assert "this is no secret key: Save one that starts with rk_live_ or sk_live_." in page
    assert "CANARY" not in page
