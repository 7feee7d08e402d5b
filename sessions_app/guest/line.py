"""The pages of a guest who waits in line: the place, the turn, and what became of it. The token is the permission."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Exists, OuterRef, Subquery
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import ngettext, pgettext

from devices.models import Device, DeviceCode, UsagePlan
from sessions_app import selling
from sessions_app.guest import cookie, scan, words
from sessions_app.guest.scan import Scanned
from sessions_app.guest.shapes import (
    Act,
    AddressForm,
    Chip,
    Line,
    Ring,
    ScanPage,
    SessionPage,
    countdown_ring,
    milliseconds,
)
from sessions_app.guest.visit import hashed, version
from sessions_app.mail import services as mail
from sessions_app.queue import line, rules
from sessions_app.queue.models import Place, QueueEntry
from sessions_app.queue.services import SELLABLE, WAITED_FOR
from sessions_app.selling import Availability

SOON = timedelta(seconds=30)
"""So close to its turn, a page asks every other second."""


@dataclass(frozen=True)
class Waiter:
    """An entry as its page shows it. ``turn_at`` is a guess, null where nothing is known."""

    entry: QueueEntry
    now: datetime
    token: str
    code: str
    found: Availability
    before: int = 0
    turn_at: datetime | None = None
    told_of_turn: bool = False
    """Somebody who has this link is to be written to when it is the turn."""

    @property
    def device(self) -> Device:
        return self.entry.device

    @property
    def scanned(self) -> Scanned:
        return Scanned(device=self.device, code=self.code, now=self.now, until=self.found.until)

    @property
    def names(self) -> dict[str, str]:
        return {"device": self.device.name}

    @property
    def may_choose(self) -> bool:
        return self.entry.place == Place.OFFERED and self.found.is_free_for(self.entry)

    def url(self, step: str = "") -> str:
        return f"/line/{self.token}/{step}/" if step else f"/line/{self.token}/"

    @property
    def device_url(self) -> str:
        return f"/d/{self.code}/" if self.code else self.url()

    def at(self, moment: datetime | None) -> str:
        return words.at(moment, self.device.location.timezone, self.now) if moment else ""


def find(token: str, *, now: datetime) -> Waiter | None:
    """The place in line that this link opens, or None."""
    code = DeviceCode.objects.filter(device=OuterRef("device"), retired_at=None).values("code")[:1]
    rows = line.with_token(token).select_related("device__location", "device__account", "session")
    asked = mail.waiting(mail.of_turn(OuterRef("pk")))
    entry = rows.annotate(code=Subquery(code), told_of_turn=Exists(asked)).first()
    if entry is None:
        return None
    found = selling.availability(entry.device, now)
    waiter = Waiter(entry, now, token, entry.code or "", found, told_of_turn=entry.told_of_turn)
    return _placed(waiter) if entry.place == Place.WAITING else waiter


def _placed(waiter: Waiter) -> Waiter:
    before, found = line.before(waiter.entry), waiter.found
    if found.kind not in (*WAITED_FOR, *SELLABLE):
        return replace(waiter, before=before)
    spans = [plan.duration_s + plan.grace_s for plan in waiter.device.plans.filter(active=True)] if before else []
    turn_at = rules.turn_at(
        busy=found.kind == "busy", ends_at=found.until, before=before, each_s=rules.usual_s(spans), now=waiter.now
    )
    return replace(waiter, before=before, turn_at=turn_at)


def own_place(request: HttpRequest, device: Device) -> str | None:
    """The token of this phone's place in the device's line; what it remembers opens nothing that its links do not."""
    hashes = {hashed(token): token for token in cookie.tokens(request)}
    if not hashes:
        return None
    found = line.in_line(device.pk).filter(token_hash__in=hashes).values_list("token_hash", flat=True).first()
    return None if found is None else hashes[found]


# -- the pages


def page(waiter: Waiter) -> SessionPage:
    entry = waiter.entry
    if entry.place == Place.WAITING:
        made = waiting(waiter)
    elif entry.place == Place.OFFERED:
        made = your_turn(waiter) if entry.offer_ends_at and entry.offer_ends_at > waiter.now else a_moment()
    else:
        made = gone(waiter)
    return complete(waiter.device, made, waiter.now, waiter.before, entry.offer_ends_at)


def complete(device: Device, made: SessionPage, now: datetime, *seen: object) -> SessionPage:
    made = replace(made, name=device.name, place=device.place, timezone=device.location.timezone)
    made = replace(made, title=made.title or made.headline.rstrip("."))
    still = replace(made, ring=replace(made.ring, clock="", percent=0) if made.ring else None, pace="")
    return replace(made, version=version((*seen, still)), now_ms=milliseconds(now))


def waiting(waiter: Waiter) -> SessionPage:
    place = waiter.before + 1
    known = {"time": waiter.at(waiter.turn_at), "place": ordinal(place), **waiter.names}
    headline = _("Your turn at about %(time)s") if waiter.turn_at else _("You are %(place)s in line")
    trouble = waiter.found.kind not in (*WAITED_FOR, *SELLABLE)
    return SessionPage(
        state="queued",
        chip=Chip("people", _("In line")),
        money=Line(_("Waiting costs nothing."), _("You pay when it is your turn.")),
        headline=headline % known,
        title=_("%(place)s in line") % known,
        ring=Ring(look="place", icon="people", clock=ordinal(place), under=_("in line"), percent=_wait_left(waiter)),
        say=scan.reason(waiter.found.kind, waiter.scanned).say if trouble else "",
        text=_("You can close this page. Open the link again or scan the label to see your place."),
        note=Line("", kept_for_so_long(waiter.device), "check"),
        acts=(_leave(waiter),),
        ask=ask(waiter),
        status=_("You are %(place)s in line.") % known,
        offline=_("You keep your place in line."),
        pace="fast" if place == 1 and waiter.turn_at is not None and waiter.turn_at - waiter.now < SOON else "slow",
    )


def ask(waiter: Waiter) -> AddressForm | None:
    """*Write to me when it is my turn*, where mail can be sent; once asked for, that it will be."""
    if waiter.entry.place != Place.WAITING or not mail.can_ask():
        return None
    return turn_form(waiter, said=_("You get an e-mail when it is your turn.") if waiter.told_of_turn else "")


def turn_form(waiter: Waiter, *, wrong: str = "", said: str = "") -> AddressForm:
    return AddressForm(
        url=waiter.url("tell"),
        label=_("Write to me when it is my turn"),
        note=_("By e-mail. Used for this one message, then deleted."),
        button=_("Write to me"),
        wrong=wrong,
        said=said,
    )


def kept_for_so_long(device: Device) -> str:
    facts = {"device": device.name, "time": words.span(int(settings.NUMBERS.queue_offer_s))}
    return _("When it is your turn we keep %(device)s for you for %(time)s.") % facts


def _wait_left(waiter: Waiter) -> float:
    """The share of the expected wait that is left, in percent; without a guess there is none."""
    if waiter.turn_at is None:
        return 0
    whole = waiter.turn_at - waiter.entry.joined_at
    return min(100.0, 100 * max(timedelta(0), waiter.turn_at - waiter.now) / whole) if whole else 0


def _leave(waiter: Waiter) -> Act:
    return Act(_("Leave the line"), waiter.url("leave"), "text", post=True)


def your_turn(waiter: Waiter) -> SessionPage:
    """The device is kept for the guest. Where it cannot be sold just now, the page says why."""
    entry, ends_at = waiter.entry, waiter.entry.offer_ends_at or waiter.now
    more = words.span(int(settings.NUMBERS.queue_offer_s))
    longer = Act(_("I need %(time)s more") % {"time": more}, waiter.url("longer"), "line", post=True)
    choose = Act(_("Choose a programme"), waiter.url("choose"))
    why = "" if waiter.may_choose else scan.reason(waiter.found.kind, waiter.scanned).say
    return SessionPage(
        state="queued",
        chip=Chip("check", _("Your turn")),
        money=Line(_("Nothing is charged yet.")),
        headline=_("%(device)s is kept for you") % waiter.names,
        ring=countdown_ring(
            icon="lock",
            under=_("to choose and pay"),
            ends_at=ends_at,
            total=ends_at - (entry.offered_at or waiter.now),
            now=waiter.now,
        ),
        say=why,
        text=_("If it cannot be sold by %(time)s, you stay first in line.") % {"time": waiter.at(ends_at)}
        if why
        else "",
        acts=(
            *(() if why else (choose,)),
            *(() if entry.prolonged or why else (longer,)),
            _leave(waiter),
        ),
        under_acts="" if why else _("After that the next person in line gets it."),
        status=_("Your turn. %(device)s is kept for you until %(time)s.")
        % {**waiter.names, "time": waiter.at(ends_at)},
        offline=_("%(device)s is kept for you until %(time)s.") % {**waiter.names, "time": waiter.at(ends_at)},
    )


def choosing(waiter: Waiter, plans: Sequence[UsagePlan]) -> ScanPage:
    """The plans of the device that is kept; it looks like any free device's page, and says until when."""
    until = {"time": waiter.at(waiter.entry.offer_ends_at)}
    return replace(
        scan.for_sale(waiter.scanned, plans),
        chip=Chip("lock", _("Kept for you")),
        money=Line(_("Nothing is charged yet.")),
        say=_("Kept for you until %(time)s.") % until,
    )


