"""The whole way: from the label to the receipt, in English, in German, without a script."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from tests.e2e.registry import journey
from tests.e2e.scene import Scene
from tests.stack.stack import wait_for


@journey("buy", "scan, pay, grace, start now, running, stop early, refund, receipt; on slow 4G")
def buy(scene: Scene) -> None:
    thing, phone = scene.site.thing(), scene.phone(slow=True)
    phone.open(f"/d/{thing.code}/")
    phone.sees("Free now")
    phone.look("the label's page")
    link = scene.buy(phone, thing)
    phone.reads("€3.60 is reserved, not charged.")
    phone.look("the grace period")
    phone.tap("Start now")
    phone.until("running")
    phone.reads("€3.60")
    expect(phone.page.get_by_role("timer")).to_contain_text(re.compile(r"^(59|60):\d\d$"))
    phone.look("running")
    phone.tap("Stop early")
    phone.sees(re.compile(r"You get €3\.\d\d back if you stop now"))
    phone.look("the question before stopping")
    phone.tap(re.compile("Stop now, get €3"))
    phone.until("stopped")
    phone.sees(re.compile(r"€3\.\d\d (is on its way back|was paid back) to you"))
    wait_for(lambda: ("refunded", 360) in scene.site.money(link) or _part(scene, link), 20, "the refund reaches Stripe")
    phone.page.reload()
    phone.sees(re.compile(r"€3\.\d\d was paid back to you"), within_s=20)
    phone.look("stopped early")
    phone.tap("See your receipt")
    phone.sees("Seaside Camping Ltd")
    phone.look("the receipt")


def _part(scene: Scene, link: str) -> bool:
    """Minutes that were used are kept: captured whole, most of it paid back."""
    kinds = [kind for kind, _amount in scene.site.money(link)]
    return kinds[:2] == ["authorized", "captured"] and "refunded" in kinds


@journey("german", "a phone that speaks German buys in German, and switches to Dutch")
def german(scene: Scene) -> None:
    thing, phone = scene.site.thing("Waschmaschine 1"), scene.phone(language="de-AT")
    phone.open(f"/d/{thing.code}/")
    expect(phone.page.locator("html")).to_have_attribute("lang", "de")
    phone.sees("Jetzt frei")
    scene.choose(phone, thing)
    phone.tap(re.compile("^Pay"))
    phone.until("grace")
    phone.reads("3,60 € sind reserviert, nicht abgebucht.")
    phone.page.locator(".lang summary").click()
    phone.look("the open list of languages")
    phone.tap("Nederlands")
    expect(phone.page.locator("html")).to_have_attribute("lang", "nl")
    phone.reads("€ 3,60 is gereserveerd, niet afgeschreven.")
    phone.tap("Nu starten")
    phone.until("running")
    phone.open(f"/d/{thing.code}/")
    phone.until("running")
    phone.sees("Eerder stoppen")


@journey("no-script", "without JavaScript: buy, start, see it run, stop, read what comes back")
def no_script(scene: Scene) -> None:
    thing, phone = scene.site.thing(), scene.phone(scripts=False)
    scene.choose(phone, thing, plan="Quick")
    phone.tap(re.compile("^Pay €2.50"))
    phone.page.wait_for_url(f"{scene.site.base_url}/session/**")
    phone.until("grace", within_s=40)
    phone.tap("Start now")
    phone.until("running", within_s=60)
    phone.tap("Stop early")
    phone.tap(re.compile("Stop now"))
    phone.until("stopped", within_s=60)
    phone.sees("to you")
