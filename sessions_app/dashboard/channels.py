"""One Shelly account: asking it now, what it has, and adding many of its channels at once, with plans to begin with."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from devices.adding import Choice, NotSellable, add_devices
from devices.commissioning import check_power_up
from devices.models import Device, DeviceKind, Location, ShellyAccount
from devices.relays.sync import sync_account
from devices.relays.syncing import Progress, Step, progress
from devices.shelly.errors import ShellyError
from devices.templates import TEMPLATES, PlanTemplate
from hygate.roles import administrator_only
from sessions_app.dashboard import frame, offers
from sessions_app.dashboard.accounts import HERE, standing
from sessions_app.dashboard.spelling import milliseconds, natural

GUESSES = (("wash", "washer"), ("dry", "dryer"), ("ev", "ev"), ("charg", "ev"), ("wallbox", "ev"), ("sauna", "sauna"))
MOST_W = 100_000
LONGEST_NAME = 60
SAYS_NAME = f"Give it a name of at most {LONGEST_NAME} letters."
SAYS_WATTS = f"Whole watts, 1 to {MOST_W:,}; empty where nobody knows."


@dataclass(frozen=True)
class Row:
    """One channel that the sync found, with what was typed about it. ``plans`` names a template, or is empty."""

    index: str
    shelly_id: str
    channel: int | None
    shelly_name: str
    model: str
    online: bool
    output: bool | None
    sellable: bool
    reason: str
    added_as: str
    name: str
    kind: str
    plans: str
    watts: str = ""
    picked: bool = False
    error: str = ""

    @property
    def can_pick(self) -> bool:
        return self.sellable and not self.added_as

    def wrong(self) -> str:
        """What is wrong with what was typed; empty where nothing is."""
        if not 0 < len(self.name.strip()) <= LONGEST_NAME:
            return SAYS_NAME
        if self.kind not in DeviceKind.values or (self.plans and self.plans not in TEMPLATES):
            return "Pick a kind, and plans that are there."
        return "" if not self.watts or self.rated_w is not None else SAYS_WATTS

    @property
    def rated_w(self) -> int | None:
        """As typed; None where it is empty or no number of watts."""
        digits = self.watts if self.watts.isascii() and self.watts.isdigit() and len(self.watts) <= 6 else "0"
        return int(digits) if 1 <= int(digits) <= MOST_W else None


@require_safe
@administrator_only
def account(request: HttpRequest, pk: int) -> HttpResponse:
    one = get_object_or_404(ShellyAccount.objects.defer("auth_key"), pk=pk)
    return frame.page(request, "account.html", found(one) | standing(one), here=HERE)


@require_POST
@administrator_only
def sync(request: HttpRequest, pk: int) -> HttpResponse:
    """Ask Shelly now (two requests, a second apart), outside of any transaction; the verdict is swapped in."""
    one = get_object_or_404(ShellyAccount, pk=pk)
    try:
        rows = sync_account(one)
    except ShellyError as error:
        verdict = {
            "tone": "stop",
            "title": f"{one.name} could not be synced",
            "text": sentence(error),
            "code": error.name,
        }
    else:
        verdict = {"tone": "ok", "title": _counted(rows), "text": "", "code": ""}
    if request.headers.get("HX-Request") != "true":
        say = frame.done if verdict["tone"] == "ok" else frame.refused
        return say(request, reverse("dashboard:account", args=[pk]), f"{verdict['title']}. {verdict['text']}".strip())
    fresh = ShellyAccount.objects.defer("auth_key").get(pk=pk)
    return render(request, "dashboard/_synced.html", found(fresh) | standing(fresh) | {"verdict": verdict})


@require_safe
@administrator_only
def syncing(request: HttpRequest, pk: int) -> HttpResponse:
    """How far a sync is, whoever started it: nothing (204) while it is what the browser shows already."""
    one = get_object_or_404(ShellyAccount.objects.only("pk", "synced_at"), pk=pk)
    context = under_way(one, known=request.GET.get("known"))
    if request.GET.get("shown") == context["mark"]:
        return HttpResponse(status=204)
    return render(request, "dashboard/_syncing.html", context)


def under_way(one: ShellyAccount, known: str | None = None) -> dict[str, Any]:
    """``known`` names the sync whose channels the browser shows; a later one is news there."""
    at = progress(one.pk)
    is_news = at is None and known is not None and known != synced(one)
    context: dict[str, Any] = {"sync": at, "words": words_of(at) if at else "", "steps": len(Step), "is_news": is_news}
    return context | {"account": one, "mark": frame.mark((at, is_news))}


def synced(one: ShellyAccount) -> str:
    """Names an account's last sync; empty before the first."""
    return str(milliseconds(one.synced_at))


def words_of(at: Progress) -> tuple[str, str]:
    """What is done now, and what comes of it."""
    match at.step:
        case Step.TURN:
            return "Waiting for the account's turn", "Relay commands go first."
        case Step.STATES:
            return "Asking Shelly for the state of every relay", "Then for their names."
        case Step.NAMES:
            return f"{_number(at.devices, 'device')} answered", "A second's pause, then their names."
        case Step.KEEPING:
            return f"{_number(at.channels, 'channel')} found", "They are written down now."


def _number(count: int, word: str) -> str:
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def sentence(error: ShellyError) -> str:
    """What to tell people; a kind of error without a sentence of its own brings it as its detail."""
    return error.says if "says" in vars(type(error)) else error.detail or error.says


