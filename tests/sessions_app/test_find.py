"""Find: what stands on a label, a receipt or at the end of a guest's link leads to its page."""

from __future__ import annotations

import re
from html import unescape

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from hygate import clock
from sessions_app.models import Receipt
from tests.sessions_app.sales import ENDING, Shop, browser

pytestmark = pytest.mark.django_db
URL = "/dashboard/find/"
HTMX = {"HX-Request": "true"}
BELOW = HTMX | {"HX-Target": "found"}


@pytest.fixture
def shop() -> Shop:
    made = Shop()
    sold = made.sell()
    made.sell(device=made.pole)
    Receipt.objects.create(session=sold.session, year=2026, serial=1, number="R-2026-0001", issued_at=clock.now())
    return made


def hits(text: str) -> list[str]:
    html = browser().get(URL, {"find": text}, headers=BELOW).content.decode()
    return re.findall(r'<a href="([^"]+)"', html)


def test_a_device_by_its_name_or_its_code(shop: Shop) -> None:
    assert hits("washer 10") == [f"/dashboard/devices/{shop.dryer.pk}/"]
    assert hits("washer")[:2] == [f"/dashboard/devices/{one.pk}/" for one in (shop.washer, shop.dryer)], "2 before 10"
    assert hits("code 1") == [f"/dashboard/devices/{shop.dryer.pk}/"]


def test_a_session_by_the_end_of_its_link_its_receipt_or_its_reference(shop: Shop) -> None:
    session = shop.washer.sessions.get()
    for text in (ENDING, "R-2026-0001", "s-00001"):
        assert hits(text) == [f"/dashboard/sessions/{session.pk}/"], text


def test_a_device_brings_its_latest_sessions(shop: Shop) -> None:
    session = shop.pole.sessions.get()
    assert hits("pole") == [f"/dashboard/devices/{shop.pole.pk}/", f"/dashboard/sessions/{session.pk}/"]


def test_enter_on_a_labels_code_opens_its_device_though_sessions_match_as_well(shop: Shop) -> None:
    code = shop.pole.codes.get().code
    assert len(hits(code)) > 1
    answer = browser().get(URL, {"find": f" {code.lower()} "})
    assert (answer.status_code, answer["Location"]) == (303, f"/dashboard/devices/{shop.pole.pk}/")


@pytest.mark.parametrize("text", ["", "w", " w "])
def test_too_little_finds_nothing_and_says_nothing(shop: Shop, text: str) -> None:
    html = browser().get(URL, {"find": text}, headers=BELOW).content.decode()
    assert html.strip() == ""


def test_nothing_that_matches_says_what_else_to_type(shop: Shop) -> None:
    html = browser().get(URL, {"find": "<nothing>"}, headers=BELOW).content.decode()
    assert "type the last six characters" in html
    assert "<nothing>" not in html


def test_the_dialog_and_the_page_are_one_form(shop: Shop) -> None:
    dialog = browser().get(URL, headers=HTMX).content.decode()
    page = browser().get(URL, {"find": "washer"}).content.decode()
    assert "<html" not in dialog
    assert "<html" in page
    assert dialog.count('role="search"') == page.count('role="search"') == 1
    assert "Washer 10" in unescape(page)


def test_a_sole_hit_is_opened_at_once(shop: Shop) -> None:
    answer = browser().get(URL, {"find": "washer 10"})
    assert (answer.status_code, answer["Location"]) == (303, f"/dashboard/devices/{shop.dryer.pk}/")


def test_finding_takes_a_handful_of_queries(shop: Shop) -> None:
    for _ in range(8):
        shop.sell(device=shop.washer)
    client = browser()
    with CaptureQueriesContext(connection) as asked:
        assert client.get(URL, {"find": ENDING}, headers=BELOW).status_code == 200
    assert len(asked) <= 6, [one["sql"] for one in asked]


def test_no_link_is_ever_shown(shop: Shop) -> None:
    assert "the-link-of-1" not in browser().get(URL, {"find": ENDING}, headers=BELOW).content.decode()
