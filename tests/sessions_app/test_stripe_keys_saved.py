"""Stripe's keys on the dashboard: tried before they are in force, before the environment's, and never shown again."""

from __future__ import annotations

import hashlib
import hmac
import time
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse

from hygate import clock
from hygate.models import AuditEvent, User
from sessions_app.models import StripeKeys, StripeWatch
from sessions_app.payments import keyring, keys
from sessions_app.payments.stripe_gateway import ForgedWebhook, client, verify_webhook

if TYPE_CHECKING:
    from tests.world import World

KEY = "sk_test_savedCANARY0123456789"
SECRET = "whsec_savedCANARY"


@pytest.fixture
def administrator(world: World) -> Client:
    browser = Client()
    browser.force_login(User.objects.create_user("a@example.com", "correct horse battery", role="administrator"))
    return browser


def save(browser: Client, **typed: str) -> Any:
    return browser.post(reverse("dashboard:stripe_keys"), {"key": "", "webhook_secrets": ""} | typed)


def page(browser: Client) -> str:
    return browser.get(reverse("dashboard:stripe")).content.decode()


def webhook(secret: str) -> dict[str, Any]:
    body, stamp = b'{"id": "evt_1", "type": "x"}', int(clock.now().timestamp())
    digest = hmac.new(secret.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
    return verify_webhook(body, f"t={stamp},v1={digest}")


def test_without_a_saved_key_the_environment_is_in_force(world: World, administrator: Client) -> None:
    assert keyring.in_force().key == "sk_test_simulated"
    assert "From the environment." in page(administrator)


def test_a_saved_key_goes_before_the_environment_and_is_kept_encrypted(world: World, administrator: Client) -> None:
    assert save(administrator, key=KEY, webhook_secrets=f"{SECRET} {SECRET}2").status_code == 303
    assert keyring.in_force() == keyring.Keys(KEY, (SECRET, f"{SECRET}2"))
    assert client()._requestor.api_key == KEY
    assert webhook(f"{SECRET}2")["id"] == "evt_1"
    with pytest.raises(ForgedWebhook):
        webhook("whsec_demo")
    with connection.cursor() as cursor:
        cursor.execute("SELECT key, webhook_secrets FROM sessions_app_stripekeys")
        assert "CANARY" not in str(cursor.fetchall())
    shown = page(administrator)
    assert "Saved here, kept encrypted." in shown
    assert "CANARY" not in shown
    assert "CANARY" not in str(list(AuditEvent.objects.values_list("data", flat=True)))
    assert "CANARY" not in repr(keyring.in_force())


def test_an_empty_field_keeps_what_is_in_force(world: World, administrator: Client) -> None:
    save(administrator, key=KEY)
    save(administrator, webhook_secrets=SECRET)
    assert keyring.in_force() == keyring.Keys(KEY, (SECRET,))
    assert "Type what is to be saved." in save(administrator).content.decode()


def test_a_key_that_stripe_refuses_is_not_saved(world: World, administrator: Client) -> None:
    world.ctl(world.stripe_server, "POST", "/_ctl/keys", {"revoke": KEY})
    answer = save(administrator, key=KEY)
    assert answer.status_code == 422
    assert "Stripe refuses the key" in answer.content.decode()
    assert "CANARY" not in answer.content.decode()
    assert not StripeKeys.objects.exists()
    assert keyring.in_force().key == "sk_test_simulated"


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ({"key": "pk_test_x"}, "This is no secret key"),
        ({"key": "sk_live_x"}, "nothing here may move real money"),
        ({"key": "sk_test_a b"}, "A key is one word"),
        ({"webhook_secrets": "sk_test_x"}, "A signing secret starts with whsec_."),
    ],
)
def test_what_is_no_key_is_refused_with_a_sentence(
    world: World, administrator: Client, typed: dict[str, str], said: str
) -> None:
    assert said in save(administrator, **typed).content.decode()
    assert not StripeKeys.objects.exists()


def test_a_real_site_takes_no_test_key(world: World, settings: Any) -> None:
    settings.SIMULATED = False
    assert keys.check_key(KEY).title == "A test key"


def test_what_is_saved_can_be_forgotten(world: World, administrator: Client) -> None:
    assert "Forget what is saved" not in administrator.get(reverse("dashboard:stripe_keys")).content.decode()
    save(administrator, key=KEY)
    save(administrator, take_back="on")
    assert keyring.in_force().key == "sk_test_simulated"
    assert not StripeKeys.objects.exists()


def test_closed_sales_are_looked_at_at_once(world: World, administrator: Client) -> None:
    later = world.now + clock.seconds(600)
    StripeWatch.objects.filter(pk=1).update(key_status="key_refused", due_at=later, events_due_at=later)
    save(administrator, key=KEY)
    assert StripeWatch.objects.get().due_at == world.now
    world.go(0)
    assert StripeWatch.objects.get().key_status == ""


def test_keys_that_cannot_be_read_are_not_replaced_by_the_environments(
    world: World, administrator: Client, settings: Any
) -> None:
    """Another field key: money must not go to the account of the environment's key instead."""
    save(administrator, key=KEY, webhook_secrets=SECRET)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE sessions_app_stripekeys SET key = 'v1:nonsense', webhook_secrets = 'v1:nonsense'")
    keyring.forget()
    assert not keys.look().ok
    with pytest.raises(ForgedWebhook):
        webhook("whsec_demo")


def test_another_process_follows_within_seconds(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert keyring.in_force().key == "sk_test_simulated"
    StripeKeys(key=KEY).save()
    assert keyring.in_force().key == "sk_test_simulated"
    late = time.monotonic() + keyring.FRESH_S + 1
    monkeypatch.setattr("sessions_app.payments.keyring.time.monotonic", lambda: late)
    assert keyring.in_force().key == KEY
