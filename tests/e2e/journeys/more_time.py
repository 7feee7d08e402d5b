"""More minutes for a session that is on, paid in time and paid too late; and a place in the line for a busy device."""

from __future__ import annotations

import re
from datetime import timedelta

from tests.e2e.phone import Phone
from tests.e2e.registry import journey
from tests.e2e.scene import Scene
from tests.stack.stack import wait_for


@journey("extend", "more time: chosen, paid, on until later, the relay's timer armed anew")
def extend(scene: Scene) -> None:
    thing, phone = scene.site.thing(), scene.phone()
    link = scene.run(phone, thing)
    before = scene.site.session_of(link).ends_at
    assert before is not None
    _choose_more(scene, phone)
    phone.tap(re.compile("^Pay €2.50"))
    phone.page.wait_for_url(link)
    phone.sees("Extended by", within_s=30)
    phone.sees("€6.10 paid.", within_s=30)
    phone.reads("€6.10 paid.")
    phone.look("extended")
    after = scene.site.session_of(link).ends_at
    scene.expect(after == before + timedelta(minutes=30), f"{before} was to become half an hour later, not {after}")


@journey("extension-late", "more time is paid when the session is over: not charged for it, said before all else")
def extension_late(scene: Scene) -> None:
    from hygate import clock
    from sessions_app.models import DeviceSession

    thing, phone = scene.site.thing(), scene.phone(slow=True)
    link = scene.run(phone, thing)
    _choose_more(scene, phone)
    now = clock.now()
    # its hour is over, and the worker that ends it comes a moment later than the payment
    DeviceSession.objects.filter(pk=scene.site.session_of(link).pk).update(
        started_at=now - timedelta(hours=1), ends_at=now, due_at=now, claimed_until=now + timedelta(seconds=6)
    )
    phone.tap(re.compile("^Pay €2.50"))
    phone.page.wait_for_url(link)
    wait_for(lambda: ("voided", 250) in scene.site.money(link), 30, "the hold on the card for more time is let go")
    phone.until("completed", within_s=40)
    phone.reads("You were not charged €2.50: 30 min more came too late.")
    phone.look("more time that came too late")


@journey("line", "a place in line for a busy device: waits, is told its turn, chooses, pays; another leaves the line")
def line(scene: Scene) -> None:
    thing, first, second, third = scene.site.thing(), scene.phone(), scene.phone(), scene.phone()
    scene.run(first, thing)
    for phone in (second, third):
        phone.open(f"/d/{thing.code}/")
        phone.reads("Nothing was charged.")
        phone.tap("Wait in line")
        phone.reads("Waiting costs nothing.")
    third.sees("2nd")
    third.tap("Leave the line")
    third.sees("You left the line")
    third.sees("Nothing was charged.")
    third.look("left the line")
    first.tap("Stop early")
    first.tap(re.compile("Stop now"))
    first.until("stopped")
    second.sees("Your turn.", within_s=40)
    second.reads("Nothing is charged yet.")
    second.tap("Choose a programme")
    second.reads("Nothing is charged yet.")
    second.look("choosing at one's turn")
    second.tap(re.compile("^Pay €2.50 and start"))
    second.tap(re.compile("^Pay €"))
    second.until("grace")


def _choose_more(scene: Scene, phone: Phone) -> None:
    """Stand on the payment page of half an hour more."""
    phone.tap("Add time")
    phone.tap(re.compile("^Pay €2.50, add 30 min"))
    phone.page.wait_for_url(f"{scene.site.stripe_server.url}/**")
