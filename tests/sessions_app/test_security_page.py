"""Settings → Security: the second factor for everybody, the age of each key, and no secret on the page."""

from __future__ import annotations

import json
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.test import Client
from django.urls import reverse

from devices.energy import saving
from devices.energy.models import SourceKind
from devices.models import Location, ShellyAccount
from hygate import audit, clock
from hygate.models import Alert, AuditEvent, Role, SiteSettings, User
from hygate.sealing import seal
from sessions_app.dashboard import security
from sessions_app.payments import key_seen
from tests.sessions_app.test_switched_off import browser

pytestmark = pytest.mark.django_db
URL = "dashboard:security_factor"


@pytest.fixture
def admin() -> Client:
    return browser("admin@example.com", Role.ADMINISTRATOR)


def give_factor(email: str) -> None:
    user = User.objects.get(email=email)
    Authenticator.objects.create(user=user, type=Authenticator.Type.TOTP, data={"secret": "sealed"})


def page(client: Client) -> str:
    return unescape(client.get(reverse("dashboard:security")).content.decode())


# -- the second factor


def test_who_has_none_cannot_require_one_of_others(admin: Client) -> None:
    answer = admin.post(reverse(URL), {"required": "yes"}, follow=True)
    assert "Set up a second factor for yourself first" in answer.content.decode()
    assert SiteSettings.current().second_factor_required is False


def test_required_it_leads_who_has_none_to_where_it_is_set_up(admin: Client) -> None:
    operator = browser("otto@example.com", Role.OPERATOR)
    assert operator.get(reverse("dashboard:sessions")).status_code == 200
    give_factor("admin@example.com")
    admin.post(reverse(URL), {"required": "yes"})
    led = operator.get(reverse("dashboard:sessions"))
    assert (led.status_code, led["Location"]) == (302, reverse("mfa_index"))
    assert "asks everybody for a second factor" in operator.get(led["Location"]).content.decode()
    live = operator.get(reverse("dashboard:overview_live"), headers={"HX-Request": "true"})
    assert (live.status_code, live["HX-Redirect"]) == (204, reverse("mfa_index"))
    assert operator.post(reverse("dashboard:alert_close", args=[1])).status_code == 302
    assert admin.get(reverse("dashboard:sessions")).status_code == 200
    give_factor("otto@example.com")
    assert operator.get(reverse("dashboard:sessions")).status_code == 200


def test_required_it_leaves_guests_and_logins_alone(admin: Client) -> None:
    SiteSettings.objects.update_or_create(pk=1, defaults={"second_factor_required": True})
    assert Client().get("/d/NOBODY/").status_code == 404
    assert Client().get(reverse("account_login")).status_code == 200
    assert Client().get(reverse("dashboard:sessions"))["Location"].startswith("/account/login/")


def test_switching_the_rule_is_audited_once(admin: Client) -> None:
    give_factor("admin@example.com")
    for required in ("yes", "yes", "no", "no"):
        admin.post(reverse(URL), {"required": required})
    kinds = AuditEvent.objects.filter(kind__startswith="second_factor_").values_list("kind", flat=True)
    assert list(kinds) == ["second_factor_required", "second_factor_optional"]


# -- keys


@pytest.mark.parametrize(("days", "tone"), [(74, "ok"), (75, "hold"), (89, "hold"), (90, "stop")])
def test_a_keys_age_is_told_and_stands_out_from_day_75(admin: Client, days: int, tone: str) -> None:
    saved_at = clock.now() - timedelta(days=days)
    ShellyAccount.objects.create(name="Seaside", server_url="http://x", auth_key="k", key_saved_at=saved_at)
    assert f'<span class="tag t-{tone}">{days} days</span>' in page(admin)


