"""The triggers of ``manage.py protect_audit``: the database lets an event in, lets it be sealed, and no more.

Installed for this module's tests only: other tests empty their tables.
"""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, transaction
from django.db.utils import DatabaseError

from hygate import audit, guarding, sealing
from hygate.models import AuditContact, AuditEvent
from hygate.verifying import verify

pytestmark = pytest.mark.django_db(transaction=True)
TABLE = AuditEvent._meta.db_table
COLUMNS, VALUES = "kind, actor, at, data", "'x', 'x', '2000-01-01', '{}'"


@pytest.fixture
def protected(manual_clock: Any, transactional_db: None) -> Iterator[None]:
    call_command("protect_audit", verbosity=0)
    try:
        yield
    finally:
        guarding.unprotect()


def events(number: int = 3) -> list[int]:
    audit.write_all(audit.event("session_running", session=n) for n in range(number))
    return list(AuditEvent.objects.order_by("id").values_list("pk", flat=True))


def refused(statement: str, **said: object) -> None:
    """The database says no, and nothing has changed. ``<name>`` in the statement stands for what is said of it."""
    for name, value in {"log": TABLE, "columns": COLUMNS, "values": VALUES, **said}.items():
        statement = statement.replace(f"<{name}>", str(value))
    before = list(AuditEvent.objects.order_by("id").values_list())
    with pytest.raises(DatabaseError, match=guarding.REFUSAL), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)
    assert list(AuditEvent.objects.order_by("id").values_list()) == before


def test_events_are_written_and_sealed_as_ever(protected: None) -> None:
    events()
    assert sealing.seal() == 3
    assert verify().ok


@pytest.mark.parametrize("sealed", [False, True])
@pytest.mark.parametrize(
    "change",
    ["kind = 'x'", "actor = 'x'", "at = '2000-01-01'", "session = 9", "data = '{}'", "id = 999", "command = 9"],
)
def test_what_an_event_says_cannot_be_changed(protected: None, change: str, sealed: bool) -> None:
    row = events()[0]
    if sealed:
        sealing.seal()
    refused("UPDATE <log> SET <change> WHERE id = <row>", change=change, row=row)


@pytest.mark.parametrize("change", ["seq = 77", "hmac = 'x'", "seq = NULL, hmac = NULL", "seq = seq"])
def test_a_seal_cannot_be_changed_or_taken_away(protected: None, change: str) -> None:
    row = events()[0]
    sealing.seal()
    refused("UPDATE <log> SET <change> WHERE id = <row>", change=change, row=row)


def test_sealing_may_change_nothing_else_on_the_way(protected: None) -> None:
    row = events()[0]
    refused("UPDATE <log> SET seq = 1, hmac = 'x', kind = 'x' WHERE id = <row>", row=row)
    refused("UPDATE <log> SET kind = kind WHERE id = <row>", row=row)


def test_no_event_can_be_deleted(protected: None) -> None:
    row = events()[0]
    refused("DELETE FROM <log> WHERE id = <row>", row=row)
    sealing.seal()
    refused("DELETE FROM <log>")


def test_no_event_can_be_smuggled_in_sealed_or_over_another_one(protected: None) -> None:
    row = events()[0]
    refused("INSERT INTO <log> (<columns>, seq, hmac) VALUES (<values>, 1, 'x')")
    if connection.vendor == "sqlite":
        refused("INSERT OR REPLACE INTO <log> (id, <columns>) VALUES (<row>, <values>)", row=row)
    else:
        upsert = " ON CONFLICT (id) DO UPDATE SET kind = excluded.kind"
        refused("INSERT INTO <log> (id, <columns>) VALUES (<row>, <values>)<upsert>", row=row, upsert=upsert)
        refused("TRUNCATE <log> CASCADE")


def test_contacts_may_be_erased(protected: None) -> None:
    """The law wants them gone one day; the event itself names nobody."""
    contact = AuditContact.objects.create(event_id=events()[0], ip="192.0.2.1")
    contact.delete()
    assert not AuditContact.objects.exists()


def test_protecting_twice_does_no_harm_and_can_be_taken_back(protected: None) -> None:
    said = StringIO()
    call_command("protect_audit", stdout=said)
    assert said.getvalue() == "The audit log is append-only.\n"
    assert guarding.is_protected()
    refused("DELETE FROM <log> WHERE id = <row>", row=events()[0])
    call_command("protect_audit", "--remove", verbosity=0)
    assert not guarding.is_protected()
    AuditEvent.objects.all().delete()
    assert not AuditEvent.objects.exists()


def test_verify_audit_says_when_nothing_protects_the_log(manual_clock: Any) -> None:
    said = StringIO()
    call_command("verify_audit", stdout=said)
    assert "run manage.py protect_audit" in said.getvalue()


def test_a_whole_sale_goes_through_under_protection(world: Any) -> None:
    guarding.protect()
    try:
        session = world.buy()
        world.tell(session)
        world.go(60)
        session.refresh_from_db()
        assert session.state == "completed"
        assert verify().ok
    finally:
        guarding.unprotect()
