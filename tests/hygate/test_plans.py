"""What sums up a span of time is planned for that span; everything else keeps its plan."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.db import connection

from hygate import plans
from hygate.models import Heartbeat

pytestmark = pytest.mark.django_db(transaction=True)
KEPT_FROM = 3
"""Asked so often, a query is kept (ADR 0018)."""


def ask() -> int:
    return Heartbeat.objects.filter(at__gt=datetime(2026, 5, 1, tzinfo=UTC)).count()


def kept() -> int:
    """How many plans of that question the connection keeps."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement FROM pg_prepared_statements")
        return sum("hygate_heartbeat" in statement for (statement,) in cursor.fetchall())


def test_whatever_the_database_the_answer_is_the_same() -> None:
    Heartbeat.objects.create(name="one", at=datetime(2026, 5, 2, tzinfo=UTC))
    with plans.made_for_the_values():
        assert ask() == 1
    assert ask() == 1


def test_no_plan_is_kept_of_what_is_asked_within_and_again_afterwards() -> None:
    if connection.vendor != "postgresql":
        pytest.skip("these are about PostgreSQL")
    connection.close()  # a connection of its own, that keeps nothing yet
    with plans.made_for_the_values():
        [ask() for _ in range(KEPT_FROM + 1)]
        assert kept() == 0
    [ask() for _ in range(KEPT_FROM)]
    assert kept() == 1


def test_an_error_within_leaves_the_connection_as_it_was() -> None:
    connection.ensure_connection()
    before = getattr(connection.connection, "prepare_threshold", None)
    with pytest.raises(ZeroDivisionError), plans.made_for_the_values():
        raise ZeroDivisionError
    assert getattr(connection.connection, "prepare_threshold", None) == before