def test_an_energy_keys_age_begins_anew_only_when_the_key_is_typed(admin: Client) -> None:
    place = Location.objects.create(name="Roof")
    columns = {"location": place, "name": "Plant", "kind": SourceKind.RENOGY}
    source = saving.add_source(columns=columns, secrets={"access_key": "a", "secret_key": "b"}, by="user:1")
    long_ago = clock.now() - timedelta(days=80)
    AuditEvent.objects.update(at=long_ago)
    saving.change_source(source, columns={"name": "Roof"}, secrets={}, by="user:1")
    assert [(key.days, key.tone) for key in security.every_key(clock.now()) if "Roof" in key.name] == [(80, "hold")]
    saving.change_source(source, columns={}, secrets={"secret_key": "c"}, by="user:1")
    assert [(key.days, key.tone) for key in security.every_key(clock.now()) if "Roof" in key.name] == [(0, "ok")]


def test_a_source_without_keys_is_not_among_them() -> None:
    place = Location.objects.create(name="Roof")
    columns = {"location": place, "name": "Modbus", "kind": SourceKind.SIGENERGY_MODBUS}
    saving.add_source(columns=columns, secrets={}, by="user:1")
    assert [key.name for key in security.every_key(clock.now())] == ["Stripe"]


def test_the_stripe_key_ages_from_the_day_it_was_taken_first(settings: Any) -> None:
    now, settings.STRIPE_KEY = clock.now(), "sk_test_first_of_two"
    assert key_seen.first_seen() is None
    key_seen.note(now)
    key_seen.note(now)
    assert AuditEvent.objects.filter(kind=key_seen.KIND).count() == 1
    for days, severity in ((76, "warning"), (91, "error")):
        key_seen.note(now + timedelta(days=days))
        assert Alert.objects.get(key=key_seen.ALERT, closed_at=None).severity == severity
    settings.STRIPE_KEY = "sk_test_second_of_two"
    key_seen.note(now + timedelta(days=91))
    assert not Alert.objects.filter(key=key_seen.ALERT, closed_at=None).exists()
    assert "sk_test" not in json.dumps(list(AuditEvent.objects.values_list("data", flat=True)))


# -- the rest


def test_the_head_of_the_audit_log_is_shown(admin: Client) -> None:
    audit.write("something", actor="user:1")
    assert "none yet" in page(admin)


@pytest.mark.django_db(transaction=True)
def test_the_head_moves_with_the_seals(admin: Client) -> None:
    audit.write("something", actor="user:1")
    waiting = AuditEvent.objects.count()
    seal()
    head = AuditEvent.objects.get(seq=waiting).hmac or ""
    assert f"{head[:16]}…" in page(admin)
    assert f"<dt>Sealed events</dt><dd>{waiting}</dd>" in page(admin)


@pytest.mark.parametrize(
    ("name", "value", "word"),
    [
        ("FIELD_KEYS", ["a", "b"], "2 keys"),
        ("SECURE", True, "https"),
        ("SENDS_MAIL", False, "no mail"),
        ("SHELLY_HOSTS", ["shelly-1.example"], "limited"),
        ("AUDIT_KEY", "another", "own key"),
    ],
)
def test_what_the_environment_fixes_is_told(settings: Any, name: str, value: Any, word: str) -> None:
    assert word not in [one.word for one in security.fixed()]
    setattr(settings, name, value)
    assert word in [one.word for one in security.fixed()]


def test_no_secret_stands_on_the_page(admin: Client, settings: Any) -> None:
    ShellyAccount.objects.create(name="Seaside", server_url="http://x", auth_key="the-key-of-shelly")
    shown = page(admin)
    for secret in ("the-key-of-shelly", settings.STRIPE_KEY, settings.SECRET_KEY, *settings.FIELD_KEYS):
        assert secret not in shown


def test_the_tabs_of_settings_lead_to_each_other(admin: Client) -> None:
    names = ("settings", "branding", "accounts", "stripe", "energy_settings", "security", "team")
    for name in names:
        shown = admin.get(reverse(f"dashboard:{name}")).content.decode()
        for other in names:
            assert f'class="chip" href="{reverse(f"dashboard:{other}")}"' in shown
        assert shown.count('class="chip" href') == len(names)
        assert f'href="{reverse(f"dashboard:{name}")}" aria-current="page"' in shown
