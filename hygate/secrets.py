"""Secrets at rest: MultiFernet over ``HYGATE_FIELD_KEYS`` (the first key encrypts, all of them decrypt).

Each ciphertext holds the name of its column and the ``secret_id`` of its row, so that it opens nowhere else: who can
write to the database cannot have one account's key used, or one guest's link shown, in the place of another.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.apps import apps
from django.conf import settings
from django.core import checks
from django.core.exceptions import FieldDoesNotExist, ImproperlyConfigured
from django.db import models
from django.db.models.query_utils import DeferredAttribute

ROW_ID = "secret_id"
LOOSE = "loose\n"


class SecretUnreadable(Exception):
    """A stored secret was written with a key that is gone from ``HYGATE_FIELD_KEYS``, or for another row or column."""

    retryable = False


class PlainSecret(TypeError):
    """A secret in plain text on its way into an UPDATE or a WHERE, where nothing says which row it belongs to."""


class Sealed:
    """A ciphertext as it stands in the database; what it says is asked of its row's attribute."""

    __slots__ = ("token",)

    def __init__(self, token: str) -> None:
        self.token = token

    def __repr__(self) -> str:
        return "<sealed>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sealed) and other.token == self.token

    def __hash__(self) -> int:
        return hash(self.token)


@lru_cache(maxsize=4)
def _fernets(keys: tuple[str, ...]) -> tuple[Fernet, ...]:
    if not keys:
        raise ImproperlyConfigured("HYGATE_FIELD_KEYS is empty; set it to one or more Fernet keys.")
    try:
        return tuple(Fernet(key) for key in keys)
    except ValueError as error:
        raise ImproperlyConfigured("HYGATE_FIELD_KEYS holds something that is no Fernet key.") from error


def _configured() -> tuple[Fernet, ...]:
    return _fernets(tuple(settings.FIELD_KEYS))


def seal(text: str, *, column: str, row: uuid.UUID) -> Sealed:
    """``text`` encrypted with the first key, for ``column`` (``app.model.field``) of the row with this secret id."""
    return Sealed(_configured()[0].encrypt(f"{_place(column, row)}{text}".encode()).decode())


def unseal(sealed: Sealed, *, column: str, row: uuid.UUID) -> str:
    """The text; raises ``SecretUnreadable`` when no key opens it, or when it was sealed for another place."""
    try:
        text = MultiFernet(_configured()).decrypt(sealed.token.encode()).decode()
    except InvalidToken:
        raise SecretUnreadable(
            f"A stored secret ({column}) cannot be read: its key is missing from HYGATE_FIELD_KEYS. Put the key back,"
            " or save the secret again."
        ) from None
    place = _place(column, row)
    if not text.startswith(place):
        raise SecretUnreadable(
            f"A stored secret ({column}) was written for another row or column and is not used. Save it again."
        )
    return text.removeprefix(place)


def _place(column: str, row: uuid.UUID) -> str:
    return f"{column}:{row}\n"


def encrypt(text: str) -> str:
    """For what lives in no column of ours (a guest's cookie, an authenticator's secret): bound to no row."""
    return _configured()[0].encrypt(f"{LOOSE}{text}".encode()).decode()


def decrypt(token: str) -> str:
    """The text of ``encrypt``; a column's ciphertext does not open here, nor the other way round."""
    try:
        text = MultiFernet(_configured()).decrypt(token.encode()).decode()
    except InvalidToken:
        text = ""
    if not text.startswith(LOOSE):
        raise SecretUnreadable("What was encrypted cannot be read: its key is missing from HYGATE_FIELD_KEYS.")
    return text.removeprefix(LOOSE)


def needs_old_key(token: str) -> bool:
    """Whether the first key alone cannot open it."""
    try:
        _configured()[0].decrypt(token.encode())
    except InvalidToken:
        return True
    return False


class SecretAttribute(DeferredAttribute):
    """Decrypts when somebody looks, and only then: a list of rows decrypts nothing."""

    field: EncryptedTextField

    def __get__(self, instance: Any, cls: Any = None) -> Any:
        value = super().__get__(instance, cls)
        if not isinstance(value, Sealed):
            return value
        text = unseal(value, column=self.field.column_name, row=getattr(instance, ROW_ID))
        instance.__dict__[self.field.attname] = text
        return text

    def __set__(self, instance: Any, value: Any) -> None:
        instance.__dict__[self.field.attname] = value


class EncryptedTextField(models.TextField):  # type: ignore[type-arg]  # not subscriptable at run time
    """Text that is ciphertext in the database and plain on its row, whose model has a ``secret_id``.

    It is written by ``save`` and ``bulk_create``. It cannot be searched, and ``update`` cannot write it: neither knows
    the row that the ciphertext has to be bound to.
    """

    descriptor_class = SecretAttribute

    @property
    def column_name(self) -> str:
        return f"{self.model._meta.label_lower}.{self.name}"

    def from_db_value(self, value: str | None, _expression: Any, _connection: Any) -> Sealed | str | None:
        return Sealed(value) if value else value

    def pre_save(self, model_instance: models.Model, add: bool) -> Any:
        text = getattr(model_instance, self.attname)
        return seal(str(text), column=self.column_name, row=getattr(model_instance, ROW_ID)) if text else text

    def get_prep_value(self, value: Any) -> Any:
        if isinstance(value, Sealed):
            return value.token
        if value:
            raise PlainSecret(
                f"{self.column_name} is encrypted for its row: set it on the row and save(update_fields=…); it can be"
                " neither searched nor written by update()."
            )
        return value

    def value_to_string(self, obj: models.Model) -> str:
        """``dumpdata`` writes ciphertext: a dump must not be the place where the keys lie open."""
        value = self.pre_save(obj, add=False)
        return value.token if isinstance(value, Sealed) else str(value or "")

    def check(self, **kwargs: Any) -> list[checks.CheckMessage]:
        found = super().check(**kwargs)
        try:
            bound = isinstance(self.model._meta.get_field(ROW_ID), models.UUIDField)
        except FieldDoesNotExist:
            bound = False
        if not bound:
            found.append(checks.Error(f"{self.column_name} needs a UUIDField {ROW_ID} beside it.", id="hygate.E010"))
        return found


def secret_fields() -> Iterable[tuple[type[models.Model], EncryptedTextField]]:
    """Every column that holds secrets, with its model."""
    for model in apps.get_models():
        for field in model._meta.local_fields:
            if isinstance(field, EncryptedTextField):
                yield model, field
