"""Writing the audit log: one call beside every move, inside the move's transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

from django.db.models import Model

from hygate.models import AuditEvent

KEPT_OUT = ("email", "phone", "address", "url", "token", "secret", "key")
"""A column with one of these words in its name may hold what must not be in the log: that it changed is written, not
what it says."""
LONGEST = 200


def event(
    kind: str,
    *,
    actor: str = "hygate",
    session: int | None = None,
    payment: int | None = None,
    device: int | None = None,
    command: int | None = None,
    **data: Any,
) -> AuditEvent:
    """An unsaved event; ``data`` must be JSON and free of secrets, addresses and links."""
    return AuditEvent(
        kind=kind, actor=actor, session=session, payment=payment, device=device, command=command, data=data
    )


def write(kind: str, **fields: Any) -> None:
    """Append one event; the arguments are those of ``event``."""
    event(kind, **fields).save(force_insert=True)


def write_all(events: Iterable[AuditEvent]) -> None:
    AuditEvent.objects.bulk_create(list(events))


def change(row: Model, news: Mapping[str, Any]) -> dict[str, Any]:
    """What an edit of ``row`` to ``news`` was, for ``write``: names in ``changed``, values in ``before``, ``after``."""
    told = [name for name in sorted(news) if not any(word in name for word in KEPT_OUT)]
    return {
        "changed": sorted(news),
        "before": {name: _plain(getattr(row, name)) for name in told},
        "after": {name: _plain(news[name]) for name in told},
    }


def _plain(value: Any) -> Any:
    """``value`` as JSON keeps it; a row by its number."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, Model):
        return value.pk
    return value.isoformat() if isinstance(value, date) else str(value)[:LONGEST]
