"""Lights and sensors on the dashboard: both roles look and switch, and no relay is ever reached through this door."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from devices.adding import Choice, NotSellable, add_devices
from devices.models import AccountStatus, Device, RelayCommand, ShellyAccount
from devices.relays import lights
from devices.relays.sync import AccountBusy, sync_account
from devices.shelly.readings import Target
from hygate.models import AuditEvent, Role
from tests import loopback
from tests.sessions_app.sales import browser
from tests.world import KEY, PLUG, World

DEVICES, LIGHTS = "/dashboard/devices/", "/dashboard/devices/lights/"
LAMP, DIMMER, CLIMATE = "3494540000b1", "a8032a0000b2", "08b61f0000c1"


@pytest.fixture
def lit(world: World) -> World:
    """The world's account with a lamp, another kind of lamp and a sleeping sensor, all found by a sync."""

    def furnish() -> None:
        add = world.shelly.add_device
        add(KEY, LAMP, "SHBDUO-1", channels=0, name="Entrance lamp", gen=1, mode="light")
        add(KEY, DIMMER, "SNDC-0D4P10WW", channels=0, name="Porch <b>lamp</b>", mode="light")
        add(KEY, CLIMATE, "SNSN-0013A", channels=0, name="Cellar", mode="sensor")

    world.shelly_server.call(furnish)
    world.go(3)
    sync_account(world.account)
    world.go(3)
    return world


def page(role: str = Role.OPERATOR, find: str = "") -> str:
    """The part about lights and sensors, as the page of devices asks for it."""
    return browser(role).get(LIGHTS, {"find": find}).content.decode()


def shown(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


def url(world: World, shelly_id: str = LAMP, channel: int = 0) -> str:
    return reverse("dashboard:light_switch", args=[world.account.pk, shelly_id, channel])


def press(world: World, on: str = "1", role: str = Role.OPERATOR, **where: Any) -> str:
    """What the page says after the press, without htmx."""
    answer = browser(role).post(url(world, **where), {"on": on}, follow=True)
    assert answer.redirect_chain == [(DEVICES, 303)]
    return unescape(answer.content.decode())


def is_on(world: World, shelly_id: str = LAMP) -> bool:
    devices = world.ctl(world.shelly_server, "GET", "/_ctl/devices")
    return bool(next(one["lights"][0]["output"] for one in devices if one["id"] == shelly_id))


def sent(world: World) -> list[str]:
    """Every command that any device was sent."""
    return [entry["path"].rpartition("/")[2] for entry in world.switched()]


def told() -> list[tuple[str, str, dict[str, Any]]]:
    rows = AuditEvent.objects.filter(kind__startswith="light_").order_by("pk")
    return [(row.kind, row.actor, row.data) for row in rows]


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.ADMINISTRATOR])
def test_both_roles_see_what_is_watched_and_that_it_is_never_sold(lit: World, role: str) -> None:
    said = shown(page(role))
    assert "Lights and sensors 3" in said
    assert "never sold" in said
    assert re.search(r"Entrance lamp demo · read \d+ s ago off Switch on", said)
    assert re.search(
        r"Cellar demo · measured \d+ s ago · asleep: it wakes by itself to measure 21.7 °C · 5[23] %", said
    )


def test_names_are_shown_as_they_were_typed(lit: World) -> None:
    assert "Porch &lt;b&gt;lamp" in page()


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.ADMINISTRATOR])
@pytest.mark.parametrize("shelly_id", [LAMP, DIMMER])
def test_a_press_switches_the_light_and_says_what_was_read_back(lit: World, role: str, shelly_id: str) -> None:
    html = press(lit, role=role, shelly_id=shelly_id)
    assert "lamp" in html
    assert "is on. Read back from Shelly." in html
    assert re.search(r"lamp.* demo · read back \d+ s ago on Switch off", shown(page(role)))
    assert is_on(lit, shelly_id)
    assert "is off. Read back from Shelly." in press(lit, "0", role=role, shelly_id=shelly_id)
    assert not is_on(lit, shelly_id)


