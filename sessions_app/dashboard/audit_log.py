"""The audit log: who did what and when, from what to what; and the button that proves it was not touched."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from html import escape
from typing import Any
from zoneinfo import ZoneInfo

from django.core import signing
from django.db import connection
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.utils.timezone import localtime
from django.views.decorators.http import require_POST, require_safe

from devices.models import Device
from hygate import audit, clock, guarding
from hygate.models import AuditEvent, User
from hygate.roles import administrator_only
from hygate.sealing import Head
from hygate.verifying import Report, verify_for
from sessions_app.dashboard import drawn, frame, lists, timeline
from sessions_app.dashboard.lists import Choice, Choices, Column, Listing, Places, between
from sessions_app.dashboard.spelling import at
from sessions_app.models import DeviceSession

HERE = "audit"
A_LOOK_S = 1.5
"""How long one request may walk the chain; a longer log is walked in several, each going on where the last rested."""
GOES_ON = "audit.goes-on"
A_PAUSE_S = 3600
STAFF, GUESTS, HYGATE = "staff", "guests", "hygate"
NEXT_KIND = """WITH RECURSIVE found(kind) AS (
    SELECT min(kind) FROM {table}
    UNION ALL SELECT (SELECT min(kind) FROM {table} WHERE kind > found.kind) FROM found WHERE found.kind IS NOT NULL
) SELECT kind FROM found WHERE kind IS NOT NULL"""
UNITS = {"_minor": " (minor units)", "_s": " (seconds)", "_w": " (watts)", "_bp": " (hundredths of a percent)"}
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?\+00:00")
SAID_IN_WORDS = ("by", "person", "reason", "error", "title", "method", "cause", "mail", "report", "number")
SAID_IN_NUMBERS = ("amount_minor", "currency", "charge_minor", "back_minor", "delivered_s", "for_s", "timer_s")
SAID = frozenset(("changed", "before", "after", "ends_at", *SAID_IN_WORDS, *SAID_IN_NUMBERS))
"""What the line about an event says already; the rest of its data follows as it stands."""


@dataclass(frozen=True)
class Change:
    """A column with what it said before and after; ``is_kept`` false: the log keeps only that it changed."""

    name: str
    before: str
    after: str
    is_kept: bool


@dataclass(frozen=True)
class Row:
    event: AuditEvent
    when: str
    who: str
    title: str
    icon: str
    tone: str
    detail: str
    changes: list[Change]
    facts: list[tuple[str, str]]
    session: str
    device: str


@dataclass(frozen=True)
class Names:
    """Who and what the events of a page are about: ``user:7``, devices and sessions by number, and currencies."""

    people: Mapping[str, str]
    devices: Mapping[int, str]
    sessions: Mapping[int, str]
    currencies: Mapping[int, str]

    def who(self, actor: str) -> str:
        if actor.startswith("user:"):
            return self.people.get(actor, "a former colleague")
        return {"hygate": "Hygate", "guest": "a guest"}.get(actor, actor)


# -- the list


def people() -> dict[str, str]:
    return {f"user:{one.pk}": str(one) for one in User.objects.order_by("first_name", "email")}


def kinds() -> Choices:
    return sorted(((kind, title(kind)) for kind in kinds_found()), key=lambda one: one[1].casefold())


def kinds_found() -> list[str]:
    """Every kind there is, from one to the next along their index: DISTINCT would read every event there ever was."""
    table = connection.ops.quote_name(AuditEvent._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute(NEXT_KIND.format(table=table))
        return [kind for (kind,) in cursor.fetchall()]


def title(kind: str) -> str:
    """In the timeline's words; kinds that share them are told apart by their own name."""
    words = timeline.KINDS.get(kind, ("",))[0]
    return f"{words} ({kind})" if words else kind.replace("_", " ").capitalize()


def by_whom(who: str) -> Q:
    if who == STAFF:
        return Q(actor__startswith="user:")
    if who == GUESTS:
        return Q(actor="guest")
    return ~Q(actor__startswith="user:") & ~Q(actor="guest") if who == HYGATE else Q(actor=who)


def finds(text: str) -> Q:
    """By the event's number, a session's reference, a payment's or a device's name."""
    sessions = DeviceSession.objects.filter(Q(reference__iexact=text) | Q(payments__ref__iexact=text))
    where = Q(session__in=sessions.values("pk")) | Q(device__in=Device.objects.filter(name__iexact=text).values("pk"))
    return where | Q(seq=int(text)) if text.isascii() and text.isdigit() and len(text) < 16 else where


