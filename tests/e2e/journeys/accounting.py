"""The operator's day at the books and the settings: payments, reports, branding, the team, the audit log."""

from __future__ import annotations

import csv
import io
import re
from decimal import Decimal

from playwright.sync_api import expect

from tests.e2e.catalogue import CAPTURED, code_of, ended, ran
from tests.e2e.desk import Desk
from tests.e2e.journeys.states import BRANDS
from tests.e2e.registry import journey
from tests.e2e.scene import Scene

SUMS = {"Captured": "€10.80", "Refunded": "€1.44", "Kept": "€9.36"}
"""Of the three sales that ``_sell`` makes."""


def _sell(scene: Scene, place: str) -> None:
    """A place of its own with three sales, a part of one of them given back."""
    from devices.models import Location
    from hygate import clock

    where = Location.objects.create(name=place, timezone="Europe/Vienna")
    device = scene.site.shown("Shower 1", location=where)
    kept = {**CAPTURED, "captured_at": clock.now(), "charge_minor": 360, "method": "card"}
    part = {"charge_minor": 216, "refund_promised_minor": 144, "refunded_minor": 144, "status": "PARTIALLY_REFUNDED"}
    for pay in (kept, kept, {**kept, **part}):
        scene.site.staged_session("completed", on=device, pay=pay, **ended(60))


@journey("desk-payments", "payments of one place by status, one of them opened, its evidence as a PDF", lane="look")
def payments(scene: Scene) -> None:
    desk = scene.desk()
    _sell(scene, "Beach showers")
    desk.open("/dashboard/payments/")
    with desk.task("finding a payment that was partly paid back", clicks=4):
        desk.choose("Status", "Partially refunded")
        desk.choose("Location", "Beach showers")
        desk.tap("Apply")
        expect(desk.page.locator(".list tbody tr")).to_have_count(1)
        desk.look("filtered payments")
        desk.tap("Shower 1", within=".list")
    expect(desk.page.locator(".facts").first).to_contain_text("Refunded€1.44")
    with desk.task("its evidence", clicks=1):
        name, pdf = desk.download("Evidence (PDF)")
    scene.expect(name.endswith(".pdf") and pdf.startswith(b"%PDF"), f"{name} is no PDF")


@journey("desk-reports", "this week's report of a place: page, file and payments agree to the cent", lane="look")
def reports(scene: Scene) -> None:
    desk = scene.desk()
    _sell(scene, "Harbour showers")
    desk.open("/dashboard/reports/")
    with desk.task("a report of one place", clicks=2):
        desk.choose("Location", "Harbour showers")
        desk.tap("Show")
    sums = {name: desk.page.locator(f".sums div:has(dt:text-is('{name}')) dd").inner_text() for name in SUMS}
    scene.expect(sums == SUMS, f"the page says {sums}")
    desk.look("the report")
    name, text = desk.download("CSV", within="section[aria-labelledby^=revenue]")
    rows = list(csv.DictReader(io.StringIO(text.decode("utf-8-sig"))))
    for title, said in sums.items():
        total = sum((Decimal(row[title]) for row in rows), Decimal(0))
        scene.expect(f"€{total:.2f}" == said, f"{name} adds up to {total} {title}, the page says {said}")
    with desk.task("the payments behind it", clicks=1):
        desk.tap("list of payments")
    totals = desk.page.locator("section[aria-labelledby=totals]")
    for said in sums.values():
        expect(totals).to_contain_text(said)
    expect(totals).to_contain_text("Captured, 3 payments")


@journey("desk-branding", "a colour with its contrast, seen before it is saved; then guests see it", lane="look")
def branding(scene: Scene) -> None:
    from hygate.models import SiteSettings

    desk, phone = scene.desk(), scene.phone()
    before = SiteSettings.current().brand_color
    path = code_of(scene.site.shown("Washer 24"))
    try:
        desk.open("/dashboard/settings/branding/")
        with desk.task("a new colour", clicks=1):
            desk.fill("Colour", "#ffe08a")
            expect(desk.page.locator("#contrast")).to_contain_text("pale")
            desk.fill("Colour", "#7a1f5c")
            expect(desk.page.locator("#contrast")).to_contain_text("stands out")
            desk.fill("Line at the top", "Laundry open 7 to 22 h.")
            frame = desk.page.frame_locator("iframe[name=preview]")
            expect(frame.locator("body")).to_contain_text("Laundry open 7 to 22 h.")
            desk.look("branding with its preview")
            scene.expect(SiteSettings.current().brand_color == before, "the preview has saved the colour")
            desk.tap("Save")
        desk.said("Saved. Guests see it from now on.")
        phone.page.wait_for_timeout(1100)  # a web process may know the settings for a second
        phone.open(path)
        phone.sees("Laundry open 7 to 22 h.")
        button = phone.page.locator("#buy button.btn-main")
        expect(button).to_have_css("background-color", "rgb(122, 31, 92)")
    finally:
        SiteSettings.objects.update(brand_color=BRANDS["seaside"], header_text="")