def a_moment() -> SessionPage:
    """The offer is over, and nobody has written down yet what follows."""
    return SessionPage(
        state="queued",
        chip=Chip("clock", _("In line")),
        answer=_("Nothing was charged."),
        headline=_("The time to choose is over"),
        text=_("This page shows what follows in a moment."),
        status=_("The time to choose is over."),
        pace="fast",
    )


def gone(waiter: Waiter) -> SessionPage:
    lapsed = waiter.entry.place == Place.LAPSED
    facts = {**waiter.names, "time": waiter.at(waiter.entry.offer_ends_at)}
    answer = _("Nothing was charged.")
    if lapsed:
        answer = _("%(device)s was kept for you until %(time)s. Nothing was charged.") % facts
    headline = _("Your time to choose ran out") if lapsed else _("You left the line")
    return SessionPage(
        state="left",
        chip=Chip("cut", _("Not in line")),
        answer=answer,
        headline=headline,
        text=_("If %(device)s is in use, you can wait in line again.") % waiter.names,
        acts=(Act(_("Go to %(device)s") % waiter.names, waiter.device_url),),
        status=headline,
        pace="never",
    )


def too_many(device: Device, wait_s: int, code: str, now: datetime) -> SessionPage:
    """Many places were taken from one address: the next has to wait."""
    facts = {"device": device.name, "wait": words.about(timedelta(seconds=wait_s))}
    return complete(
        device,
        SessionPage(
            state="left",
            chip=Chip("clock", _("Please wait")),
            headline=_("Too many places taken from here"),
            answer=_("You can wait for %(device)s again in about %(wait)s. Nothing was charged.") % facts,
            text=_("Your phone, or others on the same network, joined this line several times."),
            acts=(Act(_("Go to %(device)s") % facts, f"/d/{code}/"),),
            pace="never",
        ),
        now,
    )


