"""A list page: columns, filters, a search, an order, pages, and the same rows as CSV. One way for all lists.

How to use it:

1. Say once what the list is::

       LISTING = Listing(
           name="audit",                                  # in the file's name and for screen readers
           row=cells,                                     # one row as HTML: its <td>s, what people typed escaped
           columns=(
               Column("When", order="at", csv=lambda row: row.at),
               Column("What", css="desk", csv=lambda row: row.kind),
               Column("Address", csv=lambda row: row.ip, shown=False),   # only in the CSV
           ),
           filters=(
               Choice("kind", "Kind", kinds, lambda kind: Q(kind=kind)),
               *between("at"),                            # from and to, days in the site's time zone
           ),
           find=lambda text: Q(data__icontains=text),     # leave out for a list without a search
           find_says="Session, device or reason",
           order=("-at",),                                # where nobody chose a column; ``-pk`` breaks ties
           nothing="No event yet.",
           no_match="No event matches these filters.",
       )

2. In the view, narrow, then answer with either::

       found = lists.found(request, LISTING, AuditEvent.objects.select_related(...))
       if found.as_csv:
           return found.csv()
       return frame.page(request, "audit.html", found.context(told), here="audit")

   ``places=lists.places()`` offers what stands in the filters called ``location`` and ``device``, in one query.
   ``told`` (optional) turns the rows of one page into what ``row`` gets: queries for a page belong there. A template
   for each row would take ten times as long. For the CSV the columns' functions get the rows of the queryset; what
   they follow must be in ``select_related`` or ``prefetch_related``.

3. The page's template includes ``dashboard/_list.html`` in its ``main`` block; that draws all of it. The first cell
   of a row holds the link (class ``whole``); cells with ``desk`` vanish on phones, ``pr`` stand at the right there.

A filter that is not understood narrows nothing and is not shown as a chip. A GET changes nothing, so no address and
no permission is added: the CSV is the same address with ``csv=1``.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import cached_property
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

from django.db.models import CharField, Expression, F, Q, QuerySet, Value
from django.db.models.functions import Cast, Concat, StrIndex
from django.http import HttpRequest, StreamingHttpResponse
from django.utils.dateparse import parse_date
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from devices.models import Location
from hygate import clock
from sessions_app.dashboard import frame
from sessions_app.dashboard.spelling import natural
from sessions_app.reports.periods import midnight

MOST_FIND = 60
CSV_CHUNK, LINES_AT_ONCE = 500, 100
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for a formula when a cell starts with it."""

DEVICE_NAME = "device__name"
"""A column that is sorted by this sorts as people count."""

Choices = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Column:
    """``order``: the column (or path) of the database that sorts it. ``csv``: its value in the file, from the row."""

    title: str
    order: str = ""
    csv: Callable[[Any], Any] | None = None
    css: str = ""
    shown: bool = True


@dataclass(frozen=True)
class Choice:
    """A select. ``choices`` are ``(value, words)``, or a function that reads them (one query); ``narrow`` says which
    rows one of these values keeps."""

    name: str
    label: str
    choices: Choices | Callable[[], Choices]
    narrow: Callable[[str], Q]
    kind = "choice"

    def offered(self) -> Choices:
        return self.choices() if callable(self.choices) else self.choices

    def wants(self, value: str, offered: Choices, _zone: ZoneInfo) -> tuple[Q, str] | None:
        """What is kept and in which words; null where ``value`` is none of those that are offered."""
        words = next((words for known, words in offered if known == value), None)
        return None if words is None else (self.narrow(value), words)


@dataclass(frozen=True)
class Day:
    """A date in the site's time zone, as the first (``is_last`` false) or the last day that is kept."""

    name: str
    label: str
    column: str
    is_last: bool = False
    kind = "day"

    def offered(self) -> Choices:
        return ()

    def wants(self, value: str, _offered: Choices, zone: ZoneInfo) -> tuple[Q, str] | None:
        day = day_of(value)
        if day is None:
            return None
        if self.is_last:
            return Q(**{f"{self.column}__lt": midnight(day + timedelta(days=1), zone)}), said(day)
        return Q(**{f"{self.column}__gte": midnight(day, zone)}), said(day)


Filter = Choice | Day


def between(column: str) -> tuple[Day, Day]:
    """Two filters: from one day to another, both included."""
    return Day("from", "From", column), Day("to", "To", column, is_last=True)


