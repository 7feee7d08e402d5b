"""Writing the audit log: one call beside every move, inside the move's transaction."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hygate.models import AuditEvent


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