def _counted(rows: list[dict[str, Any]]) -> str:
    devices, channels = _number(len({row["shelly_id"] for row in rows}), "device"), _number(len(rows), "channel")
    return f"Shelly answered: {devices} with {channels}, {sum(not row['online'] for row in rows)} of them offline"


@require_POST
@administrator_only
def add_channels(request: HttpRequest, pk: int) -> HttpResponse:
    """Every picked channel becomes a Device with a code and the plans of its template, all of them or none."""
    one = get_object_or_404(ShellyAccount.objects.defer("auth_key"), pk=pk)
    context = found(one, request.POST)
    picked = [row for row in context["rows"] if row.picked and row.can_pick]
    place = next((place for place in context["locations"] if str(place.pk) == context["chosen"]), None)
    gone = set(request.POST.getlist("pick")) - {row.index for row in context["rows"]}
    problem = "" if picked else "Pick at least one channel."
    problem = "The list has changed meanwhile: look at what is picked, and add again." if gone else problem
    problem = problem or ("" if place else "Pick the location.")
    if place and not problem:
        wanted = {row.plans for row in picked} - {""}
        plans, context["offers"] = offers.read(request.POST, wanted, place.currency)
        if any(row.error for row in picked) or offers.any_wrong(context["offers"]):
            problem = "Something needs a look: it says what, beside it."
    if place and not problem:
        try:
            made = add_devices(one, [_choice(row, plans) for row in picked], place, by=frame.who(request))
        except NotSellable as error:
            problem = str(error)
        else:
            check_power_up(made)
            return frame.done(request, reverse("dashboard:devices"), _said(made, picked))
    return frame.page(request, "account.html", context | standing(one) | {"problem": problem}, here=HERE, status=422)


def _said(made: list[Device], picked: list[Row]) -> str:
    if not made:
        return "Added: nothing new."
    names = ", ".join(device.name for device in made)
    bare = sum(not row.plans for row in picked)
    return f"Added: {names}. " + ("Now give each a plan." if bare else "Look at their plans, then print their labels.")


def _choice(row: Row, plans: dict[str, tuple[PlanTemplate, ...]]) -> Choice:
    return Choice(
        row.shelly_id,
        row.channel or 0,
        row.name.strip(),
        row.kind,
        rated_w=row.rated_w,
        plans=plans.get(row.plans, ()),
    )


# -- what the page shows


def found(one: ShellyAccount, typed: QueryDict | None = None) -> dict[str, Any]:
    """The channels that can be picked first; with what was ``typed``, and what is wrong with it."""
    added: dict[tuple[str, int | None], str] = {
        (row.shelly_id, row.channel): row.name for row in Device.objects.filter(account=one)
    }
    rows = [_row(row, added, typed) for row in one.found]
    if typed is None:
        rows = _told_apart(rows)
    rows.sort(key=lambda row: (not row.can_pick, natural(row.shelly_name), row.shelly_id, row.channel or 0))
    return under_way(one) | {
        "account": one,
        "known": synced(one),
        "rows": rows,
        "any_free": any(row.can_pick for row in rows),
        "locations": list(Location.objects.all()),
        "chosen": str(typed.get("location", "")) if typed else "",
        "kinds": [(value, label, TEMPLATES[value].rated_w) for value, label in DeviceKind.choices],
        "templates": [(key, template.title, len(template.plans)) for key, template in TEMPLATES.items()],
        "offers": offers.shown(typed),
        "vat": typed.get("vat", "") if typed else "",
    }


def _told_apart(rows: list[Row]) -> list[Row]:
    """Devices without a name of their own are all called after their model: the end of the id is put behind it."""
    shared = {name for name, times in Counter(row.name for row in rows if row.can_pick).items() if times > 1}
    ends = {row.index: f" {row.shelly_id[-4:]}" for row in rows if row.can_pick and row.name in shared}
    return [replace(row, name=_with_end(row.name, ends.get(row.index, ""))) for row in rows]


def _with_end(name: str, end: str) -> str:
    return name[: LONGEST_NAME - len(end)].rstrip() + end


def _row(row: dict[str, Any], added: dict[tuple[str, int | None], str], typed: QueryDict | None) -> Row:
    """Named in the form by what it is: a sync that comes between puts others into its place in the list."""
    index = f"{row['shelly_id']}-{row['channel']}"
    name = str(row.get("name") or f"{row['shelly_id']}/{row['channel'] or 0}")
    kind = next((kind for word, kind in GUESSES if name.lower().startswith(word)), DeviceKind.SOCKET.value)
    made = Row(
        index=index,
        shelly_id=row["shelly_id"],
        channel=row["channel"],
        shelly_name=name,
        model=str(row.get("model") or ""),
        online=bool(row.get("online")),
        output=row.get("output"),
        sellable=bool(row.get("sellable")),
        reason=str(row.get("reason") or ("" if row.get("sellable") else "cannot be sold")),
        added_as=added.get((row["shelly_id"], row["channel"]), ""),
        name=name[:LONGEST_NAME],
        kind=kind,
        plans=kind,
        watts=str(TEMPLATES[kind].rated_w),
    )
    if typed is None:
        return made
    made = replace(
        made,
        name=typed.get(f"name-{index}", made.name).replace("\x00", ""),
        kind=typed.get(f"kind-{index}", made.kind),
        plans=typed.get(f"plans-{index}", ""),
        watts=typed.get(f"watts-{index}", "").strip(),
        picked=index in typed.getlist("pick"),
    )
    return replace(made, error=made.wrong() if made.picked else "")
