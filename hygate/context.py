"""What every template knows: the operator's words, and whether this is a simulation."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest

from hygate.models import SiteSettings

SITE = "hygate.site"
"""Where a request that has read the settings already keeps them, in its ``META``."""


def site(request: HttpRequest) -> dict[str, Any]:
    known = request.META.get(SITE) or SiteSettings.current()
    return {"site": known, "simulated": settings.SIMULATED, "languages": settings.LANGUAGES}
