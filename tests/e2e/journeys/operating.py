"""The operator's day at the machines: watch, stop, give back, find, service, price, connect, label."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from tests.e2e.catalogue import CAPTURED, code_of, ended
from tests.e2e.desk import Desk
from tests.e2e.registry import journey
from tests.e2e.scene import Scene
from tests.e2e.site import ADMIN, PASSWORD, PLANS
from tests.stack.stack import wait_for


@journey("desk-stop", "log in, watch a guest's session count down, give a euro back, stop it; nothing works twice")
def stop(scene: Scene) -> None:
    thing, phone, desk = scene.site.thing("Dryer 7"), scene.phone(), scene.stranger()
    desk.login(ADMIN, PASSWORD)
    expect(desk.page.get_by_role("heading", level=1)).to_have_text("Dashboard")
    desk.page.evaluate("window.opened = 1")
    link = scene.run(phone, thing)
    tile = desk.page.locator(".tile", has_text="Dryer 7")
    timer = tile.get_by_role("timer")
    expect(timer).to_have_text(re.compile(r"^(59|60|1:00):\d\d$"))
    before = timer.text_content() or ""
    expect(timer).not_to_have_text(before)
    scene.expect(_left_s(timer.text_content() or "") < _left_s(before), "the time left does not get less")
    scene.expect(desk.page.evaluate("window.opened") == 1, "the Dashboard was loaded anew to count down")
    with desk.task("giving a part back", clicks=4):
        desk.click(tile)
        desk.tap("Refund")
        desk.asked("Refund: Dryer 7")
        desk.look("the refund dialog")
        desk.choose("Pay back", "Another amount")
        desk.fill("Amount, EUR", "1.00")
        late = _opened_before(scene, desk.page.locator("dialog[open] form").get_attribute("action") or "")
        desk.fill("Reason", "The drum stood still for a while.")
        desk.tap("Refund")
    desk.said("€1.00 go back.")
    late.tap("Refund", within="main form[method=post]")
    late.said("nothing more was done")
    _stop(scene, link)
    phone.until("interrupted")
    phone.sees("Seaside Camping stopped Dryer 7 at")
    payment = scene.site.session_of(link).payments.get()
    wait_for(lambda: _back(scene, link) == payment.refund_promised_minor, 20, "all that was promised reaches Stripe")
    scene.expect(350 <= _back(scene, link) <= 360, f"{_back(scene, link)} of 360 went back after less than a minute")


def _left_s(said: str) -> int:
    """59:58 or 1:00:00 as seconds."""
    left_s = 0
    for part in said.split(":"):
        left_s = 60 * left_s + int(part)
    return left_s


def _opened_before(scene: Scene, path: str) -> Desk:
    """The same form in a second tab, filled in before the first one is sent."""
    late = scene.desk()
    late.open(path)
    late.choose("Pay back", "Another amount")
    late.fill("Amount, EUR", "1.00")
    late.fill("Reason", "Pressed a second time.")
    return late


def _stop(scene: Scene, link: str) -> None:
    """From the session's page, with a reason; who had the form open as well is told that it was over."""
    session = scene.site.session_of(link)
    desk, late = scene.desk(), scene.desk()
    desk.open("/dashboard/")
    late.open(f"/dashboard/sessions/{session.pk}/stop/")
    late.fill("Reason", "Pressed by a colleague as well.")
    with desk.task("stopping a session", clicks=3):
        desk.click(desk.page.locator(".tile", has_text="Dryer 7"))
        desk.tap("Stop")
        desk.asked("Stop: Dryer 7")
        desk.fill("Reason", "Water on the floor.")
        desk.tap("Stop")
    desk.said("The session is being stopped.")
    expect(desk.page.locator(".line")).to_contain_text("Water on the floor.")
    late.tap("Stop", within="main form[method=post]")
    late.said("nothing was done")


def _back(scene: Scene, link: str) -> int:
    return sum(amount for kind, amount in scene.site.money(link) if kind == "refunded")


@journey("desk-find", "Ctrl K, a label's code, Enter: the device; the end of a guest's link: the session", lane="look")
def find(scene: Scene) -> None:
    desk, device = scene.desk(), scene.site.shown("Sauna 12")
    session = scene.site.staged_session("completed", on=device, pay={**CAPTURED, "charge_minor": 360}, **ended(60))
    desk.open("/dashboard/reports/")
    with desk.task("finding a device by its code", clicks=0):
        desk.page.keyboard.press("Control+k")
        desk.asked("Find")
        desk.page.keyboard.type(device.codes.get().code.lower())
        expect(desk.page.locator("#found li").first).to_contain_text("Sauna 12")
        desk.look("what was found")
        desk.page.keyboard.press("Enter")
    expect(desk.page.get_by_role("heading", level=1)).to_have_text("Sauna 12")
    desk.page.keyboard.press("Control+k")
    desk.asked("Find")
    desk.page.keyboard.press("Escape")
    expect(desk.page.locator("dialog[open]")).to_have_count(0)
    with desk.task("finding a session by its link", clicks=1):
        desk.page.keyboard.press("Control+k")
        desk.asked("Find")
        desk.page.keyboard.type(session.token[-6:])
        desk.click(desk.page.locator("#found a", has_text=session.reference))
    expect(desk.page.get_by_role("heading", level=1)).to_contain_text(session.reference)


