"""The devices: tiles and list, what narrows them, their file; one device's label, code, relay and test pulse."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.db import connection
from django.db.models import Model
from django.db.models.signals import post_init
from django.test.utils import CaptureQueriesContext

from devices.codes import rotate
from devices.models import AccountStatus, Device, DeviceCode, ShellyAccount
from hygate import clock
from hygate.models import AuditEvent, Role
from sessions_app.dashboard.grid import FILE
from sessions_app.models import DeviceSession
from sessions_app.states import State
from tests.sessions_app.sales import Shop, browser, file_of

pytestmark = pytest.mark.django_db
DEVICES, LABELS = "/dashboard/devices/", "/dashboard/labels/"


@pytest.fixture
def shop() -> Shop:
    return Shop()


def page(url: str, role: str = Role.OPERATOR, **query: str) -> str:
    return unescape(browser(role).get(url, query).content.decode())


def shown(**query: str) -> list[str]:
    html = page(DEVICES, **query)
    found = html.partition("<tbody>")[2] if "view" in query else html.partition('id="live"')[2]
    return re.findall(r'class="whole"[^>]*>([^<]+)<' if "view" in query else r"<b>([^<]+)</b>", found)


def changed(device: Device, **columns: Any) -> None:
    Device.objects.filter(pk=device.pk).update(**columns)


@pytest.mark.parametrize("view", [{}, {"view": "list"}])
def test_devices_stand_by_location_and_as_people_count(shop: Shop, view: dict[str, str]) -> None:
    assert shown(**view) == ["Washer 2", "Washer 10", "Pole 1"]


@pytest.mark.parametrize("address", [DEVICES, f"{DEVICES}?view=list", f"{DEVICES}live/"])
def test_hundreds_of_devices_and_sessions_are_read_without_models(shop: Shop, address: str) -> None:
    """They take three times as long as the columns alone."""
    made: list[Model] = []

    def made_one(instance: Model, **_: Any) -> None:
        made.append(instance)

    shop.sell(state=State.RUNNING, closed_at=None, ends_at=clock.now() + timedelta(hours=1))
    for sender in (Device, DeviceSession):
        post_init.connect(made_one, sender=sender)
    try:
        html = browser().get(address).content.decode()
    finally:
        for sender in (Device, DeviceSession):
            post_init.disconnect(made_one, sender=sender)
    assert "running" in html
    assert made == []


@pytest.mark.parametrize(("view", "line"), [({}, '<a class="tile '), ({"view": "list"}, '<tr id="d')])
def test_a_tile_and_a_row_are_a_line_each_which_the_script_compares(
    shop: Shop, view: dict[str, str], line: str
) -> None:
    lines = page(DEVICES, **view).splitlines()
    drawn = [one for one in lines if one.startswith(line)]
    assert len(drawn) == Device.objects.count()
    assert all(re.search(r' id="[\w-]+"', one) and re.search(r"</(a|tr)>$", one) for one in drawn)


@pytest.mark.parametrize("view", [{}, {"view": "list"}])
def test_devices_are_narrowed_by_place_kind_state_and_words(shop: Shop, view: dict[str, str]) -> None:
    changed(shop.washer, kind="washer", place="by the door")
    changed(shop.dryer, maintenance_since=clock.now())
    changed(shop.pole, blocked_since=clock.now(), blocked_reason="off_not_confirmed")
    assert shown(location=str(shop.pier.pk), **view) == ["Pole 1"]
    assert shown(kind="washer", **view) == ["Washer 2"]
    assert shown(state="free", **view) == ["Washer 2"]
    assert shown(state="trouble", **view) == ["Pole 1"]
    assert shown(state="closed", **view) == ["Washer 10"]
    assert shown(find="door", **view) == ["Washer 2"]
    assert shown(find="code2", **view) == ["Pole 1"], "the code on its label"
    assert shown(find="x", kind="nothing", location="9x", state="?", **view) == []


def test_what_guests_do_not_reach_is_not_called_free(shop: Shop) -> None:
    """The same question as the guest's page asks: a young reading, from an account that answers."""
    changed(shop.washer, seen_at=clock.now() - timedelta(hours=1))
    assert shown(state="free") == ["Washer 10", "Pole 1"]
    assert shown(state="trouble") == ["Washer 2"]
    ShellyAccount.objects.update(status=AccountStatus.BAD_KEY)
    html = page(DEVICES)
    assert shown(state="free") == []
    assert html.count("out of reach") >= 3
    assert "out of reach" in page(f"{DEVICES}{shop.dryer.pk}/")


