"""Reports: sums that are those of the list of payments, days of the site's clock, use, reasons, hours and files."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from html import unescape
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from devices.models import Location
from sessions_app.dashboard import payments, report_chart
from sessions_app.dashboard.reports import FILES
from sessions_app.models import Payment
from sessions_app.reports import periods, sums
from sessions_app.reports.periods import Period
from sessions_app.reports.sums import Money, Scope
from sessions_app.states import Reason, RefundStatus, State
from tests.sessions_app.sales import Shop, browser, file_of

pytestmark = pytest.mark.django_db
REPORTS = "/dashboard/reports/"
VIENNA = ZoneInfo("Europe/Vienna")
AT = datetime(2026, 3, 4, 12, tzinfo=UTC)
MARCH = {"period": "custom", "from": "2026-03-01", "to": "2026-03-31"}


@pytest.fixture
def shop() -> Shop:
    return Shop()


def march(**columns: Any) -> Scope:
    return Scope(Period("custom", date(2026, 3, 1), date(2026, 3, 31), VIENNA), **columns)


def report(name: str, **query: str) -> list[dict[str, str]]:
    """The lines of one file, by its titles."""
    head, *lines = file_of(browser().get(REPORTS, {**MARCH, "csv": name, **query}))
    return [dict(zip(head, line, strict=True)) for line in lines]


def mixed(shop: Shop) -> None:
    """Odd prices, VAT rates, refunds and two currencies; sales before and after the month; one that took nothing."""
    for number in range(20):
        at = AT + timedelta(days=number, hours=5 * number % 11)
        shop.sell(at, price=233 + number, refunded=7 * (number % 3), vat_bp=(0, 1000, 2000)[number % 3])
        shop.sell(at, price=333, device=shop.pole, currency="chf", vat_bp=810)
    shop.sell(AT, captured=0)
    shop.sell(AT - timedelta(days=30), price=9999)
    shop.sell(AT + timedelta(days=30), price=9999)


@pytest.mark.parametrize("location", ["house", "pier", ""])
def test_the_sums_are_those_of_the_list_of_payments_to_the_cent(shop: Shop, location: str) -> None:
    mixed(shop)
    place = getattr(shop, location).pk if location else None
    all_of: Any = payments.all_payments()
    listed = all_of.filter(at__gte=march().period.since, at__lt=march().period.until)
    if place:
        listed = listed.filter(session__device__location=place)
    found = {one.currency: one for one in payments.totals(listed)}
    revenue = sums.revenue(march(location=place))
    assert {one.currency for one in revenue} == {name for name, one in found.items() if one.captured_minor}
    for one in revenue:
        total = found[one.currency]
        assert one.total.count == total.count
        assert (one.total.captured_minor, one.total.refunded_minor) == (total.captured_minor, total.refunded_minor)
        steps: list[Any] = [one.steps(march().period, step) for step in periods.STEPS]
        for parts in (one.days, one.rates, one.devices, *steps):
            assert sum(parts.values(), Money()) == one.total
    assert sums.taken(march(location=place)) == {one.currency: one.total for one in revenue}


@pytest.mark.parametrize("step", ["day", "week", "month"])
def test_the_file_of_revenue_adds_up_to_the_page(shop: Shop, step: str) -> None:
    mixed(shop)
    lines = [line for line in report("revenue", by=step) if line["Currency"] == "EUR"]
    kept = sum(round(100 * float(line["Kept"])) for line in lines)
    assert kept == sums.taken(march())["eur"].kept_minor
    assert len(lines) == {"day": 31, "week": 6, "month": 1}[step]
    html = unescape(browser().get(REPORTS, {**MARCH, "by": step}).content.decode())
    assert f"€{kept / 100:,.2f}" in html


def test_vat_is_taken_out_of_each_payment_by_itself(shop: Shop) -> None:
    """2.50 with 20 % hold 0.41666: 0.42 each, 1.26 of three; of their sum it would be 1.25."""
    for _ in range(3):
        shop.sell(AT, price=250)
    (revenue,) = sums.revenue(march())
    assert revenue.rates == {2000: Money(3, 750, 0, 126)}
    assert revenue.total.net_minor == 624


def test_a_refund_counts_on_the_day_of_its_payment(shop: Shop) -> None:
    payment = shop.sell(AT, refunded=100)
    payment.refunds.update(created_at=AT + timedelta(days=60))
    (revenue,) = sums.revenue(march())
    assert revenue.days == {date(2026, 3, 4): Money(1, 250, 100, 25)}
    assert sums.paid_back(march()) == []


@pytest.mark.parametrize(
    ("at", "day"),
    [
        (datetime(2026, 2, 28, 22, 59, 59, tzinfo=UTC), None),
        (datetime(2026, 2, 28, 23, 0, tzinfo=UTC), date(2026, 3, 1)),
        (datetime(2026, 3, 28, 22, 59, 59, tzinfo=UTC), date(2026, 3, 28)),
        (datetime(2026, 3, 28, 23, 0, tzinfo=UTC), date(2026, 3, 29)),
        (datetime(2026, 3, 29, 21, 59, 59, tzinfo=UTC), date(2026, 3, 29)),
        (datetime(2026, 3, 29, 22, 0, tzinfo=UTC), date(2026, 3, 30)),
        (datetime(2026, 3, 31, 21, 59, 59, tzinfo=UTC), date(2026, 3, 31)),
        (datetime(2026, 3, 31, 22, 0, tzinfo=UTC), None),
    ],
)
def test_days_are_those_of_the_site_also_when_summer_time_begins(shop: Shop, at: datetime, day: date | None) -> None:
    shop.sell(at)
    found = [one for revenue in sums.revenue(march()) for one in revenue.days]
    assert found == ([] if day is None else [day])


def test_hours_are_those_of_the_site(shop: Shop) -> None:
    """Sunday 29 March 2026: 00:30 UTC is 01:30, and 01:30 UTC is 03:30 already."""
    for hour in (0, 1):
        shop.sell(datetime(2026, 3, 29, hour, 30, tzinfo=UTC))
    assert sums.hours(march()) == {(6, 1): 1, (6, 3): 1}
    sunday = report("hours")[6]
    assert (sunday["Weekday"], sunday["01:00"], sunday["02:00"], sunday["03:00"]) == ("Sunday", "1", "0", "1")


def test_sessions_their_average_and_why_some_were_cancelled(shop: Shop) -> None:
    shop.sell(AT)
    shop.sell(AT, delivered_s=600)
    for reason in (Reason.NO_POWER, Reason.START_FAILED, Reason.NO_POWER):
        shop.sell(AT, captured=0, state=State.CANCELLED, reason=reason, started_at=None, delivered_s=0)
    shop.sell(AT, state=State.RUNNING, delivered_s=None, closed_at=None, device=shop.dryer)
    total, why, use = sums.sessions(march())
    assert (total.opened, total.started, total.completed, total.cancelled) == (6, 3, 2, 3)
    assert (total.average_s, total.cancelled_percent) == (1200, 60.0)
    assert why == {Reason.NO_POWER: 2, Reason.START_FAILED: 1}
    assert (use[shop.washer.pk].started, use[shop.washer.pk].delivered_s) == (2, 2400)
    said = {line["What"]: line["Number"] for line in report("sessions")}
    assert said["Average seconds of power"] == "1200"
    assert said["Cancelled of those that are over, %"] == "60.0"
    assert said["Cancelled: The site had no power to give"] == "2"


def test_a_device_is_used_for_its_share_of_the_time_that_has_passed(shop: Shop) -> None:
    """Half an hour of one whole day is 2.1 %; the house has two devices, so half of that."""
    shop.sell(AT)
    day = {"from": "2026-03-04", "to": "2026-03-04"}
    devices = {line["Device"]: line["Used, %"] for line in report("devices", **day)}
    assert devices == {"Washer 2": "2.1", "Washer 10": "0.0", "Pole 1": "0.0"}
    assert {line["Location"]: line["Used, %"] for line in report("locations", **day)}["Laundry house"] == "1.0"


def test_two_locations_of_one_name_are_two(shop: Shop) -> None:
    shop.sell(AT, price=250)
    shop.sell(AT, price=333, device=shop.pole)
    Location.objects.update(name="Laundry")
    lines = report("locations")
    assert [(line["Location"], line["Captured"]) for line in lines] == [("Laundry", "3.33"), ("Laundry", "2.50")]
    assert [line["Location"] for line in report("devices")] == ["Laundry"] * 3


def test_refunds_by_what_became_of_them(shop: Shop) -> None:
    payment = shop.sell(AT, refunded=40)
    payment.refunds.update(created_at=AT)
    shop.refund(payment, 30, status=RefundStatus.FAILED, created_at=AT)
    lines = {line["Status"]: (line["Amount"], line["Refunds"], line["Currency"]) for line in report("refunds")}
    assert lines == {"Paid back": ("0.40", "1", "EUR"), "Failed": ("0.30", "1", "EUR")}


@pytest.mark.parametrize("name", FILES)
def test_every_file_is_offered_and_holds_no_formula(shop: Shop, name: str) -> None:
    shop.washer.name = "=1+1"
    shop.washer.save(update_fields=["name"])
    shop.sell(AT, refunded=10)
    assert f"csv={name}" in unescape(browser().get(REPORTS, MARCH).content.decode())
    answer = browser().get(REPORTS, {**MARCH, "csv": name})
    assert answer["Content-Disposition"] == f'attachment; filename="hygate-{name}-2026-03-01-2026-03-31.csv"'
    head, *lines = file_of(answer)
    assert lines
    assert all(head), "a column without a name"
    assert all(len(line) == len(head) for line in lines)
    assert not any(cell.startswith("=") for line in lines for cell in line)


def test_a_report_takes_twelve_queries_and_one_location_can_be_picked(shop: Shop) -> None:
    mixed(shop)
    client = browser()
    with CaptureQueriesContext(connection) as asked:
        html = client.get(REPORTS, MARCH).content.decode()
    assert len(asked) <= 12, [one["sql"] for one in asked]
    assert "CHF" in html
    assert "CHF" not in client.get(REPORTS, {**MARCH, "location": str(shop.house.pk)}).content.decode()


def test_what_is_not_understood_shows_this_month(shop: Shop) -> None:
    shop.sell()
    for query in ({"period": "custom", "from": "x", "to": "2026-13-40"}, {"period": "ever", "location": "9x"}):
        assert "€2.50" in browser().get(REPORTS, query).content.decode()
    assert "No sales in this period." in browser().get(REPORTS, MARCH).content.decode()


def test_a_period_is_in_order_and_not_longer_than_five_years() -> None:
    turned = periods.custom(date(2026, 3, 31), date(2026, 3, 1), VIENNA)
    assert (turned.first, turned.last) == (date(2026, 3, 1), date(2026, 3, 31))
    assert periods.custom(date(2000, 1, 1), date(2026, 1, 1), VIENNA).days == periods.LONGEST_DAYS + 1


def test_levels_of_a_chart_are_short_and_the_summary_says_the_same() -> None:
    steps = {date(2026, 1, 1): Money(1, 4_500_000), date(2026, 2, 1): Money(1, 100)}
    chart = report_chart.drawn(steps, "month", "eur")
    assert [level.words for level in chart.levels] == ["0", "20k", "40k", "60k"]
    assert chart.summary == "€45,001.00 were kept in 2 months; the best: Jan 2026 with €45,000.00."
    assert chart.bars[0].height > 100 * chart.bars[1].height


def test_nothing_is_read_for_each_payment(shop: Shop) -> None:
    client = browser()
    counts = []
    for _ in range(2):
        mixed(shop)
        with CaptureQueriesContext(connection) as asked:
            client.get(REPORTS, MARCH)
        counts.append(len(asked))
    assert counts[0] == counts[1]
    assert Payment.objects.count() == 86
