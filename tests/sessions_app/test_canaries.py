"""Silent secrets: planted values are looked for everywhere that something could have written them."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from django.apps import apps
from django.db import connection
from django.test import Client
from django.urls import reverse

from devices import accounts
from devices.models import RelayAttempt, ShellyAccount
from hygate import celery
from hygate.due import wakeups
from hygate.due.running import run
from hygate.models import AuditEvent, User
from sessions_app.models import DeviceSession
from sessions_app.states import State

if TYPE_CHECKING:
    from tests.world import World

SHELLY = "CANARYshelly0123456789"
STRIPE = "sk_test_CANARYstripe0123456789"
WEBHOOK = "whsec_CANARYwebhook0123456789"
ALWAYS = {"Shelly key": SHELLY, "Stripe key": STRIPE, "webhook secret": WEBHOOK}
OWN_PAGES = "/session/"


@dataclass
class Witness:
    """Whatever left the process or was kept: log lines, raw log messages, task arguments, pages, rows."""

    lines: io.StringIO = field(default_factory=io.StringIO)
    messages: list[str] = field(default_factory=list)
    tasks: list[str] = field(default_factory=list)
    pages: list[tuple[str, str]] = field(default_factory=list)

    def get(self, client: Client, path: str) -> int:
        answer = client.get(path)
        headers = "".join(f"{name}: {value}\n" for name, value in answer.items())
        self.pages.append((path, headers + answer.content.decode()))
        return answer.status_code

    def texts(self) -> dict[str, str]:
        pages = "\n".join(text for path, text in self.pages if not path.startswith(OWN_PAGES))
        return {
            "log lines": self.lines.getvalue(),
            "log messages": "\n".join(self.messages),
            "task arguments": "\n".join(self.tasks),
            "pages": pages,
            "database": "\n".join(rows_of_every_table()),
        }

    def found(self, canaries: dict[str, str]) -> list[str]:
        return [
            f"{name} in {where}"
            for where, text in self.texts().items()
            for name, one in canaries.items()
            if one in text
        ]


def rows_of_every_table() -> Iterator[str]:
    """Every row as the database has it, in whatever table."""
    with connection.cursor() as cursor:
        for model in apps.get_models():
            cursor.execute(f'SELECT * FROM "{model._meta.db_table}"')  # noqa: S608 - our own tables' names
            for row in cursor.fetchall():
                yield f"{model._meta.label}: {row!r}"


class Listener(logging.Handler):
    def __init__(self, messages: list[str]) -> None:
        super().__init__(logging.DEBUG)
        self.messages = messages

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(f"{record.getMessage()} {record.args!r}")


@pytest.fixture
def witness(monkeypatch: pytest.MonkeyPatch) -> Iterator[Witness]:
    """Listens at the root logger with the product's own formatter, and in the place of the broker."""
    seen = Witness()
    root = logging.getLogger()
    line = next(
        one.formatter for one in root.handlers if isinstance(one.formatter, structlog.stdlib.ProcessorFormatter)
    )
    written = logging.StreamHandler(seen.lines)
    written.setFormatter(line)
    handlers: list[logging.Handler] = [written, Listener(seen.messages)]
    for handler in handlers:
        root.addHandler(handler)

    def keep(**sent: Any) -> None:
        seen.tasks.append(json.dumps(sent, default=str))

    def run_and_tell(handler: Any, chunk: Any) -> None:
        celery._send_chunk(handler, chunk)
        run(handler, chunk)

    monkeypatch.setattr(celery.run_chunk, "apply_async", keep)
    monkeypatch.setattr(celery.wake, "apply_async", keep)
    monkeypatch.setattr(wakeups, "_enqueue", lambda hint: celery.publish_wake_up(hint[0], [hint[1]]))
    monkeypatch.setattr("tests.world.run", run_and_tell)
    yield seen
    for handler in handlers:
        root.removeHandler(handler)


@pytest.fixture
def planted(world: World, witness: Witness) -> World:
    world.settings.STRIPE_KEY, world.settings.STRIPE_WEBHOOK_SECRETS = STRIPE, [WEBHOOK]
    world.settings.NUMBERS = replace(world.settings.NUMBERS, command_timeout_s=0.3, stripe_timeout_s=1)
    world.ctl(world.shelly_server, "POST", "/_ctl/accounts/account-1", {"auth_key": SHELLY})
    account = ShellyAccount.objects.get()
    accounts.change_account(account, name=account.name, server_url=account.server_url, auth_key=SHELLY)
    world.go(3)
    return world


def purchase(world: World, trouble: Callable[[DeviceSession], None]) -> DeviceSession:
    session = world.buy()
    trouble(session)
    world.tell(session)
    world.go(60)
    session.refresh_from_db()
    return session


def canaries_of(session: DeviceSession) -> dict[str, str]:
    return ALWAYS | {"guest's token": session.token}