def listing(names: Mapping[str, str]) -> Listing:
    """The list for these ``names`` of people: the file says them as well."""
    known = Names(names, {}, {}, {})
    whom = ((STAFF, "Any of the staff"), (GUESTS, "Guests"), (HYGATE, "Hygate itself"), *names.items())
    return Listing(
        name="audit",
        row=_cells,
        columns=(
            Column("Number", csv=lambda row: row.seq, css="desk"),
            Column("When", csv=lambda row: row.at),
            Column("Who", csv=lambda row: known.who(row.actor)),
            Column("What", csv=lambda row: row.kind),
            Column("About", css="desk"),
            Column("Session", csv=lambda row: row.session, shown=False),
            Column("Payment", csv=lambda row: row.payment, shown=False),
            Column("Device", csv=lambda row: row.device, shown=False),
            Column("Relay command", csv=lambda row: row.command, shown=False),
            Column("Before", csv=partial(_side, side="before"), shown=False),
            Column("After", csv=partial(_side, side="after"), shown=False),
            Column("More", csv=_rest, shown=False),
            Column("Seal", csv=lambda row: row.hmac, shown=False),
        ),
        filters=(
            Choice("kind", "Kind", kinds, lambda kind: Q(kind=kind)),
            Choice("who", "Who", whom, by_whom),
            Choice("device", "Device", (), lambda pk: Q(device=pk)),
            *between("at"),
        ),
        find=finds,
        find_says="Session, payment, device or the event's number",
        order=("-pk",),
        nothing="No event yet. Whatever anybody does here is written down, and sealed within seconds.",
        no_match="No event matches these filters.",
        css="list-audit",
    )


def _side(event: AuditEvent, *, side: str) -> str:
    told = event.data.get(side)
    return "; ".join(f"{name}: {_plain(value)}" for name, value in told.items()) if isinstance(told, dict) else ""


def _rest(event: AuditEvent) -> str:
    return "; ".join(
        f"{name}: {_plain(value)}" for name, value in event.data.items() if name not in ("before", "after")
    )


@require_safe
@administrator_only
def audit_log(request: HttpRequest) -> HttpResponseBase:
    names, places = people(), lists.places()
    found = lists.found(request, listing(names), AuditEvent.objects.all(), places=places)
    if found.as_csv:
        return found.csv()
    return frame.page(request, "audit.html", found.context(teller(names, places)), here=HERE)


def teller(people: Mapping[str, str], places: Places) -> Callable[[list[AuditEvent]], Iterator[Row]]:
    """Turns the events of one page into rows; the sessions that they speak of are read at once."""

    def told(events: list[AuditEvent]) -> Iterator[Row]:
        rows = DeviceSession.objects.filter(pk__in={one.session for one in events if one.session})
        sessions = list(rows.values_list("pk", "reference", "device__location__currency"))
        names = Names(
            people,
            {int(pk): name for pk, name in places.devices},
            {pk: reference for pk, reference, _ in sessions},
            {pk: currency for pk, _, currency in sessions},
        )
        return (row(one, names, places.zone) for one in events)

    return told


def row(event: AuditEvent, names: Names, zone: ZoneInfo) -> Row:
    currency = names.currencies.get(event.session or 0, "eur")
    step = timeline.told([event], (), currency, zone, dict(names.people))[0]
    return Row(
        event,
        str(lists.in_zone(event.at, zone)),
        names.who(event.actor),
        step.title,
        step.icon,
        step.tone,
        step.detail,
        changes_of(event.data, zone),
        facts_of(event.data, names),
        names.sessions.get(event.session or 0, ""),
        names.devices.get(event.device or 0, ""),
    )


def _cells(row: Row) -> str:
    event = row.event
    number = str(event.seq) if event.seq else drawn.tag("wait", "to be sealed")
    when = f'<time datetime="{localtime(event.at).isoformat()}">{escape(row.when)}</time>'
    changes = "".join(map(_changed, row.changes))
    changes = f'<ul class="changes">{changes}</ul>' if changes else ""
    facts = escape(" · ".join(f"{name} {value}" for name, value in row.facts))
    facts = f'<p class="soft small">{facts}</p>' if facts else ""
    return (
        f'<td class="num desk soft">{number}</td><td class="num">{when}</td><td class="pr">{escape(row.who)}</td>'
        f'<td class="wide"><b>{escape(row.title)}</b>{drawn.small(row.detail, "soft")}{changes}{facts}</td>'
        f'<td class="desk">{_about(row)}</td>'
    )


