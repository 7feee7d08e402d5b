"""What a sync found: the account's channels, devices that vanished or came back, channels nobody has seen before."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings

from devices.models import AccountStatus, Device, ShellyAccount
from devices.shelly.discovery import FoundChannel
from hygate import audit
from hygate.alerts import close_alert, raise_alert
from hygate.models import Alert, Severity

COMPLETES_WITHIN_S = 60.0
"""A sync whose second half never came is begun again after this."""
Channel = tuple[str, int]


def update_devices(account_id: int, found: Iterable[FoundChannel], now: datetime) -> None:
    """Mark what the account no longer has, unmark what is back, and take over what the cloud says of the rest."""
    seen = {(one.shelly_id, one.channel): one for one in found}
    for device in Device.objects.filter(account_id=account_id).order_by("pk"):
        channel = seen.get((device.shelly_id, device.channel))
        rows = Device.objects.filter(pk=device.pk)
        if channel is None:
            if rows.filter(vanished_at__isnull=True).update(vanished_at=now, online=False):
                audit.write("device_vanished", device=device.pk, account=account_id)
            continue
        told = {"online": channel.online, "model": channel.model, "generation": channel.generation, "vanished_at": None}
        if any(getattr(device, name) != value for name, value in told.items()):
            rows.update(**told)
        if device.vanished_at is not None:
            audit.write("device_returned", device=device.pk, account=account_id)


def keep_found(account: ShellyAccount, found: Sequence[FoundChannel], now: datetime) -> list[dict[str, Any]]:
    """Write the account's channels and set the next sync; answers them as JSON rows."""
    rows = [channel.as_json() for channel in found]
    ShellyAccount.objects.filter(pk=account.pk).update(
        found=rows,
        synced_at=now,
        status=AccountStatus.OK,
        last_ok_at=now,
        last_error="",
        sync_due_at=now + timedelta(seconds=settings.NUMBERS.sync_every_s),
    )
    return rows


def ask_about_new(account: ShellyAccount, found: Sequence[FoundChannel]) -> None:
    """One alert for each channel for sale that no sync has seen before; not after the first sync, where all are new.

    ``account`` is its row as it was before this sync. An alert that somebody closed is not raised again.
    """
    sellable = {(one.shelly_id, one.channel): one for one in found if one.sellable and one.channel is not None}
    _forget_gone(account.pk, sellable)
    if account.synced_at is None:
        return
    known = {(row["shelly_id"], row["channel"]) for row in account.found if row.get("sellable")}
    known |= set(Device.objects.filter(account=account).values_list("shelly_id", "channel"))
    for channel in sorted(set(sellable) - known):
        _ask(account, sellable[channel])


def _ask(account: ShellyAccount, one: FoundChannel) -> None:
    assert one.channel is not None
    key = alert_key(account.pk, one.shelly_id, one.channel)
    if Alert.objects.filter(key=key).exists():
        return
    raise_alert(
        key,
        kind="new_channel",
        title=f"New in {account.name}: {one.name}, add it?",
        advice="It can be sold. Add it under Shelly accounts with a name and a location, or close this if it is not"
        " for sale.",
        severity=Severity.WARNING,
        help_anchor="new-channel",
        account=account.pk,
    )


def was_added(account_id: int, shelly_id: str, channel: int) -> None:
    """Somebody added the channel: the question is answered."""
    close_alert(alert_key(account_id, shelly_id, channel))


def _forget_gone(account_id: int, sellable: Iterable[Channel]) -> None:
    """A question about what has gone again is over."""
    there = {alert_key(account_id, *channel) for channel in sellable}
    asked = Alert.objects.filter(key__startswith=_prefix(account_id), closed_at__isnull=True)
    for key in asked.values_list("key", flat=True):
        if key not in there:
            close_alert(key)


def alert_key(account_id: int, shelly_id: str, channel: int) -> str:
    return f"{_prefix(account_id)}{shelly_id}:{channel}"


def _prefix(account_id: int) -> str:
    return f"new_channel:{account_id}:"
