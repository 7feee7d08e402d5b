"""Re-encrypting stored secrets with the first key of ``HYGATE_FIELD_KEYS``, while the site runs.

One row is one statement that changes it only if its ciphertext is still the one that was read: a secret saved meanwhile
wins, nobody waits for a lock, and an interrupted run is simply run again. Until a row's turn comes its old ciphertext
stays readable, because every key of the list decrypts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from allauth.mfa.models import Authenticator
from django.db import models

from hygate import audit
from hygate.secrets import (
    ROW_ID,
    EncryptedTextField,
    Sealed,
    SecretUnreadable,
    decrypt,
    encrypt,
    needs_old_key,
    seal,
    secret_fields,
    unseal,
)

BATCH = 200
FERNET = "gAAAA"
"""How every ciphertext begins: Fernet's version, and a time stamp before the year 2106."""


@dataclass
class Count:
    """What was found in one column. ``overtaken`` rows were saved by somebody else in the meantime."""

    column: str
    current: int = 0
    renewed: int = 0
    overtaken: int = 0
    old: int = 0
    unreadable: int = 0

    @property
    def left(self) -> int:
        """Rows that still need a key which is not the first."""
        return self.old + self.overtaken + self.unreadable


def count_old() -> list[Count]:
    """How many rows need an old key; changes nothing."""
    return [*(_look(model, field) for model, field in secret_fields()), _authenticators(renew=False)]


def rotate(*, by: str = "hygate") -> list[Count]:
    """Re-encrypt whatever the first key cannot open yet, and say so in the audit log."""
    counts = [*(_renew(model, field) for model, field in secret_fields()), _authenticators(renew=True)]
    renewed = {one.column: one.renewed for one in counts if one.renewed}
    if renewed:
        audit.write("secrets_rotated", actor=by, renewed=renewed, left=sum(one.left for one in counts))
    return counts


def _look(model: type[models.Model], field: EncryptedTextField) -> Count:
    count = Count(field.column_name)
    for _pk, row, sealed in _rows(model, field):
        if not needs_old_key(sealed.token):
            count.current += 1
        elif _text(field, row, sealed) is None:
            count.unreadable += 1
        else:
            count.old += 1
    return count


def _renew(model: type[models.Model], field: EncryptedTextField) -> Count:
    count = Count(field.column_name)
    for pk, row, sealed in _rows(model, field):
        if not needs_old_key(sealed.token):
            count.current += 1
            continue
        text = _text(field, row, sealed)
        if text is None:
            count.unreadable += 1
            continue
        mine: dict[str, Any] = {"pk": pk, field.name: sealed}
        fresh = {field.name: seal(text, column=field.column_name, row=row)}
        if model._default_manager.filter(**mine).update(**fresh):
            count.renewed += 1
        else:
            count.overtaken += 1
    return count


def _text(field: EncryptedTextField, row: Any, sealed: Sealed) -> str | None:
    """What it says; None when no key opens it, which the caller counts and reports."""
    try:
        return unseal(sealed, column=field.column_name, row=row)
    except SecretUnreadable:
        return None


def _rows(model: type[models.Model], field: EncryptedTextField) -> Iterator[tuple[Any, Any, Sealed]]:
    """Primary key, secret id and ciphertext of every row that has one, a batch at a time by rising key."""
    rows = model._default_manager.order_by("pk").values_list("pk", ROW_ID, field.name)
    last: Any = None
    while batch := list((rows if last is None else rows.filter(pk__gt=last))[:BATCH]):
        last = batch[-1][0]
        yield from ((pk, row, sealed) for pk, row, sealed in batch if isinstance(sealed, Sealed))


def _authenticators(*, renew: bool) -> Count:
    """Second factors: allauth keeps their secrets inside JSON, encrypted by our adapter."""
    count = Count("mfa.authenticator.data")
    for one in Authenticator.objects.order_by("pk").iterator(BATCH):
        before = count.renewed
        fresh = {name: _fresh(value, count, renew=renew) for name, value in one.data.items()}
        if fresh == one.data:
            continue
        if not Authenticator.objects.filter(pk=one.pk, data=one.data).update(data=fresh):
            count.overtaken += count.renewed - before
            count.renewed = before
    return count


def _fresh(value: Any, count: Count, *, renew: bool) -> Any:
    """``value`` with every ciphertext in it under the first key; what is no ciphertext stays as it is."""
    if isinstance(value, list):
        return [_fresh(entry, count, renew=renew) for entry in value]
    if not isinstance(value, str) or not value.startswith(FERNET):
        return value
    if not needs_old_key(value):
        count.current += 1
        return value
    try:
        text = decrypt(value)
    except SecretUnreadable:
        count.unreadable += 1
        return value
    if not renew:
        count.old += 1
        return value
    count.renewed += 1
    return encrypt(text)
