"""What holds for the whole site at one moment, in one query: the operator's settings, and what closes every sale."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from django.db.models import Exists, IntegerField, JSONField, QuerySet, Subquery, Value
from django.db.models.expressions import Expression
from django.db.models.functions import JSONObject
from django.http import HttpRequest
from django.utils import timezone

from hygate import attempts, clock, clock_watch, context
from hygate.models import SiteSettings
from hygate.prepared import Prepared
from sessions_app.models import StripeWatch
from sessions_app.payments import key_watch

READ = "hygate.gates"
"""Where a request that has read them keeps them, in its ``META``: nothing is kept beyond one request."""


@dataclass(frozen=True)
class Gates:
    """``misses``: how many slots were taken, where they were counted along."""

    settings: SiteSettings
    clock_is_wrong: bool
    key_is_refused: bool
    misses: int = 0


def read() -> Gates:
    """As they stand now."""
    return _read(_SITE, {})


def read_and_count(slots: Mapping[str, str]) -> Gates:
    """As they stand now, with how many of these slots of ``attempts`` are taken."""
    return _read(_and_misses(len(slots)), {"now": timezone.now(), **slots})


def _read(query: Prepared[tuple[Any, ...]], values: Mapping[str, Any]) -> Gates:
    row = query.first(**values)
    if row is None:
        StripeWatch.objects.get_or_create(pk=1, defaults={"due_at": clock.now()})
        (row,) = query.rows(**values)
    return Gates(_settings(row[0]), row[1], row[2], row[3])


def _rows(misses: Expression) -> QuerySet[StripeWatch, tuple[Any, ...]]:
    """The query stands on the one row of ``StripeWatch``, which is made with the tables. The row of the settings may be
    missing until they are saved for the first time.
    """
    columns = {field.attname: field.attname for field in SiteSettings._meta.concrete_fields}
    stored = SiteSettings.objects.filter(pk=1).values(row=JSONObject(**columns))
    return StripeWatch.objects.filter(pk=1).values_list(
        Subquery(stored, output_field=JSONField()),
        Exists(clock_watch.open_errors()),
        Exists(key_watch.refusals()),
        misses,
    )


_SITE = Prepared(lambda: _rows(Value(0, IntegerField())))


@cache
def _and_misses(slots: int) -> Prepared[tuple[Any, ...]]:
    kinds: dict[str, type[str]] = {f"key_{number}": str for number in range(slots)}
    return Prepared(lambda **values: _rows(attempts.taken(**values)), now=datetime, **kinds)


def of(request: HttpRequest) -> Gates:
    """Those that this request has read already, else as they stand now."""
    if READ not in request.META:
        keep(request, read())
    found: Gates = request.META[READ]
    return found


def keep(request: HttpRequest, gates: Gates) -> None:
    """For the rest of this request; its templates take the settings from them as well."""
    request.META[READ] = gates
    request.META[context.SITE] = gates.settings


def _settings(row: dict[str, Any] | None) -> SiteSettings:
    """JSON knows no dates and SQLite no booleans: every field reads its own."""
    if row is None:
        return SiteSettings()
    return SiteSettings(
        **{field.attname: field.to_python(row[field.attname]) for field in SiteSettings._meta.concrete_fields}
    )
