"""The end of a session as an iCalendar file (RFC 5545): one event at its end, with an alarm."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from urllib.parse import urlsplit

from django.conf import settings
from django.utils.translation import gettext as _

from sessions_app.guest.visit import Visit

FOLD = 75
"""Octets of a line, its break not counted."""


def of(visit: Visit, ends_at: datetime) -> bytes:
    """The file. Its event keeps its name, so that one that is added again after an extension moves the first."""
    session, device = visit.session, visit.device
    place = ", ".join(filter(None, (device.place, device.location.name)))
    event = (
        "BEGIN:VEVENT",
        f"UID:{session.reference}@{urlsplit(settings.BASE_URL).hostname or 'hygate'}",
        f"DTSTAMP:{stamp(visit.now)}",
        f"DTSTART:{stamp(ends_at)}",
        f"SEQUENCE:{max(0, int((ends_at - session.created_at).total_seconds()))}",
        f"SUMMARY:{text(_('%(device)s is done') % {'device': visit.name})}",
        f"LOCATION:{text(place)}",
        f"URL:{settings.BASE_URL}{visit.url()}",
        "TRANSP:TRANSPARENT",
        "BEGIN:VALARM",
        "ACTION:DISPLAY",
        f"DESCRIPTION:{text(_('%(device)s is done') % {'device': visit.name})}",
        "TRIGGER:PT0S",
        "END:VALARM",
        "END:VEVENT",
    )
    return written(("BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//Hygate//Session//EN", *event, "END:VCALENDAR"))


def stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")


def text(words: str) -> str:
    """A TEXT value: backslash, semicolon, comma and line break are escaped."""
    for plain, escaped in (("\\", "\\\\"), (";", "\\;"), (",", "\\,"), ("\r\n", "\\n"), ("\n", "\\n"), ("\r", "\\n")):
        words = words.replace(plain, escaped)
    return words


def written(lines: Iterable[str]) -> bytes:
    return b"".join(folded(line.encode()) for line in lines)


def folded(line: bytes) -> bytes:
    """One content line, ended by CRLF; a long one goes on after CRLF and a blank, and no character is cut in two."""
    parts, most = [], FOLD
    while len(line) > most:
        cut = most
        while line[cut] & 0xC0 == 0x80:
            cut -= 1
        parts.append(line[:cut])
        line, most = line[cut:], FOLD - 1
    return b"\r\n ".join([*parts, line]) + b"\r\n"