def test_with_htmx_only_the_part_about_lights_comes_back_as_it_was_narrowed(lit: World) -> None:
    asked = {"on": "1", "find": "entrance"}
    html = browser(Role.OPERATOR).post(url(lit), asked, headers={"HX-Request": "true"}).content.decode()
    assert "<html" not in html
    assert "Entrance lamp is on" in shown(html)
    assert "Cellar" not in html


def test_the_audit_log_says_who_asked_and_what_was_read(lit: World) -> None:
    press(lit)
    about = {"on": True, "account": lit.account.pk, "light": f"{LAMP}_0", "name": "Entrance lamp"}
    (asked, who, data), (switched, same, read) = told()
    assert (asked, switched) == ("light_asked", "light_switched")
    assert who == same
    assert who.startswith("user:")
    assert data == about
    assert read == about | {"read_back": True}


def test_the_press_keeps_the_accounts_pace(lit: World) -> None:
    """The simulated cloud refuses what comes within a second of its last answer."""
    press(lit)
    press(lit, "0")
    asked = [entry for entry in lit.ledger(lit.shelly_server, "request") if entry["status"] != 200]
    assert asked == []


def test_a_light_that_is_offline_says_so(lit: World) -> None:
    lit.ctl(lit.shelly_server, "POST", f"/_ctl/devices/{LAMP}", {"online": False})
    html = press(lit)
    assert "The light was not switched. The device is not connected to the Shelly Cloud." in html
    assert told()[-1][0] == "light_failed"
    assert told()[-1][2]["error"] == "device_offline"
    offline = r"Entrance lamp demo · read \d+ s ago offline Switch on"
    assert re.search(offline, shown(page()))
    lit.go(3)
    sync_account(lit.account)
    assert re.search(offline, shown(page()))


def test_a_cloud_that_cannot_be_reached_is_named_and_nothing_hangs(lit: World) -> None:
    ShellyAccount.objects.update(server_url="http://127.0.0.1:9")
    assert "The light was not switched. The server refuses the connection." in press(lit)
    assert told()[-1][2]["error"] == "connection_refused"


@pytest.mark.parametrize("columns", [{"status": AccountStatus.BAD_KEY}, {"status": AccountStatus.UNREACHABLE}])
def test_an_account_that_does_not_answer_is_not_asked(lit: World, columns: dict[str, Any]) -> None:
    ShellyAccount.objects.update(**columns)
    before = sent(lit)
    assert "The Shelly account demo does not answer" in press(lit)
    assert sent(lit) == before


def test_an_open_circuit_is_not_asked(lit: World) -> None:
    ShellyAccount.objects.update(circuit_opened_at=lit.now)
    assert "The Shelly account demo does not answer" in press(lit)
    assert sent(lit) == []


def test_a_busy_account_says_so_and_is_asked_for_nothing(lit: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lights, "TURN_WITHIN_S", -1)
    Device.objects.filter(pk=lit.device.pk).update(off_expected_at=lit.now)
    assert AccountBusy.says in press(lit)
    assert sent(lit) == []


@pytest.mark.parametrize(
    ("fault", "says", "lit_now"),
    [
        ("act_then_drop", "Entrance lamp is on. Read back from Shelly.", True),
        ("drop", "The light was not switched. The Shelly Cloud cannot be reached.", False),
    ],
)
def test_a_command_without_an_answer_is_decided_by_the_reading(
    lit: World, fault: str, says: str, lit_now: bool
) -> None:
    lit.fault(lit.shelly_server, on="switch_on", do=fault)
    assert says in press(lit)
    assert is_on(lit) is lit_now


def test_a_reading_that_never_comes_leaves_the_light_unknown(lit: World) -> None:
    lit.fault(lit.shelly_server, on="read", do="status", status=502)
    html = press(lit)
    assert "Nobody knows yet whether the light was switched. Shelly took the command, but was not heard again." in html
    assert is_on(lit)


