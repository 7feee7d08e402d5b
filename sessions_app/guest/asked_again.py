"""The short way to "nothing new": most questions of an open page are answered by one query, before any page is made.

An open session page asks every few seconds whether it is still true. Making the page to find that out costs some ten
milliseconds; a thousand open pages would keep a core busy. So a page's ETag says of which rows it was made:

1. ``facts`` reads, in one prepared query, every column that a session's page is made of.
2. Are they what the ETag says, the answer is 304. Any web process can tell; none has to remember anything.
3. Otherwise, and always after ``GOOD_FOR_S``, the page is made, and its ETag says when, and of the facts that were read
   *before* it: a row that changes in between is found by the next question.

What a page shows beside those rows (plans to add time from, gates, settings) is at most ``GOOD_FOR_S`` old. Watts and
energy are not part of a version; they travel in a header of every answer. A phone that makes one up deceives itself.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

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
from sessions_app.guest.visit import hashed, is_refused
from sessions_app.models import DeviceSession, GuestMail, Payment, ProblemReport, QueueEntry
from sessions_app.queue.models import IN_LINE
from sessions_app.states import State

LINK = re.compile(r"^/session/([A-Za-z0-9_-]{20,100})/$")
NOTHING_CHANGES_S, OFFER_CHANGES_S, SOMETHING_CHANGES_S = 900.0, 300.0, 6.0
GOOD_FOR_S = {
    State.GRACE: NOTHING_CHANGES_S,
    State.STARTING: NOTHING_CHANGES_S,
    State.RUNNING: NOTHING_CHANGES_S,
    State.STOPPING: NOTHING_CHANGES_S,
    State.COMPLETED: OFFER_CHANGES_S,
    State.CANCELLED: OFFER_CHANGES_S,
    State.HELD: SOMETHING_CHANGES_S,
}
"""Waiting and paused pages tell of other sessions and of the site: they are made anew each time."""
LAST_MINUTE_S = 60
MARKED = re.compile(r'^W/"([0-9a-f]{1,32})\.([0-9a-f]{1,10})\.([0-9a-f]{24})"$')

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
    extendable: bool
    watts: int | None
    used_wh: float | None

    def good_for_s(self, now: datetime) -> float:
        if self.ends_at is not None and (self.ends_at - now).total_seconds() < LAST_MINUTE_S:
            return SOMETHING_CHANGES_S
        offers = self.extendable and self.state == State.RUNNING
        return OFFER_CHANGES_S if offers else GOOD_FOR_S.get(State(self.state), 0)

    def seal(self, version: str, language: str) -> str:
        """Says that the page of this version, in this language, was made of these rows."""
        return hashlib.sha256(f"{version} {language} ".encode() + self.digest).hexdigest()[:24]


class Mark(NamedTuple):
    """What an ETag says: the page's version, when it was made (Unix seconds), and of what."""

    version: str
    made_s: int
    seal: str

    @classmethod
    def read(cls, etag: str) -> Mark | None:
        found = MARKED.match(etag)
        return cls(found[1], int(found[2], 16), found[3]) if found else None

    def holds(self, facts: Facts, language: str) -> bool:
        now = clock.now()
        age_s = now.timestamp() - self.made_s
        # near the end an older answer counts no longer, however long it was meant to
        return 0 <= age_s < facts.good_for_s(now) and self.seal == facts.seal(self.version, language)

    def __str__(self) -> str:
        return f'W/"{self.version}.{self.made_s:x}.{self.seal}"'


class AskedAgain:
    """Stands before all that only whole pages need. Everything but an open page's question passes through."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        link = LINK.match(request.path)
        etag = request.META.get("HTTP_IF_NONE_MATCH", "")
        if link is None or not etag or request.method != "GET":
            return self._get_response(request)
        if request.META.get("HTTP_X_REQUESTED_WITH") != "hygate":
            return self._get_response(request)
        facts, mark = facts_of(link[1]), Mark.read(etag)
        language = translation.get_language_from_request(request)
        if facts is not None and mark is not None and mark.holds(facts, language):
            return unchanged(mark, facts, language)
        if mark is not None:
            request.META["HTTP_IF_NONE_MATCH"] = f'W/"{mark.version}"'
        made_s = int(clock.now().timestamp())
        response = self._get_response(request)
        if facts is not None and response.has_header("ETag"):
            version = response["ETag"].removeprefix('W/"').removesuffix('"')
            response["ETag"] = str(Mark(version, made_s, facts.seal(version, language)))
        return response


def unchanged(mark: Mark, facts: Facts, language: str) -> HttpResponse:
    """304, with the server's clock and the figures that move all the time."""
    response = HttpResponseNotModified()
    response["ETag"] = str(mark)
    response["Cache-Control"] = "no-store"
    response["X-Hygate-Now"] = str(int(clock.now().timestamp() * 1000))
    if facts.state == State.RUNNING and (facts.watts is not None or facts.used_wh is not None):
        with translation.override(language):
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
    state, ends_at, extendable, watts, energy_wh, from_wh, seen_at, online, timezone, *_rest = rows[0]
    said = [row[len(LEADING) :] for row in rows]
    today = clock.now().astimezone(ZoneInfo(timezone)).date()  # a moment of another day is said with its day
    shown = (said, state, None if online else seen_at, watts is None, energy_wh is None, today)
    return Facts(
        digest=hashlib.sha256(repr(shown).encode()).digest(),
        state=state,
        ends_at=ends_at,
        extendable=extendable,
        watts=watts,
        used_wh=metering.used_wh(from_wh, energy_wh),
    )


LEADING = (
    "session__state",
    "session__ends_at",
    "session__extendable",
    "session__device__watts",
    "session__device__energy_wh",
    "session__energy_from_wh",
    "session__device__seen_at",
    "session__device__online",
    "session__device__location__timezone",
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
        "is_refused": is_refused(),
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
