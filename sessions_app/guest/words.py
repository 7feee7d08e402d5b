"""How amounts, times and codes are spelled to a guest. A number and its unit never part at a line's end."""

from __future__ import annotations

import math
import re
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from sessions_app.money import ZERO_DECIMAL

NBSP = "\u00a0"
SYMBOLS = {"eur": "€", "gbp": "£", "usd": "$"}


def money(minor: int, currency: str) -> str:
    """``360, "eur"`` is €3.60; a currency without a sign of its own keeps its code: CHF 3.60."""
    code = currency.lower()
    number = f"{minor:,}" if code in ZERO_DECIMAL else f"{minor / 100:,.2f}"
    return f"{SYMBOLS[code]}{number}" if code in SYMBOLS else f"{code.upper()}{NBSP}{number}"


def span(seconds: int) -> str:
    """A length of time, exactly: 20 s, 60 min, 2 hours, and 35:12 min where it is no whole minute."""
    if seconds >= 7200 and seconds % 3600 == 0:
        hours = seconds // 3600
        return ngettext("%(n)d hour", "%(n)d hours", hours).replace(" ", NBSP) % {"n": hours}
    if seconds < 120 and seconds % 60:
        return _("%(n)d s").replace(" ", NBSP) % {"n": seconds}
    if seconds % 60:
        return _("%(n)s min").replace(" ", NBSP) % {"n": f"{seconds // 60}:{seconds % 60:02d}"}
    return _("%(n)s min").replace(" ", NBSP) % {"n": seconds // 60}


def about(wait: timedelta) -> str:
    """A length that is only a guess: whole minutes, never none."""
    minutes = max(1, math.ceil(wait.total_seconds() / 60))
    return span(minutes * 60)


def countdown(seconds: float) -> str:
    """What the clock in the ring shows: 3:12, 60:00, above an hour 1:02:10. The last second counts until it is over."""
    whole = max(0, math.ceil(seconds))
    minutes, second = divmod(whole, 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{second:02d}" if whole > 3600 else f"{minutes}:{second:02d}"


def at(moment: datetime, timezone: str, now: datetime | None = None, *, seconds: bool = False) -> str:
    """The time of day where the machine stands, with the day when that is not today."""
    there = moment.astimezone(ZoneInfo(timezone))
    clock = there.strftime("%H:%M:%S" if seconds else "%H:%M")
    if now is None or there.date() == now.astimezone(ZoneInfo(timezone)).date():
        return clock
    return f"{date_format(there, 'D j M').replace(' ', NBSP)}, {clock}"


def zone(timezone: str) -> str:
    """The time zone by the city that names it: ``Europe/Vienna`` is "Vienna time"."""
    city = timezone.rsplit("/", 1)[-1].replace("_", " ")
    return _("%(city)s time") % {"city": city}


def label(code: str) -> str:
    """A code in groups, as it is printed: W17Q4 is W1 7Q4."""
    if len(code) <= 5:
        groups = [code[:2], code[2:]]
    elif len(code) <= 7:
        groups = [code[:3], code[3:]]
    else:
        groups = re.findall(".{1,4}", code)
    return NBSP.join(groups)


def programme(name: str, seconds: int) -> str:
    """A plan by name and length, the length once: "Everyday, 60 min"."""
    length = span(seconds)
    spelled = name.replace(NBSP, " ")
    if length.replace(NBSP, " ").lower() in spelled.lower():
        return name
    return f"{name}, {length}" if name else length
