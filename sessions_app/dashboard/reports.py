"""Reports: revenue, use and refunds of a period, as a page, and each table of it as CSV."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.http import urlencode
from django.views.decorators.http import require_safe

from devices.models import Device, Location
from hygate import clock, plans
from hygate.roles import staff_only
from sessions_app import money
from sessions_app.dashboard import frame, lists, report_chart
from sessions_app.dashboard.spelling import natural
from sessions_app.reports import periods, sums
from sessions_app.reports.periods import Period, Step
from sessions_app.reports.sums import Money, PaidBack, Revenue, Scope, Sessions, Use
from sessions_app.states import Reason, RefundStatus

HERE = "reports"
DEVICES_SHOWN = 20
HEATS = 5
UNUSED = Use()
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
Records = Iterator[Sequence[Any]]


@dataclass(frozen=True)
class Asked:
    """What the address asks for; ``url`` is the same with something else."""

    scope: Scope
    step: Step
    places: Sequence[tuple[int, str]]

    @property
    def period(self) -> Period:
        return self.scope.period

    def url(self, **other: str) -> str:
        period, values = self.period, {"period": self.period.key, "by": self.step}
        if period.key == periods.CUSTOM:
            values |= {"from": period.first.isoformat(), "to": period.last.isoformat()}
        if self.scope.location is not None:
            values["location"] = str(self.scope.location)
        return "?" + urlencode(values | other)


@dataclass(frozen=True)
class Place:
    """A device or a location with what it earned, by currency, and how much of the time it was used.

    ``location`` is the row's number: two locations may have the same name.
    """

    name: str
    where: str
    use: Use
    money: Sequence[tuple[str, Money]]
    share: float
    location: int

    @property
    def percent(self) -> int:
        return round(100 * min(1.0, self.share))


@dataclass(frozen=True)
class Report:
    """All sums of one page or file."""

    asked: Asked
    revenue: Sequence[Revenue]
    sessions: Sessions
    why: dict[str, int]
    hours: dict[tuple[int, int], int]
    paid_back: Sequence[PaidBack]
    devices: Sequence[Place]
    locations: Sequence[Place]


def asked(request: HttpRequest, now: datetime) -> Asked:
    """What is not understood is left out: an unknown period is this month."""
    places = list(Location.objects.order_by("name", "pk").values_list("pk", "name", "timezone"))
    zone = ZoneInfo(places[0][2] if places else "UTC")
    period, read = periods.named(request.GET.get("period", "month"), zone, now), request.GET.get
    first, last = lists.day_of(read("from", "")), lists.day_of(read("to", ""))
    if read("period") == periods.CUSTOM and first and last:
        period = periods.custom(first, last, zone)
    location = next((pk for pk, *_ in places if str(pk) == read("location")), None)
    return Asked(
        Scope(period, location), periods.step_named(read("by", ""), period), [(pk, name) for pk, name, _ in places]
    )


def made(asked: Asked, now: datetime) -> Report:
    """Six statements, whatever the number of rows."""
    scope = asked.scope
    revenue = sums.revenue(scope)
    sessions, why, use = sums.sessions(scope)
    rows = Device.objects.values_list("pk", "name", "location", "location__name")
    if scope.location is not None:
        rows = rows.filter(location=scope.location)
    passed_s = scope.period.seconds_until(now)
    devices = [_place(row, use.get(row[0], UNUSED), revenue, passed_s) for row in rows]
    return Report(
        asked, revenue, sessions, why, sums.hours(scope), sums.paid_back(scope), _sorted(devices), _by_place(devices)
    )


def _place(device: tuple[int, str, int, str], use: Use, revenue: Sequence[Revenue], passed_s: float) -> Place:
    pk, name, location, where = device
    earned = [(one.currency, one.devices[pk]) for one in revenue if pk in one.devices]
    return Place(name, where, use, earned, use.delivered_s / passed_s if passed_s else 0.0, location)


def _sorted(places: Sequence[Place]) -> list[Place]:
    """What earned most first; those that are even by name."""
    return sorted(places, key=lambda one: (-sum(sum.kept_minor for _, sum in one.money), natural(one.name)))


def _by_place(devices: Sequence[Place]) -> list[Place]:
    """The devices' sums by location; the share is that of all of its devices together."""
    together: dict[int, list[Place]] = defaultdict(list)
    for one in devices:
        together[one.location].append(one)
    return _sorted([_together(ones) for ones in together.values()])


def _together(devices: Sequence[Place]) -> Place:
    found: dict[str, Money] = defaultdict(Money)
    for one in devices:
        for currency, taken in one.money:
            found[currency] += taken
    use = sum((one.use for one in devices), Use())
    share = sum(one.share for one in devices) / len(devices)
    return Place(devices[0].where, "", use, sorted(found.items()), share, devices[0].location)


@require_safe
@staff_only
def reports(request: HttpRequest) -> HttpResponseBase:
    now = clock.now()
    with plans.made_for_the_values():
        report = made(asked(request, now), now)
    name = request.GET.get("csv", "")
    if name in FILES:
        titles, records = FILES[name]
        period = report.asked.period
        return lists.streamed(f"hygate-{name}-{period.first}-{period.last}.csv", titles, records(report))
    return frame.page(request, "reports.html", _context(report), here=HERE)


