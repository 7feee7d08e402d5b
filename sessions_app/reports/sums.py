"""The sums of a report. Money stands in minor units, each currency apart; a refund counts where its payment does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any, TypeVar

from django.db.models import Count, Q, QuerySet, Sum

from sessions_app.models import DeviceSession, Payment, Refund
from sessions_app.reports import sql
from sessions_app.reports.periods import Period, Step, start_of
from sessions_app.states import State

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Money:
    """What was taken and what of it has gone back; ``vat_minor`` is contained in what was kept."""

    count: int = 0
    captured_minor: int = 0
    refunded_minor: int = 0
    vat_minor: int = 0

    @property
    def kept_minor(self) -> int:
        return self.captured_minor - self.refunded_minor

    @property
    def net_minor(self) -> int:
        return self.kept_minor - self.vat_minor

    @property
    def average_minor(self) -> int:
        """Kept for each payment, to the nearest minor unit; nothing where nothing was sold."""
        return (2 * self.kept_minor + self.count) // (2 * self.count) if self.count else 0

    def __add__(self, other: Money) -> Money:
        return Money(
            self.count + other.count,
            self.captured_minor + other.captured_minor,
            self.refunded_minor + other.refunded_minor,
            self.vat_minor + other.vat_minor,
        )


@dataclass(frozen=True)
class Use:
    """Sessions of one device: how many had power, and for how many seconds."""

    started: int = 0
    delivered_s: int = 0

    def __add__(self, other: Use) -> Use:
        return Use(self.started + other.started, self.delivered_s + other.delivered_s)


@dataclass(frozen=True)
class Sessions:
    """Sessions that were opened in a period. ``timed``: those of ``started`` whose seconds are counted already."""

    opened: int = 0
    started: int = 0
    completed: int = 0
    cancelled: int = 0
    timed: int = 0
    delivered_s: int = 0

    @property
    def average_s(self) -> int | None:
        return None if not self.timed else round(self.delivered_s / self.timed)

    @property
    def cancelled_share(self) -> float | None:
        """Of those that are over."""
        over = self.completed + self.cancelled
        return self.cancelled / over if over else None

    @property
    def cancelled_percent(self) -> float:
        return round(100 * (self.cancelled_share or 0), 1)


@dataclass(frozen=True)
class PaidBack:
    """Refunds that were decided on in a period, by what has become of them and why."""

    currency: str
    status: str
    reason: str
    count: int
    amount_minor: int


@dataclass(frozen=True)
class Scope:
    """What the sums are about: a period, and one location or all of them."""

    period: Period
    location: int | None = None

    def payments(self) -> QuerySet[Payment]:
        """Payments whose money came in the period: the same that the list of payments finds between its days."""
        rows = Payment.objects.filter(captured_at__gte=self.period.since, captured_at__lt=self.period.until)
        rows = rows.filter(captured_minor__gt=0).order_by()
        return rows if self.location is None else rows.filter(session__device__location=self.location)

    def sessions(self) -> QuerySet[DeviceSession]:
        rows = DeviceSession.objects.filter(created_at__gte=self.period.since, created_at__lt=self.period.until)
        return (rows if self.location is None else rows.filter(device__location=self.location)).order_by()

    def refunds(self) -> QuerySet[Refund]:
        rows = Refund.objects.filter(created_at__gte=self.period.since, created_at__lt=self.period.until)
        return (
            rows if self.location is None else rows.filter(payment__session__device__location=self.location)
        ).order_by()


@dataclass(frozen=True)
class Revenue:
    """One currency: by day, by VAT rate (basis points), by device; ``total`` is the sum of any of them."""

    currency: str
    days: Mapping[date, Money]
    rates: Mapping[int, Money]
    devices: Mapping[int, Money]

    @cached_property
    def total(self) -> Money:
        return sum(self.days.values(), Money())

    def steps(self, period: Period, step: Step) -> dict[date, Money]:
        """Every day, week or month of the period, those without a sale too."""
        found = dict.fromkeys(period.starts(step), Money())
        for day, money in self.days.items():
            found[start_of(day, step)] += money
        return found


def _added(rows: Iterable[tuple[Key, Money]]) -> dict[Key, Money]:
    found: dict[Key, Money] = {}
    for key, money in rows:
        found[key] = found[key] + money if key in found else money
    return found


def _summed(rows: QuerySet[Payment], *by: str) -> list[tuple[Any, ...]]:
    """The currency, what they are grouped ``by``, and the four sums of ``Money``."""
    columns = rows.values_list("currency", *by)
    sums = columns.annotate(Count("pk"), Sum("captured_minor"), Sum("refunded_minor"), vat=Sum(sql.vat_minor()))
    return list(sums)


def revenue(scope: Scope) -> list[Revenue]:
    """One for each currency in which something was taken, by its code. Two statements."""
    rows = scope.payments()
    by_day = _summed(rows.annotate(day=sql.day("captured_at", scope.period)), "day", "vat_rate_bp")
    by_device = _summed(rows, "session__device")
    days = [(currency, sql.date_of(day), rate, Money(*sums)) for currency, day, rate, *sums in by_day]
    return [
        Revenue(
            currency,
            _added((day, money) for code, day, _, money in days if code == currency),
            _added((rate, money) for code, _, rate, money in days if code == currency),
            {device: Money(*sums) for code, device, *sums in by_device if code == currency},
        )
        for currency in sorted({currency for currency, *_ in days})
    ]


def taken(scope: Scope) -> dict[str, Money]:
    """The totals alone, by currency: one statement."""
    return {currency: Money(*sums) for currency, *sums in _summed(scope.payments())}


def sessions(scope: Scope) -> tuple[Sessions, dict[str, int], dict[int, Use]]:
    """The numbers of all, why some were cancelled, and the use of each device. One statement."""
    had_power = Q(started_at__isnull=False)
    rows = (
        scope.sessions()
        .values_list("device", "state", "reason")
        .annotate(
            count=Count("pk"),
            started=Count("pk", filter=had_power),
            timed=Count("pk", filter=had_power & Q(delivered_s__isnull=False)),
            delivered_s=Sum("delivered_s", filter=had_power, default=0),
        )
    )
    sums, why, starts, power_s = Counter[str](), Counter[str](), Counter[int](), Counter[int]()
    for device, state, reason, count, started, timed, delivered_s in rows:
        sums["opened"] += count
        sums["started"] += started
        sums["timed"] += timed
        sums["delivered_s"] += delivered_s
        starts[device] += started
        power_s[device] += delivered_s
        if state == State.COMPLETED:
            sums["completed"] += count
        elif state == State.CANCELLED:
            sums["cancelled"] += count
            why[reason] += count
    return Sessions(**sums), dict(why.most_common()), {one: Use(starts[one], power_s[one]) for one in starts}


def hours(scope: Scope) -> dict[tuple[int, int], int]:
    """How many sessions got power in each hour of the week: ``(weekday, hour)``, Monday 0."""
    rows = scope.sessions().filter(started_at__isnull=False)
    by_hour = rows.annotate(hour=sql.hour_of_week("started_at", scope.period)).values("hour")
    return {sql.weekday_and_hour(row["hour"]): row["count"] for row in by_hour.annotate(count=Count("pk"))}


def paid_back(scope: Scope) -> list[PaidBack]:
    rows = scope.refunds().values_list("payment__currency", "status", "reason")
    sums = rows.annotate(count=Count("pk"), amount=Sum("amount_minor"))
    return [PaidBack(*row) for row in sums.order_by("payment__currency", "status", "reason")]
