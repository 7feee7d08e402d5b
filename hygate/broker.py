"""The way to Valkey that outlives it."""

from __future__ import annotations

from kombu.transport import redis


class Channel(redis.Channel):
    """Closing it when the broker is gone must not end the worker.

    kombu 5.7 then tries to put back what was fetched and not yet begun, over a connection that it has already let go
    of, and the AttributeError of that is to Celery the end of the process. There is nothing to put back: those rows
    are leased, and whoever sweeps next finds them.
    """

    @property
    def do_restore(self) -> bool:  # type: ignore[override]  # an attribute there
        return self.connection.client is not None


class Transport(redis.Transport):
    Channel = Channel
