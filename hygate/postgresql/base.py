"""PostgreSQL behind Django's own backend; an idle connection is looked at before it is asked.

With ``CONN_HEALTH_CHECKS`` Django asks ``SELECT 1`` before the first query of every request and of every chunk of work:
a way to the server and back for nothing, where a page has three queries in all.

Moments are read by Python's own compiled parser. Django has them read in Python and then given the time zone that they
have already: a page of five hundred devices spends a tenth of its time there.
"""

from __future__ import annotations

import select
from datetime import UTC, datetime
from typing import Any

from django.db.backends.postgresql import base
from psycopg.types.datetime import TimestamptzLoader


class Moments(TimestamptzLoader):
    """For a connection in UTC, to which Django sees; it asks for ``timezone`` before it makes a cursor."""

    timezone = UTC

    def load(self, data: Any) -> datetime:
        try:
            return datetime.fromisoformat(str(data, "ascii"))
        except ValueError:  # infinity, years that no calendar has: with psycopg's own words
            return super().load(data)


class DatabaseWrapper(base.DatabaseWrapper):
    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        connection = super().get_new_connection(conn_params)
        if self.timezone == UTC:
            connection.adapters.register_loader("timestamptz", Moments)
        return connection

    def is_usable(self) -> bool:
        """Whether the connection still lives.

        Nobody speaks on an idle one: what lies there unread is the server's goodbye, or a notice that has to be told
        from one by asking. After an error it is asked in any case.
        """
        if self.connection is None or self.connection.closed:
            return False
        in_doubt = self.errors_occurred or _has_unread(self.connection.fileno())
        return not in_doubt or bool(super().is_usable())


def _has_unread(descriptor: int) -> bool:
    looked = select.poll()
    looked.register(descriptor, select.POLLIN)
    return bool(looked.poll(0))
