"""Sync on request: which channels an account has, now. It takes its turn in the account's queue like everything else.

The sync that comes by itself every ten minutes is two steps of that queue (``steps``, ``listings``).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction

from devices.models import AccountStatus, Device, RelayCommand, ShellyAccount
from devices.relays import rules, syncing, telling
from devices.relays.calls import cloud_of, key_of
from devices.relays.commands import hurry_account
from devices.relays.found import keep_found, update_devices
from devices.relays.models import OPEN
from devices.relays.syncing import Step, Tell
from devices.shelly.discovery import FoundChannel, discover
from devices.shelly.errors import BadKey, ShellyError
from devices.shelly.readings import DeviceStatus
from hygate import clock
from hygate.due import claims, hand_back
from hygate.due.registry import handler_for

TURN_WITHIN_S = 30.0


class AccountBusy(ShellyError):
    """The account's queue had no free moment for a sync."""

    name, retryable = "account_busy", True
    says = "The account is busy with relay commands. Try again in half a minute."


def sync_account(account: ShellyAccount) -> list[dict[str, Any]]:
    """Every channel of ``account`` with its best name, as JSON rows; updates the live state of those already added.

    Raises a ``ShellyError`` with its name. Two requests, a gap apart, while this process holds the account's turn;
    ``syncing.progress`` knows how far it is.
    """
    with syncing.followed(account.pk) as tell, turn(account):
        found = _found(account, tell)
        tell(Step.KEEPING, channels=len(found))
        now = clock.now()
        with transaction.atomic():
            update_devices(account.pk, found, now)
        with transaction.atomic():
            rows = keep_found(account, found, now)
            ShellyAccount.objects.filter(pk=account.pk).update(status_due_at=now)
            telling.account_is_well(account.pk)
    with transaction.atomic():
        hurry_account(account.pk, clock.now())
    return rows


def _found(account: ShellyAccount, tell: Tell) -> tuple[FoundChannel, ...]:
    """What Shelly says; its refusal is kept with the account."""

    def between(answered: Sequence[DeviceStatus]) -> None:
        tell(Step.NAMES, devices=len(answered))
        clock.sleep(settings.NUMBERS.gap_s + 0.1)

    tell(Step.STATES)
    try:
        return discover(cloud_of(account.server_url, key_of(account)), between)
    except ShellyError as error:
        status = AccountStatus.BAD_KEY if isinstance(error, BadKey) else AccountStatus.UNREACHABLE
        ShellyAccount.objects.filter(pk=account.pk).update(status=status, last_error=error.name)
        raise


@contextmanager
def turn(account: ShellyAccount, *, within_s: float = TURN_WITHIN_S) -> Iterator[None]:
    """Hold the account's lease: nobody else sends to it meanwhile. Gives way to commands that are already waiting.

    Raises ``AccountBusy`` where its turn does not come ``within_s``.
    """
    handler = handler_for(ShellyAccount._meta.label_lower)
    deadline = time.monotonic() + within_s
    with transaction.atomic():
        hurry_account(account.pk, clock.now())
    lease_s = settings.NUMBERS.gap_s + 4 * settings.NUMBERS.read_timeout_s + 5
    while _is_needed(account, lease_s) or not (mine := claims.claim(handler, limit=1, pks=[account.pk])):
        if time.monotonic() > deadline:
            raise AccountBusy
        clock.sleep(0.1)
        with transaction.atomic():
            hurry_account(account.pk, clock.now())
    now = clock.now()
    ShellyAccount.objects.filter(pk=account.pk).update(claimed_until=now + timedelta(seconds=lease_s))
    free_at = ShellyAccount.objects.values_list("free_at", flat=True).get(pk=account.pk)
    clock.sleep(max(0.0, (free_at - now).total_seconds()) if free_at else 0)
    try:
        yield
    finally:
        wide_until = ShellyAccount.objects.values_list("wide_gap_until", flat=True).get(pk=account.pk)
        gap_s = rules.gap_s(wide_until, clock.now(), settings.NUMBERS)
        ShellyAccount.objects.filter(pk=account.pk).update(free_at=clock.now() + timedelta(seconds=gap_s))
        hand_back(handler, mine)


def _is_needed(account: ShellyAccount, within_s: float) -> bool:
    """A command waits, or a relay will have to go off, before a sync could be done: it has to wait its turn."""
    until = clock.now() + timedelta(seconds=within_s)
    commands = RelayCommand.objects.filter(account=account, state__in=OPEN, next_at__lte=until)
    return commands.exists() or Device.objects.filter(account=account, off_expected_at__lte=until).exists()
