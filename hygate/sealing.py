"""The sealer: gives audit events a gapless ``seq`` and an HMAC over the one before, soon after they were committed.

Sealing is apart from writing, so that no business transaction ever waits for the one chain. Its order is the order in
which rows became visible: an event of a long transaction may stand behind younger ones with greater ids.

The sealer remembers its last seal in its heartbeat as well and goes on from there: rows cut off the end of the table
therefore leave a gap that ``verify_audit`` finds, instead of being overwritten by what follows.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import dataclass
from datetime import UTC
from functools import lru_cache

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django.db import connection, transaction

from hygate import clock
from hygate.models import AuditEvent, Heartbeat

BATCH = 500
HEARTBEAT = "sealer"
FIRST = "0" * 64
"""What stands in the place of the seal before the first one."""


@dataclass(frozen=True)
class Head:
    """The last seal of a chain; ``seq`` 0 is the chain without any."""

    seq: int = 0
    hmac: str = FIRST


def seal() -> int:
    """Seal up to a batch of events that have no seal yet; answers how many. One process at a time, others pass by.

    Whoever holds the heartbeat's row is the leader: a lease that ends with its transaction, also when the process dies.
    Looks before it locks, so that an idle second costs one reading.
    """
    if not AuditEvent.objects.filter(seq__isnull=True).exists():
        return 0
    if not Heartbeat.objects.filter(pk=HEARTBEAT).exists():
        Heartbeat.objects.bulk_create([Heartbeat(name=HEARTBEAT, at=clock.now())], ignore_conflicts=True)
    with transaction.atomic(durable=True):
        leader = Heartbeat.objects.select_for_update(skip_locked=True).filter(pk=HEARTBEAT).first()
        if leader is None:
            return 0
        head = last_seal(leader)
        sealed: list[tuple[int, str, int]] = []
        for event in AuditEvent.objects.filter(seq__isnull=True).order_by("id")[:BATCH]:
            head = Head(head.seq + 1, seal_of(event, head.seq + 1, head.hmac))
            sealed.append((head.seq, head.hmac, event.pk))
        _write(sealed)
        detail = {"seq": head.seq, "hmac": head.hmac}
        Heartbeat.objects.filter(pk=HEARTBEAT).update(at=clock.now(), detail=detail)
    return len(sealed)


def last_seal(leader: Heartbeat | None) -> Head:
    """The last seal that was given: the sealer's own memory, or the table where that is ahead or all there is."""
    newest = AuditEvent.objects.filter(seq__isnull=False).order_by("-seq").values_list("seq", "hmac").first()
    found = Head(newest[0] or 0, newest[1] or FIRST) if newest else Head()
    kept = remembered(leader)
    return kept if kept.seq > found.seq else found


def remembered(leader: Heartbeat | None) -> Head:
    detail = leader.detail if leader is not None else {}
    if not isinstance(detail.get("seq"), int) or not isinstance(detail.get("hmac"), str):
        return Head()
    return Head(detail["seq"], detail["hmac"])


def seal_of(event: AuditEvent, seq: int, before: str) -> str:
    """HMAC-SHA256, in hex, over the seal before and the event as canonical JSON (sorted keys, no blanks, UTF-8)."""
    said = {
        "seq": seq,
        "id": event.pk,
        "at": event.at.astimezone(UTC).isoformat(timespec="microseconds"),
        "kind": event.kind,
        "actor": event.actor,
        "session": event.session,
        "payment": event.payment,
        "device": event.device,
        "command": event.command,
        "data": event.data,
    }
    text = json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hmac.new(_key(settings.AUDIT_KEY), f"{before}\n{text}".encode(), hashlib.sha256).hexdigest()


@lru_cache(maxsize=4)
def _key(secret: str) -> bytes:
    """A key of its own, so that a seal tells nothing about what else the secret signs."""
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=b"hygate audit seal").derive(secret.encode())


def _write(sealed: list[tuple[int, str, int]]) -> None:
    """One prepared statement for the batch: five hundred updates through the ORM would hold SQLite's only writer."""
    table = connection.ops.quote_name(AuditEvent._meta.db_table)
    with connection.cursor() as cursor:
        cursor.executemany(
            f"UPDATE {table} SET seq = %s, hmac = %s WHERE id = %s AND seq IS NULL",  # noqa: S608 - our table's name
            sealed,
        )