def test_a_device_that_was_just_added_is_not_called_out_of_reach(shop: Shop) -> None:
    changed(shop.washer, seen_at=None)
    ShellyAccount.objects.update(last_ok_at=clock.now())
    assert shown(state="closed") == ["Washer 2"]
    assert "not read yet" in page(DEVICES)
    ShellyAccount.objects.update(last_ok_at=clock.now() - timedelta(hours=1))
    assert "Washer 2" in shown(state="trouble"), "nothing reads it"


def test_each_state_says_how_many_and_links_keep_what_was_asked(shop: Shop) -> None:
    shop.sell(device=shop.washer, state=State.RUNNING, ends_at=clock.now() + timedelta(minutes=5), closed_at=None)
    html = page(DEVICES, view="list", location=str(shop.house.pk))
    assert re.search(r'In use <span class="num">1<', html)
    assert f"location={shop.house.pk}&state=use&view=list" in html
    assert f'href="/dashboard/devices/?location={shop.house.pk}" aria-label="Tiles"' in html
    assert "5:00" in html or "4:59" in html


def test_an_empty_list_says_what_to_do(shop: Shop) -> None:
    assert "No device matches." in page(DEVICES, find="nothing", view="list")
    Device.objects.all().delete()
    assert "No devices here yet." in page(f"/dashboard/locations/{shop.house.pk}/")
    assert "An administrator adds them." in page(DEVICES, view="list")
    assert "Sync a Shelly account" in page(DEVICES, Role.ADMINISTRATOR)


def test_the_file_has_the_devices_that_were_found_and_no_formula_and_no_key(shop: Shop) -> None:
    changed(shop.washer, name="=1+1", seen_at=clock.now(), rated_w=2200)
    ShellyAccount.objects.update(name="@account")
    rotate(shop.washer, reason="lost", by="hygate")
    head, *lines = file_of(browser().get(DEVICES, {"csv": "1", "location": str(shop.house.pk)}))
    assert head == list(FILE)
    assert len(lines) == 2
    line = dict(zip(head, next(one for one in lines if one[0].startswith("'")), strict=True))
    assert (line["Device"], line["Account"], line["Rated, W"], line["State"]) == ("'=1+1", "'@account", "2200", "free")
    assert line["Code"] == DeviceCode.objects.get(device=shop.washer, retired_at=None).code


@pytest.mark.parametrize("url", [DEVICES, f"{DEVICES}?view=list", f"{DEVICES}?csv=1", LABELS, "/dashboard/locations/"])
def test_two_hundred_devices_take_ten_queries(shop: Shop, url: str) -> None:
    for number in range(200):
        shop.add_device(f"Dryer {number}", shop.house)
    client = browser()
    with CaptureQueriesContext(connection) as asked:
        answer = client.get(url)
        size = len(answer.getvalue() if answer.streaming else answer.content)
    assert answer.status_code == 200
    assert len(asked) <= 10, [one["sql"] for one in asked]
    assert size < 200_000


# -- labels


def test_one_device_or_a_location_is_picked_by_its_link(shop: Shop) -> None:
    def picked(**query: str) -> set[int]:
        return {int(pk) for pk in re.findall(r'name="pick" value="(\d+)" checked', page(LABELS, **query))}

    assert picked() == {shop.washer.pk, shop.dryer.pk, shop.pole.pk}
    assert picked(location=str(shop.pier.pk)) == {shop.pole.pk}
    assert picked(device=str(shop.dryer.pk)) == {shop.dryer.pk}


