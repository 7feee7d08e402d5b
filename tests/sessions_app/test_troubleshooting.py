"""Every error that can be shown has a row that says what to do, and its sentence leads there."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from django.template import Context, Template
from django.test import Client
from django.urls import reverse

import devices
import hygate.alerts
import sessions_app
from devices.energy.sources.source import SourceError
from devices.energy.trust import No
from devices.models import AccountStatus, RelayAttempt, RelayCommand, ShellyAccount
from devices.relays.blocking import Blocked
from devices.shelly.errors import ShellyError
from hygate import clock
from hygate.models import Role, User
from sessions_app.dashboard import energy, troubleshooting
from sessions_app.payments.gateway import PaymentError
from tests.world import World

ROOT = Path(hygate.alerts.__file__).parent.parent
HELP = "/dashboard/help/"


def all_kinds(base: type[Exception]) -> Iterator[type[Exception]]:
    yield base
    for kind in base.__subclasses__():
        yield from all_kinds(kind)


def everything(package: ModuleType) -> None:
    """Import all of it: an error class counts from the moment it is written."""
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if ".migrations" not in module.name:
            importlib.import_module(module.name)


everything(devices)
everything(sessions_app)
BASES: tuple[type[Exception], ...] = (ShellyError, PaymentError)
NAMES = sorted({str(vars(kind).get("name", "")) for base in BASES for kind in all_kinds(base)} - {""})


def sources() -> Iterator[tuple[Path, ast.Module]]:
    for room in ("hygate", "devices", "sessions_app"):
        for path in sorted((ROOT / room).rglob("*.py")):
            yield path, ast.parse(path.read_text(encoding="utf-8"))


def alert_calls() -> Iterator[tuple[str, ast.expr, ast.Module]]:
    """Where alerts are raised, and what each passes as ``help_anchor``."""
    for path, tree in sources():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and "raise_alert" in (
                getattr(node.func, "id", ""),
                getattr(node.func, "attr", ""),
            ):
                anchors = [keyword.value for keyword in node.keywords if keyword.arg == "help_anchor"]
                if not anchors and any(keyword.arg is None for keyword in node.keywords):
                    continue  # passes on what its own caller says
                assert anchors, f"{path}:{node.lineno} raises an alert without help_anchor"
                yield f"{path.relative_to(ROOT)}:{node.lineno}", anchors[0], tree


def values(expression: ast.expr, tree: ast.Module) -> list[str]:
    """What an anchor can be: written out (or one of two), a constant of its module, or made of the reasons to block."""
    if isinstance(expression, ast.Constant):
        return [str(expression.value)]
    if isinstance(expression, ast.Name):
        for node in tree.body:
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == expression.id:
                return values(node.value, tree)
    if isinstance(expression, ast.IfExp):
        return values(expression.body, tree) + values(expression.orelse, tree)
    if isinstance(expression, ast.JoinedStr) and str(getattr(expression.values[0], "value", "")) == "blocked-":
        return [f"blocked-{reason.value.replace('_', '-')}" for reason in Blocked]
    raise AssertionError(f"what is {ast.unparse(expression)}? Teach this test")


@pytest.mark.parametrize("name", NAMES)
def test_every_named_error_has_a_row(name: str) -> None:
    assert troubleshooting.anchor_of(name) in troubleshooting.anchors()


def test_every_alert_leads_to_a_row() -> None:
    found = {place: values(anchor, tree) for place, anchor, tree in alert_calls()}
    missing = {place: set(names) - troubleshooting.anchors() for place, names in found.items()}
    assert {place: names for place, names in missing.items() if names} == {}
    assert len(found) >= 8


def test_every_reason_why_a_guest_cannot_buy_has_a_row() -> None:
    text = (ROOT / "sessions_app" / "selling.py").read_text(encoding="utf-8")
    kinds = set(re.findall(r'(?:Availability|CannotBuy)\("([a-z_]+)"', text)) - {"free"}
    assert {"busy", "maintenance", "offline", "no_power", "not_for_sale", "disabled"} <= kinds
    assert {troubleshooting.anchor_of(f"cannot_buy_{kind}") for kind in kinds} <= troubleshooting.anchors()


def test_anchors_are_unique_and_every_row_says_what_to_do() -> None:
    rows = [row for section in troubleshooting.read() for row in section.rows]
    named = [row.anchor for row in rows if row.anchor]
    assert len(named) == len(set(named))
    for section in troubleshooting.read():
        assert {len(row.cells) for row in section.rows} <= {len(section.head)}, section.title
    assert all(cell for row in rows for cell in row.cells)


def test_nothing_in_the_file_becomes_markup_of_its_own() -> None:
    shown = troubleshooting.inline('<script>alert("x")</script> `a<b` *now*')
    assert shown == "&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt; <code>a&lt;b</code> <em>now</em>"


def browser(role: Role) -> Client:
    client = Client()
    user, _ = User.objects.get_or_create(email=f"{role}@example.com", defaults={"role": role})
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


@pytest.mark.django_db
def test_the_page_shows_the_file_with_an_anchor_for_every_row() -> None:
    html = browser(Role.OPERATOR).get(HELP).content.decode()
    for anchor in troubleshooting.anchors() - {"troubleshooting"}:
        assert f'id="{anchor}"' in html
    for table in ("Connection test failed", "A device shows offline", "The relay does not turn on"):
        assert table in html
    assert "&lt;a id" not in html


@pytest.mark.django_db
def test_an_error_on_the_dashboard_leads_to_its_row_and_an_unknown_one_stays_plain() -> None:
    def shown(name: str) -> str:
        return Template('{% load dashboard %}{% helped name "What to do" %}').render(Context({"name": name}))

    assert shown("bad_key") == f'<a class="why" href="{HELP}#bad-key">What to do</a>'
    assert shown("never_heard_of") == "What to do"


def test_status_attempts_and_verdicts_lead_to_their_rows(world: World, settings: Any) -> None:
    admin, session = browser(Role.ADMINISTRATOR), world.hold()
    account = ShellyAccount.objects.get(pk=world.account.pk)
    account.auth_key = "not-the-key"
    account.save(update_fields=["auth_key"])
    verdict = admin.post(reverse("dashboard:account_sync", args=[account.pk]), headers={"HX-Request": "true"})
    assert f'href="{HELP}#bad-key"' in verdict.content.decode()
    account.refresh_from_db()
    assert account.status == AccountStatus.BAD_KEY
    for name, args in (("accounts", []), ("account", [account.pk])):
        assert f'href="{HELP}#bad-key"' in admin.get(reverse(f"dashboard:{name}", args=args)).content.decode()

    command = RelayCommand.objects.create(
        account=account,
        device=world.device,
        on=True,
        on_for_s=20,
        reason="start",
        wanted_by=f"session:{session.pk}",
        state="failed",
    )
    RelayAttempt.objects.create(
        command=command, number=1, sent_at=clock.now(), outcome="failed", error="device_offline", latency_ms=9
    )
    page = unescape(admin.get(reverse("dashboard:session", args=[session.pk])).content.decode())
    assert f'href="{HELP}#device-offline"' in page


def test_every_error_of_an_energy_source_has_a_row() -> None:
    codes = {str(vars(kind).get("code", "")) for kind in all_kinds(SourceError)} - {""}
    assert len(codes) >= 20
    assert {troubleshooting.anchor_of(code) for code in codes} <= troubleshooting.anchors()


def test_every_reason_for_no_headroom_has_a_row() -> None:
    assert {troubleshooting.anchor_of(energy.why_of(no)) for no in No} <= troubleshooting.anchors()
