"""Queries that every page asks: put into SQL once in a process, then asked with other values.

Putting one of Django's queries into SQL takes several times as long as the database needs to answer it. What comes back
is what the queryset itself would give: model instances with what was selected along, or tuples.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any, Generic, TypeVar

from django.db import connection
from django.db.models import QuerySet
from django.db.models.sql.compiler import SQLCompiler

Row = TypeVar("Row")
Value = str | int | datetime


@dataclass(frozen=True)
class _Compiled:
    """``places``: which parameter of the SQL is which of the caller's values.

    ``converters``: what makes Python of which column; finding them out takes as long as the rest of a wide query.
    """

    queryset: QuerySet[Any, Any]
    compiler: SQLCompiler
    sql: str
    parameters: Sequence[Any]
    places: Mapping[int, str]
    converters: Mapping[int, Any]


class Prepared(Generic[Row]):
    """``build`` makes the queryset from the values it is given; ``kinds`` are their types, by their names.

    Everything else that ``build`` puts into the query has to be the same each time. It is called once for each kind of
    database, with stand-ins that its SQL is searched for.
    """

    def __init__(self, build: Callable[..., QuerySet[Any, Row]], **kinds: type[Value]) -> None:
        self._build, self._kinds = build, kinds
        self._compiled = cache(self._compile)

    def rows(self, **values: Value) -> list[Row]:
        """Raises ``KeyError`` for a value that is missing."""
        compiled = self._compiled(connection.vendor)
        parameters = [
            _as_stored(values[compiled.places[place]]) if place in compiled.places else parameter
            for place, parameter in enumerate(compiled.parameters)
        ]
        asked = compiled.queryset.all()
        vars(asked.query)["get_compiler"] = lambda *_, **__: _asking(compiled, parameters)
        return list(asked)

    def first(self, **values: Value) -> Row | None:
        return next(iter(self.rows(**values)), None)

    def _compile(self, _vendor: str) -> _Compiled:
        stand_ins = {name: _stand_in(kind, number) for number, (name, kind) in enumerate(self._kinds.items(), 1)}
        queryset = self._build(**stand_ins)
        compiler = queryset.query.get_compiler(using=queryset.db)
        sql, parameters = compiler.as_sql()
        names = {_as_stored(stand_in): name for name, stand_in in stand_ins.items()}
        places = {place: names[one] for place, one in enumerate(parameters) if one in names}
        assert set(places.values()) == set(self._kinds), f"not in the query: {set(self._kinds) - set(places.values())}"
        converters = compiler.get_converters([column for column, *_ in compiler.select[: compiler.col_count]])
        return _Compiled(queryset, compiler, sql, parameters, places, converters)


def _asking(compiled: _Compiled, parameters: Sequence[Any]) -> SQLCompiler:
    """The compiler as it stood when it had made the SQL, on this thread's connection and with these values."""
    compiler = copy.copy(compiled.compiler)
    compiler.connection = connection
    vars(compiler)["as_sql"] = lambda *_, **__: (compiled.sql, parameters)
    vars(compiler)["get_converters"] = lambda _columns: compiled.converters
    return compiler


def _stand_in(kind: type[Value], number: int) -> Value:
    """A value that no query holds by itself."""
    if kind is int:
        return -2_000_000_000 - number
    if kind is datetime:
        return datetime(1000, 1, number, tzinfo=UTC)
    return f"stand-in {number}"


def _as_stored(value: Value) -> Any:
    return connection.ops.adapt_datetimefield_value(value) if isinstance(value, datetime) else value
