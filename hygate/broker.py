"""The way to Valkey that outlives it."""

from __future__ import annotations

from typing import Any

from kombu.transport import redis
from redis.exceptions import ConnectionError as BrokerAwayError


class Channel(redis.Channel):
    """A broker that is gone must not end the worker.

    kombu 5.7 goes over connections that it has already let go of, and the AttributeError of that is to Celery the end
    of the process: when a channel is closed, to put back what was fetched and not yet begun; and when a task ends after
    its channel, to acknowledge it. There is nothing to put back and nothing to lose: those rows are leased, and whoever
    sweeps next finds them.
    """

    @property
    def do_restore(self) -> bool:  # type: ignore[override]  # an attribute there
        return self.connection is not None and self.connection.client is not None

    def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:
        """Every way to the broker begins here; that it is closed is an error that Celery expects."""
        if self.connection is None:
            raise BrokerAwayError("the channel of this task is closed")
        params: dict[str, Any] = super()._connparams(asynchronous=asynchronous)
        return params


class Transport(redis.Transport):
    Channel = Channel
