"""What a scanned label shows: plans to pay for, why nothing can be bought, or the way back to one's own session."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from django.utils.translation import gettext as _

from devices.models import Device, UsagePlan
from sessions_app.guest import reasons, words
from sessions_app.guest.reasons import Spoken
from sessions_app.guest.shapes import Act, Chip, Line, Other, PlanChoice, ScanPage, device_kind
from sessions_app.guest.visit import version
from sessions_app.models import Payment

FREE = "free"


@dataclass(frozen=True)
class Scanned:
    """A device as its label's reader meets it. ``until`` is when it can be bought again, where that is known."""

    device: Device
    code: str
    now: datetime
    until: datetime | None = None

    @property
    def url(self) -> str:
        return f"/d/{self.code}/"

    @property
    def names(self) -> dict[str, str]:
        return {"device": self.device.name, "company": self.device.location.name}

    def at(self, moment: datetime) -> str:
        return words.at(moment, self.device.location.timezone, self.now)

    def page(self, *, state: str, chip: Chip, title: str = "", seen: Sequence[object] = ()) -> ScanPage:
        return ScanPage(
            state=state,
            chip=chip,
            name=self.device.name,
            place=self.device.place,
            kind=device_kind(self.device),
            label=words.label(self.code),
            timezone=self.device.location.timezone,
            version=version((state, self.until, *seen)),
            title=title or self.device.name,
        )


def for_sale(scanned: Scanned, plans: Sequence[UsagePlan]) -> ScanPage:
    page = scanned.page(
        state=FREE,
        chip=Chip("check", _("Free now")),
        seen=[(plan.pk, plan.price_minor, plan.duration_s, plan.grace_s) for plan in plans],
    )
    same_grace = len({plan.grace_s for plan in plans}) == 1
    return replace(
        page,
        plans=tuple(choice(scanned, plan, same_grace, checked=plan is plans[0]) for plan in plans),
        points=points(scanned, plans, same_grace),
        pay_note=pay_note(plans),
    )


def choice(scanned: Scanned, plan: UsagePlan, same_grace: bool, *, checked: bool) -> PlanChoice:
    price = words.money(plan.price_minor, scanned.device.location.currency)
    described = [plan.description] if plan.description else []
    if not same_grace and plan.grace_s:
        described.append(str(device_kind(scanned.device).ready.offer) % {"time": words.span(plan.grace_s)})
    return PlanChoice(
        id=plan.pk,
        title=words.programme(plan.name, plan.duration_s),
        description=" · ".join(described).rstrip("."),
        price=price,
        pay=_("Pay %(price)s and start") % {"price": price},
        checked=checked,
    )


def points(scanned: Scanned, plans: Sequence[UsagePlan], same_grace: bool) -> tuple[Line, ...]:
    ready, grace_s = device_kind(scanned.device).ready, plans[0].grace_s
    power = Line(_("Power comes at once,"), _("as soon as the payment is through."), "bolt")
    if not same_grace:
        power = Line(_("Time to get ready first."), _("Power comes then, or as soon as you say so."), ready.icon)
    elif grace_s:
        lead = str(ready.offer) % {"time": words.span(grace_s)}
        power = Line(lead, _("Power comes then, or as soon as you say so."), ready.icon)
    promise = _("If %(device)s does not start, you pay nothing.") % scanned.names
    given_back = Line(_("Minutes you do not get"), _("are paid back."), "back")
    if not all(plan.refund_unused for plan in plans):
        given_back = Line(_("Minutes we do not deliver"), _("are paid back."), "back")
    return (power, Line(_("No power, no charge."), promise, "card"), given_back)


def pay_note(plans: Sequence[UsagePlan]) -> str:
    cards = _("Card, Apple Pay, Google Pay")
    return f"{_('VAT included')} · {cards}" if any(plan.vat_rate_bp for plan in plans) else cards


def yours(scanned: Scanned, order: Payment, session_url: str, held_until: datetime) -> ScanPage:
    """The reader's own hold: to be paid or given up, never "in use"."""
    price = words.money(order.amount_minor, order.currency)
    pay = _("Continue to pay %(price)s") % {"price": price}
    page = scanned.page(
        state="held",
        chip=Chip("card", _("Kept for you")),
        title=_("%(device)s is kept for you") % scanned.names,
        seen=(order.pk, order.checkout_url),
    )
    return replace(
        page,
        money=Line(_("Nothing is charged yet.")),
        say=_("Kept for you until %(time)s.") % {"time": scanned.at(held_until)},
        heading=words.programme(order.plan_name, order.duration_s),
        text=_("Nobody else can take %(device)s until then.") % scanned.names,
        acts=(
            Act(pay, order.checkout_url) if order.checkout_url else Act(pay, f"{session_url}pay/", post=True),
            Act(_("Cancel and pay nothing"), f"{session_url}cancel/", "text", post=True),
        ),
    )


# -- not now: each reason with its own sentence


def reason(kind: str, scanned: Scanned) -> Spoken:
    return reasons.reason(kind, scanned.names, scanned.device.maintenance_text)


def when(kind: str, scanned: Scanned) -> str:
    if scanned.until is None or scanned.until <= scanned.now:
        return ""
    facts = {"time": scanned.at(scanned.until), "wait": words.about(scanned.until - scanned.now)}
    if kind == "busy":
        return _("Free at about %(time)s, in %(wait)s.") % facts
    if kind == "kept":
        return _("Kept until %(time)s for a guest who waited in line.") % facts
    if kind == "no_power":
        return _("Power expected at about %(time)s.") % facts
    return _("Back at about %(time)s.") % facts


def retired(scanned: Scanned) -> ScanPage:
    """The label says only that it was replaced: not what hangs where."""
    page = scanned.page(state="retired", chip=Chip("label", _("Old label")), title=_("This label was replaced"))
    return replace(
        page,
        name="",
        heading=_("This label was replaced"),
        text=_("You have not paid anything, and nothing can be bought with it."),
        points=(
            Line(_("Look for the newer label"), _("on the machine and scan that one."), "check"),
            Line(_("Only trust pages"), _("that name the machine in front of you."), "lock"),
        ),
    )


def cannot_buy(kind: str, scanned: Scanned, others: Sequence[Other] = ()) -> ScanPage:
    why = reason(kind, scanned)
    free = next((other for other in others if other.icon == "check"), None)
    look = Act(_("Look again"), scanned.url, "line")
    use = Act(_("Use %(device)s, free now") % {"device": free.name}, free.url) if free else None
    page = scanned.page(
        state=why.state,
        chip=Chip(why.icon, why.word),
        title=f"{why.word} · {scanned.device.name}",
        seen=(kind, why.heading, when(kind, scanned), *(other.sentence for other in others)),
    )
    return replace(
        page,
        money=Line(_("Nothing was charged.")),
        say=when(kind, scanned) or why.say,
        heading=why.heading,
        text=why.text,
        acts=(use, look) if use else (look,),
        others=tuple(others),
        others_heading=str(device_kind(scanned.device).others),
    )


def other(kind: str, scanned: Scanned) -> Other:
    """A row about another machine of the same kind."""
    sentence = _("Free now") if kind == FREE else when(kind, scanned).rstrip(".") or reason(kind, scanned).word
    words_ = f"{scanned.device.place}. {sentence}" if scanned.device.place else sentence
    icon = "check" if kind == FREE else reason(kind, scanned).icon
    return Other(scanned.device.name, words_, icon, scanned.url)
