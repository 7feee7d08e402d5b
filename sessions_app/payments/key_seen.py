"""How long the Stripe key in force has been in use: the environment, where it may be set, keeps no dates.

The audit log does: the first time that Stripe takes a key, an event says so under a name that only we can make from it.
"""

from __future__ import annotations

import hashlib
import hmac
import threading
from datetime import date, datetime

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet

from devices.key_age import key_age
from hygate import audit
from hygate.alerts import close_alert, raise_alert
from hygate.models import AuditEvent, Severity
from sessions_app.payments import keyring

KIND = "stripe_key_seen"
ALERT = "key_age:stripe"
_looked: dict[str, date] = {}
_lock = threading.Lock()


def name() -> str:
    """The key's name in the log; empty where there is no key."""
    key = keyring.in_force().key
    return hmac.new(settings.SECRET_KEY.encode(), key.encode(), hashlib.sha256).hexdigest()[:16] if key else ""


def seen() -> QuerySet[AuditEvent]:
    """The event that tells of the key in force."""
    return AuditEvent.objects.filter(kind=KIND, data__name=name())


def first_seen() -> datetime | None:
    return seen().order_by("id").values_list("at", flat=True).first()


def note(now: datetime) -> None:
    """Stripe has taken the key: once a day and process, remember it or see whether its age wants a person."""
    with _lock:
        if _looked.get(name()) == now.date():
            return
    with transaction.atomic():
        _tell(remember(now), now)
    with _lock:
        _looked[name()] = now.date()


def remember(now: datetime) -> datetime:
    """When Stripe took this key first: now, where the log does not know of it yet."""
    since = first_seen()
    if since is not None:
        return since
    audit.write(KIND, name=name())
    return now


def _tell(since: datetime, now: datetime) -> None:
    age = key_age(since, now, settings.NUMBERS)
    if age.level == "ok":
        close_alert(ALERT)
        return
    raise_alert(
        ALERT,
        kind="key_age",
        title=f"The Stripe key is {age.days} days old",
        advice="Roll the key in Stripe's dashboard and save the new one under Settings, Stripe.",
        severity=Severity.ERROR if age.level == "stop" else Severity.WARNING,
        help_anchor="key-age",
    )
