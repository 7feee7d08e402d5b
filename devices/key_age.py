"""How old an auth key is: Shelly's do not expire, so somebody must be told to change them."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

from django.conf import settings
from django.db import transaction

from devices.models import ShellyAccount
from hygate.alerts import close_alert, raise_alert
from hygate.models import Severity
from hygate.numbers import Numbers

ANCHOR = "key-age"
_looked: dict[int, date] = {}
_lock = threading.Lock()


@dataclass(frozen=True)
class KeyAge:
    """``level`` is the dashboard's tone; ``sentence`` says what to do, and is empty while nothing is."""

    days: int
    level: Literal["ok", "hold", "stop"]
    sentence: str = ""


def key_age(saved_at: datetime, now: datetime, numbers: Numbers) -> KeyAge:
    """The age of a key by the written numbers: a warning from day 75, an error from day 90."""
    days = max(0, (now - saved_at).days)
    if days >= numbers.key_error_days:
        level: Literal["hold", "stop"] = "stop"
        said = f"The auth key is {days} days old; {numbers.key_error_days} is the most it should be."
    elif days >= numbers.key_warn_days:
        level = "hold"
        said = f"The auth key is {days} days old; from day {numbers.key_error_days} on this is an error."
    else:
        return KeyAge(days, "ok")
    return KeyAge(days, level, f"{said} Make a new one in the Shelly app and save it here.")


def watch(account_id: int, now: datetime) -> None:
    """Called with every status reading: once a day and process, see whether the key's age wants a person.

    Not inside a transaction that holds the account's row.
    """
    with _lock:
        if _looked.get(account_id) == now.date():
            return
        _looked[account_id] = now.date()
    account = ShellyAccount.objects.only("name", "key_saved_at").filter(pk=account_id).first()
    if account is not None:
        _tell(account, key_age(account.key_saved_at, now, settings.NUMBERS))


def _tell(account: ShellyAccount, age: KeyAge) -> None:
    with transaction.atomic():
        if age.level == "ok":
            close_alert(_alert_key(account.pk))
            return
        raise_alert(
            _alert_key(account.pk),
            kind="key_age",
            title=f"The auth key of {account.name} is {age.days} days old",
            advice="Make a new key in the Shelly app (it ends the old one) and save it under Shelly accounts.",
            severity=Severity.ERROR if age.level == "stop" else Severity.WARNING,
            help_anchor=ANCHOR,
            account=account.pk,
        )


def forget(account_id: int) -> None:
    """A new key was saved: its alert is over. The last thing in the transaction that saves it."""
    with _lock:
        _looked.pop(account_id, None)
    close_alert(_alert_key(account_id))


def _alert_key(account_id: int) -> str:
    return f"key_age:{account_id}"
