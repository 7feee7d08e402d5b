"""Settings that must not stand together, as Django system checks."""

from __future__ import annotations

import ipaddress
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core import checks
from django.core.exceptions import ImproperlyConfigured


def register() -> None:
    checks.register(simulated_is_only_local)
    checks.register(real_site_has_real_keys)


def refuse_bad_settings() -> None:
    """For processes that Django's own commands do not start: stop here, as ``manage.py`` would."""
    wrong = [found for found in checks.run_checks() if found.is_serious()]
    if wrong:
        raise ImproperlyConfigured(" ".join(str(found.msg) for found in wrong))


def is_loopback(host: str) -> bool:
    if host in ("localhost", "testserver"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def simulated_is_only_local(**_: Any) -> list[checks.CheckMessage]:
    """Simulators sell for play money: never with a live key, and never where a stranger can reach them."""
    if not settings.SIMULATED:
        return []
    found: list[checks.CheckMessage] = []
    if "_live_" in settings.STRIPE_KEY:
        found.append(checks.Error("HYGATE_SIMULATED=1 stands beside a live Stripe key. Unset one.", id="hygate.E001"))
    found += [
        checks.Error(f"HYGATE_SIMULATED=1, but {url} is not on this machine.", id="hygate.E002")
        for url in (settings.STRIPE_API_BASE, settings.SHELLY_DEFAULT_URL)
        if not is_loopback(urlsplit(url).hostname or "")
    ]
    found += [
        checks.Error(f"HYGATE_SIMULATED=1, but HYGATE_ALLOWED_HOSTS names {host}.", id="hygate.E003")
        for host in settings.ALLOWED_HOSTS
        if not is_loopback(host)
    ]
    return found


def real_site_has_real_keys(**_: Any) -> list[checks.CheckMessage]:
    if settings.SIMULATED:
        return []
    found: list[checks.CheckMessage] = []
    if settings.SECRET_KEY == settings.DEMO_SECRET_KEY or settings.DEMO_FIELD_KEY in settings.FIELD_KEYS:
        found.append(checks.Error("The demo's keys stand in a real site's settings. Make your own.", id="hygate.E004"))
    if not settings.STRIPE_KEY:
        found.append(checks.Warning("HYGATE_STRIPE_KEY is empty: nothing can be sold.", id="hygate.W001"))
    return found
