"""Energy: what flows at each site, what can still be promised and to whom it is, who waits, and the last 24 hours."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from devices.energy import headroom, proof, rule, site
from devices.energy.flows import flows_of
from devices.energy.models import EnergySource, LatestReading, Sign, SitePower, SourceStatus
from devices.energy.reading import Measured, Reading
from devices.energy.refusals import Moment
from devices.energy.site import OpenPromise
from devices.models import Device, Location
from hygate import clock
from hygate.roles import staff_only
from sessions_app.dashboard import energy_chart, frame, live
from sessions_app.dashboard.spelling import in_watts, natural

HERE = "energy"
STATUS_TONES = {
    SourceStatus.OK: "ok",
    SourceStatus.REFUSED: "stop",
    SourceStatus.UNREACHABLE: "stop",
    SourceStatus.UNTRIED: "idle",
}
SIGN_TONES = {Sign.PROVEN: "ok", Sign.REFUSED: "stop", Sign.UNPROVEN: "hold"}
IDLE_W = 10
"""Less than this flows by itself: meters' own noise."""
SHOWS_ONLY = (
    "Shows, does not admit: data of a cloud are minutes old. To sell high power, connect the plant by Modbus TCP or "
    "MQTT, or let an administrator admit on 5-minute data with an extra margin."
)


@dataclass(frozen=True)
class Flow:
    """One number of *now*: a word, what it says, and when it was measured."""

    name: str
    icon: str
    words: str
    note: str = ""
    at: datetime | None = None


@dataclass(frozen=True)
class Room:
    """The headroom as people read it. ``phases`` are names and watts; ``why`` names a row of the help page."""

    tone: str
    words: str
    sentence: str = ""
    why: str = ""
    phases: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Standing:
    """A source and what is to be said of it."""

    source: EnergySource
    tone: str
    sign_tone: str
    note: str
    proof: proof.Progress | None
    is_used: bool = False


@dataclass(frozen=True)
class Line:
    """A promise: whose, how much, since when; ``place`` in the queue where it waits; ``why`` it does not run."""

    device: str
    session: int
    watts: str
    since: datetime
    place: int = 0
    why: str = ""


@dataclass(frozen=True)
class Refused:
    """A device that is not sold now, though the site has power to give: it is not enough for this one."""

    device: str
    pk: int
    watts: str
    why: str


@dataclass(frozen=True)
class Card:
    """One Location."""

    location: Location
    flows: tuple[Flow, ...]
    room: Room
    sources: tuple[Standing, ...]
    promised: tuple[Line, ...]
    promised_w: str
    waiting: tuple[Line, ...]
    paused: tuple[Line, ...]
    refused: tuple[Refused, ...]


@require_safe
@staff_only
def energy(request: HttpRequest) -> HttpResponse:
    now = clock.now()
    return frame.page(request, "energy.html", _live(now) | {"charts": _charts(now)}, here=HERE)


@require_safe
@staff_only
def energy_live(request: HttpRequest) -> HttpResponse:
    return live.answer(request, "_energy.html", _live(clock.now()))


@require_safe
@staff_only
def energy_charts(request: HttpRequest) -> HttpResponse:
    """The part that is asked for once a minute."""
    return render(request, "dashboard/_energy_charts.html", {"charts": _charts(clock.now())})


def _live(now: datetime) -> dict[str, Any]:
    cards = [_card(place, now) for place in _places()]
    said = [_said(one.source) for card in cards for one in card.sources]
    return {"cards": cards, "now": now, "mark": frame.mark([cards, said])}


def _said(source: EnergySource) -> list[Any]:
    """What a source's own columns show on the page."""
    return [source.name, source.active, source.last_ok_at, source.last_sentence, source.sign_sentence]


def _places() -> list[Location]:
    """Those with a source, with limits, or with anything promised."""
    known = set(EnergySource.objects.values_list("location", flat=True))
    known |= set(SitePower.objects.values_list("location", flat=True))
    rows = Location.objects.filter(pk__in=known)
    return sorted(rows, key=lambda place: natural(place.name))


def _card(place: Location, now: datetime) -> Card:
    apart = site.apart_at(place.pk)
    promises = site.open_promises(place.pk)
    here = site.here(place.pk, now, apart)
    moment = Moment(here, promises, now, apart) if here is not None else None
    used, reading = (here.source, here.reading) if here is not None else site.best_source(place.pk, now)
    waiting = sorted((one for one in promises if one.waiting_since is not None), key=site.rank)
    held = [one for one in promises if one.waiting_since is None]
    return Card(
        location=place,
        flows=shown(reading),
        room=_room(moment),
        sources=tuple(standing(one, used) for one in EnergySource.objects.filter(location=place.pk)),
        promised=tuple(_line(one, one.made_at) for one in held),
        promised_w=in_watts(sum(one.watts for one in held)),
        waiting=tuple(_waits(one, moment, number) for number, one in enumerate(waiting, 1)),
        paused=tuple(_stands_still(one, moment) for one in held if one.paused_at is not None),
        refused=_refused(place, moment),
    )


