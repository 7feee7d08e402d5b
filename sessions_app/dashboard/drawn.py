"""Icons, ages, states, tiles and rows as HTML: a page may hold five hundred, and templates take ten times as long.

Whatever people have typed goes through ``escape``; the rest (tones, icons, numbers, addresses) is our own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from html import escape

from django.templatetags.static import static
from django.urls import reverse
from django.utils.safestring import SafeString

from hygate import clock
from sessions_app.dashboard import spelling
from sessions_app.dashboard.looks import Look, Tile
from sessions_app.dashboard.seen import AnyDevice


@lru_cache(maxsize=256)
def icon(name: str) -> SafeString:
    url = escape(static("hygate/icons.svg"))
    return SafeString(f'<svg class="i" aria-hidden="true"><use href="{url}#{escape(name)}"></use></svg>')


def ago(moment: datetime | None, never: str = "never", now: datetime | None = None) -> SafeString | str:
    """An age that the script keeps counting."""
    if moment is None:
        return never
    age = spelling.age(((now or clock.now()) - moment).total_seconds())
    return SafeString(f'<span class="num" data-since="{spelling.milliseconds(moment)}">{age}</span>')


def state(look: Look) -> SafeString:
    return _state(look.tone, look.icon, look.word)


@lru_cache(maxsize=256)
def _state(tone: str, name: str, word: str) -> SafeString:
    return SafeString(f'<span class="state t-{tone}">{icon(name)}{escape(word)}</span>')


def left(look: Look, now: datetime | None = None) -> SafeString:
    """The time that is left, counted down by the script or standing still; nothing where none is shown."""
    if look.ends_at is None and look.left_s is None:
        return SafeString()
    counted = spelling.countdown(look.remaining_s(now or clock.now()) or 0)
    until = f' role="timer" data-ends="{spelling.milliseconds(look.ends_at)}"' if look.ends_at else ""
    return SafeString(f'<span class="left"{until}>{counted}</span>')


def options(choices: Iterable[tuple[str, str]], chosen: str) -> SafeString:
    """The values of a select, each with its words."""
    return SafeString(
        "".join(
            f'<option value="{escape(value)}"{" selected" if value == chosen else ""}>{escape(words)}</option>'
            for value, words in choices
        )
    )


def shaded(cells: Iterable[tuple[int, int]]) -> SafeString:
    """The hours of a weekday: in each how many, and the shade of that; nothing stands in an empty one."""
    return SafeString("".join(f'<td class="h{shade}">{count or ""}</td>' for count, shade in cells))


def tag(tone: str, words: str) -> str:
    return f'<span class="tag t-{tone}">{escape(words)}</span>'


@lru_cache(maxsize=4096)
def _known(words: str) -> str:
    """What stands in many lines, escaped once."""
    return escape(words)


def small(words: str, css: str = "soft small") -> str:
    """A second thing in a cell, after a space; nothing where there are no words."""
    return f' <span class="{css}">{_known(words)}</span>' if words else ""


@lru_cache(maxsize=10_000)
def url(name: str, pk: int) -> str:
    """Of one row's page; kept, for a list asks for fifty of them."""
    return escape(reverse(f"dashboard:{name}", args=[pk]))


def tiles(ones: Iterable[Tile], now: datetime, *, bar: bool = False, place: bool = True) -> SafeString:
    return SafeString("\n".join(_tile(one, now, bar=bar, place=place) for one in ones))


def _tile(one: Tile, now: datetime, *, bar: bool, place: bool) -> str:
    """One device or session as a link; its id holds what its address names, so that it stays itself when it changes."""
    look = one.look
    dashed = " dashed" if look.icon == "wrench" else ""
    told = "".join(_small(words) for words in (one.note, one.asked))
    return (
        f'<a class="tile t-{look.tone}{dashed}" id="t{one.url.replace("/", "")}" href="{one.url}">'
        f"<b>{escape(one.name)}</b>{_small(one.place) if place else ''}"
        f"{left(look, now)}{state(look)}{told}{_contact(one, now)}{_bar(look, now) if bar else ''}</a>"
    )


def _small(words: str) -> str:
    return f'<span class="soft small">{escape(words)}</span>' if words else ""


def _contact(one: Tile, now: datetime) -> str:
    if one.contact_at is None and one.watts is None:
        return ""
    watts = "" if one.watts is None else f"{spelling.in_watts(one.watts)} · "
    return f'<span class="when small {"late" if one.late else "soft"}">{watts}{ago(one.contact_at, now=now)}</span>'


def _bar(look: Look, now: datetime) -> str:
    """How much of the time is left."""
    if not look.total_s:
        return ""
    until = f' data-until="{spelling.milliseconds(look.ends_at)}"' if look.ends_at else ""
    left_s = max(0, min(look.total_s, int(look.remaining_s(now) or 0)))
    return f'<progress max="{look.total_s}"{until} value="{left_s}" aria-hidden="true"></progress>'


def device_rows(rows: Sequence[tuple[AnyDevice, Tile]], now: datetime) -> SafeString:
    """The lines of the list of devices; its head stands in the template."""
    return SafeString("\n".join(_device_row(device, one, now) for device, one in rows))


def _device_row(device: AnyDevice, one: Tile, now: datetime) -> str:
    watts = "" if one.watts is None else spelling.in_watts(one.watts)
    told = f"{small(one.asked)}{small(one.note)}"
    where = f'<a class="whole" href="{one.url}">{escape(device.name)}</a>{small(device.location.name)}'
    return (
        f'<tr id="d{device.pk}"><td>{where}</td><td class="pr">{state(one.look)}{told}</td>'
        f'<td class="desk">{_known(device.get_kind_display())}</td><td class="desk soft">{_known(device.place)}</td>'
        f'<td class="end num desk">{watts}</td>'
        f'<td class="num {"late" if one.late else "soft"}">{ago(one.contact_at, now=now)}</td>'
        f'<td class="end num pr">{left(one.look, now)}</td></tr>'
    )