@journey("desk-maintenance", "out of service with the guests' text, and back on sale", lane="look")
def maintenance(scene: Scene) -> None:
    device, desk, phone = scene.site.shown("Washer 21"), scene.desk(), scene.phone()
    phone.open(code_of(device))
    phone.sees("Free now")
    desk.open(f"/dashboard/devices/{device.pk}/")
    with desk.task("taking a device out of service", clicks=2):
        desk.tap("Maintenance")
        desk.asked("Maintenance of Washer 21")
        desk.fill("What guests read", "The drum is being repaired.")
        desk.tap("Save")
    desk.said("Washer 21 is in maintenance.")
    phone.page.reload()
    phone.reads("Nothing was charged.")
    phone.sees("The drum is being repaired.")
    with desk.task("putting it back on sale", clicks=1):
        desk.tap("End maintenance")
    desk.said("Washer 21 is back on sale.")
    phone.page.reload()
    phone.sees("Free now")


@journey("desk-plans", "a plan more, moved to the top: guests see it first, at its price", lane="look")
def plans(scene: Scene) -> None:
    device, desk, phone = scene.site.shown("Washer 22", plans=PLANS[:2]), scene.desk(), scene.phone()
    desk.open(f"/dashboard/devices/{device.pk}/")
    with desk.task("adding a plan", clicks=2):
        desk.tap("Add plan")
        desk.asked("Add a plan to Washer 22")
        desk.fill("Name", "Wool")
        desk.fill("Duration, minutes", "40")
        desk.fill("Price incl. VAT, EUR", "0.10")
        desk.tap("Add plan")
    expect(desk.page.locator("dialog[open] .error")).to_contain_text("Stripe charges at least €0.50.")
    desk.look("the dialog with an error")
    desk.fill("Price incl. VAT, EUR", "2.80")
    desk.tap("Add plan")
    desk.said("Wool can be bought now.")
    with desk.task("moving it to the top", clicks=2):
        for place in (2, 1):
            desk.tap("Move Wool up")
            expect(desk.page.locator(f".list-plans tbody tr:nth-child({place})")).to_contain_text("Wool")
    phone.open(code_of(device))
    expect(phone.page.locator(".plan").first).to_contain_text("Wool")
    expect(phone.page.locator(".plan").first).to_contain_text("€2.80")


@journey("desk-sync", "an account, its key tested; synced, two channels added at once with plans: guests can buy both")
def sync(scene: Scene) -> None:
    from devices.models import Device

    site, desk = scene.site, scene.desk()
    site.shelly_server.call(lambda: site.shelly.add_account("pier-key", "pier"))
    names = ("Pier socket 1", "Pier socket 2", "Pier socket 3", "Pier socket 4")
    site.shelly_server.call(
        lambda: site.shelly.add_device("pier-key", "e2ef00000001", "SPSW-104PE16EU", channels=4, channel_names=names)
    )
    site.thing("Beside the pier")  # a location, for a run of this journey alone
    desk.open("/dashboard/accounts/")
    with desk.task("connecting a Shelly account", clicks=3):
        desk.tap("Add account")
        desk.asked("Add a Shelly account")
        desk.fill("Name", "Pier")
        desk.fill("Auth key", "pier-key")
        desk.tap("Test connection")
        expect(desk.page.locator("#verdict .t-ok")).to_be_visible()
        desk.tap("Save")
    desk.said("Pier is saved.")
    with desk.task("adding two channels with their plans", clicks=8):
        desk.tap("Sync from Shelly")
        desk.said("Shelly answered: 1 device with 4 channels")
        for name in names[:2]:
            desk.click(desk.page.get_by_label(re.compile(rf"^{name}\s*SPSW")))
            desk.choose(f"Plans of {name}", re.compile("EV"))
        if desk.page.locator("#location option", has_text="Pick one").count():
            desk.choose("Location", "Seaside Camping")
        desk.look("the channels of an account")
        desk.tap("Add the picked channels")
    desk.said("Added: Pier socket 1, Pier socket 2.")
    made = list(Device.objects.filter(account__name="Pier").order_by("channel"))
    scene.expect([one.name for one in made] == list(names[:2]), f"these were added: {made}")
    phone = scene.phone()
    for one in made:
        wait_for(Device.objects.filter(pk=one.pk, online=True, seen_at__isnull=False).exists, 30, f"{one} is read")
        phone.open(code_of(one))
        scene.expect(phone.page.locator(".plan").count() > 0, f"{one} has nothing to buy")


@journey("desk-labels", "a device's label as a PDF; a new code: the old label says that it was replaced", lane="look")
def labels(scene: Scene) -> None:
    device, desk, phone = scene.site.shown("Washer 23"), scene.desk(), scene.phone()
    old = code_of(device)
    desk.open(f"/dashboard/devices/{device.pk}/")
    with desk.task("printing a label", clicks=2):
        desk.tap("Print a label")
        name, pdf = desk.download("Make the PDF")
    scene.expect(name == "labels-washer-23.pdf", f"the file is called {name}")
    scene.expect(pdf.startswith(b"%PDF") and pdf.rstrip().endswith(b"%%EOF"), "that is no whole PDF")
    expect(desk.page.get_by_role("button", name="Make the PDF")).to_be_enabled()
    desk.open(f"/dashboard/devices/{device.pk}/")
    with desk.task("making a new code", clicks=2):
        desk.tap("New code")
        desk.asked("New code for Washer 23")
        desk.fill("Reason", "The label was torn off.")
        desk.tap("Make a new code")
    desk.said("Washer 23 has the code")
    phone.open(old)
    phone.reads("This label was replaced")
    phone.open(code_of(device))
    phone.sees("Free now")
