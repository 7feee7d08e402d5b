"""What every template knows: the operator's words, and whether this is a simulation."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest

from hygate.models import SiteSettings


def site(_request: HttpRequest) -> dict[str, Any]:
    return {"site": SiteSettings.current(), "simulated": settings.SIMULATED}
