"""The first run: steps that are told from what is there, left and taken up again, and put away."""

from __future__ import annotations

import re
from datetime import datetime
from html import unescape
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from devices.models import Device, DeviceCode, DeviceKind, Location, ShellyAccount, UsagePlan
from hygate import clock
from hygate.models import AuditEvent, Role, SiteSettings
from sessions_app import setting_up
from sessions_app.models import DeviceSession
from sessions_app.payments import key_seen
from sessions_app.setting_up import STEPS, Progress
from sessions_app.states import State
from tests.sessions_app.test_switched_off import browser

pytestmark = pytest.mark.django_db
CHANNELS = [
    {
        "shelly_id": f"aabbcc{number // 4}",
        "channel": number % 4,
        "name": f"{'Washer' if number % 2 else 'Dryer'} {number + 1}",
        "model": "SPSW-104PE16EU",
        "generation": 2,
        "online": True,
        "output": False,
        "sellable": True,
    }
    for number in range(10)
]


@pytest.fixture
def admin() -> Client:
    return browser("admin@example.com", Role.ADMINISTRATOR)


def page(client: Client, name: str = "setup") -> str:
    return unescape(client.get(reverse(f"dashboard:{name}")).content.decode())


def done() -> list[str]:
    progress = setting_up.progress(SiteSettings.current())
    return [step for step in STEPS if step in progress.done]


def account(at: datetime | None = None) -> ShellyAccount:
    return ShellyAccount.objects.create(
        name="Seaside", server_url="http://127.0.0.1:9", auth_key="k", last_ok_at=at, found=CHANNELS, synced_at=at
    )


def add_device(name: str = "Washer 1", kind: str = DeviceKind.WASHER, currency: str = "eur", **more: Any) -> Device:
    place, _ = Location.objects.get_or_create(name=f"Room {currency}", currency=currency)
    one = ShellyAccount.objects.first() or account(clock.now())
    device = Device.objects.create(
        location=place, account=one, shelly_id="ffee", channel=Device.objects.count(), name=name, kind=kind, **more
    )
    DeviceCode.objects.create(device=device, code=f"CODE{device.channel}")
    return device


def sold(device: Device, **columns: Any) -> DeviceSession:
    now = clock.now()
    return DeviceSession.objects.create(
        reference=f"S-{device.pk}",
        token_hash="0" * 64,
        token="the-link",
        device=device,
        plan_name="Short",
        duration_s=1800,
        hold_expires_at=now,
        **{"state": State.COMPLETED} | columns,
    )


# -- steps


def test_on_an_empty_site_nothing_is_done(admin: Client) -> None:
    assert done() == []
    shown = page(admin)
    assert "0 of 7 steps done" in shown
    assert 'aria-current="step"' in shown
    assert 'id="step-company"' in shown


def test_each_step_is_done_by_what_is_saved_on_its_own_pages(admin: Client, settings: Any) -> None:
    """In any order, and without this page: it only looks."""
    Location.objects.create(name="Laundry room")
    SiteSettings.objects.update_or_create(pk=1, defaults={"company": "Seaside Camping"})
    assert done() == ["company"]
    one = account()
    assert done() == ["company"], "Shelly has not answered yet"
    ShellyAccount.objects.update(last_ok_at=clock.now())
    assert done() == ["company", "shelly"]
    device = add_device()
    assert done() == ["company", "shelly", "devices"]
    UsagePlan.objects.create(device=device, name="Short", duration_s=1800, price_minor=220)
    key_seen.remember(clock.now())
    assert done() == ["company", "shelly", "devices", "plans", "stripe"]
    settings.STRIPE_KEY = ""
    assert "stripe" not in done()
    settings.STRIPE_KEY = "sk_test_simulated"
    admin.post(reverse("dashboard:setup_labels"))
    sold(device, started_at=clock.now(), ends_at=clock.now())
    assert done() == list(STEPS)
    assert one.pk == device.account_id


@pytest.mark.parametrize(
    ("company", "places", "says"),
    [("Hygate", 1, "How is your company called?"), ("Seaside", 0, "Now the place where the machines stand")],
)
def test_a_step_left_half_way_says_what_is_missing(admin: Client, company: str, places: int, says: str) -> None:
    SiteSettings.objects.update_or_create(pk=1, defaults={"company": company})
    for number in range(places):
        Location.objects.create(name=f"Room {number}")
    assert done() == []
    assert says in page(admin)