def _line(promise: OpenPromise, since: datetime, place: int = 0, why: str = "") -> Line:
    return Line(promise.device_name, promise.session, in_watts(promise.watts), since, place, why)


def _waits(promise: OpenPromise, moment: Moment | None, place: int) -> Line:
    why = moment.of_waiting(promise) if moment is not None else headroom.NOTHING_SET
    return _line(promise, promise.waiting_since or promise.made_at, place, why)


def _stands_still(promise: OpenPromise, moment: Moment | None) -> Line:
    why = moment.of_paused(promise) if moment is not None else headroom.NOTHING_SET
    return _line(promise, promise.paused_at or promise.made_at, why=why)


def _refused(place: Location, moment: Moment | None) -> tuple[Refused, ...]:
    """Nobody where there is no power at all: then the headroom says why, once for all."""
    room = moment.headroom() if moment is not None else None
    if moment is None or room is None or room.no is not None:
        return ()
    taken = {one.device_id for one in moment.promises}
    free = Device.objects.filter(location=place, active=True, rated_w__gt=place.high_power_w).exclude(pk__in=taken)
    asked = ((one, moment.of_sale(one, room)) for one in sorted(free, key=lambda one: natural(one.name)))
    return tuple(Refused(one.name, one.pk, in_watts(one.rated_w or 0), why) for one, why in asked if why)


def shown(reading: Reading) -> tuple[Flow, ...]:
    """PV, battery, grid and load; a dash where the source does not tell."""
    flows = flows_of(reading)
    soc = f"{flows.soc_pct.value:.0f} %" if flows.soc_pct is not None else ""
    return (
        _flow("PV", "sun", flows.pv_w),
        _flow("Battery", "zap", flows.battery_charge_w, ("charging", "discharging"), note=soc),
        _flow("Grid", "plug", flows.grid_import_w, ("importing", "exporting")),
        _flow("Load", "activity", flows.load_w),
    )


def _flow(name: str, icon: str, measured: Measured | None, ways: tuple[str, str] = ("", ""), note: str = "") -> Flow:
    if measured is None:
        return Flow(name, icon, note or "–", "" if note else "not told")
    way = "" if abs(measured.value) < IDLE_W else ways[measured.value < 0]
    return Flow(name, icon, in_watts(measured.value), ", ".join(filter(None, (way, note))), measured.at)


def _room(moment: Moment | None) -> Room:
    if moment is None:
        said = "No limits are set for this location. An administrator sets them under Settings → Energy."
        return Room("stop", "None", said, "power_not_configured")
    found = moment.headroom()
    if found.no is not None:
        return Room("stop", "None", found.sentence, why_of(found.no))
    names = ("L1", "L2", "L3") if len(found.phases_w) > 1 else ("L1",)
    phases = tuple((name, in_watts(have)) for name, have in zip(names, found.phases_w, strict=False))
    return Room("ok" if found.total_w else "hold", in_watts(found.total_w), moment.overload(), "", phases)


def why_of(no: rule.No) -> str:
    """The help page's row for a refusal."""
    return f"power_{no}"


def standing(source: EnergySource, used: EnergySource | None) -> Standing:
    return Standing(
        source=source,
        tone=_tone(source),
        sign_tone=SIGN_TONES[Sign(source.sign)],
        note=SHOWS_ONLY if source.is_cloud and not source.cloud_admits else "",
        proof=proof.progress_of(source),
        is_used=used is not None and used.pk == source.pk,
    )


def _tone(source: EnergySource) -> str:
    if not source.active:
        return "idle"
    return "stop" if source.sign == Sign.REFUSED else STATUS_TONES[SourceStatus(source.status)]


def _charts(now: datetime) -> list[tuple[Location, energy_chart.Chart | None]]:
    found = []
    for place in _places():
        source, _ = site.best_source(place.pk, now)
        found.append((place, energy_chart.chart_of(source, place.timezone, now) if source is not None else None))
    return found


def reading_of(source: EnergySource) -> Reading:
    """What is known of it, for a test that must not ask anew."""
    latest = LatestReading.objects.filter(source=source).first()
    return site.reading_of(latest.fields) if latest is not None else Reading({})
