"""The fifteen ways in which a purchase fails, a journey each on slow 4G: the page says first what became of the money.

Six ways not to buy and six ways to end badly are here; declined, abandoned, expired and not started are journeys of
``paying``, an extension that comes too late is one of ``more_time``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.e2e.catalogue import CAPTURED, code_of, ran
from tests.e2e.phone import Phone
from tests.e2e.registry import journey
from tests.e2e.scene import Scene
from tests.e2e.site import Site, Thing
from tests.stack.stack import wait_for

if TYPE_CHECKING:
    from devices.models import Device

A_MOMENT_MS = 1200
"""A web process may know the settings for a second."""

# -- not to be bought any more when the guest taps the button


@dataclass(frozen=True)
class Taken:
    """``spoil`` happens while the guest chooses; ``says`` is the sentence after the money's."""

    name: str
    what: str
    says: str
    spoil: Callable[[Site, Device], object]


def _change(**fields: object) -> Callable[[Site, Device], object]:
    return lambda _site, device: type(device).objects.filter(pk=device.pk).update(**fields)


def _serviced(_site: Site, device: Device) -> None:
    from hygate import clock

    _change(maintenance_since=clock.now())(_site, device)


def _used(site: Site, device: Device) -> None:
    site.staged("running", on=device, pay=CAPTURED, **ran(42))


def _withdrawn(_site: Site, device: Device) -> None:
    device.plans.update(active=False)


CANNOT_BUY = (
    Taken("not-online", "the relay does not answer", "Washer 1 does not answer us right now.", _change(online=False)),
    Taken("maintenance", "the device is being serviced", "We do not know yet when it is back.", _serviced),
    Taken("in-use", "somebody else was faster", "Free at about", _used),
    Taken("no-headroom", "sun and grid cannot carry it", "There is not enough power", _change(rated_w=9000)),
    Taken("no-plan", "no plan is left", "Nothing is sold on Washer 1", _withdrawn),
)


def _tap_too_late(scene: Scene, spoil: Callable[[Site, Device], object], says: str) -> None:
    """The page still offers it, the site does not any more: the tap buys nothing and is answered by the money first."""
    device, phone = scene.site.shown(), scene.phone(slow=True)
    phone.open(code_of(device))
    spoil(scene.site, device)
    phone.tap(re.compile("^Pay €2.50 and start"))
    phone.reads("Nothing was charged.")
    phone.sees(says)
    phone.look(says)
    scene.expect(phone.page.locator("#buy").count() == 0, "something is for sale all the same")
    scene.expect(not device.sessions.filter(state="held").exists(), "the tap kept the device all the same")
    phone.open(code_of(device))
    phone.reads("Nothing was charged.")


for _one in CANNOT_BUY:
    journey(_one.name, f"cannot buy: {_one.what}; nothing was charged", lane="look")(
        lambda scene, one=_one: _tap_too_late(scene, one.spoil, one.says)  # type: ignore[misc]
    )


@journey("switched-off", "cannot buy: the site sells nothing any more; nothing was charged", lane="alone")
def switched_off(scene: Scene) -> None:
    from hygate.models import SiteSettings

    pause = scene.phone()

    def switch_off(_site: Site, _device: Device) -> None:
        SiteSettings.objects.update(devices_enabled=False)
        pause.page.wait_for_timeout(A_MOMENT_MS)

    try:
        _tap_too_late(scene, switch_off, "Seaside Camping sells nothing here at the moment.")
    finally:
        SiteSettings.objects.update(devices_enabled=True)
    pause.page.wait_for_timeout(A_MOMENT_MS)
    pause.open(code_of(scene.site.shown()))
    pause.sees("Free now")


# -- paid, and it comes to nothing or not to all of it


