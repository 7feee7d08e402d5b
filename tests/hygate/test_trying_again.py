"""Transactions that lost are made again; a database that cannot be used is said."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import transaction
from django.db.utils import InternalError, OperationalError
from django.test import RequestFactory

from hygate.trying_again import TRIES, SayUnavailable, made_again


class Told(Exception):
    def __init__(self, sqlstate: str) -> None:
        super().__init__(sqlstate)
        self.sqlstate = sqlstate


def failure(sqlstate: str, kind: type[Exception] = OperationalError) -> Exception:
    error = kind("it failed")
    error.__cause__ = Told(sqlstate)
    return error


class Work:
    def __init__(self, *errors: Exception) -> None:
        self.errors, self.runs = list(errors), 0

    def __call__(self) -> str:
        self.runs += 1
        if self.errors:
            raise self.errors.pop(0)
        return "done"


pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("error", [failure("40P01"), failure("40001"), OperationalError("database is locked")])
def test_a_transaction_that_was_given_up_is_made_again(error: Exception) -> None:
    work = Work(error)
    assert (made_again(work), work.runs) == ("done", 2)


def test_it_is_not_tried_for_ever() -> None:
    work = Work(*(failure("40P01") for _ in range(TRIES + 1)))
    with pytest.raises(OperationalError):
        made_again(work)
    assert work.runs == TRIES


def test_a_lost_connection_is_not_tried_again() -> None:
    work = Work(failure("57P01"))
    with pytest.raises(OperationalError):
        made_again(work)
    assert work.runs == 1


def test_inside_a_transaction_only_the_outermost_is_made_again() -> None:
    work = Work(failure("40P01"))
    with pytest.raises(OperationalError), transaction.atomic():
        made_again(work)
    assert work.runs == 1


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (failure("57P01"), 503),
        (failure("25006", InternalError), 503),
        (failure("XX000", InternalError), None),
        (ValueError("ours"), None),
    ],
)
def test_a_database_that_cannot_be_used_is_said(error: Exception, status: int | None) -> None:
    middleware = SayUnavailable(lambda _request: pytest.fail("not asked"))
    answer: Any = middleware.process_exception(RequestFactory().get("/"), error)
    assert (answer.status_code if answer else None) == status


@pytest.mark.parametrize(
    ("path", "words"),
    [("/d/ABCDE/", "Nothing was started"), ("/dashboard/sessions/", "Back to the dashboard")],
)
def test_guests_and_staff_read_it_with_a_reference_and_without_asking_the_database(path: str, words: str) -> None:
    request = RequestFactory().get(path)
    answer: Any = SayUnavailable(lambda _request: pytest.fail("not asked")).process_exception(request, failure("57P01"))
    assert words in answer.content.decode()
    assert answer["X-Reference"] in answer.content.decode()
    assert answer["Retry-After"] == "10"