@dataclass(frozen=True)
class Listing:
    """What a list is; see the module's text for each field."""

    name: str
    row: Callable[[Any], str]
    columns: tuple[Column, ...]
    order: tuple[str, ...]
    filters: tuple[Filter, ...] = ()
    find: Callable[[str], Q] | None = None
    find_says: str = "Search"
    nothing: str = "Nothing yet."
    no_match: str = "Nothing matches. Clear a filter."
    css: str = ""

    @property
    def has_search(self) -> bool:
        """For the template: it would call ``find`` where it only asks whether there is one."""
        return self.find is not None


@dataclass(frozen=True)
class Chip:
    """An active filter; ``url`` is the list without it."""

    words: str
    url: str


@dataclass(frozen=True)
class Heading:
    """``url`` sorts by it (null: cannot be sorted); ``sorted``: ascending, descending, or empty."""

    title: str
    css: str
    url: str = ""
    sorted: str = ""


@dataclass(frozen=True)
class Field:
    """A filter as the form draws it."""

    name: str
    label: str
    kind: str
    value: str
    choices: Choices


@dataclass
class Found:
    """The rows that a request asks for, with everything that the page says about it."""

    request: HttpRequest
    listing: Listing
    rows: QuerySet[Any]
    fields: list[Field]
    find: str
    active: dict[str, str] = field(default_factory=dict)
    sort: str = ""
    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))

    @property
    def as_csv(self) -> bool:
        return self.request.GET.get("csv") == "1"

    @cached_property
    def asked(self) -> dict[str, str]:
        """The parameters that mean something, in one order."""
        values = {one.name: one.value for one in self.fields if one.name in self.active}
        return {name: value for name, value in (*values.items(), ("find", self.find), ("sort", self.sort)) if value}

    def url(self, without: str = "", **more: str) -> str:
        return "?" + urlencode({name: value for name, value in self.asked.items() if name != without} | more)

    def context(self, told: Callable[[list[Any]], Iterable[Any]] = list, *, count: int | None = None) -> dict[str, Any]:
        """For ``dashboard/_list.html``: one page of rows, told by ``told``, and the form around them.

        ``count`` is how many rows there are, where the view knows it already.
        """
        shown = frame.pages(self.request, self.rows, count)
        rows = list(told(list(shown.object_list)))
        return {
            "listing": self.listing,
            "shown": shown,
            "rows": rows,
            "lines": SafeString("".join(f"<tr>{self.listing.row(one)}</tr>" for one in rows)),
            "fields": self.fields,
            "find": self.find,
            "sort": self.sort,
            "headings": self._headings(),
            "chips": [
                Chip(f"{one.label}: {self.active[one.name]}", self.url(without=one.name))
                for one in self.fields
                if one.name in self.active
            ],
            "filtered": bool(self.active or self.find),
            "csv_url": self.url(csv="1"),
            "more": self.url()[1:],
            "zone": self.zone.key,
        }

    def _headings(self) -> list[Heading]:
        return [self._heading(one) for one in self.listing.columns if one.shown]

    def _heading(self, column: Column) -> Heading:
        if not column.order:
            return Heading(column.title, column.css)
        now = {column.order: "ascending", f"-{column.order}": "descending"}.get(self.sort, "")
        after = column.order if now == "descending" else f"-{column.order}"
        return Heading(column.title, column.css, self.url(without="sort", sort=after), now)

    def csv(self) -> StreamingHttpResponse:
        """Every row that was found, not only one page of them, sent while they are read."""
        columns = [one for one in self.listing.columns if one.csv is not None]
        name = f"hygate-{self.listing.name}-{clock.now().astimezone(self.zone):%Y-%m-%d}.csv"
        return streamed(name, [one.title for one in columns], self._records(columns))

    def _records(self, columns: Sequence[Column]) -> Iterator[list[Any]]:
        for row in self.rows.iterator(chunk_size=CSV_CHUNK):
            yield [in_zone(one.csv(row), self.zone) for one in columns if one.csv is not None]


