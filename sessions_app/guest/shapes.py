"""The shapes of the guest's pages: what a template is given, already in words. Nothing here asks or decides."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils.translation import gettext as _

from devices.models import Device
from sessions_app.guest import words
from sessions_app.guest.kinds import Kind, kind_of

REFRESH_S = {"fast": 5, "slow": 15, "calm": 30}
"""How often a page reloads itself where no script runs."""

ARC = 100
"""The ring's circumference as the SVG counts it (``pathLength``): percent."""


@dataclass(frozen=True)
class Chip:
    icon: str
    word: str


@dataclass(frozen=True)
class Line:
    """First sentence in bold, the rest beside or under it."""

    first: str
    rest: str = ""
    icon: str = "card"


@dataclass(frozen=True)
class Ring:
    """``arc`` counts down, ``spin`` waits for an answer, ``still`` is frozen, ``full`` is done."""

    look: str
    icon: str
    clock: str = ""
    under: str = ""
    percent: float = 100
    ends_ms: int = 0
    total_ms: int = 0

    @property
    def offset(self) -> str:
        return f"{ARC - self.percent:.2f}".rstrip("0").rstrip(".")

    @property
    def dashes(self) -> str:
        """A frozen share in separate blocks, one for every 2.5 %."""
        blocks = max(1, round(self.percent / 2.5))
        return "1.5 1 " * (blocks - 1) + f"1.5 1 0 {ARC - 2.5 * blocks:g}"

    @property
    def size(self) -> str:
        if self.clock.count(":") < 2:
            return ""
        return "clock-huge" if len(self.clock) > 7 else "clock-long"

    @property
    def spoken(self) -> str:
        """What the status line says when so many minutes are left."""
        left = {minutes: _("%(time)s left") % {"time": words.span(minutes * 60)} for minutes in (10, 5, 1)}
        return json.dumps({**left, 0: _("Time is up.")}, ensure_ascii=False)


@dataclass(frozen=True)
class Bar:
    """Two shares: used and given back."""

    percent: float
    used: str
    used_amount: str
    back: str
    back_amount: str

    @property
    def width(self) -> str:
        return f"{self.percent:.1f}"

    @property
    def back_from(self) -> str:
        return f"{min(100, self.percent + 1):.1f}"

    @property
    def back_width(self) -> str:
        return f"{max(0, 99 - self.percent):.1f}"


@dataclass(frozen=True)
class Step:
    """``look`` is done, fail, now or todo."""

    look: str
    what: str
    when: str = ""

    @property
    def icon(self) -> str:
        return {"done": "done", "fail": "cross", "now": "clock"}.get(self.look, "todo")

    @property
    def spoken(self) -> str:
        return {"done": _("Done:"), "fail": _("Did not work:"), "now": _("Now:")}.get(self.look, _("Next:"))


@dataclass(frozen=True)
class Fact:
    """``live``: a figure that moves all the time, by the name its place has; no news, it travels beside the page."""

    name: str
    value: str
    live: str = ""


@dataclass(frozen=True)
class Act:
    """One button. ``look`` is main, line, text or stop; one main or stop a page. A post changes, a link never does."""

    words: str
    url: str
    look: str = "main"
    icon: str = ""
    post: bool = False


@dataclass(frozen=True)
class AddressForm:
    """One field for an e-mail address. ``wrong`` says why what was typed is not taken; ``said`` stands in its place."""

    url: str
    label: str
    note: str
    button: str
    wrong: str = ""
    said: str = ""


@dataclass(frozen=True)
class SessionPage:
    """Every session page. ``money`` stands first; where something broke, the money is the ``answer``."""

    state: str
    chip: Chip
    headline: str
    version: str = ""
    name: str = ""
    place: str = ""
    timezone: str = "UTC"
    now_ms: int = 0
    money: Line | None = None
    answer: str | None = None
    ring: Ring | None = None
    bar: Bar | None = None
    say: str = ""
    happened: str = ""
    text: str = ""
    note: Line | None = None
    warning: str = ""
    offline: str = ""
    steps: tuple[Step, ...] = ()
    acts: tuple[Act, ...] = ()
    under_acts: str = ""
    facts: tuple[Fact, ...] = ()
    links: tuple[Act, ...] = ()
    """Rows at the foot: pages beside this one."""
    ask: AddressForm | None = None
    status: str = ""
    title: str = ""
    pace: str = "slow"
    """How often the page asks again: fast, slow, calm (nothing but time goes on), or never."""

    @property
    def refresh_s(self) -> int:
        return REFRESH_S.get(self.pace, 0)

    @property
    def zone(self) -> str:
        return words.zone(self.timezone)


@dataclass(frozen=True)
class PlanChoice:
    id: int
    title: str
    description: str
    price: str
    pay: str
    checked: bool


@dataclass(frozen=True)
class Other:
    name: str
    sentence: str
    icon: str
    url: str


@dataclass(frozen=True)
class ScanPage:
    """What a scanned label leads to."""

    state: str
    chip: Chip
    name: str
    place: str
    kind: Kind
    label: str
    timezone: str
    version: str
    title: str = ""
    money: Line | None = None
    """Said before all else where nothing can be bought, or where something is kept and not paid yet."""
    say: str = ""
    heading: str = ""
    text: str = ""
    plans: tuple[PlanChoice, ...] = ()
    points: tuple[Line, ...] = ()
    pay_note: str = ""
    acts: tuple[Act, ...] = ()
    others: tuple[Other, ...] = ()
    others_heading: str = ""

    @property
    def pace(self) -> str:
        return "never" if self.state == "retired" else "slow"

    @property
    def refresh_s(self) -> int:
        """Without a script, a page with a choice on it is never pulled away."""
        return 0 if self.plans else REFRESH_S.get(self.pace, 0)

    @property
    def zone(self) -> str:
        return words.zone(self.timezone)

    @property
    def only(self) -> PlanChoice | None:
        return self.plans[0] if len(self.plans) == 1 else None


def milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def countdown_ring(*, icon: str, under: str, ends_at: datetime, total: timedelta, now: datetime) -> Ring:
    """A ring that empties until ``ends_at``; ``total`` is what a full ring stands for."""
    left = max(timedelta(0), ends_at - now)
    share = 100 * left / total if total else 0
    return Ring(
        look="arc",
        icon=icon,
        clock=words.countdown(left.total_seconds()),
        under=under,
        percent=min(100.0, share),
        ends_ms=milliseconds(ends_at),
        total_ms=int(total.total_seconds() * 1000),
    )


def device_kind(device: Device) -> Kind:
    return kind_of(device.kind)