@journey("desk-team", "a colleague is added, chooses a password, and gets neither settings nor audit", lane="look")
def team(scene: Scene) -> None:
    desk, colleague = scene.desk(), scene.stranger()
    with desk.task("adding a colleague", clicks=4):
        desk.open("/dashboard/team/")
        desk.tap("Add colleague")
        desk.asked("Add a colleague")
        desk.fill("E-mail address", "carla@example.com")
        desk.fill("Name", "Carla Conti")
        desk.click(desk.page.get_by_label("Mail an invitation"))
        desk.tap("Add")
        desk.asked("Password of Carla Conti")
        desk.look("the password that is shown once")
        given = desk.page.locator(".once").inner_text()
        desk.tap("Done")
    expect(desk.page.locator(".list-team")).to_contain_text("Carla Conti")
    colleague.login("carla@example.com", given)
    colleague.sees("The password that you were given was for once.")
    _choose_password(colleague, given, "a-boat-for-carla-7")
    colleague.open("/dashboard/")
    expect(colleague.page.get_by_role("heading", level=1)).to_have_text("Dashboard")
    menu = colleague.page.get_by_role("navigation", name="Main")
    for entry, count in (("Payments", 1), ("Settings", 0), ("Audit log", 0)):
        expect(menu.get_by_role("link", name=re.compile(f"^{entry}"))).to_have_count(count)
    for path in ("settings/", "settings/branding/", "accounts/", "team/", "audit/"):
        answer = colleague.page.goto(f"{scene.site.base_url}/dashboard/{path}")
        scene.expect(answer is not None and answer.status == 403, f"an operator opens {path}")
        colleague.sees("This page is for administrators")
    colleague.look("refused")
    _no_button_for_more(scene, colleague)


def _choose_password(colleague: Desk, given: str, own: str) -> None:
    boxes = colleague.page.locator("input[type=password]")
    for number, word in enumerate((given, own, own)):
        boxes.nth(number).fill(word)
    colleague.tap("Save the new password")


def _no_button_for_more(scene: Scene, colleague: Desk) -> None:
    """Stopping is an operator's work; ending by force, plans, codes and accounts are not."""
    session = scene.site.staged_session("running", pay=CAPTURED, **ran(10))
    colleague.open(f"/dashboard/sessions/{session.pk}/")
    expect(colleague.page.get_by_role("link", name="Stop", exact=True)).to_be_visible()
    for name in ("Force end", "Mark failed"):
        expect(colleague.page.get_by_role("link", name=name)).to_have_count(0)
    colleague.open(f"/dashboard/devices/{session.device_id}/")
    for name in ("Add plan", "New code"):
        expect(colleague.page.get_by_role("link", name=name)).to_have_count(0)
    expect(colleague.page.get_by_role("link", name="Maintenance")).to_be_visible()


@journey("desk-audit", "what the staff did, before and after, and the proof that nobody touched it", lane="look")
def audit(scene: Scene) -> None:
    desk, device = scene.desk(), scene.site.shown("Washer 25")
    desk.open(f"/dashboard/devices/{device.pk}/")
    desk.tap("Edit")
    desk.asked("Edit Washer 25")
    desk.fill("Place", "Behind the kitchen")
    desk.tap("Save")
    desk.said("Washer 25 is saved.")
    desk.tap(re.compile("^Audit log"))
    with desk.task("what the staff changed at one device", clicks=4):
        desk.choose("Who", "Any of the staff")
        desk.choose("Device", "Washer 25")
        desk.tap("Apply")
    expect(desk.page.locator(".list tbody tr")).to_have_count(1)
    expect(desk.page.locator(".changes")).to_contain_text("Laundry room, by the pool")
    expect(desk.page.locator(".changes ins")).to_have_text("Behind the kitchen")
    desk.look("the filtered log")
    with desk.task("the proof", clicks=1):
        desk.tap("Verify")
    expect(desk.page.locator("#verdict .t-ok")).to_contain_text(re.compile(r"Verified up to event [\d,]+"))
    desk.look("the proof")