def _context(report: Report) -> dict[str, Any]:
    asked, period = report.asked, report.asked.period
    kept = {"from": period.first.isoformat(), "to": period.last.isoformat()}
    if asked.scope.location is not None:
        kept["location"] = str(asked.scope.location)
    return {
        "report": report,
        "asked": asked,
        "period": period,
        "said": _said(period),
        "zone": period.zone.key,
        "chips": [(asked.url(period=key), title, key == period.key) for key, title in periods.PERIODS.items()],
        "steps": [(asked.url(by=step), title, step == asked.step) for step, title in periods.STEPS.items()],
        "money": [_drawn(one, asked) for one in report.revenue],
        "devices": report.devices[:DEVICES_SHOWN],
        "why": [(Reason(reason).label, count, report.sessions.cancelled) for reason, count in report.why.items()],
        "heat": _heat(report.hours),
        "hours": range(24),
        "paid_back": [(row, RefundStatus(row.status).label, why_back(row.reason)) for row in report.paid_back],
        "payments_url": urlencode(kept),
        "files": {name: asked.url(csv=name) for name in FILES},
    }


def _said(period: Period) -> str:
    first, last = lists.said(period.first), lists.said(period.last)
    return first if first == last else f"{first} to {last}"


def _drawn(one: Revenue, asked: Asked) -> dict[str, Any]:
    steps = one.steps(asked.period, asked.step)
    return {
        "currency": one.currency,
        "total": one.total,
        "chart": report_chart.drawn(steps, asked.step, one.currency),
        "steps": [(report_chart.named(day, asked.step), sum) for day, sum in steps.items() if sum.count],
        "rates": [(f"{rate / 100:g} %", sum) for rate, sum in sorted(one.rates.items())],
    }


def _heat(hours: dict[tuple[int, int], int]) -> list[tuple[str, list[tuple[int, int]]]]:
    """A row for each weekday: its sessions by hour, each with a shade from 0 (none) to ``HEATS`` (the most)."""
    most = max(hours.values(), default=0)
    if not most:
        return []
    counts = [[hours.get((day, hour), 0) for hour in range(24)] for day in range(7)]
    return [
        (name, [(count, -(-HEATS * count // most)) for count in row])
        for name, row in zip(WEEKDAYS, counts, strict=True)
    ]


def why_back(reason: str) -> str:
    if reason in Reason.values:
        return Reason(reason).label
    return {"staff": "Given back by staff", "unused": "Minutes that were not delivered"}.get(
        reason, reason.replace("_", " ").capitalize()
    )


# -- files


def _amounts(taken: Money, currency: str) -> list[Any]:
    figures = (taken.captured_minor, taken.refunded_minor, taken.kept_minor, taken.vat_minor, taken.net_minor)
    return [taken.count, *(money.major(one, currency) for one in figures), currency.upper()]


AMOUNTS = ("Payments", "Captured", "Refunded", "Kept", "VAT in it", "Net", "Currency")


def _revenue_file(report: Report) -> Records:
    for one in report.revenue:
        for day, taken in one.steps(report.asked.period, report.asked.step).items():
            yield [day.isoformat(), *_amounts(taken, one.currency)]


def _vat_file(report: Report) -> Records:
    for one in report.revenue:
        for rate, taken in sorted(one.rates.items()):
            yield [rate / 100, *_amounts(taken, one.currency)]


def _places_file(places: Sequence[Place]) -> Records:
    """One line for each currency; a place that sold nothing has one line too."""
    for one in places:
        use = [one.use.started, one.use.delivered_s, round(100 * one.share, 1)]
        for currency, taken in one.money or [("", Money())]:
            yield [*_named(one), *use, *_amounts(taken, currency)]


def _named(place: Place) -> list[str]:
    """A device has a location beside its name; a location has none."""
    return [place.name, place.where] if place.where else [place.name]


def _sessions_file(report: Report) -> Records:
    all_of = report.sessions
    share = all_of.cancelled_share
    yield ["Opened", all_of.opened]
    yield ["With power", all_of.started]
    yield ["Completed", all_of.completed]
    yield ["Cancelled", all_of.cancelled]
    yield ["Average seconds of power", all_of.average_s]
    yield ["Cancelled of those that are over, %", None if share is None else round(100 * share, 1)]
    for reason, count in report.why.items():
        yield [f"Cancelled: {Reason(reason).label}", count]


def _hours_file(report: Report) -> Records:
    for day, name in enumerate(WEEKDAYS):
        yield [name, *(report.hours.get((day, hour), 0) for hour in range(24))]


def _refunds_file(report: Report) -> Records:
    for row in report.paid_back:
        yield [
            RefundStatus(row.status).label,
            why_back(row.reason),
            row.count,
            money.major(row.amount_minor, row.currency),
            row.currency.upper(),
        ]


USE = ("Sessions", "Seconds of power", "Used, %")
FILES: dict[str, tuple[Sequence[str], Callable[[Report], Records]]] = {
    "revenue": (("From", *AMOUNTS), _revenue_file),
    "vat": (("VAT rate, %", *AMOUNTS), _vat_file),
    "locations": (("Location", *USE, *AMOUNTS), lambda report: _places_file(report.locations)),
    "devices": (("Device", "Location", *USE, *AMOUNTS), lambda report: _places_file(report.devices)),
    "sessions": (("What", "Number"), _sessions_file),
    "hours": (("Weekday", *(f"{hour:02d}:00" for hour in range(24))), _hours_file),
    "refunds": (("Status", "Why", "Refunds", "Amount", "Currency"), _refunds_file),
}
