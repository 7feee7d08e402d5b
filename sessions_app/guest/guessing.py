"""Guessing codes and links: an address that asks for many that do not exist has to wait.

A label's page is then closed to that address for a minute, or a list of codes would still be found by its hits. The
page of a session is never closed: its link cannot be guessed, and whoever has it must be able to stop his machine.
"""

from __future__ import annotations

from collections.abc import Callable

from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from hygate import attempts
from hygate.attempts import Limit, TooOften
from hygate.logins import address_of
from sessions_app import gates

UNKNOWN = Limit(40, 60)
LABELS, LINKS = "/d/", ("/session/", "/line/")


class SlowGuessing:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not request.path.startswith((LABELS, *LINKS)):
            return self.get_response(request)
        scope = f"unknown@{address_of(request)}"
        if request.path.startswith(LABELS) and (refusal := _refusal_or_none(request, scope)):
            return _wait(request, refusal)
        response = self.get_response(request)
        if response.status_code != 404:
            return response
        taken = attempts.take(scope, UNKNOWN)
        return _wait(request, taken) if isinstance(taken, TooOften) else response


def _refusal_or_none(request: HttpRequest, scope: str) -> TooOften | None:
    """While the database is away nobody is refused: the page asks it again, and its answer is that we are away."""
    try:
        return _refusal(request, scope)
    except DatabaseError:
        return None


def _refusal(request: HttpRequest, scope: str) -> TooOften | None:
    """Asked in the database before anything of a label is read, so that every web process closes at the same moment;
    in one query with what the page asks for anyway."""
    gates.keep(request, gates.read_and_count(attempts.slots(scope, UNKNOWN)))
    return attempts.refused(scope, UNKNOWN) if gates.of(request).misses >= UNKNOWN.at_most else None


def _wait(request: HttpRequest, refusal: TooOften) -> HttpResponse:
    response = render(request, "guest/too_often.html", {"seconds": refusal.wait_s}, status=429)
    response["Retry-After"] = str(refusal.wait_s)
    response["Cache-Control"] = "no-store"
    return response