def test_an_account_that_never_answered_is_half_a_step_and_leads_back_to_it(admin: Client) -> None:
    one = account()
    shown = page(admin)
    assert "Shelly has not answered yet" in shown
    assert reverse("dashboard:account", args=[one.pk]) in shown


def test_a_sale_that_never_started_is_no_test_sale() -> None:
    sold(add_device(), state=State.CANCELLED, reason="hold_expired")
    assert "sale" not in done()


def test_labels_are_up_is_said_once_and_not_without_devices(admin: Client) -> None:
    admin.post(reverse("dashboard:setup_labels"))
    assert "labels" not in done()
    add_device()
    for _ in range(2):
        admin.post(reverse("dashboard:setup_labels"))
    assert "labels" in done()
    assert AuditEvent.objects.filter(kind="labels_put_up").count() == 1


def test_the_test_sale_leads_to_a_device_that_can_be_bought(admin: Client) -> None:
    add_device("Bare")
    device = add_device("Dryer 2")
    UsagePlan.objects.create(device=device, name="Short", duration_s=1800, price_minor=220)
    shown = page(admin)
    assert 'href="/d/CODE1/"' in shown
    assert "/d/CODE0/" not in shown


@pytest.mark.parametrize(
    ("simulated", "key", "says"),
    [
        (True, "sk_test_simulated", "Everything is simulated"),
        (False, "rk_test_abc", "4242 4242 4242 4242"),
        (False, "rk_live_abc", "This is real money"),
    ],
)
def test_the_test_sale_says_what_it_costs(admin: Client, settings: Any, simulated: bool, key: str, says: str) -> None:
    settings.SIMULATED, settings.STRIPE_KEY = simulated, key
    UsagePlan.objects.create(device=add_device(), name="Short", duration_s=1800, price_minor=220)
    assert says in page(admin)


# -- finding it, leaving it, putting it away


def test_the_first_login_of_a_new_site_lands_on_it_once(admin: Client) -> None:
    first = admin.get(reverse("dashboard:overview"))
    assert (first.status_code, first["Location"]) == (303, reverse("dashboard:setup"))
    assert admin.get(reverse("dashboard:overview")).status_code == 200, "whoever leaves it stays away"
    assert browser("admin@example.com", Role.ADMINISTRATOR).get(reverse("dashboard:overview")).status_code == 303


def test_who_has_devices_or_is_an_operator_lands_on_the_dashboard(admin: Client) -> None:
    operator = browser("otto@example.com", Role.OPERATOR)
    assert operator.get(reverse("dashboard:overview")).status_code == 200
    add_device()
    assert admin.get(reverse("dashboard:overview")).status_code == 200


def test_the_menu_counts_for_administrators_and_leads_back_from_every_page(admin: Client) -> None:
    add_device()
    shown = page(admin, "locations")
    assert "2 of 7" in shown
    assert "Next step" in shown
    operator = page(browser("otto@example.com", Role.OPERATOR), "locations")
    assert "of 7" not in operator
    assert "Next step" not in operator


def test_put_away_it_leaves_the_menu_and_can_be_taken_back(admin: Client) -> None:
    for _ in range(2):
        admin.post(reverse("dashboard:setup_close"))
    assert "of 7" not in page(admin, "locations")
    assert admin.get(reverse("dashboard:overview")).status_code == 200
    assert "This list was put away" in page(admin)
    admin.post(reverse("dashboard:setup_reopen"))
    assert "0 of 7" in page(admin, "locations")
    kinds = AuditEvent.objects.filter(kind__startswith="setup_").values_list("kind", flat=True)
    assert list(kinds) == ["setup_closed", "setup_reopened"]


def test_the_menus_count_costs_no_query(admin: Client) -> None:
    def queries() -> int:
        with CaptureQueriesContext(
            connection,
        ) as seen:
            page(admin, "locations")
        return len(seen)

    page(admin, "locations")
    counted = queries()
    setting_up.close(by="user:1")
    assert counted == queries()


