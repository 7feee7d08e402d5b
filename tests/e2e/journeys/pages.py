"""Every page of the dashboard, wide and narrow, light and dark; and a site's first hour, from nothing to a sale."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from playwright.sync_api import expect

from tests.e2e.catalogue import CAPTURED, ended, ran, reported
from tests.e2e.desk import Desk
from tests.e2e.phone import Wrong
from tests.e2e.registry import journey
from tests.e2e.scene import PHONE, Scene
from tests.e2e.site import PASSWORD
from tests.stack.stack import ROOT, Stack, wait_for

if TYPE_CHECKING:
    from django.urls import URLPattern

ANSWERS = {200, 422}
FIRST = "first@example.com"
NUMBERS = {"HYGATE_HOLD_S": "600"}


@journey("desk-looks", "every page of the dashboard at a desk: accessible, reached by Tab, light and dark", lane="look")
def wide(scene: Scene) -> None:
    _judge(scene, scene.desk(), "desk", walked=True)


@journey("desk-looks-phone", "every page of the dashboard on a phone: accessible, nothing too wide, light and dark")
def narrow(scene: Scene) -> None:
    desk = scene.desk(viewport=PHONE)
    _judge(scene, desk, "desk-phone")
    desk.open("/dashboard/")
    desk.tap("Menu")
    expect(desk.page.get_by_role("navigation", name="Main")).to_be_visible()
    desk.walk("the open menu")
    desk.look("the open menu", both=True)


def _judge(scene: Scene, desk: Desk, folder: str, *, walked: bool = False) -> None:
    """Look at each page; all findings are named, not only the first."""
    wrong, count = [], 0
    desk.hold_still()
    for name, path in _pages(scene, desk):
        count += 1
        try:
            desk.complaints.clear()
            desk.open(path)
            if os.environ.get("ALL"):
                _pictures(scene, desk, folder, name)
            desk.look(name, both=True)
            if walked:
                desk.walk(name)
        except Wrong as error:
            wrong.append(str(error))
    scene.expect(count > 50, f"only {count} pages were found")
    scene.expect(not wrong, "\n        ".join([f"{len(wrong)} of {count} pages", *wrong]))


def _pictures(scene: Scene, desk: Desk, folder: str, name: str) -> None:
    for theme in ("dark", "light"):  # light as before
        desk.page.emulate_media(color_scheme=theme)
        scene.picture(desk, f"{folder}-{theme}/{name}")


def _pages(scene: Scene, desk: Desk) -> Iterator[tuple[str, str]]:
    """Every address of the dashboard that answers with a page; parts of pages, files and what takes no GET are none."""
    from django.urls import reverse

    from sessions_app.dashboard.urls import urlpatterns

    rows = _a_row_of_each(scene)
    for pattern in urlpatterns:
        path = _path(pattern, rows)
        answer = desk.context.request.get(desk.base_url + path, max_redirects=0)
        is_html = answer.headers.get("content-type", "").startswith("text/html")
        if answer.status in ANSWERS and is_html and answer.text().lstrip().lower().startswith("<!doctype"):
            yield str(pattern.name), path
    yield from ((name, reverse(name)) for name in ("mfa_index", "account_change_password", "account_logout"))
    yield "devices-list", "/dashboard/devices/?view=list"
    yield "unknown", "/dashboard/nothing-here/"


def _path(pattern: URLPattern, rows: dict[str, int]) -> str:
    """With the row that its first word names: ``payments/<int:pk>/`` is about a payment."""
    from django.urls import reverse

    route = str(pattern.pattern)
    word = next((word for word in rows if route.startswith(word)), "")
    values: dict[str, Any] = {"pk": rows.get(word), "kind": "sigenergy_modbus", "shelly_id": "a1b2c3", "channel": 0}
    return reverse(f"dashboard:{pattern.name}", kwargs={key: values[key] for key in pattern.pattern.converters})


def _a_row_of_each(scene: Scene) -> dict[str, int]:
    """By how an address begins: the row that it is about. The longer beginnings come first."""
    from devices.models import EnergySource, Location
    from hygate.models import Alert, User
    from sessions_app.models import ProblemReport

    site, place = scene.site, Location.objects.create(name="Pier", timezone="Europe/Vienna")
    device = site.shown("Pier lamp", location=place)
    site.staged("completed", on=device, pay={**CAPTURED, "charge_minor": 360}, **ended(60))
    session = site.staged_session("running", on=device, pay=CAPTURED, **ran(24))
    reported(site)
    alert = Alert.objects.create(key=f"looks-{device.pk}", kind="mail_failed", title="Alerts cannot be mailed")
    kind = "sigenergy_openapi"
    source = EnergySource.objects.create(location=place, name="Plant", kind=kind, address="http://127.0.0.1:9")
    colleague, _ = User.objects.get_or_create(email="looks@example.com", defaults={"first_name": "Lotte"})
    return {
        "settings/energy/sources": source.pk,
        "settings/energy/sites": place.pk,
        "alerts": alert.pk,
        "devices": device.pk,
        "plans": device.plans.all()[0].pk,
        "sessions": session.pk,
        "problems": ProblemReport.objects.latest("pk").pk,
        "payments": session.payments.get().pk,
        "locations": place.pk,
        "accounts": device.account_id,
        "team": colleague.pk,
    }


# -- the first hour


@journey("desk-setup", "a site without a row: seven steps from the first login to a test sale", lane="alone")
def setup(scene: Scene) -> None:
    with tempfile.TemporaryDirectory(prefix="hygate-e2e-first-") as place:
        stack = Stack(Path(place), relays=1, numbers=NUMBERS)
        scene.site.others.append(stack)
        try:
            stack.start()
            _first_login(stack)
            _set_up(scene, stack)
        finally:
            scene.site.others.remove(stack)
            stack.close()


def _first_login(stack: Stack) -> None:
    """As on a server: the first administrator is made there, and everything else in the browser."""
    told = stack.own_environment | {"DJANGO_SUPERUSER_PASSWORD": PASSWORD}
    made = ["manage.py", "createsuperuser", "--noinput", "--email", FIRST]
    subprocess.run([sys.executable, *made], cwd=ROOT, env=told, check=True, timeout=60, capture_output=True)
    stack.shelly_server.call(lambda: stack.shelly.add_account("first-key", "first"))
    stack.shelly_server.call(
        lambda: stack.shelly.add_device("first-key", "e2ef00000002", "SPSW-104PE16EU", channels=4, watts=(60,) * 4)
    )


def _set_up(scene: Scene, stack: Stack) -> None:
    desk = scene.stranger(stack.base_url)
    desk.login(FIRST, PASSWORD)
    expect(desk.page.get_by_role("heading", level=1)).to_have_text("Setup")
    desk.sees(re.compile("[01] of 7 steps done."))  # Stripe's simulator may have answered already
    desk.look("the first page of an empty site", both=True)
    with desk.task("setting up four devices", clicks=25):
        _name_it(desk)
        _connect(desk)
        _pick(desk)
        desk.tap("Next step")
        expect(desk.page.locator("#step-stripe")).to_contain_text("Stripe has answered", timeout=30_000)
        desk.tap("They are up")
        desk.sees("6 of 7 steps done.")
    _buy(desk, stack)
    desk.sees("A relay went on for somebody who had paid.", within_s=30)
    desk.page.reload()
    desk.said("All is set up.")
    desk.look("all is set up", both=True)


def _name_it(desk: Desk) -> None:
    desk.tap("Name the company")
    desk.fill("Company", "Lakeside Laundry")
    desk.tap("Save")
    desk.tap("Next step")
    desk.tap("Add a location")
    desk.asked("Add a location")
    desk.fill("Name", "Laundry house")
    desk.fill("Time zone", "Europe/Vienna")
    desk.tap(re.compile("^(Add|Save)"))


def _connect(desk: Desk) -> None:
    desk.tap("Next step")
    desk.tap("Add the account")
    desk.asked("Add a Shelly account")
    desk.fill("Name", "Laundry")
    desk.fill("Auth key", "first-key")
    desk.tap("Test connection")
    expect(desk.page.locator("#verdict .t-ok")).to_be_visible()
    desk.tap("Save")
    desk.said("Laundry is saved.")


def _pick(desk: Desk) -> None:
    """All four at once, each with the plans that its kind has."""
    desk.tap("Sync from Shelly")
    desk.said("Shelly answered: 1 device with 4 channels")
    first = desk.page.locator("#channels tr").first
    for kind, rated_w in (("sauna", "6000"), ("washer", "2200")):
        first.locator("[data-kind]").select_option(kind)
        expect(first.locator("select[name^=plans]")).to_have_value(kind)
        expect(first.locator("input.watts")).to_have_value(rated_w)
    desk.click(desk.page.get_by_label("Pick all"))
    desk.tap("Add the picked channels")
    desk.said("Added:")
    expect(desk.page.locator(".tile")).to_have_count(4)


def _heard(stack: Stack) -> int:
    return int(stack.sql("SELECT count(*) FROM devices_device WHERE seen_at IS NOT NULL")[0][0])


def _buy(desk: Desk, stack: Stack) -> None:
    """A test sale in a new tab, as the last step leads there; nothing is sold before it was heard of."""
    wait_for(lambda: _heard(stack) == 4, 20, "the new devices are read")
    with desk.context.expect_page() as told:
        desk.tap(re.compile("^Buy on"))
    guest = told.value
    expect(guest.locator("#buy button.btn-main")).to_be_visible()
    guest.locator("#buy button.btn-main").click()
    guest.wait_for_url(f"{stack.stripe_server.url}/**")
    guest.get_by_role("button", name=re.compile("^Pay €")).first.click()
    guest.wait_for_url(f"{stack.base_url}/session/**")
    main = guest.locator("main")
    expect(main).to_have_attribute("data-state", re.compile("grace|running"), timeout=30_000)
    if main.get_attribute("data-state") == "grace":
        guest.get_by_role("button", name="Start now").click()
    expect(main).to_have_attribute("data-state", "running", timeout=30_000)
