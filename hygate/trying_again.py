"""A transaction that lost to another one is made again; a database that cannot be used is said, not shown as a fault.

Work due in rows needs none of this: the engine looks at a row again. This is for what a person or Stripe waits for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import structlog
from django.db import transaction
from django.db.utils import DatabaseError, InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse

from hygate import mishaps

T = TypeVar("T")
TRIES = 3
LOST = ("40001", "40P01")
"""PostgreSQL gave up our transaction for another one: serialization failure, deadlock."""
NOT_WRITABLE = ("25006", "53100")
"""PostgreSQL can be read only; its disk is full."""
RETRY_AFTER_S = 10
log = structlog.get_logger(__name__)


def made_again(work: Callable[[], T]) -> T:
    """Run ``work``, one transaction as a whole, again where the database gave it up; the third loss is raised."""
    if transaction.get_connection().in_atomic_block:
        return work()  # the outermost transaction is the one to be made again
    for tries_left in reversed(range(TRIES)):
        try:
            return work()
        except OperationalError as error:
            if not tries_left or not _was_given_up(error):
                raise
            log.warning("transaction.made_again", why=_state(error) or "locked")
    raise AssertionError("unreachable")


def _was_given_up(error: DatabaseError) -> bool:
    return _state(error) in LOST or "locked" in str(error)


def _state(error: BaseException) -> str:
    """PostgreSQL's five characters for what went wrong; empty elsewhere."""
    return str(getattr(error.__cause__, "sqlstate", None) or "")


class SayUnavailable:
    """The page of a site whose database is away, or cannot be written: 503, and come back in a moment.

    Stripe is answered the same way, and sends its webhook again.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self._get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        away = isinstance(error, (OperationalError, InterfaceError))
        if not away and not (isinstance(error, DatabaseError) and _state(error) in NOT_WRITABLE):
            return None
        log.error("database.unavailable", error=type(error).__name__, state=_state(error))
        answer = mishaps.unavailable(request, f"{type(error).__name__} {_state(error)}".strip())
        answer["Retry-After"] = str(RETRY_AFTER_S)
        answer["Cache-Control"] = "no-store"
        return answer