def test_the_open_page_follows_what_happens_and_is_silent_otherwise(admin: Client) -> None:
    shown = page(admin, "setup_live")
    mark = shown.partition('name="seen" value="')[2].partition('"')[0]
    url = reverse("dashboard:setup_live")
    assert admin.get(url, headers={"X-Seen": mark}).status_code == 204
    add_device()
    assert admin.get(url, headers={"X-Seen": mark}).status_code == 200


def test_the_open_page_says_when_all_is_done(admin: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "0 of 7 steps done" in page(admin, "setup_live")
    monkeypatch.setattr(setting_up, "progress", lambda *_: Progress(frozenset(STEPS), closed=False))
    assert "All is set up." in page(admin, "setup_live")


# -- many at once


def test_ten_channels_become_ten_devices_with_plans_in_one_form(admin: Client) -> None:
    one, place = account(clock.now()), Location.objects.create(name="Laundry room")
    shown = unescape(admin.get(reverse("dashboard:account", args=[one.pk])).content.decode())
    assert shown.count('name="pick"') == 10
    keys = [f"{channel['shelly_id']}-{channel['channel']}" for channel in CHANNELS]
    form: dict[str, Any] = {"pick": keys, "location": place.pk, "vat": "20"}
    for number, (key, channel) in enumerate(zip(keys, CHANNELS, strict=True)):
        kind = "washer" if number % 2 else "dryer"
        form |= {f"name-{key}": channel["name"], f"kind-{key}": kind, f"plans-{key}": kind}
    assert admin.post(reverse("dashboard:account_channels", args=[one.pk]), form).status_code == 303
    assert Device.objects.count() == DeviceCode.objects.count() == 10
    assert not setting_up.without_plans().exists()
    assert set(UsagePlan.objects.values_list("vat_rate_bp", flat=True)) == {2000}


def test_devices_without_a_name_of_their_own_are_suggested_different_ones(admin: Client) -> None:
    name = "Shelly SPSW-104PE16EU channel 1"
    bare = [CHANNELS[0] | {"shelly_id": f"e2ef0000{end}", "name": name} for end in ("aa01", "bb02")]
    one = account(clock.now())
    one.found = [*bare, CHANNELS[1]]
    one.save(update_fields=["found"])
    shown = unescape(admin.get(reverse("dashboard:account", args=[one.pk])).content.decode())
    suggested = re.findall(r'name="name-[^"]+" value="([^"]+)"', shown)
    assert suggested == [f"{name} aa01", f"{name} bb02", CHANNELS[1]["name"]]


def test_devices_without_plans_get_them_in_one_form(admin: Client) -> None:
    devices = [add_device("Washer 1"), add_device("Dryer 1", DeviceKind.DRYER), add_device("Later")]
    form = {"plans-" + str(devices[0].pk): "washer", "plans-" + str(devices[1].pk): "dryer", "price-washer-0": "3.10"}
    answer = admin.post(reverse("dashboard:setup_plans"), form)
    assert (answer.status_code, answer["Location"]) == (303, reverse("dashboard:setup"))
    assert [one.plans.count() for one in devices] == [3, 2, 0]
    assert devices[0].plans.first().price_minor == 310  # type: ignore[union-attr]
    assert [one.name for one in setting_up.without_plans()] == ["Later"]


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ({}, "Choose plans for at least one device."),
        ({"plans-PK": "a-yacht"}, "Choose plans for at least one device."),
        ({"plans-PK": "washer", "price-washer-0": "free"}, "Something needs a look"),
        ({"plans-PK": "washer", "price-washer-0": "0.01"}, "Something needs a look"),
    ],
)
def test_plans_that_make_no_sense_are_refused_and_none_is_added(
    admin: Client, typed: dict[str, str], says: str
) -> None:
    device = add_device()
    answer = admin.post(
        reverse("dashboard:setup_plans"), {key.replace("PK", str(device.pk)): value for key, value in typed.items()}
    )
    assert answer.status_code == 422
    assert says in unescape(answer.content.decode())
    assert UsagePlan.objects.count() == 0


def test_one_wrong_price_in_one_currency_adds_nothing_in_another(admin: Client) -> None:
    yen, euro = add_device("Yen", currency="jpy"), add_device("Euro")
    form = {f"plans-{yen.pk}": "washer", f"plans-{euro.pk}": "washer", "price-washer-0": "2.20"}
    assert admin.post(reverse("dashboard:setup_plans"), form).status_code == 422
    assert UsagePlan.objects.count() == 0
