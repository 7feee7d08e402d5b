"""A connection that the server has left is noticed before it is used; one that lives is not asked first."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from django.db import DataError, close_old_connections, connection

from hygate.models import Heartbeat

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _only_on_postgresql() -> None:
    if connection.vendor != "postgresql":
        pytest.skip("these are about PostgreSQL")


@pytest.fixture
def other() -> Iterator[psycopg.Connection[Any]]:
    """Another client of the same database."""
    parameters = connection.get_connection_params()
    wanted = {name: parameters[name] for name in ("host", "port", "user", "password", "dbname") if name in parameters}
    with psycopg.connect(**wanted, autocommit=True) as made:
        yield made


def backend() -> int:
    """The server's number for our connection."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return int(cursor.fetchone()[0])


def ask_as_in_a_new_request() -> int:
    close_old_connections()
    return Heartbeat.objects.count()


def test_a_connection_that_the_server_ended_is_replaced_before_it_is_used(other: psycopg.Connection[Any]) -> None:
    before = backend()
    other.execute("SELECT pg_terminate_backend(%s, 5000)", [before])
    assert ask_as_in_a_new_request() == 0
    assert backend() != before


def test_a_living_connection_is_used_without_asking_it_first(monkeypatch: pytest.MonkeyPatch) -> None:
    before = backend()

    def asked(*_said: object) -> None:
        raise AssertionError("asked whether it lives")

    monkeypatch.setattr(psycopg.Connection, "execute", asked)  # what Django's own backend asks with
    assert ask_as_in_a_new_request() == 0
    assert backend() == before


def test_a_notice_that_nobody_read_is_told_from_a_goodbye(other: psycopg.Connection[Any]) -> None:
    before = backend()
    with connection.cursor() as cursor:
        cursor.execute("LISTEN news")
    other.execute("NOTIFY news")
    assert ask_as_in_a_new_request() == 0
    assert backend() == before


def test_after_an_error_the_connection_is_asked() -> None:
    backend()
    connection.errors_occurred = True
    close_old_connections()
    assert connection.errors_occurred is False
    assert connection.is_usable()


@pytest.mark.parametrize(
    "told", ["2026-11-22 06:14:08+00", "2026-11-22 06:14:08.5+00", "2026-11-22 06:14:08.000001+05:30"]
)
def test_a_moment_comes_in_utc_to_the_microsecond(told: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s::timestamptz", [told])
        (found,) = cursor.fetchone()
    assert (found, found.tzinfo) == (datetime.fromisoformat(told), UTC)


@pytest.mark.parametrize("told", ["infinity", "20000-01-01 00:00:00+00", "0044-03-15 12:00:00+00 BC"])
def test_a_moment_that_no_calendar_has_is_refused_by_psycopg(told: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s::timestamptz", [told])
        with pytest.raises(DataError):
            cursor.fetchone()
