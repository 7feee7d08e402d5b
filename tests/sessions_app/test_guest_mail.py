"""E-mail that guests asked for: sent once and at its moment, in their language, and the address forgotten after it."""

from __future__ import annotations

import re
import smtplib
from datetime import timedelta
from typing import Any

import pytest
from django.core import mail as outbox
from django.core.cache import cache
from django.core.mail.backends.locmem import EmailBackend
from django.db import connection
from django.test import Client

from hygate import attempts, clock
from hygate.due import registry
from hygate.due.running import run
from hygate.due.sweep import sweep
from hygate.models import AuditEvent, SiteSettings
from sessions_app.guest import calendar
from sessions_app.mail import services
from sessions_app.mail.models import GuestMail, MailKind
from sessions_app.mail.services import Asked
from sessions_app.models import DeviceSession, QueueEntry
from sessions_app.moves import transition
from sessions_app.queue.models import Place
from sessions_app.rules import Move
from sessions_app.states import State
from tests.sessions_app.guest_pages import (
    CAPTURED,
    LINK,
    TOKEN,
    Make,
    _static_files_need_no_collecting,
    device,
    make,
    ran,
    read,
    words,
)
from tests.sessions_app.test_concurrency import at_once

__all__ = ["_static_files_need_no_collecting", "device", "make"]
pytestmark = pytest.mark.django_db(transaction=True)
ADDRESS = "guest.canary@phone.example"
PAID = {**CAPTURED, "charge_minor": 360, "method_detail": "Visa ending 4242", "vat_rate_bp": 2300}


class Moody(EmailBackend):
    """Django's outbox, which can be told to refuse."""

    moods: list[Exception] = []  # noqa: RUF012 - the tests' own switch
    tries = 0

    def send_messages(self, messages: Any) -> int:
        Moody.tries += 1
        if Moody.moods:
            raise Moody.moods.pop(0)
        return int(super().send_messages(messages))


