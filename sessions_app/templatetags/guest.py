"""How the guests' templates draw icons: a page has a dozen, and a template for each takes ten times as long."""

from __future__ import annotations

from functools import lru_cache

from django import template
from django.templatetags.static import static
from django.utils.html import format_html
from django.utils.safestring import SafeString

register = template.Library()


@register.simple_tag
@lru_cache(maxsize=256)
def icon(name: str) -> SafeString:
    return format_html('<svg class="i" aria-hidden="true"><use href="{}#{}"/></svg>', static("hygate/sprite.svg"), name)