def found(request: HttpRequest, listing: Listing, rows: QuerySet[Any], *, places: Places | None = None) -> Found:
    """``rows``, narrowed and sorted as the request's parameters say.

    ``places`` (``lists.places()``) fills the filters called ``location`` and ``device``, and knows the time zone.
    """
    zone = places.zone if places else site_zone()
    known = {"location": places.locations, "device": places.devices} if places else {}
    find = request.GET.get("find", "").replace("\x00", "").strip()[:MOST_FIND] if listing.find else ""
    shown = Found(request, listing, rows, [], find, zone=zone)
    for one in listing.filters:
        offered, value = known.get(one.name) or one.offered(), request.GET.get(one.name, "").strip()
        kept = one.wants(value, offered, zone) if value else None
        shown.fields.append(Field(one.name, one.label, one.kind, value if kept else "", offered))
        if kept is not None:
            rows = rows.filter(kept[0])
            shown.active[one.name] = kept[1]
    if find and listing.find is not None:
        rows = rows.filter(listing.find(find))
    shown.sort = _sort(request.GET.get("sort", ""), listing)
    shown.rows = rows.order_by(*_order(shown.sort, listing, places), "-pk")
    return shown


@dataclass(frozen=True)
class Places:
    """What a filter offers: every location and every device (in natural order), and the site's time zone."""

    zone: ZoneInfo
    locations: Choices
    devices: Choices


def places() -> Places:
    """One statement for all of it."""
    rows = list(
        Location.objects.order_by("name", "pk").values_list("pk", "name", "timezone", "devices", "devices__name")
    )
    devices = sorted(((str(pk), name) for *_, pk, name in rows if pk), key=lambda one: natural(one[1]))
    locations = sorted({str(pk): name for pk, name, *_ in rows}.items(), key=lambda one: natural(one[1]))
    return Places(ZoneInfo(rows[0][2] if rows else "UTC"), locations, devices)


def _sort(asked: str, listing: Listing) -> str:
    return asked if asked.removeprefix("-") in {one.order for one in listing.columns if one.order} else ""


def _order(sort: str, listing: Listing, places: Places | None) -> Iterable[Any]:
    """What is unknown (a session that never started) stands last, whichever way."""
    if not sort:
        return listing.order
    path = sort.removeprefix("-")
    column = _by_device(path, places) if places and path.endswith(DEVICE_NAME) else F(path)
    return [column.desc(nulls_last=True) if sort.startswith("-") else column.asc(nulls_last=True)]


def _by_device(path: str, places: Places) -> Expression:
    """Where the row's device stands among all of them in natural order (Dryer 2 before Dryer 10): the place of its
    number in one text of all numbers, which both databases find fast and without a comparison for each device."""
    text = CharField()
    all_of = Value(f",{','.join(pk for pk, _ in places.devices)},", output_field=text)
    own = Cast(F(path.removesuffix("__name")), output_field=text)
    return StrIndex(all_of, Concat(Value(","), own, Value(","), output_field=text))


# -- days and files, also for the reports


def site_zone() -> ZoneInfo:
    """The time zone of days that belong to no single location: that of the first location by name, else UTC."""
    return ZoneInfo(Location.objects.order_by("name", "pk").values_list("timezone", flat=True).first() or "UTC")


def day_of(text: str) -> date | None:
    """A date as a browser sends it; null when it is none (or none that a calendar can count on from)."""
    try:
        day = parse_date(text)
    except ValueError:
        return None
    return day if day is not None and 2000 <= day.year <= 2100 else None


def said(day: date) -> str:
    return f"{day:%d %b %Y}".lstrip("0")


def in_zone(value: Any, zone: ZoneInfo) -> Any:
    """A moment as a spreadsheet reads it: the site's own time, to the second."""
    return value.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S") if isinstance(value, datetime) else value


class _Echo:
    """What ``csv`` writes to: gives each line back instead of keeping it."""

    def write(self, line: str) -> str:
        return line


def streamed(name: str, titles: Sequence[str], records: Iterable[Sequence[Any]]) -> StreamingHttpResponse:
    """A CSV file called ``name``, sent while it is made. The mark at its start tells spreadsheets that it is UTF-8."""
    response = StreamingHttpResponse(_lines(titles, records), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    response["Cache-Control"] = "no-store"
    return response


def _lines(titles: Sequence[str], records: Iterable[Sequence[Any]]) -> Iterator[str]:
    """Many lines at a time: each piece that is sent costs as much as the making of ten lines."""
    write = csv.writer(_Echo()).writerow
    yield "\ufeff" + str(write(titles))
    lines = (str(write([safe(value) for value in record])) for record in records)
    while piece := "".join(islice(lines, LINES_AT_ONCE)):
        yield piece


def safe(value: Any) -> Any:
    """Words that a spreadsheet would run as a formula get an apostrophe in front; numbers stay numbers."""
    if isinstance(value, str) and value.lstrip(" ").startswith(FORMULA):
        return f"'{value}"
    return "" if value is None else value
