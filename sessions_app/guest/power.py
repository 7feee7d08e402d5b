"""Live power and energy on the session's pages, where the device measures."""

from __future__ import annotations

import json

from django.utils.translation import gettext as _

from sessions_app import metering
from sessions_app.guest import words
from sessions_app.guest.shapes import Fact
from sessions_app.guest.visit import Visit

HEADER = "X-Hygate-Live"
WATTS, ENERGY = "watts", "energy"
STEP_W = 10
"""Watts are said in tens: a page is not new because a motor turned a little faster."""


def now_and_used(visit: Visit) -> tuple[Fact, ...]:
    """What the device draws now, and what it has used since it was confirmed on. Read with the session: no query."""
    names = {WATTS: _("Now"), ENERGY: _("Used so far")}
    used_wh = metering.used_wh(visit.session.energy_from_wh, visit.device.energy_wh)
    return tuple(Fact(names[live], said, live) for live, said in figures(visit.device.watts, used_wh).items())


def figures(watts: int | None, used_wh: float | None) -> dict[str, str]:
    """The figures that move all the time, by the name that the page's script knows them by."""
    said = {}
    if watts is not None:
        said[WATTS] = f"{words.number(STEP_W * round(watts / STEP_W))}{words.NBSP}W"
    if used_wh is not None:
        said[ENERGY] = kwh(used_wh)
    return said


def header(said: dict[str, str]) -> str:
    """``figures`` for the answers that bring no page; ASCII, as headers are."""
    return json.dumps(said, separators=(",", ":"))


def used(visit: Visit) -> tuple[Fact, ...]:
    """What the session used in all."""
    return (Fact(_("Used"), kwh(visit.session.energy_wh)),) if visit.session.energy_wh is not None else ()


def kwh(wh: float) -> str:
    return f"{words.number(wh / 1000, 2)}{words.NBSP}kWh"
