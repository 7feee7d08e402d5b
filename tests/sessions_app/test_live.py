"""What a page is told when it asks again: nothing, what is new, or all of it."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client

from devices.models import Device
from hygate import clock
from hygate.models import Role
from sessions_app.dashboard import live
from tests.sessions_app.sales import Shop, browser

pytestmark = pytest.mark.django_db
DEVICES, LIVE = "/dashboard/devices/", "/dashboard/devices/live/"


@pytest.fixture
def asked() -> Client:
    Shop()
    return browser(Role.OPERATOR)


def seen(html: str) -> str:
    found = re.search(r'name="seen" value="([^"]*)"', html)
    assert found
    return unescape(found[1])


def shown(asked: Client) -> str:
    return seen(asked.get(DEVICES).content.decode())


def again(asked: Client, mark: str) -> Any:
    return asked.get(LIVE, headers={"X-Seen": mark})


def changed(device: str, **columns: Any) -> None:
    assert Device.objects.filter(name=device).update(**columns) == 1


def news(answer: HttpResponse) -> dict[str, Any]:
    assert (answer.status_code, answer["Content-Type"]) == (200, "application/json")
    told: dict[str, Any] = answer.json()  # type: ignore[attr-defined]
    return told


def is_whole(answer: HttpResponse) -> bool:
    is_page = answer.status_code == 200 and answer["Content-Type"].startswith("text/html")
    return is_page and bool(seen(answer.content.decode()))


def test_only_the_tile_and_the_counts_that_changed_come_with_every_moment(asked: Client) -> None:
    mark = shown(asked)
    assert again(asked, mark).status_code == 204
    changed("Washer 2", active=False)
    told = news(again(asked, mark))
    chips, tile = told["parts"]
    assert 'id="states"' in chips
    assert "Washer 2" in tile
    assert "not for sale" in tile
    whole = asked.get(LIVE).content.decode()
    assert len(told["moments"]) == len(re.findall(r" data-(?:now|since|ends|until)=", whole))
    assert again(asked, told["seen"]).status_code == 204


def test_no_answer_is_kept_for_the_next_question(asked: Client) -> None:
    mark = shown(asked)
    answers = [again(asked, mark), again(asked, "older")]
    changed("Washer 2", active=False)
    answers.append(again(asked, mark))
    assert [one.status_code for one in answers] == [204, 200, 200]
    assert {one["Cache-Control"] for one in answers} == {"no-store"}


def test_where_only_moments_are_new_no_tile_comes(asked: Client) -> None:
    mark, heard_at = shown(asked), clock.now() + timedelta(minutes=1)
    Device.objects.update(seen_at=heard_at)
    told = news(again(asked, mark))
    assert told["parts"] == []
    assert told["moments"].count(int(heard_at.timestamp() * 1000)) == Device.objects.count()


def test_a_device_more_or_another_order_is_told_whole(asked: Client) -> None:
    mark = shown(asked)
    changed("Washer 2", name="Washer 20")
    assert is_whole(again(asked, mark))
    mark = shown(asked)
    Device.objects.filter(name="Washer 20").delete()
    assert is_whole(again(asked, mark))


@pytest.mark.parametrize("mark", ["", ".", "..", "x", "a.b.c", "a.b.cccccccc" * 40, "é.ü.ß", "\x00.\x00"])
def test_marks_that_nobody_gave_out_are_answered_whole(asked: Client, mark: str) -> None:
    assert is_whole(again(asked, mark))


def test_marks_of_another_page_are_answered_whole(asked: Client) -> None:
    narrowed = seen(asked.get(DEVICES, {"find": "Pole"}).content.decode())
    assert is_whole(again(asked, narrowed))


def test_a_forms_token_is_no_news() -> None:
    form = '<form id="f"><input type="hidden" name="csrfmiddlewaretoken" value="{}"></form>'
    one, other = (live.marked(form.format(token), "m") for token in ("a" * 64, "b" * 64))
    assert seen(one) == seen(other)


def test_a_clock_that_went_on_is_no_news_and_words_are() -> None:
    tile = '<a id="t1"><span data-since="{}">{}</span>{}</a>'
    same = {seen(live.marked(tile.format(at, age, "free"), "m")) for at, age in ((1, "2 s ago"), (2, "1 s ago"))}
    assert len(same) == 1
    assert seen(live.marked(tile.format(1, "2 s ago", "running"), "m")) not in same


def test_what_htmx_has_to_know_of_is_told_whole() -> None:
    lines = '<p id="a">free</p>\n<p id="b"><a hx-get="/x">Add</a></p>'
    assert seen(live.marked(lines, "m")) != seen(live.marked(lines.replace("Add", "Edit"), "m"))
    assert len(seen(live.marked(lines, "m")).split(".")[2]) == live.MARK_CHARACTERS


@pytest.mark.parametrize(("address", "others"), [("/dashboard/live/", 3), (LIVE, 1), (f"{LIVE}?view=list", 1)])
def test_every_tile_and_row_is_a_part(address: str, others: int) -> None:
    """And a few ``others``: headings with a number, and the chips."""
    shop = Shop()
    for device in (shop.washer, shop.dryer, shop.pole):
        shop.sell(device=device, state="running", ends_at=clock.now() + timedelta(hours=1), closed_at=None)
    mark = seen(browser(Role.OPERATOR).get(address).content.decode())
    assert len(mark.split(".")[2]) == live.MARK_CHARACTERS * (3 + others)


def test_more_tiles_than_an_address_can_name_are_told_whole() -> None:
    tiles = [f'<a id="t{number}">free</a>' for number in range(live.MOST_PARTS + 1)]
    assert seen(live.marked("\n".join(tiles[1:]), "m")).startswith("m.")
    assert seen(live.marked("\n".join(tiles), "m")) == "m"
    assert len(seen(live.marked("\n".join(tiles[1:]), "m"))) < 4100
