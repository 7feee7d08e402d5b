"""Lists: what narrows them, what finds a row, their order and pages, and the file of what was found."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from hygate import clock
from hygate.models import Alert
from sessions_app.dashboard import lists
from sessions_app.dashboard.session_list import LISTING
from sessions_app.models import Receipt
from sessions_app.states import Reason, State
from tests.sessions_app.sales import ENDING, Shop, browser, file_of

pytestmark = pytest.mark.django_db
SESSIONS, PAYMENTS = "/dashboard/sessions/", "/dashboard/payments/"


@pytest.fixture
def shop() -> Shop:
    return Shop()


def shown(url: str, **query: str) -> list[str]:
    """The sessions that the list shows, in its order."""
    html = browser().get(url, query).content.decode()
    return re.findall(r"S-\d{5}", html.partition("<tbody>")[2])


def page(url: str, **query: str) -> str:
    return unescape(browser().get(url, query).content.decode())


def sold(shop: Shop) -> None:
    """1: the newest but for 2 to 4, which differ in one thing each."""
    at = datetime(2026, 11, 2, 12, tzinfo=UTC)
    shop.sell(at)
    shop.sell(at, device=shop.pole, currency="chf")
    shop.sell(at, state=State.CANCELLED, reason=Reason.NO_POWER, captured=0, started_at=None)
    shop.sell(at - timedelta(days=40), state=State.RUNNING, closed_at=None, ends_at=at, plan_name="Long")


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, ["S-00004", "S-00003", "S-00002", "S-00001"]),
        ({"state": "cancelled"}, ["S-00003"]),
        ({"state": "active"}, ["S-00004"]),
        ({"reason": "no_power"}, ["S-00003"]),
        ({"paid": "FAILED"}, ["S-00003"]),
        ({"from": "2026-11-01"}, ["S-00003", "S-00002", "S-00001"]),
        ({"to": "2026-11-01"}, ["S-00004"]),
        ({"from": "2026-11-02", "to": "2026-11-02", "state": "completed"}, ["S-00002", "S-00001"]),
        ({"state": "nonsense", "from": "31.11.2026", "location": "9999", "sort": "device__account__auth_key"}, 4),
        ({"find": "s-00003"}, ["S-00003"]),
        ({"find": "pole"}, ["S-00002"]),
        ({"find": "CODE 2"}, ["S-00002"]),
        ({"find": ENDING}, ["S-00001"]),
        ({"find": ENDING.lower()}, []),
        ({"find": "of-1-Zq7_-x"}, []),
    ],
)
def test_sessions_are_narrowed_and_found(shop: Shop, query: dict[str, str], found: list[str] | int) -> None:
    sold(shop)
    got = shown(SESSIONS, **query)
    assert len(got) == found if isinstance(found, int) else got == found


def test_sessions_of_a_place_a_device_and_a_plan(shop: Shop) -> None:
    sold(shop)
    assert shown(SESSIONS, location=str(shop.pier.pk)) == ["S-00002"]
    assert shown(SESSIONS, device=str(shop.pole.pk)) == ["S-00002"]
    shop.washer.plans.create(name="Long", duration_s=1800, price_minor=250)
    assert shown(SESSIONS, plan="Long") == ["S-00004"]


def test_a_session_is_found_by_its_receipt_and_by_stripes_number(shop: Shop) -> None:
    sold(shop)
    payment = shop.sell(payment={"intent_id": "pi_1", "checkout_id": "cs_test_1"})
    Receipt.objects.create(session=payment.session, year=2026, serial=7, number="R-2026-0007")
    for text in ("R-2026-0007", "pi_1", "cs_test_1"):
        assert shown(SESSIONS, find=text) == [payment.session.reference], text
        assert payment.session.reference in page(PAYMENTS, find=text) or "Washer 2" in page(PAYMENTS, find=text)


def test_sessions_with_an_alert(shop: Shop) -> None:
    sold(shop)
    one, two = (shop.sell().session for _ in range(2))
    Alert.objects.create(key="a", kind="capture_failed", title="a", session=one.pk)
    Alert.objects.create(key="b", kind="capture_failed", title="b", session=two.pk, closed_at=clock.now())
    assert shown(SESSIONS, alert="open") == [one.reference]
    assert shown(SESSIONS, alert="any") == [two.reference, one.reference]


@pytest.mark.parametrize(("day", "first", "last"), [("2026-03-29", 23, 21), ("2026-10-25", 22, 22)])
def test_a_day_is_the_sites_own_also_when_its_clock_changes(shop: Shop, day: str, first: int, last: int) -> None:
    """29 March begins at 23:00 UTC and is over at 22:00; 25 October begins at 22:00 and is over at 23:00."""
    before = datetime.fromisoformat(f"{day}T00:00+00:00") - timedelta(days=1)
    begins = before.replace(hour=first)
    ends = (before + timedelta(days=1)).replace(hour=last, minute=59, second=59)
    for at in (begins - timedelta(seconds=1), begins, ends, ends + timedelta(seconds=1)):
        shop.sell(at)
    assert shown(SESSIONS, **{"from": day, "to": day}) == ["S-00003", "S-00002"]


def test_a_column_sorts_both_ways_and_the_pages_keep_what_was_asked(shop: Shop) -> None:
    for number in range(60):
        shop.sell(device=shop.pole if number % 2 else shop.washer)
    first = page(SESSIONS, sort="device__name", state="completed")
    assert shown(SESSIONS, sort="device__name")[:2] == ["S-00060", "S-00058"]
    assert shown(SESSIONS, sort="-device__name")[:2] == ["S-00059", "S-00057"]
    assert 'aria-sort="ascending"' in first
    assert "state=completed&sort=device__name&page=2" in first
    assert len(shown(SESSIONS, page="2", state="completed")) == 10
    assert 'href="?sort=device__name"' in first, "the chip takes its filter away and leaves the rest"


@pytest.mark.parametrize("sort", ["", "device__name", "-device__name", "-created_at"])
def test_later_pages_are_read_from_the_last_row_on(shop: Shop, monkeypatch: pytest.MonkeyPatch, sort: str) -> None:
    monkeypatch.setattr("sessions_app.dashboard.frame.A_PAGE", 2)
    for number in range(9):
        shop.sell(device=shop.pole if number % 2 else shop.washer)
    pages = [shown(SESSIONS, page=str(number), sort=sort) for number in range(1, 6)]
    monkeypatch.undo()
    assert [one for rows in pages for one in rows] == shown(SESSIONS, sort=sort)
    monkeypatch.setattr("sessions_app.dashboard.frame.A_PAGE", 2)
    with CaptureQueriesContext(connection) as asked:
        assert len(shown(SESSIONS, page="5", sort=sort)) == 1
    assert not [one["sql"] for one in asked if "OFFSET" in one["sql"]], "it walks over the rows of all pages before it"


@pytest.mark.parametrize("url", [SESSIONS, PAYMENTS])
def test_a_list_with_a_search_shows_its_field_and_what_was_searched(shop: Shop, url: str) -> None:
    shop.sell()
    assert re.search(r'<input id="find" name="find" value="Washer"', page(url, find="Washer"))


@pytest.mark.parametrize(("url", "sort"), [(SESSIONS, "device__name"), (PAYMENTS, "session__device__name")])
def test_devices_sort_as_people_count(shop: Shop, url: str, sort: str) -> None:
    for device in (shop.dryer, shop.pole, shop.washer):
        shop.sell(device=device)

    def names(order: str) -> list[str]:
        return re.findall(r'class="whole"[^>]*>([^<]+)<', page(url, sort=order))

    assert names(sort) == ["Pole 1", "Washer 2", "Washer 10"]
    assert names(f"-{sort}") == ["Washer 10", "Washer 2", "Pole 1"]


def test_words_for_an_empty_list_and_for_no_match(shop: Shop) -> None:
    assert "No session yet." in page(SESSIONS)
    assert "No payment yet. The first one appears a second after a guest has paid." in page(PAYMENTS)
    shop.sell()
    assert "No session matches. Clear a filter, or search by the last six" in page(SESSIONS, find="nothing-like-it")
    assert "No payment matches" in page(PAYMENTS, status="VOIDED")


def test_the_file_has_every_row_that_was_found_and_no_formula(shop: Shop) -> None:
    shop.washer.name = '=HYPERLINK("http://evil.example")'
    shop.washer.save(update_fields=["name"])
    for _ in range(55):
        shop.sell(datetime(2026, 7, 1, 10, tzinfo=UTC), refunded=40)
    shop.sell(device=shop.pole)
    answer = browser().get(SESSIONS, {"csv": "1", "location": str(shop.house.pk)})
    assert answer["Content-Type"].startswith("text/csv")
    assert answer.streaming
    head, *rows = file_of(answer)
    assert head == [one.title for one in LISTING.columns]
    assert len(rows) == 55
    line = dict(zip(head, rows[0], strict=True))
    assert line["Device"] == '\'=HYPERLINK("http://evil.example")'
    assert (line["Opened"], line["Price"], line["Refunded"]) == ("2026-07-01 12:00:00", "2.50", "0.40")
    assert (line["Currency"], line["State"], line["Seconds delivered"]) == ("EUR", "Completed", "1800")


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("=1+1", "'=1+1"),
        ("+49", "'+49"),
        ("-1", "'-1"),
        ("@SUM", "'@SUM"),
        (" =1", "' =1"),
        ("\t=1", "'\t=1"),
        ("Washer", "Washer"),
        (-1, -1),
        (None, ""),
        ("1-2", "1-2"),
    ],
)
def test_only_words_that_look_like_a_formula_are_marked(value: Any, written: Any) -> None:
    assert lists.safe(value) == written


@pytest.mark.parametrize(
    "url", [SESSIONS, PAYMENTS, f"{SESSIONS}?state=cancelled&alert=open&paid=FAILED", f"{PAYMENTS}?refund=stuck"]
)
def test_a_page_of_a_list_takes_ten_queries(shop: Shop, url: str) -> None:
    for _ in range(60):
        shop.sell(refunded=10)
    shop.refund(shop.sell(payment={"refund_promised_minor": 90}), 90, status="owed")
    client = browser()
    with CaptureQueriesContext(connection) as asked:
        assert client.get(url).status_code == 200
    assert len(asked) <= 10, [one["sql"] for one in asked]


def test_no_link_is_in_a_list_or_its_file(shop: Shop) -> None:
    shop.sell()
    for url in (SESSIONS, PAYMENTS):
        assert "the-link-of" not in page(url, find=ENDING)
        assert "the-link-of" not in str(file_of(browser().get(url, {"csv": "1"})))
