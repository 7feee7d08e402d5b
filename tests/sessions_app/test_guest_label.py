"""What a scanned label shows: what is sold and for how much, or why nothing is, and when it is again."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.test import Client

from devices.models import Device, DeviceCode, DeviceKind, UsagePlan
from hygate import clock
from sessions_app import selling
from sessions_app.models import DeviceSession
from sessions_app.states import State
from tests.sessions_app.guest_pages import (
    Make,
    _static_files_need_no_collecting,
    add_plan,
    device,
    make,
    plan,
    read,
    words,
)

__all__ = ["_static_files_need_no_collecting", "device", "make", "plan"]
pytestmark = pytest.mark.django_db


def test_the_only_plan_is_offered_with_its_price_on_the_button(client: Client, plan: UsagePlan) -> None:
    text = read(client, "/d/W17Q4/")
    assert "Free now" in text
    assert "Everyday, 60 min" in text
    assert "Pay €3.60 and start" in text
    assert "If Washer 1 does not start, you pay nothing." in text
    assert "5 min to load first." in text
    assert "All times: Vienna time" in text
    assert "Help: +43 1 234" in text


def test_of_several_plans_the_first_is_chosen(client: Client, device: Device, plan: UsagePlan) -> None:
    add_plan(device, "Deep clean", 5400, 480, sort_order=2)
    body = client.get("/d/W17Q4/").content.decode()
    assert re.findall(r'value="(\d+)" required checked', body) == [str(plan.pk)]
    assert "Pay €3.60 and start" in body
    assert "Pay €4.80 and start" in body


def test_a_short_plan_is_spelled_in_seconds(client: Client, device: Device) -> None:
    add_plan(device, "Test", 20, 100, grace_s=0)
    text = read(client, "/d/W17Q4/")
    assert "Test, 20 s" in text
    assert "Power comes at once" in text


def test_vat_is_named_only_where_there_is_vat(client: Client, device: Device, plan: UsagePlan) -> None:
    assert "VAT included" not in read(client, "/d/W17Q4/")
    UsagePlan.objects.update(vat_rate_bp=2000)
    assert "VAT included" in read(client, "/d/W17Q4/")


@pytest.mark.parametrize("typed", ["w17q4", "W1 7Q4", "w1-7q4"])
def test_a_typed_code_leads_to_the_printed_one(client: Client, plan: UsagePlan, typed: str) -> None:
    response = client.get(f"/d/{typed}/")
    assert response.status_code == 302
    assert response["Location"] == "/d/W17Q4/"


def test_a_device_without_plans_sells_nothing(client: Client, device: Device) -> None:
    assert "Nothing is sold on Washer 1 at the moment." in read(client, "/d/W17Q4/")


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("busy", "Free at about 13:18, in 18 min."),
        ("maintenance", "Back at about 13:18."),
        ("offline", "Back at about 13:18."),
        ("no_power", "Power expected at about 13:18."),
    ],
)
def test_when_it_is_known_the_page_says_when(
    client: Client, plan: UsagePlan, monkeypatch: pytest.MonkeyPatch, kind: str, sentence: str
) -> None:
    until = clock.now() + timedelta(minutes=18)
    monkeypatch.setattr(selling, "availability", lambda *_: selling.Availability(kind, until))
    text = read(client, "/d/W17Q4/")
    assert sentence in text
    assert "Pay €" not in text


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("busy", "Washer 1 is in use, or somebody is paying for it."),
        ("maintenance", "We do not know yet when it is back."),
        ("offline", "Washer 1 does not answer us right now."),
        ("no_power", "There is not enough power for Washer 1 right now."),
        ("not_for_sale", "Nothing is sold on Washer 1 at the moment."),
        ("disabled", "Seaside Camping sells nothing here at the moment."),
    ],
)
def test_each_reason_has_its_own_sentence(
    client: Client, plan: UsagePlan, monkeypatch: pytest.MonkeyPatch, kind: str, sentence: str
) -> None:
    monkeypatch.setattr(selling, "availability", lambda *_: selling.Availability(kind))
    text = read(client, "/d/W17Q4/")
    assert sentence in text
    assert text.index("Nothing was charged.") < text.index(sentence)


def beside(device: Device, number: int, **more: object) -> Device:
    """Another washer at the same place, for sale."""
    made = Device.objects.create(
        location=device.location,
        account=device.account,
        shelly_id=f"def{number}",
        name=f"Washer {number}",
        kind=DeviceKind.WASHER,
        **{"online": True, "seen_at": clock.now(), **more},
    )
    DeviceCode.objects.create(device=made, code=f"W2{number}R5")
    add_plan(made, "Everyday", 3600, 360)
    return made


def test_a_free_one_of_the_same_kind_is_offered_instead(client: Client, device: Device, plan: UsagePlan) -> None:
    beside(device, 2)
    Device.objects.filter(pk=device.pk).update(maintenance_since=clock.now())
    response = client.get("/d/W17Q4/")
    assert "Use Washer 2, free now" in words(response)
    assert 'href="/d/W22R5/"' in response.content.decode()


def test_the_free_one_is_found_behind_many_that_are_not(client: Client, device: Device, plan: UsagePlan) -> None:
    for number in range(2, 8):
        beside(device, number, maintenance_since=clock.now())
    beside(device, 8)
    Device.objects.filter(pk=device.pk).update(maintenance_since=clock.now())
    response = client.get("/d/W17Q4/")
    assert "Use Washer 8, free now" in words(response)
    assert response.content.decode().count('class="row"') == 4


def test_a_retired_label_says_so_and_sells_nothing(client: Client, device: Device, plan: UsagePlan) -> None:
    DeviceCode.objects.create(device=device, code="OLD77", retired_at=clock.now())
    response = client.get("/d/OLD77/")
    assert response.status_code == 410
    assert "This label was replaced" in words(response)
    assert "Washer 1" not in words(response)
    assert client.post("/d/OLD77/", {"plan": plan.pk}).status_code == 410
    assert not DeviceSession.objects.exists()


def test_an_unknown_code_is_a_page_of_its_own(client: Client, db: None) -> None:
    response = client.get("/d/ZZZZZ/")
    assert response.status_code == 404
    assert "We do not know this code" in words(response)


@pytest.mark.parametrize(
    ("state", "columns", "says"),
    [
        (State.GRACE, {"grace_ends_at": 5}, "Free at about 14:05, in 65 min."),
        (State.STARTING, {"grace_ends_at": -1}, "Free at about 13:59, in 59 min."),
        (State.RUNNING, {"started_at": -36, "ends_at": 24}, "Free at about 13:24, in 24 min."),
        (State.WAITING_FOR_POWER, {"grace_ends_at": -1}, "Washer 1 is in use"),
        (State.PAUSED, {"ends_at": 24, "paused_at": -1}, "Washer 1 is in use"),
        (State.HELD, {}, "Washer 1 is in use"),
    ],
)
def test_when_a_busy_device_is_free_is_said_where_it_is_known(
    client: Client, make: Make, state: State, columns: dict[str, int], says: str
) -> None:
    make(state, **{name: clock.now() + timedelta(minutes=minutes) for name, minutes in columns.items()})
    text = read(client, "/d/W17Q4/")
    assert says in text
    assert ("Free at about" in text) == says.startswith("Free")


def test_the_qr_code_is_served_as_svg_and_png(client: Client, device: Device) -> None:
    svg, png = client.get("/d/W17Q4/qr.svg"), client.get("/d/W17Q4/qr.png")
    assert (svg["Content-Type"], png["Content-Type"]) == ("image/svg+xml", "image/png")
    assert b"<path" in svg.content
    assert png.content.startswith(b"\x89PNG")
    assert client.get("/d/ZZZZZ/qr.png").status_code == 404


def test_the_png_holds_the_codes_own_pattern() -> None:
    import io

    from PIL import Image

    from devices import qr

    url = "https://hygate.example/d/W17Q4/"
    image = Image.open(io.BytesIO(qr.png(url))).convert("1")
    step = qr.PIXELS_A_MODULE
    modules = qr._code(url).get_matrix()
    assert image.size == (len(modules) * step, len(modules) * step)
    for y, row in enumerate(modules):
        for x, dark in enumerate(row):
            assert (image.getpixel((x * step + step // 2, y * step + step // 2)) == 0) == bool(dark)
