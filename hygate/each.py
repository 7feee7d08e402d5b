"""Rows that each get values of their own, in one go."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any, cast

from django.db import connection
from django.db.models import Field, Model


def update_each(model: type[Model], changes: Mapping[int, Mapping[str, Any]]) -> None:
    """Set columns of rows of ``model``: ``changes`` are their names and values by the row's number.

    One way to the database for all rows that change the same columns. Django's ``bulk_update`` puts a CASE with a WHEN
    for each row and column into SQL, which takes longer than one UPDATE after the other. Whoever calls holds the locks
    of these rows, or is fine with locking them one after the other by their numbers.
    """
    alike: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for pk, columns in sorted(changes.items()):
        if columns:
            alike[tuple(sorted(columns))].append(pk)
    for names, pks in alike.items():
        fields = [_field(model, name) for name in names]
        with connection.cursor() as cursor:
            cursor.executemany(
                _sql(model, fields),
                [[*(_stored(field, changes[pk][field.name]) for field in fields), pk] for pk in pks],
            )


def _field(model: type[Model], name: str) -> Field[Any, Any]:
    return cast("Field[Any, Any]", model._meta.get_field(name))


def _sql(model: type[Model], fields: list[Field[Any, Any]]) -> str:
    table, *columns = map(connection.ops.quote_name, [model._meta.db_table, *(str(one.column) for one in fields)])
    key = connection.ops.quote_name(str(model._meta.pk.column))
    return f"UPDATE {table} SET {', '.join(f'{one} = %s' for one in columns)} WHERE {key} = %s"  # noqa: S608


def _stored(field: Field[Any, Any], value: Any) -> Any:
    return field.get_db_prep_save(value, connection)
