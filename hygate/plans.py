"""When PostgreSQL is to plan a query for the values at hand instead of keeping one plan for all values (ADR 0018)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection


@contextmanager
def made_for_the_values() -> Iterator[None]:
    """Around what sums up a span of time: a kept plan takes any span for short, and looks up a year row by row."""
    connection.ensure_connection()
    link = connection.connection
    if not hasattr(link, "prepare_threshold"):  # SQLite plans by itself
        yield
        return
    kept, link.prepare_threshold = link.prepare_threshold, None
    try:
        yield
    finally:
        link.prepare_threshold = kept
