"""How amounts, times and codes are spelled to a guest, in the guest's language and in the time of the machine's place.

A number and its unit never part at a line's end.
"""

from __future__ import annotations

import math
import re
from datetime import datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from zoneinfo import ZoneInfo

from django.utils.formats import date_format, number_format
from django.utils.translation import get_language, gettext_noop, ngettext
from django.utils.translation import gettext as _

from sessions_app.money import ZERO_DECIMAL

NBSP = "\u00a0"
SYMBOLS = {"eur": "€", "gbp": "£", "usd": "$"}
SIGN_FIRST = {"en": "", "nl": NBSP}
"""The languages that write an amount's sign before its number, and what stands between (Unicode CLDR)."""
DAYS = {"en": "D j M", "de": "D, j. M"}
"""A day with its weekday, short, in Django's letters, where it is not in small letters as in most languages."""
MOST_DAYS = "D j b"
DAY_FIRST = ("de",)
"""German says "um So, 22. Nov, 13:00 Uhr"; elsewhere the time follows the word that leads to it ("a las")."""
CITIES = (
    gettext_noop("Amsterdam"),
    gettext_noop("Athens"),
    gettext_noop("Berlin"),
    gettext_noop("Brussels"),
    gettext_noop("Budapest"),
    gettext_noop("Copenhagen"),
    gettext_noop("Dublin"),
    gettext_noop("Helsinki"),
    gettext_noop("Lisbon"),
    gettext_noop("London"),
    gettext_noop("Luxembourg"),
    gettext_noop("Madrid"),
    gettext_noop("Oslo"),
    gettext_noop("Paris"),
    gettext_noop("Prague"),
    gettext_noop("Rome"),
    gettext_noop("Stockholm"),
    gettext_noop("Vienna"),
    gettext_noop("Warsaw"),
    gettext_noop("Zurich"),
)
"""Cities that name time zones and have names of their own in the guests' languages; all others keep their names."""


def language() -> str:
    """The language without its region: ``de`` for de-AT."""
    return (get_language() or "en").partition("-")[0]


def number(value: Decimal | float, decimals: int = 0) -> str:
    """1,840 and 0.62 in English, 1.840 and 0,62 in German: marks and groups as the language has them."""
    return str(number_format(value, decimal_pos=decimals, use_l10n=True, force_grouping=True))


def money(minor: int, currency: str) -> str:
    """``360, "eur"`` is €3.60, in German 3,60 €; a currency without a sign keeps its code: CHF 3.60."""
    return _money(minor, currency.lower(), get_language())


@lru_cache(maxsize=10_000)
def _money(minor: int, code: str, _language: str | None) -> str:
    """Kept, for pages say the same prices over and over; the language in force is part of what is kept."""
    decimals = 0 if code in ZERO_DECIMAL else 2
    figures = number(Decimal(minor).scaleb(-decimals), decimals)
    if code not in SYMBOLS:
        return f"{code.upper()}{NBSP}{figures}" if language() in SIGN_FIRST else f"{figures}{NBSP}{code.upper()}"
    between = SIGN_FIRST.get(language())
    return f"{figures}{NBSP}{SYMBOLS[code]}" if between is None else f"{SYMBOLS[code]}{between}{figures}"


def span(seconds: int) -> str:
    """A length of time, exactly: 20 s, 60 min, 2 hours, and 35:12 min or 1:35:12 h where it is no whole minute."""
    if seconds >= 7200 and seconds % 3600 == 0:
        hours = seconds // 3600
        return ngettext("%(n)d hour", "%(n)d hours", hours).replace(" ", NBSP) % {"n": hours}
    if seconds < 120 and seconds % 60:
        return _("%(n)d s").replace(" ", NBSP) % {"n": seconds}
    if seconds % 60:
        form = _("%(n)s h") if seconds > 3600 else _("%(n)s min")
        return form.replace(" ", NBSP) % {"n": countdown(seconds)}
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
    """The time of day where the machine stands, with the day beside it when that is not today."""
    there = moment.astimezone(ZoneInfo(timezone))
    clock = there.strftime("%H:%M:%S" if seconds else "%H:%M")
    if now is None or there.date() == now.astimezone(ZoneInfo(timezone)).date():
        return clock
    return f"{day(there)}, {clock}" if language() in DAY_FIRST else f"{clock}, {day(there)}"


def day(there: datetime) -> str:
    """Weekday, day and month, short, kept together: Sat 21 Nov. ``there`` is in the time of the place already."""
    form = DAYS.get(language())
    said = date_format(there, form) if form else date_format(there, MOST_DAYS).lower()
    return said.replace(" ", NBSP)


def zone(timezone: str) -> str:
    """The time zone by the city that names it: ``Europe/Vienna`` is "Vienna time"."""
    city = timezone.rsplit("/", 1)[-1].replace("_", " ")
    return _("%(city)s time") % {"city": _(city)}


def label(code: str) -> str:
    """A code in groups, as it is printed: W17Q4 is W1 7Q4."""
    if len(code) <= 5:
        groups = [code[:2], code[2:]]
    elif len(code) <= 7:
        groups = [code[:3], code[3:]]
    else:
        groups = re.findall(".{1,4}", code)
    return NBSP.join(groups)


def scan_me() -> str:
    """What to do, on a printed label."""
    return _("Scan, pay, start. No app needed.")


def compare_me() -> str:
    """Above the code and the domain on a printed label, which a guest compares with the page."""
    return _("Compare before you pay:")


def programme(name: str, seconds: int) -> str:
    """A plan by name and length, the length once and kept together: "Everyday, 60 min"."""
    length = span(seconds)
    found = re.search(re.escape(length).replace(NBSP, f"[ {NBSP}]"), name, re.IGNORECASE)
    if found:
        return f"{name[: found.start()]}{found[0].replace(' ', NBSP)}{name[found.end() :]}"
    return f"{name}, {length}" if name else length