def _changed(one: Change) -> str:
    if not one.is_kept:
        return f"<li>{escape(one.name)} changed; its value is not kept here</li>"
    arrow = '<span aria-hidden="true">→</span>'
    return f"<li>{escape(one.name)}: <del>{escape(one.before)}</del> {arrow} <ins>{escape(one.after)}</ins></li>"


def _about(row: Row) -> str:
    """Where the rows are that the event speaks of, as far as they are there still."""
    event, links = row.event, []
    if row.session and event.session:
        links.append(("session", event.session, row.session))
    if event.payment:
        links.append(("payment", event.payment, "payment"))
    if row.device and event.device:
        links.append(("device", event.device, row.device))
    return " ".join(f'<a href="{drawn.url(name, pk)}">{escape(words)}</a>' for name, pk, words in links)


def changes_of(data: Mapping[str, Any], zone: ZoneInfo) -> list[Change]:
    before, after, changed = (data.get(name) for name in ("before", "after", "changed"))
    before, after = (one if isinstance(one, dict) else {} for one in (before, after))
    names = changed if isinstance(changed, list) else sorted({*before, *after})
    return [
        Change(
            _words(str(name)),
            _there(before.get(name), zone),
            _there(after.get(name), zone),
            name in before or name in after,
        )
        for name in names
    ]


def facts_of(data: Mapping[str, Any], names: Names) -> list[tuple[str, str]]:
    """What the title and the changes leave out."""
    person = [("person", names.who(f"user:{data['person']}"))] if "person" in data else []
    return person + [(_words(name), _plain(value)) for name, value in data.items() if name not in SAID]


def _words(name: str) -> str:
    for ending, unit in UNITS.items():
        if name.endswith(ending):
            return name.removesuffix(ending).replace("_", " ") + unit
    return name.replace("_", " ")


def _there(value: Any, zone: ZoneInfo) -> str:
    """A moment in the site's own time, like all others on the page; the file has it as it was written."""
    if isinstance(value, str) and MOMENT.fullmatch(value):
        return str(lists.in_zone(datetime.fromisoformat(value), zone))
    return _plain(value)


def _plain(value: Any) -> str:
    if value is None or value == "":
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(_plain(one) for one in value) if isinstance(value, list) else str(value)


# -- the proof


@require_POST
@administrator_only
def verify(request: HttpRequest) -> HttpResponse:
    """Walk the chain for a moment: the verdict, or how far it is and a form that goes on by itself."""
    report = verify_for(A_LOOK_S, start=_rested(request.POST.get("from", "")))
    if report.whole:
        audit.write("audit_verified", actor=frame.who(request), until=report.head.seq, ok=report.ok)
    context = {"verdict": verdict(report, clock.now()), "report": report, "goes_on": _rest_at(report)}
    if request.headers.get("HX-Request") == "true":
        return render(request, "dashboard/_verified.html", context)
    return frame.page(request, "audit_verified.html", context, here=HERE)


def verdict(report: Report, now: datetime) -> dict[str, str]:
    """One sentence: up to where the log is proven, or the first row that is wrong."""
    if not report.whole:
        so_far = f"Verified up to event {report.head.seq:,} of {report.promised:,} so far."
        return {"tone": "wait", "title": "Verifying", "text": so_far}
    if report.fault is not None:
        return {"tone": "stop", "title": "The audit log was changed", "text": report.fault.says}
    when = at(now, lists.site_zone().key, now, seconds=True)
    if report.late:
        text = f"{report.late} newer wait for a seal for more than a minute (first: row {report.late_row})."
        return {"tone": "hold", "title": f"Verified up to event {report.head.seq:,} at {when}", "text": text}
    text = "Each event is as it was sealed, and none is missing."
    if not guarding.is_protected():
        text += " No triggers protect the table itself yet: run manage.py protect_audit."
    return {"tone": "ok", "title": f"Verified up to event {report.head.seq:,} at {when}", "text": text}


def _rest_at(report: Report) -> str:
    """Where to go on, signed: nobody else's head is believed."""
    return "" if report.whole else signing.dumps([report.head.seq, report.head.hmac], salt=GOES_ON)


def _rested(told: str) -> Head:
    """From the beginning where nothing (or nothing of ours) is told."""
    try:
        seq, seal = signing.loads(told, salt=GOES_ON, max_age=A_PAUSE_S)
    except signing.BadSignature:
        return Head()
    return Head(int(seq), str(seal))