def ordinal(place: int) -> str:
    first_three = {
        1: pgettext("place in line", "1st"),
        2: pgettext("place in line", "2nd"),
        3: pgettext("place in line", "3rd"),
    }
    return first_three.get(place) or pgettext("place in line", "%(n)sth") % {"n": place}


def with_wait(page: ScanPage, scanned: Scanned, ahead: int) -> ScanPage:
    """The page of a device that is in use, with the offer to wait in line for it; one filled button all the same."""
    if ahead >= rules.MOST_IN_LINE:
        text = _("The line is full. Look again later; nothing is charged for waiting.")
        return replace(page, heading=_before_you(ahead), text=text, version=version((page.version, "full")))
    first, *others = page.acts
    wait = Act(_("Wait in line"), f"{scanned.url}line/", "line" if others else "main", "people", post=True)
    acts = (first, wait, *others) if others else (wait, first)
    text = _("Waiting is free and needs no account. %(kept)s Leave any time.") % {
        "kept": kept_for_so_long(scanned.device)
    }
    heading = _before_you(ahead) if ahead else page.heading
    return replace(page, heading=heading, text=text, acts=acts, version=version((page.version, ahead)))


def _before_you(ahead: int) -> str:
    said = ngettext("%(count)s person waits before you", "%(count)s people wait before you", ahead)
    return said % {"count": ahead}
