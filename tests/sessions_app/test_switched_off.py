"""Shelly switched off, and maintenance: nothing can be bought, what runs goes on, nothing is forgotten."""

from __future__ import annotations

from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from devices.models import Device, DeviceCode, Location, UsagePlan
from hygate.models import AuditEvent, Role, SiteSettings, User
from sessions_app import services
from sessions_app.models import DeviceSession
from sessions_app.states import State
from tests.world import World

GENERAL = {
    "company": "Seaside Camping",
    "contact_phone": "+43 1 234",
    "refund_limit": "20.00",
    "devices_enabled": "on",
}


def browser(email: str, role: Role) -> Client:
    client = Client()
    user, _ = User.objects.get_or_create(email=email, defaults={"role": role})
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


@pytest.fixture
def admin(transactional_db: None) -> Client:
    return browser("admin@example.com", Role.ADMINISTRATOR)


@pytest.fixture
def operator(transactional_db: None) -> Client:
    return browser("otto@example.com", Role.OPERATOR)


def page(client: Client, name: str, *args: Any) -> str:
    return unescape(client.get(reverse(f"dashboard:{name}", args=args)).content.decode())


def switch_off(admin: Client) -> None:
    answer = admin.post(reverse("dashboard:settings"), {key: GENERAL[key] for key in GENERAL if key[:3] != "dev"})
    assert answer.status_code == 303
    assert SiteSettings.current().devices_enabled is False


def running(world: World) -> DeviceSession:
    session = world.buy()
    world.tell(session)
    world.go(12)
    session.refresh_from_db()
    assert session.state == State.RUNNING
    return session


# -- Shelly switched off


def test_switched_off_the_devices_module_is_hidden_and_says_so(world: World, admin: Client, operator: Client) -> None:
    running(world)
    devices = reverse("dashboard:devices")
    assert f'href="{devices}"' in page(operator, "sessions")
    switch_off(admin)
    for client in (admin, operator):
        assert f'href="{devices}"' not in page(client, "sessions")
        for name, args in (("devices", ()), ("device", (world.device.pk,)), ("plan_edit", (world.plan.pk,))):
            shown = page(client, name, *args)
            assert "Shelly is switched off." in shown
            assert "Nothing can be bought; 1 running session goes on." in shown
    assert "goes on" not in page(operator, "payments")


def test_switched_off_a_device_cannot_be_changed(world: World, admin: Client, operator: Client) -> None:
    switch_off(admin)
    address = reverse("dashboard:device_edit", args=[world.device.pk])
    assert operator.post(address, {"name": "Other", "kind": "washer"}).status_code == 409
    world.device.refresh_from_db()
    assert world.device.name == "Washer 1"
    assert Client().get(address)["Location"].startswith("/account/login/")


def test_switched_off_guests_cannot_buy_and_read_why(world: World, admin: Client) -> None:
    switch_off(admin)
    assert "Selling is switched off" in unescape(Client().get("/d/WASH1/").content.decode())
    answer = Client().post("/d/WASH1/", {"plan": world.plan.pk})
    assert (answer.status_code, DeviceSession.objects.count()) == (409, 0)
    assert world.money() == []


def test_switched_off_a_running_session_ends_on_time_and_is_paid(world: World, admin: Client) -> None:
    session = running(world)
    switch_off(admin)
    world.go(60)
    session.refresh_from_db()
    assert session.state == State.COMPLETED
    assert session.delivered_s == 20
    assert [on for on, _cause in world.relay()] == [True, False]
    assert world.relay()[-1][1] == "request"
    assert world.money() == [("authorized", 250), ("captured", 250)]


def test_switched_off_a_running_session_can_be_stopped_by_its_guest(world: World, admin: Client) -> None:
    session = running(world)
    switch_off(admin)
    assert services.stop_by_guest(session)
    world.go(20)
    session.refresh_from_db()
    assert session.state == State.CANCELLED
    assert world.relay()[-1] == (False, "request")
    assert world.money()[-1][0] == "refunded"


def test_switched_off_a_paid_session_in_its_grace_still_starts(world: World, admin: Client) -> None:
    session = world.buy()
    world.tell(session)
    switch_off(admin)
    world.go(12)
    session.refresh_from_db()
    assert session.state == State.RUNNING