@journey("late-payment", "a bank takes its time, and the device is gone meanwhile: all of the money goes back")
def late_payment(scene: Scene) -> None:
    from hygate import clock

    thing, phone = scene.site.thing(), scene.phone(slow=True)
    scene.choose(phone, thing)
    checkout = phone.url.rsplit("/", 1)[-1].split("?")[0]
    phone.tap("Pay later")
    phone.page.wait_for_url(f"{scene.site.base_url}/session/**")
    link = phone.url
    scene.site.hurry(link, hold_expires_at=clock.now())
    phone.until("expired", within_s=40)
    phone.reads("You were not charged")
    _change(maintenance_since=clock.now())(scene.site, thing.device)
    scene.site.stripe_control(f"checkout/{checkout}/async", succeed=True)
    wait_for(lambda: ("refunded", 360) in scene.site.money(link), 30, "the payment that came too late is paid back")
    phone.open(link)
    wait_for(lambda: _says_again(phone, "€3.60 was paid back to you"), 20, "the page says that it was paid back")
    phone.sees("Your payment came after the hold had run out.")
    phone.look("late payment")


@journey("no-power", "paid, and no power comes in time: not charged, and the hold on the card is let go")
def no_power(scene: Scene) -> None:
    thing, phone = scene.site.thing(), scene.phone(slow=True)
    link = scene.buy(phone, thing)
    _change(rated_w=9000)(scene.site, thing.device)
    phone.tap("Start now")
    phone.until("waiting_for_power")
    phone.reads("€3.60 is reserved, not charged.")
    _over(scene, phone, link)
    phone.sees("The site had no power to give to Washer 1 in time.")
    phone.reads("You were not charged")
    wait_for(lambda: ("voided", 360) in scene.site.money(link), 20, "the hold on the card is let go")
    phone.look("no power in time")


@journey("interrupted", "the relay goes off for good: what was not delivered is on its way back, and arrives")
def interrupted(scene: Scene) -> None:
    from sessions_app.models import DeviceSession

    thing, phone = scene.site.thing(), scene.phone(slow=True)
    link = scene.run(phone, thing)
    # it was switched on again as often as the rule allows
    DeviceSession.objects.filter(pk=scene.site.session_of(link).pk).update(re_ons=2)
    scene.site.shelly_control(f"devices/{thing.shelly_id}", press=0)
    _over(scene, phone, link)
    phone.until("interrupted")
    scene.expect(_reads_back(phone), f"the first sentence is {phone.first_words()!r}")
    phone.sees("Washer 1 lost power at")
    wait_for(lambda: _says_again(phone, r"€3\.\d\d was paid back to you"), 30, "the page says that it was paid back")
    phone.look("interrupted")


@journey("refund-failed", "the bank does not take the refund: we still owe it, the page says so, somebody sees to it")
def refund_failed(scene: Scene) -> None:
    thing, phone = scene.site.thing(), scene.phone(slow=True)
    link = _stopped(scene, phone, thing)
    wait_for(lambda: _says_again(phone, r"€3\.\d\d was paid back to you"), 30, "the page says that it was paid back")
    refund = scene.site.session_of(link).payments.get().refunds.get()
    scene.site.stripe_control(f"refunds/{refund.stripe_id}", status="failed")
    wait_for(lambda: _says_again(phone, r"We still owe you €3\.\d\d"), 30, "the page says that it is still owed")
    phone.sees("The refund did not go through. The people here have been told and see to it.")
    phone.look("a refund that failed")


def _stopped(scene: Scene, phone: Phone, thing: Thing) -> str:
    link = scene.run(phone, thing)
    phone.tap("Stop early")
    phone.tap(re.compile("Stop now"))
    phone.until("stopped")
    return link


def _over(scene: Scene, phone: Phone, link: str) -> None:
    """Until the session is over; the page at rest would say so within half a minute, opened anew it says so at once."""
    wait_for(lambda: scene.site.session_of(link).state in ("completed", "cancelled"), 40, "the session is over")
    phone.page.reload()


def _reads_back(phone: Phone) -> bool:
    return bool(re.match(r"€3\.\d\d (is on its way back|was paid back) to you", phone.first_words()))


def _says_again(phone: Phone, first: str) -> bool:
    """What the page says first when it is opened anew; a page that is at rest asks only every so often."""
    phone.page.reload()
    return bool(re.match(first, phone.first_words()))
