"""How the dashboard's templates spell icons, amounts, lengths and ages."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django import template
from django.template.loader import get_template
from django.utils.html import format_html
from django.utils.safestring import SafeString

from hygate import clock
from sessions_app.dashboard import drawn, live, spelling, troubleshooting
from sessions_app.dashboard.looks import MONEY_TONES
from sessions_app.states import PaymentStatus

register = template.Library()
register.filter("money", spelling.amount)
register.filter("span", spelling.length)
register.filter("watts", spelling.in_watts)
register.filter("ms", spelling.milliseconds)
register.filter("shaded", drawn.shaded)
for drawing in (drawn.icon, drawn.ago, drawn.state, drawn.left, drawn.tiles, drawn.device_rows, drawn.options):
    register.simple_tag(drawing)


@register.simple_tag(takes_context=True)
def live_part(context: template.Context, name: str) -> SafeString:
    """What a page asks for again (see ``live``), as it is now."""
    part: Any = get_template(f"dashboard/{name}")
    return live.marked(part.template.render(context), context["mark"])


@register.simple_tag
def helped(name: str, words: str = "") -> SafeString | str:
    """``words`` (or the error's name) as a link to its row on the troubleshooting page; plain where there is none."""
    shown, url = words or name, troubleshooting.link(name) if name else ""
    return format_html('<a class="why" href="{}">{}</a>', url, shown) if url else shown


@register.simple_tag
def at(moment: datetime | None, timezone: str, seconds: bool = False) -> str:
    return "" if moment is None else spelling.at(moment, timezone, clock.now(), seconds=seconds)


@register.filter
def money_tone(status: str) -> str:
    return MONEY_TONES[PaymentStatus(status)]