def test_a_purchase_with_every_trouble_tells_no_secret(planted: World, witness: Witness) -> None:
    """Shelly does not answer an ON, Stripe fails a capture and a reading; the sale goes on, and nothing leaks."""

    def trouble(_session: DeviceSession) -> None:
        planted.fault(planted.shelly_server, on="switch_on", do="act_then_hang", times=1)
        planted.fault(planted.stripe_server, on="checkout.sessions.retrieve", do="drop", times=1)
        planted.ctl(planted.stripe_server, "POST", "/_ctl/stored_500", {"on": "payment_intents.capture", "times": 1})

    session = purchase(planted, trouble)
    assert session.state == State.COMPLETED
    assert RelayAttempt.objects.filter(error="timed_out").exists()
    assert 500 in [entry["status"] for entry in planted.ledger(planted.stripe_server, "request")]
    assert witness.tasks
    guest, boss = Client(), Client()
    boss.force_login(User.objects.create_superuser("boss@example.com", "correct horse battery"))
    assert witness.get(guest, f"/session/{session.token}/") == 200
    assert witness.get(guest, "/d/WASH1/") == 200
    for page in ("overview", "accounts", "payments", "sessions", "stripe"):
        assert witness.get(boss, reverse(f"dashboard:{page}")) == 200
    account = ShellyAccount.objects.get()
    for page, pk in (("account", account.pk), ("account_edit", account.pk), ("session", session.pk)):
        assert witness.get(boss, reverse(f"dashboard:{page}", args=[pk])) == 200
    assert witness.found(canaries_of(session)) == []


def test_a_refused_key_tells_no_secret(planted: World, witness: Witness) -> None:
    """Both services refuse the keys in the middle of a sale: errors, alerts and audit name the trouble only."""

    def trouble(_session: DeviceSession) -> None:
        planted.ctl(planted.shelly_server, "POST", "/_ctl/accounts/account-1", {"auth_key": "another"})
        planted.ctl(planted.stripe_server, "POST", "/_ctl/keys", {"revoke": "*"})

    session = purchase(planted, trouble)
    assert ShellyAccount.objects.get().status == "bad_key"
    assert witness.found(canaries_of(session)) == []


def test_a_forged_webhook_and_an_unknown_link_tell_no_secret(planted: World, witness: Witness) -> None:
    session = planted.hold()
    answer = Client().post(
        "/api/stripe/webhook", b"{}", content_type="application/json", headers={"Stripe-Signature": "t=1,v1=00"}
    )
    witness.pages.append(("/api/stripe/webhook", answer.content.decode()))
    assert answer.status_code == 400
    assert witness.get(Client(), f"/session/{session.token}x/") == 404
    assert "/session/…" in witness.lines.getvalue(), "Django logs the 404 with its address"
    assert witness.found(canaries_of(session)) == []


def broken(session: DeviceSession) -> Callable[..., Any]:
    """A view's helper that fails as httpx would, with keys in its frame and in the error's text."""

    def fail(*_args: Any, **_named: Any) -> Any:
        auth_key, link = SHELLY, f"http://testserver/session/{session.token}/"
        headers = {"Authorization": f"Bearer {STRIPE}"}
        secrets = [WEBHOOK]
        raise RuntimeError(f"POST https://x.shelly.cloud/v2?auth_key={auth_key} for {link} {headers} {secrets}")

    return fail


@pytest.mark.parametrize("debug", [False, True])
def test_an_error_page_and_its_traceback_tell_no_secret(
    planted: World, witness: Witness, monkeypatch: pytest.MonkeyPatch, debug: bool
) -> None:
    session = planted.hold()
    planted.settings.DEBUG = debug
    monkeypatch.setattr("sessions_app.dashboard.frame.badge", broken(session))
    client = Client(raise_request_exception=False)
    client.force_login(User.objects.create_superuser("boss@example.com", "correct horse battery"))
    assert witness.get(client, reverse("dashboard:accounts")) == 500
    assert "RuntimeError" in witness.lines.getvalue()
    if debug:
        assert "auth_key" in witness.pages[-1][1], "the debugging page shows the frame"
    assert witness.found(canaries_of(session)) == []


def test_the_witness_would_have_found_them(planted: World, witness: Witness) -> None:
    """The search itself can fail: what is written without a name that gives it away is found."""
    AuditEvent.objects.create(kind="leak", data={"said": SHELLY})
    logging.getLogger("some.library").warning("it said %s", SHELLY)
    witness.tasks.append(WEBHOOK)
    witness.pages.append(("/d/X/", STRIPE))
    assert set(witness.found(ALWAYS)) == {
        "Shelly key in log lines",
        "Shelly key in log messages",
        "Shelly key in database",
        "webhook secret in task arguments",
        "Stripe key in pages",
    }