def test_a_reading_that_lags_is_asked_once_more_and_then_told_as_it_is(lit: World) -> None:
    lit.ctl(lit.shelly_server, "POST", f"/_ctl/devices/{LAMP}", {"status_lag_s": 60})
    before = len(lit.ledger(lit.shelly_server, "request"))
    html = press(lit)
    asked = [entry["path"].rpartition("/")[2] for entry in lit.ledger(lit.shelly_server, "request")[before:]]
    assert asked == ["light", "get", "get"]
    assert "Entrance lamp is not seen on yet. Shelly took the command, but its reading says off." in html
    assert told()[-1][2]["read_back"] is False


# -- the door is for lights


@pytest.mark.parametrize(("shelly_id", "channel"), [(PLUG, 0), (LAMP, 1), (CLIMATE, 0), ("ffffffffffff", 0)])
@pytest.mark.parametrize("on", ["1", "0"])
def test_a_forged_press_reaches_nothing_but_a_known_light(lit: World, shelly_id: str, channel: int, on: str) -> None:
    html = press(lit, on, role=Role.ADMINISTRATOR, shelly_id=shelly_id, channel=channel)
    assert "The light was not switched. The last sync of demo knows no such light." in html
    assert sent(lit) == []
    assert lit.relay() == []
    assert told() == []


def test_a_relay_is_refused_even_where_a_sync_calls_it_a_light(lit: World) -> None:
    """Known as a device, in whichever account: its power is sold, and belongs to its sessions."""
    lit.account.refresh_from_db()
    row = next(row for row in lit.account.found if row["shelly_id"] == LAMP) | {"shelly_id": PLUG}
    ShellyAccount.objects.update(found=[*lit.account.found, row])
    assert "knows no such light" in press(lit, shelly_id=PLUG)
    assert sent(lit) == []
    assert shown(page()).count("Entrance lamp demo") == 1


def test_what_goes_to_a_relay_by_this_way_is_refused_by_the_cloud(lit: World) -> None:
    """The last of three locks: set/light is not set/switch."""
    answer = loopback.post(
        f"{lit.shelly_server.url}/v2/devices/api/set/light?auth_key={KEY}", json={"id": PLUG, "on": True}, timeout=5
    )
    assert answer.status_code == 400
    assert lit.relay() == []


@pytest.mark.parametrize("on", ["", "2", "true", "on"])
def test_a_press_that_says_neither_on_nor_off_does_nothing(lit: World, on: str) -> None:
    assert "Nothing was asked for" in press(lit, on)
    assert sent(lit) == []


def test_no_account_no_light(lit: World) -> None:
    nowhere = reverse("dashboard:light_switch", args=[lit.account.pk + 9, LAMP, 0])
    assert browser(Role.OPERATOR).post(nowhere, {"on": "1"}).status_code == 404


def test_nobody_else_presses(lit: World) -> None:
    assert Client().post(url(lit), {"on": "1"}).status_code == 302
    stranger = browser(Role.OPERATOR)
    stranger.handler.enforce_csrf_checks = True
    assert stranger.post(url(lit), {"on": "1"}).status_code == 403
    assert browser(Role.OPERATOR).get(url(lit)).status_code == 405
    assert sent(lit) == []


# -- and never for sale


@pytest.mark.parametrize("shelly_id", [LAMP, DIMMER, CLIMATE])
def test_a_light_or_sensor_cannot_be_added_as_a_device(lit: World, shelly_id: str) -> None:
    lit.account.refresh_from_db()
    with pytest.raises(NotSellable):
        add_devices(lit.account, [Choice(shelly_id, 0, "Lamp")], lit.location)
    forged = {"pick": f"{shelly_id}-None", f"name-{shelly_id}-None": "Lamp", "location": str(lit.location.pk)}
    before = Device.objects.count()
    answer = browser(Role.ADMINISTRATOR).post(reverse("dashboard:account_channels", args=[lit.account.pk]), forged)
    assert answer.status_code == 422
    assert Device.objects.count() == before


