"""The hosted payment page and every way back from it; nothing is paid twice."""

from __future__ import annotations

import re

from tests.e2e.phone import Phone
from tests.e2e.registry import journey
from tests.e2e.scene import Scene
from tests.stack.stack import wait_for


@journey("declined", "the card is declined: nothing charged yet; another is good: one order, one session")
def declined(scene: Scene) -> None:
    thing, phone = scene.site.thing(), scene.phone(slow=True)
    scene.choose(phone, thing)
    phone.tap("Decline card")
    phone.sees("Your card was declined")
    phone.tap("Abandon")
    phone.reads("Nothing is charged yet.")
    phone.tap("Continue to pay €3.60")
    phone.tap(re.compile("^Pay €"))
    phone.until("grace")
    scene.expect(scene.site.money(phone.page.url) == [("authorized", 360)], "a declined card left money behind")


@journey("3-d-secure", "the bank asks in between, and the link comes through it")
def three_d_secure(scene: Scene) -> None:
    thing, phone = scene.site.thing(), scene.phone()
    scene.choose(phone, thing)
    phone.tap("Pay, the bank asks first")
    phone.sees("is it you?")
    phone.tap("It is not me")
    phone.sees("Your card was declined")
    phone.tap("Pay, the bank asks first")
    phone.tap("It is me, pay")
    phone.until("grace")
    scene.expect(len(scene.site.money(phone.page.url)) == 1, "the bank's question doubled the payment")


@journey("abandoned", "left without paying: kept for a while, said so, given up for nothing")
def abandoned(scene: Scene) -> None:
    thing, phone = scene.site.thing(), scene.phone(slow=True)
    scene.choose(phone, thing)
    phone.tap("Abandon")
    phone.page.wait_for_url(f"{scene.site.base_url}/**")
    phone.reads("Nothing is charged yet.")
    phone.sees("Kept for you until")
    phone.look("kept for the guest")
    phone.tap("Continue to pay €3.60")
    phone.page.wait_for_url(f"{scene.site.stripe_server.url}/**")
    phone.tap("Abandon")
    phone.tap("Cancel and pay nothing")
    phone.reads("Cancelled. You pay nothing.")
    phone.look("cancelled")


@journey("expired", "the hold runs out while the guest looks for a card: nothing is charged, and it says so")
def expired(scene: Scene) -> None:
    from hygate import clock

    thing, phone = scene.site.thing(), scene.phone(slow=True)
    scene.choose(phone, thing)
    checkout = phone.page.url
    phone.tap("Abandon")
    phone.page.wait_for_url(f"{scene.site.base_url}/**")
    link = _link(phone)
    scene.site.hurry(link, hold_expires_at=clock.now())
    phone.open(link)
    phone.sees("You were not charged", within_s=30)
    phone.until("expired")
    phone.reads("You were not charged")
    phone.look("the hold ran out")
    phone.open(checkout)
    phone.sees("expired")
    scene.expect(scene.site.money(link) == [], "an expired page moved money")


@journey("back-button", "back, reload and a second tap never pay twice")
def back_button(scene: Scene) -> None:
    thing, phone = scene.site.thing(), scene.phone()
    link = scene.buy(phone, thing)
    phone.page.go_back()
    phone.page.wait_for_load_state()
    phone.open(f"/d/{thing.code}/")
    phone.until("grace")
    for _ in range(3):
        phone.page.go_back(wait_until="load")
    buttons = phone.page.locator("#buy button.btn-main")
    if buttons.count():
        buttons.click()
        phone.page.wait_for_load_state()
    phone.open(link)
    phone.until("grace")
    phone.page.reload()
    scene.expect(scene.site.money(link) == [("authorized", 360)], "going back paid again")
    sessions = scene.site.session_of(link).device.sessions.count()
    scene.expect(sessions == 1, f"going back made {sessions} sessions")


@journey("double-tap", "two quick taps on the button are one order")
def double_tap(scene: Scene) -> None:
    thing, phone = scene.site.thing(), scene.phone()
    phone.open(f"/d/{thing.code}/")
    phone.page.locator("#buy button.btn-main").dblclick(delay=20)
    phone.page.wait_for_url(f"{scene.site.stripe_server.url}/**")
    phone.tap(re.compile("^Pay €"))
    phone.until("grace")
    scene.expect(thing.device.sessions.count() == 1, "two taps made two sessions")


@journey("two-tabs", "two tabs of one phone: the second is led to what the first bought")
def two_tabs(scene: Scene) -> None:
    thing, phone = scene.site.thing(), scene.phone()
    phone.open(f"/d/{thing.code}/")
    first = phone.page
    second = phone.tab()
    phone.open(f"/d/{thing.code}/")
    first.bring_to_front()
    phone.page = first
    link = scene.buy(phone, thing)
    second.bring_to_front()
    phone.page = second
    second.locator("#buy button.btn-main").or_(second.locator("main[data-state=grace]")).first.wait_for()
    if second.locator("#buy button.btn-main").count():
        second.locator("#buy button.btn-main").click()
    phone.until("grace")
    scene.expect(second.url == link, "the second tab leads elsewhere")
    scene.expect(thing.device.sessions.count() == 1, "the second tab bought again")


@journey("start-failed", "the relay never answers: no charge, and the hold on the card is let go")
def start_failed(scene: Scene) -> None:
    thing, phone = scene.site.thing(), scene.phone(slow=True)
    link = scene.buy(phone, thing)
    silent = {"on": "switch_on", "match": thing.shelly_id, "do": "drop", "times": -1}
    scene.site.shelly_server.call(lambda: scene.site.shelly.faults.add(silent))
    phone.tap("Start now")
    phone.until("starting")
    phone.look("switching on")
    phone.until("start_failed", within_s=60)
    phone.reads("You were not charged")
    phone.look("did not start")
    wait_for(lambda: ("voided", 360) in scene.site.money(link), 20, "the hold on the card is let go")


def _link(phone: Phone) -> str:
    """The session's address, from the form that gives the hold up."""
    action = phone.page.locator("form[action$='/cancel/']").get_attribute("action") or ""
    return phone.base_url + action.removesuffix("cancel/")