def test_switched_on_again_everything_is_as_it_was(world: World, admin: Client) -> None:
    before = [list(model.objects.order_by("pk").values()) for model in (DeviceCode, UsagePlan)]
    names = set(Device.objects.values_list("name", "shelly_id", "channel", "active"))
    switch_off(admin)
    assert world.availability() == "disabled"
    admin.post(reverse("dashboard:settings"), GENERAL)
    world.go(3)
    assert world.availability() == "free"
    assert [list(model.objects.order_by("pk").values()) for model in (DeviceCode, UsagePlan)] == before
    assert set(Device.objects.values_list("name", "shelly_id", "channel", "active")) == names
    kinds = list(AuditEvent.objects.filter(kind__startswith="shelly_switched").values_list("kind", flat=True))
    assert kinds == ["shelly_switched_off", "shelly_switched_on"]


# -- settings


@pytest.mark.django_db
def test_settings_write_what_changed_and_audit_which(admin: Client) -> None:
    assert admin.post(reverse("dashboard:settings"), GENERAL).status_code == 303
    site = SiteSettings.current()
    assert (site.company, site.refund_limit_minor) == ("Seaside Camping", 2000)
    changed = AuditEvent.objects.get(kind="settings_edited").data["changed"]
    assert changed == ["company", "contact_phone", "refund_limit_minor"]
    admin.post(reverse("dashboard:settings"), GENERAL)
    assert AuditEvent.objects.filter(kind="settings_edited").count() == 1


@pytest.mark.django_db
def test_a_limit_says_what_it_comes_to_where_currencies_differ(admin: Client) -> None:
    Location.objects.create(name="Quay", currency="eur")
    page = unescape(admin.get(reverse("dashboard:settings")).content.decode())
    assert "In EUR. Administrators have no limit." in page and "own currency" not in page
    Location.objects.create(name="Onsen", currency="jpy")
    page = unescape(admin.get(reverse("dashboard:settings")).content.decode())
    assert "In the payment's own currency: now €50.00 or JPY\u00a05,000." in page


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("refund_limit", "10000.01", "That is no limit any more"),
        ("refund_limit", "1.005", "At most 2 decimal places."),
        ("company", "", "This field is required."),
    ],
)
def test_settings_that_make_no_sense_are_refused(admin: Client, field: str, value: str, sentence: str) -> None:
    answer = admin.post(reverse("dashboard:settings"), GENERAL | {field: value})
    assert answer.status_code == 422
    assert sentence in unescape(answer.content.decode())
    assert SiteSettings.current().company == "Hygate"


# -- maintenance


def test_maintenance_blocks_buying_and_tells_guests_the_text_and_the_planned_end(world: World) -> None:
    until = world.now + timedelta(hours=2)
    Device.objects.filter(pk=world.device.pk).update(
        maintenance_since=world.now, maintenance_until=until, maintenance_text="The drum is being repaired"
    )
    shown = unescape(Client().get("/d/WASH1/").content.decode())
    assert "The drum is being repaired" in shown
    assert "Back at about 15:00" in shown
    answer = Client().post("/d/WASH1/", {"plan": world.plan.pk})
    assert (answer.status_code, DeviceSession.objects.count()) == (409, 0)


def test_a_running_session_goes_on_through_maintenance_and_ends_on_time(world: World, operator: Client) -> None:
    session = running(world)
    operator.post(reverse("dashboard:maintenance", args=[world.device.pk]), {"text": "New pump"})
    world.go(60)
    session.refresh_from_db()
    assert (session.state, session.delivered_s) == (State.COMPLETED, 20)
    assert [on for on, _cause in world.relay()] == [True, False]


def test_a_planned_end_is_only_shown_and_never_ends_maintenance_by_itself(world: World) -> None:
    Device.objects.filter(pk=world.device.pk).update(
        maintenance_since=world.now, maintenance_until=world.now + timedelta(minutes=1)
    )
    world.go(600)
    world.device.refresh_from_db()
    assert world.device.maintenance_since is not None
    assert world.availability() == "maintenance"


def test_a_device_in_maintenance_that_is_switched_on_by_hand_is_left_alone(world: World, operator: Client) -> None:
    """Whoever repairs it may switch it: Hygate switches off nothing that stands in maintenance."""
    operator.post(reverse("dashboard:maintenance", args=[world.device.pk]), {"text": "New pump"})
    world.ctl(world.shelly_server, "POST", f"/_ctl/devices/{world.device.shelly_id}", {"press": 0})
    world.go(180)
    assert world.relay() == [(True, "button")]
    assert world.switched() == []
