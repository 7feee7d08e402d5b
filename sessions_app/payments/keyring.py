"""The Stripe keys in force: those that an administrator saved, else those of the environment. Shown nowhere.

Every call to Stripe and every webhook asks for them, so a process remembers what it read for a few seconds: after a
save, the others follow within ``FRESH_S``.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog
from django.conf import settings
from django.db import transaction

from hygate import audit, clock
from hygate.secrets import SecretUnreadable
from sessions_app.models import StripeKeys, StripeWatch

FRESH_S = 5.0
log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Keys:
    """``key``: secret or restricted; empty: none. ``webhook_secrets``: any of them may have signed a webhook."""

    key: str = field(repr=False)
    webhook_secrets: tuple[str, ...] = field(repr=False)

    @property
    def is_any(self) -> bool:
        return bool(self.key or self.webhook_secrets)

    @property
    def is_live(self) -> bool:
        return "_live_" in self.key


_read: tuple[float, Keys] | None = None
"""When, by the monotonic clock, and what was saved then. Written by many threads: any of the last will do."""


def in_force() -> Keys:
    """What is saved goes before the environment, each of the two for itself."""
    saved = _saved()
    return Keys(saved.key or settings.STRIPE_KEY, saved.webhook_secrets or tuple(settings.STRIPE_WEBHOOK_SECRETS))


def saved() -> Keys:
    """What an administrator saved, read anew."""
    forget()
    return _saved()


def forget() -> None:
    global _read
    _read = None


def save(*, key: str = "", webhook_secrets: Sequence[str] = (), by: str) -> None:
    """Put what is not empty in force; the watch on Stripe looks at once, so that closed sales open again."""
    with transaction.atomic():
        row = StripeKeys.objects.select_for_update().filter(pk=1).first() or StripeKeys()
        if key:
            row.key = key
        if webhook_secrets:
            row.webhook_secrets = "\n".join(webhook_secrets)
        row.saved_at = clock.now()
        row.save()
        audit.write("stripe_keys_saved", actor=by, key_changed=bool(key), webhook_secrets=len(webhook_secrets))
        _look_at_stripe()
    forget()


def take_back(*, by: str) -> None:
    """Forget what was saved: the environment's keys are in force again."""
    with transaction.atomic():
        if StripeKeys.objects.filter(pk=1).delete()[0]:
            audit.write("stripe_keys_removed", actor=by)
            _look_at_stripe()
    forget()


def _look_at_stripe() -> None:
    StripeWatch.objects.filter(pk=1).update(due_at=clock.now(), events_due_at=None)


def _saved() -> Keys:
    global _read
    known = _read  # another thread may forget it meanwhile
    if known is None or time.monotonic() - known[0] > FRESH_S:
        _read = known = (time.monotonic(), _opened(StripeKeys.objects.filter(pk=1).first()))
    return known[1]


def _opened(row: StripeKeys | None) -> Keys:
    """Where what was saved cannot be read, nothing stands in for it: money must not go to another account."""
    if row is None:
        return Keys("", ())
    try:
        return Keys(str(row.key), tuple(str(row.webhook_secrets).split()))
    except SecretUnreadable:
        log.error("stripe.keys_unreadable")
        return Keys(UNREADABLE, (UNREADABLE,))


UNREADABLE = "unreadable"
"""Takes the place of what cannot be decrypted: no key of Stripe's looks like it."""
