"""PostgreSQL behind Django's own backend; an idle connection is looked at before it is asked.

With ``CONN_HEALTH_CHECKS`` Django asks ``SELECT 1`` before the first query of every request and of every chunk of work:
a way to the server and back for nothing, where a page has three queries in all.
"""

from __future__ import annotations

import select

from django.db.backends.postgresql import base


class DatabaseWrapper(base.DatabaseWrapper):
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
