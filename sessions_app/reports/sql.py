"""Days and hours of a time zone, and VAT, as the database's own integers: fast on SQLite and PostgreSQL alike.

Django's own truncation calls Python for each row on SQLite. Here a moment becomes seconds since 1970, the zone's
offset is added by at most a few comparisons (it changes twice a year), and a day is that divided by 86,400.
"""

from __future__ import annotations

from datetime import date, timedelta
from itertools import pairwise
from typing import Any

from django.db.models import BigIntegerField, Case, Expression, F, Func, Value, When
from django.db.models.functions import Cast

from sessions_app.reports import periods
from sessions_app.reports.periods import Period

DAY_S, HOUR_S, WEEK_H = 86_400, 3600, 168
EPOCH = date(1970, 1, 1)
THURSDAY = 3
"""The weekday of 1 January 1970, Monday being 0."""
WHOLE_BP = 10_000


class Epoch(Func):
    """Whole seconds since 1970 of a moment."""

    output_field = BigIntegerField()
    arity = 1

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return self.as_sql(compiler, connection, template="CAST(strftime('%%%%s', %(expressions)s) AS INTEGER)")

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        # EXTRACT answers a numeric, whose arithmetic takes longer than all the rest of a row
        return self.as_sql(compiler, connection, template="CAST(FLOOR(DATE_PART('epoch', %(expressions)s)) AS BIGINT)")


def local_s(column: str, period: Period) -> Expression:
    """Seconds since 1970 on the clock of the period's zone. Exact for moments within the period."""
    known = periods.offsets(period.zone, period.since, period.until)
    cases = [When(**{f"{column}__lt": until}, then=Value(offset)) for (_, offset), (until, _) in pairwise(known)]
    last = Value(known[-1][1], output_field=BigIntegerField())
    return Epoch(F(column)) + (Case(*cases, default=last, output_field=BigIntegerField()) if cases else last)


def day(column: str, period: Period) -> Expression:
    """The day of ``column``, as the number that ``date_of`` reads."""
    return local_s(column, period) / Value(DAY_S)


def date_of(number: int) -> date:
    return EPOCH + timedelta(days=number)


def hour_of_week(column: str, period: Period) -> Expression:
    """0 to 167, as ``weekday_and_hour`` reads it."""
    return (local_s(column, period) / Value(HOUR_S)) % Value(WEEK_H)


def weekday_and_hour(number: int) -> tuple[int, int]:
    """Monday is 0."""
    return (number // 24 + THURSDAY) % 7, number % 24


def vat_minor() -> Expression:
    """The VAT in what is kept of a payment: gross × rate / (1 + rate), half a cent rounded up, for each payment."""
    kept = Cast(F("captured_minor") - F("refunded_minor"), BigIntegerField())
    rate = Cast(F("vat_rate_bp"), BigIntegerField())
    whole = rate + Value(WHOLE_BP)
    return (kept * rate * Value(2) + whole) / (whole * Value(2))
