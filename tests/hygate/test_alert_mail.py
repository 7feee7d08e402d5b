"""An alert's mail: one for each opening, to every administrator, tried again until a mail server took it."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from email import message_from_string
from email.message import Message
from email.policy import default
from typing import Any

import pytest
from django.core import mail
from django.core.checks import Error

from hygate import alerts, checks
from hygate.due import registry
from hygate.due.running import run
from hygate.due.sweep import sweep
from hygate.models import Alert, AuditEvent, Role, Severity, User

pytestmark = pytest.mark.django_db(transaction=True)


class MailServer(socketserver.ThreadingTCPServer):
    """Speaks enough SMTP on a real socket: keeps what it took, or refuses, or says nothing at all."""

    allow_reuse_address = daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), MailDialogue)
        self.taken: list[tuple[list[str], Message]] = []
        self.tries = 0
        self.mood = "takes"
        self.released = threading.Event()

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class MailDialogue(socketserver.StreamRequestHandler):
    server: MailServer

    def handle(self) -> None:
        self.server.tries += 1
        if self.server.mood == "hangs":
            self.server.released.wait(10)
            return
        self._say("220 ready")
        to: list[str] = []
        while line := self.rfile.readline().decode().strip():
            verb = line[:4].upper()
            if verb == "RCPT":
                to.append(line.split("<")[1].rstrip(">"))
                self._say("250 ok" if self.server.mood == "takes" else "451 come back later")
            elif verb == "DATA":
                self._say("354 go on")
                self.server.taken.append((to, message_from_string(self._text(), policy=default)))
                self._say("250 taken")
            elif verb == "QUIT":
                self._say("221 bye")
                return
            else:
                self._say("250 ok")

    def _text(self) -> str:
        lines = []
        while (line := self.rfile.readline().decode().rstrip("\r\n")) != ".":
            lines.append(line)
        return "\n".join(lines)

    def _say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())


@pytest.fixture(autouse=True)
def only_alerts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sweeps that look for nothing else: these tests let minutes pass."""
    handler = registry.handler_for(Alert._meta.label_lower)
    monkeypatch.setattr(registry, "_handlers", {handler.label: handler})


@pytest.fixture
def people() -> None:
    for email, role in (("a@site.example", Role.ADMINISTRATOR), ("b@site.example", Role.ADMINISTRATOR)):
        User.objects.create_user(email, role=role)
    User.objects.create_user("gone@site.example", role=Role.ADMINISTRATOR, is_active=False)
    User.objects.create_user("operator@site.example", role=Role.OPERATOR)


@pytest.fixture
def server(settings: Any, people: None) -> Iterator[MailServer]:
    with MailServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT, settings.EMAIL_TIMEOUT = "127.0.0.1", server.port, 0.3
        settings.EMAIL_USE_TLS = settings.EMAIL_USE_SSL = False
        settings.BASE_URL = "https://hygate.site.example"
        yield server
        server.released.set()
        server.shutdown()
        thread.join(5)


def trouble(key: str = "pump", severity: str = Severity.ERROR, **fields: Any) -> Alert:
    said = {"kind": "pump", "title": "The pump of Hall 2 stands still", "advice": "Press its green button."}
    return alerts.raise_alert(key, severity=severity, **(said | fields))


def pass_time(clock: Any, seconds: int) -> None:
    """Sweep every second, as the workers do."""
    for _ in range(seconds):
        sweep(run)
        clock.sleep(1)


def test_an_error_is_mailed_at_once_and_only_once(server: MailServer, manual_clock: Any) -> None:
    alert = trouble()
    pass_time(manual_clock, 2)
    trouble(title="The pump of Hall 2 still stands still")
    pass_time(manual_clock, 90)
    assert len(server.taken) == 1
    to, message = server.taken[0]
    assert to == ["a@site.example", "b@site.example"]
    assert message["Subject"] == "[Hygate] Error: The pump of Hall 2 stands still"
    body = str(message.get_content())  # type: ignore[attr-defined]
    assert "Press its green button." in body
    assert "https://hygate.site.example/dashboard/" in body
    assert "/session/" not in body
    alert.refresh_from_db()
    assert alert.mailed_at is not None
    assert alert.due_at is None


