"""What the relay room tells people: an account without an answer, a relay that must be off, a timer nobody saw.

Each alert is closed by the reading or answer that shows the trouble to be over.
"""

from __future__ import annotations

from datetime import datetime

from django.conf import settings

from devices.models import AccountStatus, Device, RelayCommand, ShellyAccount
from devices.relays.models import OPEN
from devices.shelly.errors import BadKey, CloudDown, NoSuchRoute, NotConfirmed, ShellyError, TimedOut
from hygate.alerts import close_alert, raise_alert
from hygate.models import Severity


def account_answered(account: ShellyAccount, error: ShellyError | None, status: str) -> None:
    """After each answer, last in its transaction. ``account`` is the row as it was before, ``status`` as it is now."""
    if error is None and account.status != AccountStatus.OK:
        account_is_well(account.pk)
    elif isinstance(error, BadKey):
        close_alert(_silent_key(account.pk))
        _key_refused(account, error)
    elif isinstance(error, TimedOut | CloudDown) and status == AccountStatus.UNREACHABLE:
        _silent(account)
    elif isinstance(error, NoSuchRoute) and status == AccountStatus.UNREACHABLE:
        close_alert(_silent_key(account.pk))
        _no_shelly_server(account)


def account_is_well(account_id: int) -> None:
    close_alert(_refused_key(account_id))
    close_alert(_silent_key(account_id))
    close_alert(_host_key(account_id))


def _refused_key(account_id: int) -> str:
    return f"account:{account_id}:key"


def _silent_key(account_id: int) -> str:
    return f"account:{account_id}:silent"


def _host_key(account_id: int) -> str:
    return f"account:{account_id}:host"


def _no_shelly_server(account: ShellyAccount) -> None:
    raise_alert(
        _host_key(account.pk),
        kind="account_host",
        title=f"The server of {account.name} is no Shelly Cloud (any more)",
        advice="Shelly moves accounts between servers. Copy the server from the Shelly app, below the key, and save it."
        " Until then nothing of this account is sold; running relays end by their own timers.",
        severity=Severity.ERROR,
        help_anchor="account-host",
        account=account.pk,
    )


def _key_refused(account: ShellyAccount, error: BadKey) -> None:
    raise_alert(
        _refused_key(account.pk),
        kind="account_key",
        title=f"The auth key of {account.name} does not work",
        advice=f"{error.sentence} Until then nothing of this account is sold; running relays end by their own timers.",
        severity=Severity.ERROR,
        help_anchor="account-key",
        account=account.pk,
    )


def _silent(account: ShellyAccount) -> None:
    raise_alert(
        _silent_key(account.pk),
        kind="account_silent",
        title=f"The Shelly Cloud does not answer for {account.name}",
        advice="Check this machine's internet connection and the server address of the account. Hygate keeps trying;"
        " running relays end by their own timers.",
        severity=Severity.ERROR,
        help_anchor="account-silent",
        account=account.pk,
    )


def watch_off(command: RelayCommand, now: datetime) -> None:
    """After each answer about ``command``: an OFF that has not been proven for a minute needs a person on the spot."""
    since = command.device.must_be_off_since
    if command.on or command.state not in OPEN or since is None or not _is_long(since, now):
        return
    device = command.device
    says = "still reads on" if command.last_error == NotConfirmed.name else "does not answer"
    raise_alert(
        _off_key(device.pk),
        kind="off_overdue",
        title=f"{device.name} ({device.location.name}) must be off and {says}",
        advice="Look at the machine and switch it off there or by its fuse, then check power and Wi-Fi of its relay."
        " Hygate keeps asking for OFF and sells nothing there until it is read back.",
        severity=Severity.ERROR,
        help_anchor="off-overdue",
        device=device.pk,
    )


def off_is_over(device: Device, now: datetime) -> None:
    """``device``, as its row was before, is off by a reading, or need not be off any more."""
    if device.must_be_off_since is not None and _is_long(device.must_be_off_since, now):
        close_alert(_off_key(device.pk))


def off_is_not_wanted(device_id: int) -> None:
    """A new ON takes the duty to be off away, as when a pause ends."""
    close_alert(_off_key(device_id))


def _is_long(since: datetime, now: datetime) -> bool:
    return (now - since).total_seconds() > settings.NUMBERS.off_alert_s


def _off_key(device_id: int) -> str:
    return f"off:{device_id}"


def timer_seen(device: Device, *, shown: bool) -> None:
    """After a confirmed ON: whether the reading showed the relay's own timer. ``device`` as its row was before."""
    key = f"timer:{device.pk}"
    if shown:
        if device.timer_unproven:
            close_alert(key)
        return
    raise_alert(
        key,
        kind="timer_unproven",
        title=f"{device.name} ({device.location.name}) does not show its own timer",
        advice="Nothing proves that it goes off by itself if Hygate is down. Update its firmware in the Shelly app.",
        severity=Severity.WARNING,
        help_anchor="timer-unproven",
        device=device.pk,
    )
