"""How the dashboard's templates spell icons, amounts, lengths and ages."""

from __future__ import annotations

from datetime import datetime

from django import template
from django.templatetags.static import static
from django.utils.html import format_html
from django.utils.safestring import SafeString

from hygate import clock
from sessions_app.dashboard import spelling, troubleshooting
from sessions_app.dashboard.looks import MONEY_TONES, Look
from sessions_app.states import PaymentStatus

register = template.Library()
register.filter("money", spelling.amount)
register.filter("span", spelling.length)
register.filter("ms", spelling.milliseconds)


@register.simple_tag
def icon(name: str) -> SafeString:
    return format_html(
        '<svg class="i" aria-hidden="true"><use href="{}#{}"></use></svg>', static("hygate/icons.svg"), name
    )


@register.simple_tag
def helped(name: str, words: str = "") -> SafeString | str:
    """``words`` (or the error's name) as a link to its row on the troubleshooting page; plain where there is none."""
    shown, url = words or name, troubleshooting.link(name) if name else ""
    return format_html('<a class="why" href="{}">{}</a>', url, shown) if url else shown


@register.simple_tag
def ago(moment: datetime | None, never: str = "never") -> SafeString | str:
    """An age that the script keeps counting."""
    if moment is None:
        return never
    return format_html(
        '<span class="num" data-since="{}">{}</span>',
        spelling.milliseconds(moment),
        spelling.age((clock.now() - moment).total_seconds()),
    )


@register.simple_tag
def at(moment: datetime | None, timezone: str, seconds: bool = False) -> str:
    return "" if moment is None else spelling.at(moment, timezone, clock.now(), seconds=seconds)


@register.simple_tag
def left(look: Look) -> str:
    """What a countdown shows now."""
    return spelling.countdown(look.remaining_s(clock.now()) or 0)


@register.simple_tag
def left_s(look: Look) -> int:
    return max(0, min(look.total_s, int(look.remaining_s(clock.now()) or 0)))


@register.filter
def money_tone(status: str) -> str:
    return MONEY_TONES[PaymentStatus(status)]
