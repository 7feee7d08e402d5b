"""The Stripe key: its kind by its look, its rights by harmless readings, and never a letter of it anywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from django.core import checks as django_checks

from hygate import checks
from sessions_app.dashboard import troubleshooting
from sessions_app.payments import keys
from sessions_app.payments.keys import KeyKind

if TYPE_CHECKING:
    from tests.world import World

CANARY = "CANARYcanary0123456789"


@pytest.mark.parametrize(
    ("prefix", "kind"),
    [
        ("sk_live_", KeyKind.LIVE),
        ("rk_live_", KeyKind.RESTRICTED_LIVE),
        ("sk_test_", KeyKind.TEST),
        ("rk_test_", KeyKind.RESTRICTED_TEST),
        ("pk_live_", KeyKind.PUBLISHABLE),
        ("pk_test_", KeyKind.PUBLISHABLE),
        ("whsec_", KeyKind.UNKNOWN),
        ("", KeyKind.UNKNOWN),
    ],
)
def test_the_prefix_tells_the_kind(prefix: str, kind: KeyKind) -> None:
    assert keys.kind_of(prefix + CANARY) == kind


def test_no_key_is_a_kind_of_its_own() -> None:
    assert keys.kind_of("") == KeyKind.NONE


def found(settings: Any, key: str, *, test_ok: bool = False) -> set[str]:
    settings.SIMULATED, settings.STRIPE_KEY, settings.STRIPE_TEST_OK = False, key, test_ok
    wrong = checks.real_site_has_real_keys()
    assert all(CANARY not in str(one.msg) for one in wrong)
    return {str(one.id) for one in wrong if one.level >= django_checks.ERROR} - {"hygate.E004"}


def test_a_real_site_refuses_a_test_key_unless_told(settings: Any) -> None:
    assert found(settings, f"sk_test_{CANARY}") == {"hygate.E006"}
    assert found(settings, f"rk_test_{CANARY}") == {"hygate.E006"}
    assert found(settings, f"rk_test_{CANARY}", test_ok=True) == set()
    assert found(settings, f"rk_live_{CANARY}") == set()


@pytest.mark.django_db
@pytest.mark.parametrize("key", [f"pk_live_{CANARY}", f"whsec_{CANARY}", CANARY])
def test_a_real_site_refuses_what_is_no_secret_key(settings: Any, key: str) -> None:
    assert found(settings, key) == {"hygate.E007"}
    assert not keys.look().ok


def said(world: World) -> keys.KeyVerdict:
    verdict = keys.check_key()
    assert CANARY not in repr(verdict)
    return verdict


def test_stripe_takes_the_key(world: World) -> None:
    world.settings.STRIPE_KEY = f"rk_test_{CANARY}"
    verdict = said(world)
    assert (verdict.ok, verdict.kind, verdict.missing) == (True, KeyKind.RESTRICTED_TEST, ())
    assert "first sale" in verdict.sentence


def test_each_missing_right_is_named(world: World) -> None:
    world.settings.STRIPE_KEY = f"rk_test_{CANARY}"
    operations = ["refunds.list", "disputes.list"]
    world.ctl(world.stripe_server, "POST", "/_ctl/keys", {"forbid": f"rk_test_{CANARY}", "operations": operations})
    verdict = said(world)
    assert not verdict.ok
    assert verdict.missing == ("Refunds: write", "Disputes: read")
    assert "Refunds: write and Disputes: read" in verdict.sentence


def test_a_revoked_key_is_refused_and_not_called_a_lack_of_rights(world: World) -> None:
    world.settings.STRIPE_KEY = f"rk_test_{CANARY}"
    world.ctl(world.stripe_server, "POST", "/_ctl/keys", {"revoke": "*"})
    verdict = said(world)
    assert (verdict.ok, verdict.title, verdict.missing) == (False, "Stripe refuses the key", ())


def test_stripe_being_away_says_nothing_about_the_key(world: World) -> None:
    world.stripe_server.stop()
    world.settings.STRIPE_API_BASE = "http://127.0.0.1:1"
    assert said(world).title == "Stripe cannot be reached"


def test_trying_the_key_changes_nothing_at_stripe(world: World) -> None:
    before = len(world.ledger(world.stripe_server, "request"))
    said(world)
    asked = world.ledger(world.stripe_server, "request")[before:]
    assert [entry["method"] for entry in asked] == ["GET"] * 5


def test_every_verdict_about_the_key_has_its_row_on_the_troubleshooting_page() -> None:
    anchors = ("stripe-no-key", "stripe-key-kind", "stripe-test-key", "right-missing", "key-refused", "provider-down")
    assert [one for one in anchors if not troubleshooting.link(one)] == []
