"""What a guest can do beside using the machine: report a problem, keep the receipt, put the end in a calendar."""

from __future__ import annotations

import re

from tests.e2e.catalogue import CAPTURED, ended, ran
from tests.e2e.registry import journey
from tests.e2e.scene import Scene


@journey(
    "report", "a problem in one tap: a reference, a note, and the operator's answer under the same link", lane="look"
)
def report(scene: Scene) -> None:
    from hygate.models import User
    from sessions_app.models import ProblemReport
    from sessions_app.problems import services

    phone = scene.phone()
    phone.open(scene.site.staged("running", pay=CAPTURED, **ran(24)))
    phone.tap("Report a problem")
    phone.tap(re.compile("The machine itself is faulty"))
    phone.sees("Your reference")
    link = phone.url
    phone.page.get_by_label("Anything to add?").fill("It leaks at the door.")
    told = ProblemReport.objects.get(reference=link.rstrip("/").rsplit("/", 1)[-1])
    staff, _ = User.objects.get_or_create(email="staff@example.com")
    services.see(told, staff)
    phone.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    phone.sees(re.compile("Seen by"))  # the page's news take away nothing that is being typed
    phone.tap("Add it")
    phone.sees("It leaks at the door.")
    services.answer(told, staff, "We come at once.")
    phone.open(link)
    phone.sees("We come at once.")
    phone.look("a report that was answered")


@journey("receipt", "receipt, its PDF, and the end of a running session for a calendar", lane="look")
def receipt(scene: Scene) -> None:
    phone = scene.phone(language="de-AT")
    running = scene.site.staged("running", pay=CAPTURED, **ran(24))
    calendar = phone.context.request.get(f"{scene.site.base_url}{running}done.ics")
    scene.expect(calendar.text().startswith("BEGIN:VCALENDAR"), "the calendar's file is none")
    phone.open(scene.site.staged("completed", pay={**CAPTURED, "charge_minor": 360}, **ended(60)))
    phone.tap("Beleg ansehen")
    phone.sees("Seaside Camping Ltd")
    phone.sees("0,60 €")
    with phone.page.expect_download() as saved:
        phone.tap("Als PDF sichern")
    scene.expect(saved.value.path().read_bytes().startswith(b"%PDF-"), "the receipt's PDF is none")
