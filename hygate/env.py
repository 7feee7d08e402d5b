"""Reading the environment: every helper refuses a value it cannot use, with a sentence that says what to set."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

TRUE, FALSE = {"1", "true", "yes", "on"}, {"", "0", "false", "no", "off"}


def text(name: str, default: str = "") -> str:
    """The value of ``name``, or the content of the file that ``name_FILE`` points at (for secrets).

    An empty variable is one that is not set: that is what ``NAME=`` in a ``.env`` file means.
    """
    path = os.environ.get(f"{name}_FILE", "")
    if not path:
        return os.environ.get(name, "").strip() or default
    try:
        return Path(path).read_text().strip()
    except OSError as error:
        raise ImproperlyConfigured(f"{name}_FILE points at {path}, which cannot be read: {error.strerror}.") from error


def flag(name: str, *, default: bool = False) -> bool:
    value = text(name, "1" if default else "0").lower()
    if value in TRUE:
        return True
    if value in FALSE:
        return False
    raise ImproperlyConfigured(f"{name} is {value!r}; set it to 1 or 0.")


def seconds(name: str, default: float, *, least: float = 0, most: float = 10**7) -> float:
    """A number of seconds between ``least`` and ``most``."""
    value = text(name)
    if not value:
        return default
    try:
        number = float(value)
    except ValueError as error:
        raise ImproperlyConfigured(f"{name} is {value!r}; set it to a number of seconds.") from error
    if not least <= number <= most:
        raise ImproperlyConfigured(f"{name} is {value}; it must lie between {least:g} and {most:g} seconds.")
    return number


def whole(name: str, default: int, *, least: int = 0, most: int = 10**9) -> int:
    """A whole number between ``least`` and ``most``."""
    value = text(name)
    if not value:
        return default
    if not value.lstrip("-").isdigit() or not least <= int(value) <= most:
        raise ImproperlyConfigured(f"{name} is {value!r}; set it to a whole number from {least} to {most}.")
    return int(value)


def one_of(name: str, default: str, choices: Sequence[str]) -> str:
    value = text(name, default).lower()
    if value not in choices:
        raise ImproperlyConfigured(f"{name} is {value!r}; set it to {' or '.join(choices)}.")
    return value


def words(name: str, default: str = "") -> list[str]:
    """A list written with commas or blanks."""
    return text(name, default).replace(",", " ").split()
