"""An open page lasts: offline and back, a second phone, an end that is not missed."""

from __future__ import annotations

import re
import time

from playwright.sync_api import expect

from tests.e2e.phone import Phone
from tests.e2e.registry import journey
from tests.e2e.scene import Scene
from tests.e2e.site import Thing


@journey("offline", "the phone goes offline: a banner, the clock counts on, the buttons rest; and it comes back right")
def offline(scene: Scene) -> None:
    thing, phone = scene.site.thing(), scene.phone(language="de-DE")
    link = _running(scene, phone, thing)
    other = scene.phone()
    other.open(link)
    phone.context.set_offline(True)
    expect(phone.page.locator("#offline")).to_be_visible()
    phone.sees("Ihr Telefon ist offline.")
    expect(phone.page.locator("#offline time")).to_have_text(re.compile(r"^\d\d:\d\d$"))
    before = _left_s(phone)
    time.sleep(2.2)
    scene.expect(1 <= before - _left_s(phone) <= 4, "the clock does not count on while offline")
    phone.sees("braucht Ihr Telefon nicht")
    phone.look("offline")
    scene.picture(phone, "offline-de")
    other.tap("Stop early")
    other.tap(re.compile("Stop now"))
    phone.context.set_offline(False)
    phone.until("stopped")
    expect(phone.page.locator("#offline")).to_be_hidden()


@journey("two-phones", "a second phone with the link shows what the first one did as soon as it is looked at")
def two_phones(scene: Scene) -> None:
    thing, phone, friend = scene.site.thing(), scene.phone(), scene.phone(language="nl-NL")
    link = scene.buy(phone, thing)
    friend.open(link)
    friend.until("grace")
    phone.tap("Start now")
    phone.until("running")
    _look_at(friend)
    friend.until("running")
    friend.tap("Eerder stoppen")
    friend.tap(re.compile("Nu stoppen"))
    friend.until("stopped")
    _look_at(phone)
    phone.until("stopped")


@journey("end", "a short session ends on the second, and its page is there when it does")
def end(scene: Scene) -> None:
    short = {"name": "Try, 12 s", "duration_s": 12, "price_minor": 250, "grace_s": 0}
    thing, phone = scene.site.thing("Washer 2", plans=(short,)), scene.phone()
    phone.open(f"/d/{thing.code}/")
    phone.tap("Pay €2.50 and start")
    phone.tap(re.compile("^Pay €"))
    phone.until("running")
    phone.until("completed", within_s=40)
    phone.reads("€2.50 paid for 12 s.")
    phone.look("complete")


@journey("back-from-cache", "a page that comes back from the browser's memory shows what is, not what was")
def back_from_cache(scene: Scene) -> None:
    thing, phone = scene.site.thing(), scene.phone()
    link = scene.run(phone, thing)
    other = scene.phone()
    other.open(link)
    phone.tap("Stop early")
    other.tap("Stop early")
    other.tap(re.compile("Stop now"))
    other.until("stopped")
    phone.page.go_back()
    phone.until("stopped")
    phone.page.go_forward()
    phone.until("stopped")


def _running(scene: Scene, phone: Phone, thing: Thing) -> str:
    scene.choose(phone, thing)
    phone.tap(re.compile("^Pay"))
    phone.until("grace")
    phone.tap("Jetzt starten")
    phone.until("running")
    return phone.url


def _look_at(phone: Phone) -> None:
    """Somebody takes up a phone whose page was hidden: it asks at once, and need not wait for its next turn."""
    phone.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")


def _left_s(phone: Phone) -> int:
    minutes, seconds = phone.page.get_by_role("timer").inner_text().split(":")[-2:]
    return 60 * int(minutes) + int(seconds)