@pytest.fixture(autouse=True)
def only_mails(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    """Sweeps that look for nothing else, and a mail server of the tests' own."""
    handler = registry.handler_for(GuestMail._meta.label_lower)
    monkeypatch.setattr(registry, "_handlers", {handler.label: handler})
    monkeypatch.setattr(Moody, "moods", [])
    monkeypatch.setattr(Moody, "tries", 0)
    settings.EMAIL_BACKEND = f"{__name__}.Moody"
    settings.BASE_URL = "https://hygate.site.example"
    settings.SENDS_MAIL = True
    outbox.outbox = []
    cache.clear()


def pass_time(manual: Any, seconds: float) -> None:
    """Let time pass as the worker does it: whatever is due on the way, at its moment."""
    until = manual.now() + timedelta(seconds=seconds)
    for _ in range(5000):
        sweep(run)
        due = GuestMail.objects.filter(due_at__isnull=False).order_by("due_at").values_list("due_at", flat=True).first()
        if due is None or due > until:
            break
        manual.set(max(manual.now(), due))
    manual.set(until)


def finished(make: Make, **more: Any) -> DeviceSession:
    return make(State.COMPLETED, pay=PAID, **{**ran(60, closed_at=clock.now()), **more})


def running(make: Make) -> DeviceSession:
    now = clock.now()
    return make(State.RUNNING, pay=CAPTURED, started_at=now, ends_at=now + timedelta(hours=1))


def end(session: DeviceSession) -> None:
    from django.db import transaction

    with transaction.atomic():
        fresh = DeviceSession.objects.select_related("device__location").get(pk=session.pk)
        transition(fresh, Move(State.STOPPING), now=clock.now())
        transition(fresh, Move(State.COMPLETED), now=clock.now())


def ask(
    session: DeviceSession, kind: MailKind = MailKind.RECEIPT, address: str = ADDRESS, language: str = "en"
) -> Asked:
    return services.ask(kind, address=address, language=language, session=session)


# -- the receipt


def test_the_receipt_is_sent_with_its_pdf_and_the_address_is_forgotten(make: Make, manual_clock: Any) -> None:
    SiteSettings.objects.update_or_create(
        pk=1, defaults={"company": "Seaside", "contact_email": "desk@seaside.example"}
    )
    session = finished(make)
    answer = Client().post(f"{LINK}receipt/mail/", {"email": ADDRESS})
    assert (answer.status_code, answer["Location"]) == (303, f"{LINK}receipt/")
    assert "on its way" in read(Client(), f"{LINK}receipt/")
    pass_time(manual_clock, 2)
    (sent,) = outbox.outbox
    assert sent.to == [ADDRESS]
    assert sent.subject == "Receipt R-2026-0001 · Seaside"
    assert sent.reply_to == ["desk@seaside.example"]
    assert sent.body.startswith("You paid €3.60.")
    assert f"https://hygate.site.example{LINK}receipt/" in sent.body
    assert "<" not in sent.body
    ((name, content, kind),) = sent.attachments
    assert (name, kind) == ("R-2026-0001.pdf", "application/pdf")
    assert bytes(content).startswith(b"%PDF-")
    row = GuestMail.objects.get(session=session)
    assert (row.address, row.address_hash, row.due_at) == ("", "", None)
    assert row.sent_at is not None
    assert "Sent by e-mail at" in read(Client(), f"{LINK}receipt/")


def test_a_receipt_mail_speaks_the_guests_language_and_not_the_workers(make: Make, manual_clock: Any) -> None:
    finished(make)
    Client(headers={"accept-language": "de"}).post(f"{LINK}receipt/mail/", {"email": ADDRESS})
    assert GuestMail.objects.get().language == "de"
    pass_time(manual_clock, 2)
    assert "3,60" in outbox.outbox[0].body


def test_a_second_tap_with_the_same_address_sends_one_mail(make: Make, manual_clock: Any) -> None:
    session = finished(make)
    assert [ask(session), ask(session, address=ADDRESS.upper())] == [Asked.YES, Asked.ALREADY]
    pass_time(manual_clock, 2)
    assert len(outbox.outbox) == 1


def test_taps_at_the_same_moment_send_one_mail(make: Make, manual_clock: Any) -> None:
    session = finished(make)
    results = at_once(6, lambda _index: ask(session))
    assert sorted(one.value for one in results) == ["already"] * 5 + ["yes"]


def test_at_most_three_mails_of_a_kind_are_sent_about_a_session(make: Make, manual_clock: Any) -> None:
    session = finished(make)
    for number in range(3):
        assert ask(session, address=f"a{number}@phone.example") == Asked.YES
        pass_time(manual_clock, 2)
    assert ask(session, address="a4@phone.example") == Asked.TOO_MANY
    answer = Client().post(f"{LINK}receipt/mail/", {"email": "a5@phone.example"})
    assert answer.status_code == 422
    assert "3 times already" in words(answer)
    assert len(outbox.outbox) == 3


def test_one_network_cannot_ask_for_mails_without_end(make: Make) -> None:
    finished(make)
    client = Client()
    for _ in range(10):
        client.post(f"{LINK}receipt/mail/", {"email": ADDRESS})
    answer = client.post(f"{LINK}receipt/mail/", {"email": ADDRESS})
    assert answer.status_code == 422
    assert "from your network" in words(answer)


@pytest.mark.parametrize("typed", ["", "nobody", "a@b", "a@b.example\nBcc: c@d.example", "x" * 250 + "@b.example"])
def test_what_is_no_address_is_refused_with_a_sentence(make: Make, typed: str) -> None:
    finished(make)
    answer = Client().post(f"{LINK}receipt/mail/", {"email": typed})
    assert answer.status_code == 422
    assert "not an e-mail address" in words(answer)
    assert not GuestMail.objects.exists()


def test_without_a_mail_server_no_form_is_shown_and_nothing_is_taken(make: Make, settings: Any) -> None:
    finished(make)
    assert 'type="email"' in Client().get(f"{LINK}receipt/").content.decode()
    settings.SENDS_MAIL = False
    assert 'type="email"' not in Client().get(f"{LINK}receipt/").content.decode()
    assert Client().post(f"{LINK}receipt/mail/", {"email": ADDRESS}).status_code == 303
    assert not GuestMail.objects.exists()


# -- it is done


def test_who_asked_is_told_when_the_session_is_over(make: Make, manual_clock: Any) -> None:
    session = running(make)
    assert "Tell me when it is done" in read(Client())
    answer = Client().post(f"{LINK}tell/", {"email": ADDRESS})
    assert (answer.status_code, answer["Location"]) == (303, LINK)
    assert "You get an e-mail when it is over." in read(Client())
    pass_time(manual_clock, 60)
    assert outbox.outbox == []
    manual_clock.set(session.ends_at)
    end(session)
    pass_time(manual_clock, 2)
    (sent,) = outbox.outbox
    assert sent.subject.startswith("Washer 1: your session is over")
    assert "€3.60 paid for 60 min." in sent.body
    assert f"https://hygate.site.example{LINK}" in sent.body
    assert GuestMail.objects.get().address == ""


def test_a_session_cut_short_says_the_money_first(make: Make, manual_clock: Any) -> None:
    session = make(
        State.CANCELLED,
        pay={**CAPTURED, "charge_minor": 216, "refund_promised_minor": 144},
        reason="relay_off_prematurely",
        **ran(36, closed_at=clock.now()),
    )
    ask(session, MailKind.DONE)
    pass_time(manual_clock, 2)
    assert outbox.outbox[0].body.startswith("€1.44 is on its way back to you.")
    assert "Washer 1 lost power" in outbox.outbox[0].body


def test_asking_as_the_session_ends_is_never_forgotten(make: Make, manual_clock: Any) -> None:
    """Whichever comes first, the asking or the end: the mail becomes due."""
    session = running(make)
    results = at_once(2, lambda index: end(session) if index else ask(session, MailKind.DONE))
    assert not [one for one in results if isinstance(one, Exception)]
    assert GuestMail.objects.get().due_at is not None


def test_an_address_that_is_none_brings_the_form_alone_with_its_sentence(make: Make) -> None:
    running(make)
    answer = Client().post(f"{LINK}tell/", {"email": "nobody"})
    assert answer.status_code == 422
    assert "not an e-mail address" in words(answer)
    assert Client().get(f"{LINK}tell/").status_code == 200


def test_nothing_can_be_asked_for_when_it_is_over(make: Make) -> None:
    finished(make)
    assert Client().post(f"{LINK}tell/", {"email": ADDRESS}).status_code == 303
    assert not GuestMail.objects.exists()


# -- it is your turn


@pytest.fixture
def entry(device: Any) -> QueueEntry:
    return QueueEntry.objects.create(token_hash="h", token="the-line-token", device=device)


def offer(entry: QueueEntry) -> None:
    ends = clock.now() + timedelta(minutes=5)
    QueueEntry.objects.filter(pk=entry.pk).update(place=Place.OFFERED, offer_ends_at=ends)
    services.due_for_turn(entry.pk, clock.now())


def test_who_waits_in_line_is_told_when_the_turn_comes(entry: QueueEntry, manual_clock: Any) -> None:
    assert services.ask(MailKind.TURN, address=ADDRESS, language="en", entry=entry) == Asked.YES
    pass_time(manual_clock, 60)
    assert outbox.outbox == []
    offer(entry)
    pass_time(manual_clock, 2)
    (sent,) = outbox.outbox
    assert sent.body.startswith("Nothing is charged yet. Washer 1 is kept for you until 13:06.")
    assert "https://hygate.site.example/line/the-line-token/" in sent.body


def test_a_turn_that_is_over_is_not_told_any_more(entry: QueueEntry, manual_clock: Any) -> None:
    services.ask(MailKind.TURN, address=ADDRESS, language="en", entry=entry)
    Moody.moods = [OSError("down")]
    offer(entry)
    sweep(run)
    QueueEntry.objects.filter(pk=entry.pk).update(place=Place.LAPSED)
    pass_time(manual_clock, 600)
    row = GuestMail.objects.get()
    assert (outbox.outbox, row.address, row.given_up_at is not None) == ([], "", True)


def test_a_turn_that_was_none_is_told_when_it_comes(entry: QueueEntry, manual_clock: Any) -> None:
    """The device stopped answering while it was kept: the place stays, and so does the wish."""
    services.ask(MailKind.TURN, address=ADDRESS, language="en", entry=entry)
    Moody.moods = [OSError("down")]
    offer(entry)
    sweep(run)
    QueueEntry.objects.filter(pk=entry.pk).update(place=Place.WAITING, offer_ends_at=None)
    services.not_yet(entry.pk)
    pass_time(manual_clock, 600)
    assert (outbox.outbox, GuestMail.objects.get().address) == ([], ADDRESS)
    offer(entry)
    pass_time(manual_clock, 2)
    assert len(outbox.outbox) == 1


def test_asking_for_a_place_that_is_over_keeps_no_address(entry: QueueEntry, manual_clock: Any) -> None:
    QueueEntry.objects.filter(pk=entry.pk).update(place=Place.LEFT)
    services.ask(MailKind.TURN, address=ADDRESS, language="en", entry=entry)
    pass_time(manual_clock, 2)
    assert (outbox.outbox, GuestMail.objects.get().address) == ([], "")


def test_who_leaves_the_line_is_forgotten(entry: QueueEntry, manual_clock: Any) -> None:
    services.ask(MailKind.TURN, address=ADDRESS, language="en", entry=entry)
    services.never_mind(entry.pk, clock.now())
    offer(entry)
    pass_time(manual_clock, 2)
    row = GuestMail.objects.get()
    assert (outbox.outbox, row.address, row.address_hash) == ([], "", "")


# -- trouble with the mail server


def test_a_server_that_is_down_is_tried_again_under_the_same_message_id(make: Make, manual_clock: Any) -> None:
    session = finished(make)
    ask(session)
    Moody.moods = [OSError("down"), smtplib.SMTPServerDisconnected("gone"), TimeoutError()]
    sweep(run)
    first = GuestMail.objects.get()
    assert (first.attempts, first.last_error) == (1, "OSError")
    assert first.due_at == clock.now() + timedelta(seconds=5)
    pass_time(manual_clock, 120)
    (sent,) = outbox.outbox
    assert sent.extra_headers["Message-ID"] == first.message_id
    assert Moody.tries == 4


def test_after_a_day_it_is_given_up_and_the_address_forgotten(make: Make, manual_clock: Any) -> None:
    session = finished(make)
    ask(session)
    Moody.moods = [OSError("down") for _ in range(1000)]
    pass_time(manual_clock, 86_400 + 1000)
    row = GuestMail.objects.get()
    assert (row.address, row.address_hash, row.due_at) == ("", "", None)
    assert row.given_up_at is not None
    assert 90 < Moody.tries < 120
    assert "could not be delivered" in read(Client(), f"{LINK}receipt/")
    assert AuditEvent.objects.filter(kind="mail_given_up", session=session.pk).count() == 1


@pytest.mark.parametrize(("code", "tries"), [(550, 1), (451, 2)])
def test_a_mailbox_that_does_not_exist_is_not_tried_again(make: Make, manual_clock: Any, code: int, tries: int) -> None:
    ask(finished(make))
    Moody.moods = [smtplib.SMTPRecipientsRefused({ADDRESS: (code, b"no")})]
    pass_time(manual_clock, 60)
    assert Moody.tries == tries
    assert GuestMail.objects.get().address == ""


def test_an_address_is_in_no_log_no_audit_no_page_and_no_address_line(
    make: Make, manual_clock: Any, caplog: pytest.LogCaptureFixture
) -> None:
    running(make)
    client = Client()
    pages = [client.post(f"{LINK}tell/", {"email": ADDRESS}), client.get(LINK)]
    session = DeviceSession.objects.get()
    end(session)
    Moody.moods = [smtplib.SMTPRecipientsRefused({ADDRESS: (451, b"later")}), ValueError(f"bad {ADDRESS}")]
    pass_time(manual_clock, 600)
    assert not GuestMail.objects.exclude(address="").exists()
    assert ADDRESS not in caplog.text
    assert not [one for one in pages if ADDRESS in one.content.decode() or ADDRESS in str(one.headers)]
    with connection.cursor() as cursor:
        for table in ("hygate_auditevent", "hygate_alert", "sessions_app_guestmail"):
            cursor.execute(f'SELECT * FROM "{table}"')  # noqa: S608 - our own tables' names
            assert "guest.canary" not in str(cursor.fetchall())


def test_an_address_lies_encrypted_while_it_waits(make: Make) -> None:
    ask(running(make), MailKind.DONE)
    with connection.cursor() as cursor:
        cursor.execute("SELECT address, address_hash FROM sessions_app_guestmail")
        assert "guest.canary" not in str(cursor.fetchall())
    assert GuestMail.objects.get().address == ADDRESS


def test_a_worker_that_lost_its_claim_writes_nothing(make: Make, manual_clock: Any) -> None:
    """The lease ran out and another one has taken the mail over."""
    ask(finished(make))
    from hygate.due.claims import claim
    from sessions_app.mail import sending

    (lost,) = claim(registry.handler_for(GuestMail._meta.label_lower), limit=1)
    GuestMail.objects.update(claim_token=None)
    sending.advance([lost])
    assert outbox.outbox == []
    assert GuestMail.objects.get().sent_at is None


# -- the calendar


def unfolded(body: bytes) -> list[str]:
    assert body.endswith(b"\r\n")
    assert b"\n" not in body.replace(b"\r\n", b"")
    return body.replace(b"\r\n ", b"").decode().split("\r\n")


def test_the_end_goes_into_a_calendar_with_an_alarm(make: Make, device: Any) -> None:
    device.place = "Keller; links, \\hinten"
    device.save(update_fields=["place"])
    session = running(make)
    assert "Add the end to my calendar" in read(Client())
    answer = Client().get(f"{LINK}done.ics")
    assert answer["Content-Type"] == "text/calendar; charset=utf-8"
    lines = unfolded(answer.content)
    assert lines[0] == "BEGIN:VCALENDAR"
    assert lines[-2:] == ["END:VCALENDAR", ""]
    assert "DTSTART:20261121T130000Z" in lines
    assert "SUMMARY:Washer 1 is done" in lines
    assert "LOCATION:Keller\\; links\\, \\\\hinten\\, Seaside Camping" in lines
    assert lines.count("BEGIN:VEVENT") == lines.count("BEGIN:VALARM") == 1
    assert [line for line in lines if TOKEN in line] == [f"URL:https://hygate.site.example{LINK}"]
    assert [line for line in lines if line.startswith("UID:")] == [f"UID:{session.reference}@hygate.site.example"]


@pytest.mark.parametrize("text", ["x" * 300, "ü" * 200, "\U0001f9fa" * 90, "a" + "Ελ" * 99, ""])
def test_long_lines_are_folded_at_75_octets_and_no_letter_is_cut(text: str) -> None:
    body = calendar.written([f"SUMMARY:{text}"])
    parts = body.removesuffix(b"\r\n").split(b"\r\n")
    assert all(len(part) <= 75 for part in parts)
    assert all(part.decode() for part in parts)
    assert unfolded(body)[0] == f"SUMMARY:{text}"


@pytest.mark.parametrize("words_", ["one\ntwo", "one\r\ntwo", "one\rtwo"])
def test_no_line_break_gets_into_a_calendar(words_: str) -> None:
    assert calendar.text(words_) == "one\\ntwo"


def test_a_session_that_is_over_has_no_calendar(make: Make) -> None:
    finished(make)
    assert Client().get(f"{LINK}done.ics").status_code == 303


def test_the_slots_that_limit_mails_hold_no_address(make: Make) -> None:
    finished(make)
    Client().post(f"{LINK}receipt/mail/", {"email": ADDRESS})
    keys = attempts._keys("mail@127.0.0.1", attempts.Limit(10, 3600))
    assert all(re.fullmatch(r"slot:[0-9a-f]{40}:\d+", key) for key in keys)