@pytest.mark.parametrize("sheet", ["a4-8", "a4-21", "a6", "nothing-like-it"])
def test_the_file_of_labels_is_named_after_what_is_in_it(shop: Shop, sheet: str) -> None:
    one = browser().get(f"{LABELS}pdf/", {"pick": str(shop.washer.pk), "sheet": sheet})
    assert one.content.startswith(b"%PDF-")
    assert one["Content-Disposition"] == 'attachment; filename="labels-washer-2.pdf"'
    picks = [str(shop.washer.pk), str(shop.pole.pk)]
    query: Any = {"pick": picks, "sheet": sheet, "language": "de"}
    both = browser().get(f"{LABELS}pdf/", query)
    assert both["Content-Disposition"] == 'attachment; filename="labels-hygate.pdf"'


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ({}, "Pick at least one device."),
        ({"pick": "all", "skip": "8"}, "at most 7 of them"),
        ({"pick": "all", "skip": "-1"}, "at most 7 of them"),
    ],
)
def test_a_choice_that_makes_no_sheet_leads_back(shop: Shop, query: dict[str, str], sentence: str) -> None:
    if "pick" in query:
        query = query | {"pick": str(shop.washer.pk)}
    answer = browser().get(f"{LABELS}pdf/", query, follow=True)
    assert answer.redirect_chain == [(LABELS, 303)]
    assert sentence in answer.content.decode()


def test_a_new_code_is_the_devices_and_the_old_label_says_that_it_was_replaced(shop: Shop) -> None:
    url = f"{DEVICES}{shop.washer.pk}/code/"
    assert browser().post(url, {"reason": "Pasted over."}).status_code == 403, "an administrator does it"
    administrator = browser(Role.ADMINISTRATOR)
    assert administrator.post(url, {"reason": ""}).status_code == 422
    assert DeviceCode.objects.get(device=shop.washer).code == "CODE0"
    assert administrator.post(url, {"reason": "Pasted over."}).status_code == 303
    made = DeviceCode.objects.get(device=shop.washer, retired_at=None)
    assert made.code != "CODE0"
    event = AuditEvent.objects.get(kind="code_rotated")
    assert event.data == {"code": made.code, "replaced": ["CODE0"], "reason": "Pasted over."}
    old = administrator.get("/d/CODE0/").content.decode()
    assert "replaced" in old
    assert "Washer 2" not in old
    new = administrator.get(f"/d/{made.code}/").content.decode()
    assert "Washer 2" in new
    assert "replaced" not in new
    assert "CODE0" not in page(LABELS)


@pytest.mark.parametrize(("name", "begins"), [("qr.png", b"\x89PNG\r\n\x1a\n"), ("qr.svg", b"<?xml")])
def test_the_code_can_be_taken_along_as_a_picture(shop: Shop, name: str, begins: bytes) -> None:
    assert f"/d/CODE0/{name}" in page(f"{DEVICES}{shop.washer.pk}/")
    assert browser().get(f"/d/CODE0/{name}").content.startswith(begins)


# -- the test pulse's page


def test_a_pulse_needs_maintenance_and_an_administrator(shop: Shop) -> None:
    url = f"{DEVICES}{shop.washer.pk}/pulse/"
    changed(shop.washer, output=False)
    assert browser().post(url).status_code == 403
    administrator = browser(Role.ADMINISTRATOR)
    refused = administrator.post(url, follow=True)
    assert "is not in maintenance" in refused.content.decode()
    assert not shop.washer.commands.exists()
    changed(shop.washer, maintenance_since=clock.now())
    assert administrator.get(url).status_code == 200
    assert not shop.washer.commands.exists(), "looking at the question switches nothing"
    done = administrator.post(url, follow=True)
    assert "goes on for 3 seconds" in done.content.decode()
    (command,) = shop.washer.commands.all()
    assert (command.on, command.on_for_s) == (True, 3)
    assert "has a command under way" in administrator.post(url, follow=True).content.decode()
    assert shop.washer.commands.count() == 1
