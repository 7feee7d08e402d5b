"""Saving a Shelly account: a new key or server is untried, and what waits in the queue goes out with it at once."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from django.db import transaction

from devices import key_age
from devices.models import AccountStatus, RelayCommand, ShellyAccount
from devices.relays.commands import hurry_account
from devices.relays.models import CommandState
from hygate import audit, clock


def add_account(*, name: str, server_url: str, auth_key: str, by: str = "hygate") -> ShellyAccount:
    """A new account; ``server_url`` has passed ``check_server_url``. Its first status reading leaves at once."""
    now = clock.now()
    with transaction.atomic():
        account = ShellyAccount.objects.create(
            name=name, server_url=server_url, auth_key=auth_key, key_saved_at=now, status_due_at=now
        )
        audit.write("account_added", actor=by, account=account.pk, name=name)
        hurry_account(account.pk, now)
    return account


def change_account(
    account: ShellyAccount, *, name: str, server_url: str, auth_key: str = "", by: str = "hygate"
) -> list[str]:
    """Write what differs and answer its columns; an empty ``auth_key`` keeps the saved one.

    With another key or server nothing is known of the account any more: it counts as untried, every command that waits
    for its next round is due now, and a status reading follows, so that relays which moved meanwhile are put right.
    The audit log says what the name and the server were and are, and that the key changed: never the key.
    """
    now = clock.now()
    with transaction.atomic():
        before = ShellyAccount.objects.only("name", "server_url").get(pk=account.pk)
        changed = _changed(before, name, server_url, auth_key)
        moved = bool({"auth_key", "server_url"} & set(changed))
        if moved:
            _hurry_commands(account.pk, now)
        fresh = ShellyAccount.objects.select_for_update(no_key=True).get(pk=account.pk)
        if "auth_key" in changed:
            changed["key_saved_at"] = now
        for column, value in (changed | (_untried(now) if moved else {})).items():
            setattr(fresh, column, value)
        fresh.save(update_fields=[*changed, *(_untried(now) if moved else {})])
        _tell(before, changed, by)
        if moved:
            hurry_account(account.pk, now)
        if "auth_key" in changed:
            key_age.forget(account.pk)
    return sorted(set(changed) - {"key_saved_at"})


def _changed(before: ShellyAccount, name: str, server_url: str, auth_key: str) -> dict[str, Any]:
    wanted = {"name": name, "server_url": server_url}
    changed: dict[str, Any] = {column: new for column, new in wanted.items() if getattr(before, column) != new}
    return changed | ({"auth_key": auth_key} if auth_key else {})


def _untried(now: datetime) -> dict[str, Any]:
    return {
        "status": AccountStatus.UNTRIED,
        "last_error": "",
        "timeouts_in_row": 0,
        "timeout_devices": [],
        "circuit_opened_at": None,
        "status_due_at": now,
    }


def _hurry_commands(account_id: int, now: datetime) -> None:
    """Before the account's own row is locked: everywhere the command comes first."""
    waiting = RelayCommand.objects.filter(account_id=account_id, state=CommandState.QUEUED, next_at__gt=now)
    waiting.update(next_at=now, in_round=0)


def _tell(before: ShellyAccount, changed: Mapping[str, Any], by: str) -> None:
    """One event for each column. Of the server only host and port are written: links stand in no log."""
    if "name" in changed:
        audit.write("account_edited", actor=by, account=before.pk, **audit.change(before, {"name": changed["name"]}))
    if "auth_key" in changed:
        audit.write("account_key_changed", actor=by, account=before.pk)
    if "server_url" in changed:
        was, now = ({"host": urlsplit(url).netloc} for url in (before.server_url, changed["server_url"]))
        audit.write("account_host_changed", actor=by, account=before.pk, changed=["host"], before=was, after=now)
