"""The short way to "nothing new": most questions of an open page are answered by one query, before any page is made.

An open session page asks every few seconds whether it is still true. Making the page to find that out costs some ten
milliseconds; a thousand open pages would keep a core busy. So each web process remembers under which rows it gave a
version away:

1. ``facts`` reads, in one prepared query, every column that a session's page is made of.
2. Are they what they were when this version was answered, the answer is 304.
3. Otherwise, and always after ``GOOD_FOR_S``, the page is made, and what it says is remembered with the facts that were
   read *before* it: a row that changes in between is found by the next question.

What a page shows beside those rows (plans to add time from, gates, midnight) is at most ``GOOD_FOR_S`` old. Watts and
energy are not part of a version; they travel in a header of every answer.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from threading import Lock
from typing import Any

from django.db import DatabaseError
from django.db.models import Exists, Model, OuterRef, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse, HttpResponseNotModified
from django.utils import translation

from devices.models import Device, DeviceCode, Location, RelayCommand
from hygate import clock
from hygate.due import Due
from hygate.prepared import Prepared
from sessions_app import metering
from sessions_app.guest import power
from sessions_app.guest.visit import hashed
from sessions_app.models import DeviceSession, GuestMail, Payment, ProblemReport, QueueEntry
from sessions_app.queue.models import IN_LINE
from sessions_app.states import State

LINK = re.compile(r"^/session/([A-Za-z0-9_-]{20,100})/$")
NOTHING_CHANGES_S, SOMETHING_CHANGES_S = 300.0, 6.0
GOOD_FOR_S = {
    State.GRACE: NOTHING_CHANGES_S,
    State.RUNNING: NOTHING_CHANGES_S,
    State.COMPLETED: NOTHING_CHANGES_S,
    State.CANCELLED: NOTHING_CHANGES_S,
    State.HELD: SOMETHING_CHANGES_S,
    State.STARTING: SOMETHING_CHANGES_S,
    State.STOPPING: SOMETHING_CHANGES_S,
}
"""Waiting and paused pages tell of other sessions and of the site: they are made anew each time."""
LAST_MINUTE_S = 60
REMEMBERED = 20_000
MARK_LENGTH = 40
"""A version that we gave away is shorter; nobody may fill the memory with others."""

ENGINES_OWN = {field.name for field in Due._meta.get_fields()}
QUIET: dict[type[Model], set[str]] = {
    DeviceSession: {"token", *ENGINES_OWN},
    Payment: {"checkout_params", "checked_at", "compared_at", *ENGINES_OWN},
    Device: {"reading_mark", "reading_at", "seen_at", "watts", "energy_wh"},
    Location: set(),
}
"""Columns that no page says, or that are said outside its version: they change while a page stays as it is."""


@dataclass(frozen=True)
class Facts:
    """What the rows of one session say now. ``digest`` covers all that its page's version depends on."""

    digest: bytes
    state: str
    ends_at: datetime | None
    watts: int | None
    used_wh: float | None

    def good_for_s(self) -> float:
        near = self.ends_at is not None and (self.ends_at - clock.now()).total_seconds() < LAST_MINUTE_S
        return SOMETHING_CHANGES_S if near else GOOD_FOR_S.get(State(self.state), 0)


Question = tuple[str, str, str]
"""Path, version, and what the phone says of languages (cookie and header)."""