def test_a_press_writes_no_relay_command_and_marks_no_device(lit: World) -> None:
    before = list(Device.objects.values())
    press(lit)
    assert RelayCommand.objects.count() == 0
    assert [row["output"] for row in Device.objects.values()] == [row["output"] for row in before]


def test_a_sale_goes_on_as_ever_beside_a_lamp_that_is_pressed(lit: World) -> None:
    """The OFF of a session that ends soon is not kept waiting: the press waits instead."""
    session = lit.buy()
    lit.tell(session)
    lit.go(8)
    press(lit)
    lit.go(60)
    session.refresh_from_db()
    assert session.state == "completed"
    assert lit.relay()[-1][0] is False


# -- what stands on the page


def test_words_narrow_it(lit: World) -> None:
    assert "Cellar" in shown(page(find="cell"))
    assert "Entrance" not in shown(page(find="cell"))
    assert "Entrance" in shown(page(find=LAMP.upper()))
    assert shown(page(find="nothing")) == ""


@pytest.mark.parametrize(
    ("query", "asks_for"),
    [
        ({}, f"{LIGHTS}?find="),
        ({"view": "list", "find": "a&b"}, f"{LIGHTS}?find=a%26b"),
        ({"kind": "washer"}, None),
        ({"state": "free"}, None),
    ],
)
def test_the_page_of_devices_asks_for_them_where_they_can_be_meant(
    world: World, query: dict[str, str], asks_for: str | None
) -> None:
    """They stand at no location and are of no kind that is sold."""
    found = re.search(r'id="lights" data-live="([^"]*)"', browser(Role.OPERATOR).get(DEVICES, query).content.decode())
    assert (found and unescape(found[1])) == asks_for


def test_what_the_browser_shows_already_is_not_sent_again(lit: World) -> None:
    found = re.search(r'name="seen" value="([^"]*)"', page())
    assert found
    asked = browser(Role.OPERATOR)
    assert asked.get(LIGHTS, headers={"X-Seen": found[1]}).status_code == 204
    lit.go(5)
    assert asked.get(LIGHTS, headers={"X-Seen": found[1]}).status_code == 204, "an older reading is no news"
    press(lit)
    assert asked.get(LIGHTS, headers={"X-Seen": found[1]}).status_code == 200


def test_an_account_without_lights_shows_no_such_part(world: World) -> None:
    assert "Lights and sensors" not in page()


def test_a_sync_from_before_knows_of_no_lights_and_breaks_nothing(lit: World) -> None:
    lit.account.refresh_from_db()
    ShellyAccount.objects.update(found=[{k: v for k, v in row.items() if k != "watched"} for row in lit.account.found])
    assert "Lights and sensors" not in page()
    assert "knows no such light" in press(lit)


def test_several_lights_of_one_device_are_told_apart(lit: World) -> None:
    lit.account.refresh_from_db()
    for row in lit.account.found:
        if row["shelly_id"] == DIMMER:
            row["watched"]["lights"] = [
                {"channel": 0, "output": True, "name": "Stairs"},
                {"channel": 1, "output": None, "name": None},
            ]
    ShellyAccount.objects.update(found=lit.account.found)
    found, _ = lights.everywhere()
    assert [(one.name, one.output) for one in found if one.target.shelly_id == DIMMER] == [
        ("Stairs", True),
        ("Porch <b>lamp</b> light 2", None),
    ]
    assert re.search(r"light 2 demo · read \d+ s ago not known Switch on .* Switch off", shown(page()))


def test_the_next_sync_knows_better_than_an_old_reading(lit: World) -> None:
    press(lit)
    lit.go(3)
    sync_account(lit.account)
    assert lights.switch(lit.account.pk, Target(LAMP, 0), on=False, by="user:1").output is False
    found, _ = lights.everywhere()
    assert [(one.output, one.read_back) for one in found if one.target.shelly_id == LAMP] == [(False, True)]
    lit.go(3)
    sync_account(lit.account)
    found, _ = lights.everywhere()
    assert [(one.output, one.read_back) for one in found if one.target.shelly_id == LAMP] == [(False, False)]
