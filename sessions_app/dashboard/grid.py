"""The devices, narrowed by place, kind, state and words: as a tile each, by location, or as lines of a list and a file.

A tile never moves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby
from typing import Any

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.http import HttpRequest, HttpResponse, QueryDict
from django.http.response import HttpResponseBase
from django.views.decorators.gzip import gzip_page
from django.views.decorators.http import require_safe

from devices.energy import site
from devices.models import Device, DeviceCode, DeviceKind, Location, RelayCommand
from devices.relays.models import OPEN
from hygate import clock
from hygate.roles import staff_only
from sessions_app.dashboard import frame, lists, live, looks, seen
from sessions_app.dashboard.seen import SeenDevice
from sessions_app.dashboard.spelling import natural
from sessions_app.guest.labels import canonical
from sessions_app.states import State

HERE = "devices"
MOST_WORDS = 60
STATES = (("", "All"), ("free", "Free"), ("use", "In use"), ("trouble", "Needs a look"), ("closed", "Not for sale"))
AS_LIST = "list"
VIEWS = (("", "Tiles", "layout-grid"), (AS_LIST, "List", "list"))
FILE = (
    *("Device", "Location", "Place", "Kind", "State", "Watts", "Last contact", "Code", "Rated, W", "For sale"),
    *("Shelly id", "Channel", "Model", "Account"),
)
EXPECTED = ("ends soon", "paused: power", "waits for power")
"""Amber, but nothing that a person has to look at."""
Row = tuple[SeenDevice, looks.Tile]


@dataclass(frozen=True)
class Narrowed:
    """What was asked for. An empty value narrows nothing, and neither does one that nobody can choose."""

    location: str = ""
    kind: str = ""
    state: str = ""
    words: str = ""
    view: str = ""

    @classmethod
    def of(cls, asked: Mapping[str, str]) -> Narrowed:
        kind, state = asked.get("kind", ""), asked.get("state", "")
        location = asked.get("location", "")
        return cls(
            location=location if location.isascii() and location.isdigit() and len(location) < 10 else "",
            kind=kind if kind in DeviceKind.values else "",
            state=state if state in dict(STATES) else "",
            words=asked.get("find", "").strip()[:MOST_WORDS].replace("\x00", ""),
            view=AS_LIST if asked.get("view") == AS_LIST else "",
        )

    @property
    def is_anything(self) -> bool:
        return self != Narrowed(view=self.view)

    @property
    def is_of_place(self) -> bool:
        """Nothing but a place narrows it: where nothing is found, nothing stands there."""
        return bool(self.location) and self == Narrowed(location=self.location, view=self.view)

    @property
    def is_by_words(self) -> bool:
        """Nothing but words narrows it: what stands at no location, of no kind that is sold, can be meant as well."""
        return self == Narrowed(words=self.words, view=self.view)

    @property
    def views(self) -> Sequence[tuple[str, str, str, bool]]:
        """The two ways to look at the same devices: title, icon, query, and whether it is this one."""
        return [(title, icon, self.query(view=key), key == self.view) for key, title, icon in VIEWS]

    def rows(self) -> QuerySet[Device]:
        """The devices by place, kind and words; the state is of the moment, and is looked at on the tiles."""
        rows = Device.objects.order_by()
        if self.location:
            rows = rows.filter(location_id=int(self.location))
        if self.kind:
            rows = rows.filter(kind=self.kind)
        if self.words:
            code = DeviceCode.objects.filter(device=OuterRef("pk"), code=canonical(self.words))
            named = Q(name__icontains=self.words) | Q(place__icontains=self.words)
            rows = rows.filter(named | Q(shelly_id__icontains=self.words) | Exists(code))
        return rows

    def query(self, **other: str) -> str:
        """As a query string, with some of it changed."""
        asked = QueryDict(mutable=True)
        one = replace(self, **other)
        asked.update({"find": one.words, "location": one.location, "kind": one.kind, "state": one.state})
        asked["view"] = one.view
        for name in [name for name, value in asked.items() if not value]:
            del asked[name]
        return asked.urlencode()


# Hundreds of tiles travel as a tenth of their bytes. Their length tells nobody what is in them (BREACH): Django adds a
# random number of bytes, and what another site loads in the background comes without the login's cookie.
@require_safe
@staff_only
@gzip_page
def devices(request: HttpRequest) -> HttpResponseBase:
    asked = Narrowed.of(request.GET)
    if request.GET.get("csv") == "1":
        name = f"hygate-devices-{clock.now().astimezone(lists.site_zone()):%Y-%m-%d}.csv"
        return lists.streamed(name, FILE, _records(asked))
    places = sorted(Location.objects.all(), key=lambda place: natural(place.name))
    context = {"places": places, "kinds": DeviceKind.choices} | shown(asked)
    return frame.page(request, "devices.html", context, here=HERE)


@require_safe
@staff_only
@gzip_page
def devices_live(request: HttpRequest) -> HttpResponse:
    return live.answer(request, "_grid.html", shown(Narrowed.of(request.GET)))


def shown(asked: Narrowed) -> dict[str, Any]:
    """The tiles that ``asked`` leaves, by location, and how many of each state there are."""
    now = clock.now()
    tiles = tiles_of(asked.rows(), now)
    counts = Counter(state_of(tile) for _, tile in tiles)
    chips = [
        (words, len(tiles) if not key else counts[key], asked.query(state=key), key == asked.state)
        for key, words in STATES
    ]
    left = _left(tiles, asked)
    groups = [(place, [tile for _, tile in group]) for place, group in groupby(left, key=lambda pair: pair[0].location)]
    told = [(place.pk, place.name, group) for place, group in groups]
    context = {"groups": groups, "rows": left if asked.view else [], "chips": chips, "asked": asked, "now": now}
    return context | {"mark": frame.mark((chips, told))}


def _left(tiles: Sequence[Row], asked: Narrowed) -> list[Row]:
    return [(device, tile) for device, tile in tiles if not asked.state or state_of(tile) == asked.state]


def _records(asked: Narrowed) -> Iterator[Sequence[Any]]:
    """The lines of the file: the same devices, in the same order, with the code that their labels carry now."""
    codes = dict(DeviceCode.objects.filter(retired_at=None).values_list("device", "code"))
    for device, tile in _left(tiles_of(asked.rows(), clock.now()), asked):
        yield [
            *(device.name, device.location.name, device.place, device.get_kind_display(), tile.look.word, tile.watts),
            *(lists.in_zone(device.seen_at, looks.zone_of(device)), codes.get(device.pk), device.rated_w),
            *("yes" if device.active else "no", device.shelly_id, device.channel, device.model, device.account.name),
        ]


def tiles_of(rows: QuerySet[Device], now: datetime) -> list[Row]:
    """Each device with its tile, in natural order; five queries, and one more where somebody waits for power."""
    found = seen.devices(rows)
    found.sort(key=lambda one: (natural(one.location.name), one.location_id, natural(one.name), one.pk))
    sessions = seen.live(found)
    commands = {one.device_id: one for one in RelayCommand.objects.filter(state__in=OPEN)}
    waiting = {pk for pk, session in sessions.items() if session.state == State.WAITING_FOR_POWER}
    lines = _lines(one.location_id for one in found if one.pk in waiting)
    tiles = []
    for device in found:
        session = sessions.get(device.pk)
        tile = looks.of_device(device, session, commands.get(device.pk), now)
        place = lines.get(session.pk) if session is not None else None
        tiles.append((device, tile._replace(note=f"place {place} in line") if place else tile))
    return tiles


def _lines(locations: Iterable[int]) -> dict[int, int]:
    """Each session that waits for power at these locations, with its place in the line."""
    places: dict[int, int] = {}
    for location in sorted(set(locations)):
        waiting = [one for one in site.open_promises(location) if one.waiting_since is not None]
        places |= {one.session: number for number, one in enumerate(sorted(waiting, key=site.rank), 1)}
    return places


def state_of(tile: looks.Tile) -> str:
    """The chip that a tile is counted under."""
    look = tile.look
    if look.tone == "stop" or (look.tone == "hold" and look.word not in EXPECTED):
        return "trouble"
    if look.word == "free":
        return "free"
    return "closed" if look.icon in ("wrench", "ban", "hourglass") else "use"