class AskedAgain:
    """Stands before all that only whole pages need. Everything but an open page's question passes through."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response
        self._known: OrderedDict[Question, tuple[bytes, float]] = OrderedDict()
        self._lock = Lock()

    def __call__(self, request: HttpRequest) -> HttpResponse:
        link = LINK.match(request.path)
        version = request.headers.get("If-None-Match", "")
        if link is None or not version or request.method != "GET":
            return self._get_response(request)
        if request.headers.get("X-Requested-With") != "hygate":
            return self._get_response(request)
        facts = facts_of(link[1])
        if facts is not None and self._is_known(_question(request, version), facts):
            return unchanged(request, version, facts)
        response = self._get_response(request)
        if facts is not None and response.has_header("ETag"):
            self._remember(_question(request, response["ETag"]), facts)
        return response

    def _is_known(self, question: Question, facts: Facts) -> bool:
        digest, until = self._known.get(question, (b"", 0.0))
        # near the end an older answer counts no longer, however long it was meant to
        return digest == facts.digest and time.monotonic() < min(until, time.monotonic() + facts.good_for_s())

    def _remember(self, question: Question, facts: Facts) -> None:
        with self._lock:
            self._known[question] = (facts.digest, time.monotonic() + facts.good_for_s())
            self._known.move_to_end(question)
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)


def _question(request: HttpRequest, version: str) -> Question:
    return (request.path, version[:MARK_LENGTH], translation.get_language_from_request(request))


def unchanged(request: HttpRequest, version: str, facts: Facts) -> HttpResponse:
    """304, with the server's clock and the figures that move all the time."""
    response = HttpResponseNotModified()
    response["ETag"] = version
    response["Cache-Control"] = "no-store"
    response["X-Hygate-Now"] = str(int(clock.now().timestamp() * 1000))
    if facts.state == State.RUNNING and (facts.watts is not None or facts.used_wh is not None):
        with translation.override(translation.get_language_from_request(request)):
            response[power.HEADER] = power.header(power.figures(facts.watts, facts.used_wh))
    return response


# -- one query


def facts_of(token: str) -> Facts | None:
    """The rows behind a link; None for one that is unknown, leads to another session, or cannot be read now.

    Then the whole page is asked, and says what is the matter.
    """
    try:
        rows = _BY_LINK.rows(token_hash=hashed(token))
    except DatabaseError:
        return None
    if not rows:
        return None
    state, ends_at, watts, energy_wh, from_wh, seen_at, online, *_rest = rows[0]
    said = [row[len(LEADING) :] for row in rows]
    shown = (said, state, None if online else seen_at, watts is None, energy_wh is None)
    return Facts(
        digest=hashlib.sha256(repr(shown).encode()).digest(),
        state=state,
        ends_at=ends_at,
        watts=watts,
        used_wh=metering.used_wh(from_wh, energy_wh),
    )


LEADING = (
    "session__state",
    "session__ends_at",
    "session__device__watts",
    "session__device__energy_wh",
    "session__energy_from_wh",
    "session__device__seen_at",
    "session__device__online",
)


def _rows(token_hash: str) -> QuerySet[Payment, tuple[Any, ...]]:
    """A row for each order of the session: all that is said of the order, its session, device and Location."""
    session, device = "session__", "session__device__"
    commands = RelayCommand.objects.filter(device=OuterRef("session__device")).order_by("-id")
    reports = ProblemReport.objects.filter(session=OuterRef("session")).order_by("-created_at", "-id")
    asked = GuestMail.objects.filter(session=OuterRef("session"), sent_at__isnull=True, given_up_at__isnull=True)
    code = DeviceCode.objects.filter(device=OuterRef("session__device"), retired_at=None)
    line = QueueEntry.objects.filter(device=OuterRef("session__device"), place__in=IN_LINE)
    more = {
        "on_id": Subquery(commands.filter(on=True).values("id")[:1]),
        "on_sent_at": Subquery(commands.filter(on=True).values("first_sent_at")[:1]),
        "on_attempts": Subquery(commands.filter(on=True).values("attempts")[:1]),
        "off_id": Subquery(commands.filter(on=False).values("id")[:1]),
        "off_sent_at": Subquery(commands.filter(on=False).values("first_sent_at")[:1]),
        "report": Subquery(reports.values("reference")[:1]),
        "report_answered_at": Subquery(reports.values("answered_at")[:1]),
        "code": Subquery(code.values("code")[:1]),
        "is_asked": Exists(asked),
        "is_waited_for": Exists(line),
    }
    columns = [
        *_said(Payment, ""),
        *_said(DeviceSession, session),
        *_said(Device, device),
        *_said(Location, f"{device}location__"),
    ]
    orders = Payment.objects.filter(session__token_hash=token_hash).order_by("pk").annotate(**more)
    return orders.values_list(*LEADING, *columns, *more)


def _said(model: type[Model], prefix: str) -> list[str]:
    quiet = QUIET[model]
    return [prefix + field.attname for field in model._meta.concrete_fields if field.name not in quiet]


_BY_LINK = Prepared(_rows, token_hash=str)
