"""The first run: seven steps on one page. Each leads to the pages that exist for it; what they save is what counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef
from django.http import HttpRequest, HttpResponse, QueryDict
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from devices.models import Device, DeviceCode, Location, ShellyAccount, UsagePlan
from devices.templates import TEMPLATES, add_plans
from hygate.context import SITE
from hygate.models import SiteSettings
from hygate.roles import administrator_only
from sessions_app import setting_up
from sessions_app.dashboard import frame, live, offers
from sessions_app.dashboard.spelling import natural
from sessions_app.payments import keys
from sessions_app.setting_up import STEPS, Progress, Step

HERE = "setup"
SEEN = "hygate_setup_seen"
"""In the session of whoever was led here once: the first page is the Dashboard again from then on."""
TITLES: dict[Step, str] = {
    "company": "Company and location",
    "shelly": "Shelly account",
    "devices": "Pick the devices",
    "plans": "Plans and prices",
    "stripe": "Stripe",
    "labels": "Labels",
    "sale": "A test sale",
}


@dataclass(frozen=True)
class Link:
    """``dialog``: the page's form comes in the dialog."""

    url: str
    title: str
    icon: str
    dialog: bool = False
    new_tab: bool = False


@dataclass(frozen=True)
class Shown:
    """One step as the page shows it: what is there or what to do, and where."""

    key: Step
    number: int
    title: str
    done: bool
    now: bool
    text: str
    links: tuple[Link, ...] = ()


@require_safe
@administrator_only
def setup(request: HttpRequest) -> HttpResponse:
    return frame.page(request, "setup.html", _context(), here=HERE)


@require_safe
@administrator_only
def setup_live(request: HttpRequest) -> HttpResponse:
    """The steps alone, asked for while the page is open: nothing (204) while nothing is new."""
    return live.answer(request, "_setup.html", _context())


def _context() -> dict[str, Any]:
    progress = setting_up.progress(SiteSettings.current())
    steps = [_shown(step, progress) for step in STEPS]
    return {"progress": progress, "steps": steps, "mark": frame.mark((progress.closed, steps))}


def _shown(step: Step, progress: Progress) -> Shown:
    text, links = SAYS[step](step in progress.done)
    number = STEPS.index(step) + 1
    return Shown(step, number, TITLES[step], step in progress.done, step == progress.next, text, links)


def belongs_here(request: HttpRequest) -> bool:
    """Whether to lead there from the first page: an administrator, once in a login, on a site where nothing is yet."""
    site = request.META[SITE] = request.META.get(SITE) or SiteSettings.current()
    was_saved = not site._state.adding
    if was_saved or not getattr(request.user, "is_administrator", False) or request.session.get(SEEN):
        return False
    if Device.objects.exists():
        return False
    request.session[SEEN] = True
    return True


# -- what each step says


def _company(done: bool) -> tuple[str, tuple[Link, ...]]:
    company, places = SiteSettings.current().company, Location.objects.count()
    named = company != setting_up.UNNAMED
    edit = Link(reverse("dashboard:settings"), "Name the company", "pencil")
    add = Link(reverse("dashboard:location_add"), "Add a location", "map-pin", dialog=True)
    if done:
        return f"{company}, {places} location{_s(places)}.", ()
    if named:
        return "Now the place where the machines stand, with its time zone and currency.", (add,)
    if places:
        return "The location is there. How is your company called? Guests see the name on every page.", (edit,)
    return "Your name as guests read it, and the place where the machines stand, with its currency.", (edit, add)


def _shelly(done: bool) -> tuple[str, tuple[Link, ...]]:
    account = ShellyAccount.objects.defer("auth_key", "found").first()
    if done:
        return "Shelly has answered with your key.", ()
    if account is None:
        text = "Copy server and key from the Shelly app: User settings → Authorization cloud key. Test it, then save."
        return text, (Link(reverse("dashboard:account_add"), "Add the account", "plug", dialog=True),)
    link = Link(reverse("dashboard:account", args=[account.pk]), f"Open {account.name}", "plug")
    return f"{account.name} is saved, but Shelly has not answered yet. Test the connection.", (link,)


def _devices(done: bool) -> tuple[str, tuple[Link, ...]]:
    count = Device.objects.count()
    accounts = ShellyAccount.objects.defer("auth_key", "found").order_by("-last_ok_at")
    url = reverse("dashboard:account", args=[accounts[0].pk]) if accounts else ""
    if done:
        more = Link(url, "Add more", "plus")
        return f"{count} device{_s(count)}, each with a code of its own.", (more,) if url else ()
    text = "Sync, tick every channel that you want to sell, say where they stand, and add them all with their plans."
    return text, (Link(url, "Sync and pick", "refresh-cw"),) if url else ()


def _plans(done: bool) -> tuple[str, tuple[Link, ...]]:
    bare = sorted(setting_up.without_plans().values_list("name", flat=True), key=natural)
    link = Link(reverse("dashboard:setup_plans"), "Give them plans", "scale")
    if bare:
        names = f"{', '.join(bare[:5])}{' …' if len(bare) > 5 else ''}"
        return f"Without a plan guests see a device as not for sale: {names}.", (link,)
    if done:
        return "Every device has something to buy.", ()
    return "Washer, dryer, EV socket and sauna come with plans to begin with; the prices are yours.", ()


def _stripe(done: bool) -> tuple[str, tuple[Link, ...]]:
    key, link = keys.look(), Link(reverse("dashboard:stripe"), "Test the connection", "credit-card")
    if done:
        return f"{key.title}: Stripe has answered. {key.sentence}", ()
    return f"{key.title}. {key.sentence} {key.advice}".strip(), (link,)