def test_a_warning_that_heals_within_half_a_minute_mails_nobody(server: MailServer, manual_clock: Any) -> None:
    trouble(severity=Severity.WARNING)
    pass_time(manual_clock, 28)
    alerts.close_alert("pump")
    pass_time(manual_clock, 60)
    assert server.tries == 0


def test_a_warning_that_stays_is_mailed_after_half_a_minute(server: MailServer, manual_clock: Any) -> None:
    trouble(severity=Severity.WARNING)
    pass_time(manual_clock, 29)
    assert server.taken == []
    pass_time(manual_clock, 3)
    assert [message["Subject"] for _, message in server.taken] == ["[Hygate] Warning: The pump of Hall 2 stands still"]


def test_a_warning_that_turns_into_an_error_does_not_wait(server: MailServer, manual_clock: Any) -> None:
    trouble(severity=Severity.WARNING)
    pass_time(manual_clock, 2)
    trouble(severity=Severity.ERROR)
    pass_time(manual_clock, 2)
    assert len(server.taken) == 1


def test_each_opening_has_its_own_mail(server: MailServer, manual_clock: Any) -> None:
    for _ in range(2):
        trouble()
        pass_time(manual_clock, 2)
        alerts.close_alert("pump")
    assert len({str(message["Message-ID"]) for _, message in server.taken}) == 2


@pytest.mark.parametrize("mood", ["refuses", "hangs"])
def test_a_mail_server_that_does_not_take_it_is_asked_again(server: MailServer, mood: str, manual_clock: Any) -> None:
    server.mood = mood
    alert = trouble()
    pass_time(manual_clock, 22)
    assert server.tries == 3
    assert Alert.objects.filter(kind="mail_failed", closed_at__isnull=True).count() == 1
    server.mood = "takes"
    server.released.set()
    pass_time(manual_clock, 120)
    assert [str(message["Message-ID"]) for _, message in server.taken] == [
        f"<alert-{alert.pk}-{int(alert.opened_at.timestamp())}@hygate.site.example>"
    ]
    assert not Alert.objects.filter(kind="mail_failed", closed_at__isnull=True).exists()


def test_that_mails_fail_is_never_mailed_itself(server: MailServer, manual_clock: Any) -> None:
    server.mood = "refuses"
    trouble()
    pass_time(manual_clock, 22)
    assert Alert.objects.get(kind="mail_failed").due_at is None


def test_without_an_administrator_nothing_is_sent_and_nothing_tried_again(settings: Any, manual_clock: Any) -> None:
    alert = trouble()
    pass_time(manual_clock, 5)
    alert.refresh_from_db()
    assert mail.outbox == []
    assert (alert.due_at, alert.mailed_at) == (None, None)


def test_without_a_mail_server_the_dashboard_has_to_do(people: None, settings: Any, manual_clock: Any) -> None:
    settings.SENDS_MAIL = False
    alert = trouble()
    pass_time(manual_clock, 5)
    alert.refresh_from_db()
    assert mail.outbox == []
    assert (alert.due_at, alert.mailed_at) == (None, None)


def test_the_mail_s_audit_trail_names_nobody_s_address(server: MailServer, manual_clock: Any) -> None:
    trouble()
    pass_time(manual_clock, 2)
    assert "site.example" not in str([event.data for event in AuditEvent.objects.all()])


def test_settings_warn_without_a_mail_server_and_refuse_an_open_password(settings: Any) -> None:
    settings.SIMULATED = False
    settings.SMTP_HOST = ""
    assert [found.id for found in checks.mail_is_safe()] == ["hygate.W002"]
    settings.SMTP_HOST, settings.EMAIL_HOST_USER = "mail.site.example", "hygate"
    settings.EMAIL_USE_SSL = settings.EMAIL_USE_TLS = False
    assert [type(found) for found in checks.mail_is_safe()] == [Error]
    settings.EMAIL_USE_TLS = True
    assert checks.mail_is_safe() == []
