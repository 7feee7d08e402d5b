"""Settings that must not stand together, as Django system checks."""

from __future__ import annotations

import ipaddress
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core import checks
from django.core.exceptions import ImproperlyConfigured

OURS = "hygate"
"""The tag of our own checks, for a program that has no use for the others: Django's load every page of the site."""
STRIPE_SECRET_KEYS = ("sk_live_", "rk_live_", "sk_test_", "rk_test_")


def register() -> None:
    for check in (simulated_is_only_local, real_site_has_real_keys, mail_is_safe):
        checks.register(check, OURS)


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
    if settings.STRIPE_KEY.startswith(("sk_test_", "rk_test_")) and not settings.STRIPE_TEST_OK:
        text = (
            "HYGATE_STRIPE_KEY is a test key: guests would pay with play money."
            " Set a live key, or HYGATE_STRIPE_TEST_OK=1 while you try things out."
        )
        found.append(checks.Error(text, id="hygate.E006"))
    elif settings.STRIPE_KEY and not settings.STRIPE_KEY.startswith(STRIPE_SECRET_KEYS):
        text = "HYGATE_STRIPE_KEY is no secret key. Set it to one that starts with rk_live_ or sk_live_."
        found.append(checks.Error(text, id="hygate.E007"))
    if not settings.STRIPE_KEY:
        found.append(
            checks.Warning(
                "HYGATE_STRIPE_KEY is empty: nothing can be sold until a key is saved under Settings, Stripe.",
                id="hygate.W001",
            )
        )
    return found


def mail_is_safe(**_: Any) -> list[checks.CheckMessage]:
    """Alerts need a way out of the house, and the mail server's password must not travel in the clear."""
    if settings.SIMULATED:
        return []
    if not settings.SMTP_HOST:
        text = "HYGATE_SMTP_HOST is empty: alerts stand on the dashboard only, nobody is told by e-mail."
        return [checks.Warning(text, id="hygate.W002")]
    open_wire = not (settings.EMAIL_USE_TLS or settings.EMAIL_USE_SSL)
    if open_wire and settings.EMAIL_HOST_USER and not is_loopback(settings.SMTP_HOST):
        text = "The password for HYGATE_SMTP_HOST would travel unencrypted: use HYGATE_SMTP_PORT 587 or 465."
        return [checks.Error(text, id="hygate.E005")]
    return []