def _labels(done: bool) -> tuple[str, tuple[Link, ...]]:
    if done:
        return "They hang on the machines.", (Link(reverse("dashboard:labels"), "Print more", "qr-code"),)
    if not Device.objects.exists():
        return "As soon as there is a device: print one for each, and stick them on.", ()
    text = "Print one for each device, stick it on, and compare the code on it with the one on the device's page."
    return text, (Link(reverse("dashboard:labels"), "Print the labels", "qr-code"),)


def _sale(done: bool) -> tuple[str, tuple[Link, ...]]:
    if done:
        return "A relay went on for somebody who had paid.", (Link(reverse("dashboard:sessions"), "Sessions", "timer"),)
    code = _code_to_try()
    if code is None:
        return "As soon as a device has a plan: buy a session as a guest would, and watch the relay go on.", ()
    link = Link(reverse("guest:device", args=[code.code]), f"Buy on {code.device.name}", "smartphone", new_tab=True)
    return f"Buy one session as a guest would, and watch the relay go on. {_what_it_costs()}", (link,)


def _code_to_try() -> DeviceCode | None:
    plans = UsagePlan.objects.filter(device=OuterRef("device"), active=True)
    codes = DeviceCode.objects.filter(Exists(plans), retired_at=None, device__active=True).select_related("device")
    return codes.order_by("-device__online", "pk").first()


def _what_it_costs() -> str:
    if settings.SIMULATED:
        return "Everything is simulated: the bank, the money and the machine."
    if keys.look().kind in keys.TESTS:
        return "Pay with Stripe's test card 4242 4242 4242 4242; no money moves, but the machine really goes on."
    return "This is real money: give it back under Payments afterwards."


def _s(count: int) -> str:
    return "" if count == 1 else "s"


SAYS = {
    "company": _company,
    "shelly": _shelly,
    "devices": _devices,
    "plans": _plans,
    "stripe": _stripe,
    "labels": _labels,
    "sale": _sale,
}


# -- what is done here


@require_POST
@administrator_only
def labels_up(request: HttpRequest) -> HttpResponse:
    if not Device.objects.exists():
        return frame.refused(request, reverse("dashboard:setup"), "There is no device to label yet.")
    setting_up.labels_are_up(by=frame.who(request))
    return frame.done(request, reverse("dashboard:setup"))


@require_POST
@administrator_only
def close(request: HttpRequest) -> HttpResponse:
    setting_up.close(by=frame.who(request))
    said = "Setup is put away. You find it again under Settings, General."
    return frame.done(request, reverse("dashboard:overview"), said)


@require_POST
@administrator_only
def reopen(request: HttpRequest) -> HttpResponse:
    setting_up.reopen(by=frame.who(request))
    return frame.done(request, reverse("dashboard:setup"))


# -- plans for many devices at once


@dataclass(frozen=True)
class Bare:
    """A device without plans, and the template that was chosen for it."""

    device: Device
    chosen: str

    @property
    def field(self) -> str:
        return f"plans-{self.device.pk}"


@administrator_only
def plans(request: HttpRequest) -> HttpResponse:
    """One form for every device that has nothing to sell yet: a template each, and the prices."""
    typed = request.POST if request.method == "POST" else None
    rows = _bare(typed)
    shown, problem = offers.shown(typed), ""
    if typed is not None:
        read, shown = _read(typed, rows)
        problem = "" if any(row.chosen for row in rows) else "Choose plans for at least one device."
        problem = problem or ("Something needs a look: it says what, beside it." if offers.any_wrong(shown) else "")
        if not problem:
            return frame.done(request, reverse("dashboard:setup"), _give(rows, read, by=frame.who(request)))
    context = {"rows": rows, "offers": shown, "problem": problem, "vat": typed.get("vat", "") if typed else ""}
    context["templates"] = [(key, one.title, len(one.plans)) for key, one in TEMPLATES.items()]
    return frame.page(request, "setup_plans.html", context, here=HERE, status=422 if problem else 200)


def _bare(typed: QueryDict | None) -> list[Bare]:
    devices = setting_up.without_plans().select_related("location")
    rows = [Bare(one, typed.get(f"plans-{one.pk}", "") if typed is not None else one.kind) for one in devices]
    known = [row if row.chosen in TEMPLATES else Bare(row.device, "") for row in rows]
    return sorted(known, key=lambda row: natural(row.device.name))


Read = dict[str, dict[str, Any]]


def _read(typed: QueryDict, rows: list[Bare]) -> tuple[Read, offers.Offers]:
    """For each currency the plans of the chosen templates; and the form with the first thing that is wrong."""
    read: Read = {}
    shown = offers.shown(typed)
    for currency in sorted({row.device.location.currency for row in rows if row.chosen}):
        wanted = {row.chosen for row in rows if row.chosen and row.device.location.currency == currency}
        read[currency], found = offers.read(typed, wanted, currency)
        shown = shown if offers.any_wrong(shown) else found
    return read, shown


def _give(rows: list[Bare], read: Read, *, by: str) -> str:
    given = [row for row in rows if row.chosen]
    with transaction.atomic():
        made = [(one, add_plans(one.device, read[one.device.location.currency][one.chosen], by=by)) for one in given]
    named = [row.device.name for row, plans in made if plans]
    off = [row.device.name for row, plans in made if not plans]
    said = [f"Plans for {', '.join(named[:5])}{' and more' if len(named) > 5 else ''}."] if named else []
    said += [f"{', '.join(off)}: these plans are there already, switched off. Switch them on there."] if off else []
    return " ".join(said)
