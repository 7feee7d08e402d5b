"""What was taken today, this week, this month or between two days: the figures on top of the first page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from django.http import HttpRequest

from sessions_app.dashboard import lists
from sessions_app.dashboard.spelling import amount
from sessions_app.reports import periods, sums
from sessions_app.reports.periods import Period
from sessions_app.reports.sums import Money, Scope

SHOWN = ("today", "week", "month")


@dataclass(frozen=True)
class Takings:
    """``sums`` by currency; nothing in it but the period and the money, so that it can be compared."""

    period: Period
    sums: Mapping[str, Money]

    @property
    def said(self) -> str:
        first, last = lists.said(self.period.first), lists.said(self.period.last)
        return first if first == last else f"{first} to {last}"

    @property
    def figures(self) -> Sequence[tuple[str, str]]:
        """A word and its value, as the first page counts things."""
        kept = [amount(one.kept_minor, currency) for currency, one in self.sums.items()]
        average = [amount(one.average_minor, currency) for currency, one in self.sums.items()]
        count = sum(one.count for one in self.sums.values())
        word = periods.PERIODS.get(self.period.key, self.said)
        return [
            (f"kept {word[0].lower()}{word[1:]}", ", ".join(kept) or "–"),
            ("payments", str(count)),
            ("on average", ", ".join(average) or "–"),
        ]

    @property
    def chips(self) -> Sequence[tuple[str, str, bool]]:
        return [(f"?period={key}", periods.PERIODS[key], key == self.period.key) for key in SHOWN]


def takings(request: HttpRequest, now: datetime, zone: ZoneInfo) -> Takings:
    """Of the period that the address names, in days of ``zone``; today where it names none."""
    read = request.GET.get
    first, last = lists.day_of(read("from", "")), lists.day_of(read("to", ""))
    if read("period") == periods.CUSTOM and first and last:
        period = periods.custom(first, last, zone)
    else:
        period = periods.named(read("period", ""), zone, now)
    return Takings(period, dict(sorted(sums.taken(Scope(period)).items())))
