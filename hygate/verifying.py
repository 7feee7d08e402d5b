"""Walking the sealed audit log: which is the first row that is not as it was sealed?"""

from __future__ import annotations

import hmac
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from hygate import clock
from hygate.models import AuditEvent, Heartbeat
from hygate.sealing import FIRST, HEARTBEAT, Head, remembered, seal_of

SEALED_WITHIN_S = 60
LOOK_ROUND = 1000
"""How many rows around a broken place are searched for the one that belongs there."""
STEP = 2000
"""Rows that are read at a time; a look that is short of time rests between two of them."""
What = Literal["changed", "deleted", "moved", "cut", "other_head"]


@dataclass(frozen=True)
class Fault:
    """The first row that is wrong, and a sentence for people."""

    what: What
    seq: int
    row: int | None
    says: str


@dataclass(frozen=True)
class Report:
    """``sealed`` rows were found in order; ``late`` ones have waited for their seal for more than a minute.

    ``whole`` is false where the time was up first: go on from ``head``. ``promised`` is the sealer's own last ``seq``.
    """

    head: Head
    sealed: int
    fault: Fault | None
    late: int
    late_row: int | None
    whole: bool = True
    promised: int = 0

    @property
    def ok(self) -> bool:
        return self.whole and self.fault is None and not self.late

    def as_json(self) -> dict[str, Any]:
        fault = self.fault
        return {
            "ok": self.ok,
            "sealed": self.sealed,
            "head": {"seq": self.head.seq, "hmac": self.head.hmac},
            "fault": fault and {"what": fault.what, "seq": fault.seq, "row": fault.row, "says": fault.says},
            "unsealed_for_a_minute": self.late,
            "first_unsealed": self.late_row,
        }


def verify(exported: Head | None = None) -> Report:
    """Walk the whole chain; with ``exported``, also look whether it still holds that head from another day."""
    return _judged(_Walk(Head(), exported))


def verify_for(most_s: float, *, start: Head) -> Report:
    """Walk on from ``start``, a head that an earlier look has found good, and rest after ``most_s`` seconds."""
    return _judged(_Walk(start, None, clock.elapsed() + most_s))


def _judged(walk: _Walk) -> Report:
    """What the sealer remembers is read first: seals given while we walk can only be more than that."""
    promised = remembered(Heartbeat.objects.filter(pk=HEARTBEAT).first())
    fault = walk.fault()
    head, exported = walk.head, walk.exported
    if not walk.whole:
        return Report(head, head.seq, None, 0, None, whole=False, promised=promised.seq)
    if fault is None and head.seq < promised.seq:
        fault = _cut(head, promised.seq, "the sealer remembers")
    if fault is None and exported is not None and exported.seq:
        if head.seq < exported.seq:
            fault = _cut(head, exported.seq, "the exported head is")
        elif not walk.met:
            says = f"Row {exported.seq} is not the one of the exported head: the log was written anew up to there."
            fault = Fault("other_head", exported.seq, None, says)
    late = AuditEvent.objects.filter(seq__isnull=True, at__lt=_late_before()).order_by("id")
    waiting = list(late.values_list("pk", flat=True))
    return Report(head, head.seq, fault, len(waiting), waiting[0] if waiting else None, promised=promised.seq)


def _late_before() -> datetime:
    return clock.now() - clock.seconds(SEALED_WITHIN_S)


@dataclass
class _Walk:
    """``head`` is the last good seal, ``met`` whether ``exported`` was met on the way, ``whole`` whether the end was
    reached before ``until`` (seconds of ``clock.elapsed``)."""

    head: Head
    exported: Head | None
    until: float | None = None
    met: bool = False
    whole: bool = True

    def fault(self) -> Fault | None:
        """The first one after ``head``, which moves on to the last row before it."""
        for event in self._rows():
            seq = self.head.seq + 1
            mine = seal_of(event, seq, self.head.hmac)
            if event.seq != seq or not hmac.compare_digest(mine, event.hmac or ""):
                return _fault(event, self.head)
            self.head = Head(seq, mine)
            self.met = self.met or self.head == self.exported
        return None

    def _rows(self) -> Iterator[AuditEvent]:
        """From the first row on those below 1 as well: no such number was ever given."""
        sealed = AuditEvent.objects.filter(seq__isnull=False).order_by("seq")
        while True:
            rows = list((sealed.filter(seq__gt=self.head.seq) if self.head.seq else sealed)[:STEP])
            yield from rows
            if len(rows) < STEP:
                return
            if self.until is not None and clock.elapsed() >= self.until:
                self.whole = False
                return


def _fault(event: AuditEvent, head: Head) -> Fault:
    """Why ``event`` does not follow ``head``: its place was taken, a row is gone, or it says something else."""
    seq = head.seq + 1
    stray = _belongs_there(head)
    if stray is not None:
        says = f"Row {seq} was moved: event {stray.pk} belongs there and stands at {stray.seq or 'no place'}."
        return Fault("moved", seq, stray.pk, says)
    if event.seq != seq:
        gone = f"Row {seq} is" if event.seq == seq + 1 else f"Rows {seq} to {(event.seq or 0) - 1} are"
        return Fault("deleted", seq, None, f"{gone} missing: the next one is {event.seq} (event {event.pk}).")
    says = f"Row {seq} (event {event.pk}, {event.kind}) is not what was sealed: it or the row before it was changed."
    if head.hmac == FIRST:
        says = f"{says} If it is the very first, HYGATE_AUDIT_KEY or HYGATE_SECRET_KEY may have been replaced."
    return Fault("changed", seq, event.pk, says)


def _belongs_there(head: Head) -> AuditEvent | None:
    """The row whose seal follows ``head``, wherever it stands now."""
    seq = head.seq + 1
    near = AuditEvent.objects.filter(seq__gt=seq - LOOK_ROUND, seq__lt=seq + LOOK_ROUND).exclude(seq=seq)
    for event in near.order_by("seq"):
        if hmac.compare_digest(seal_of(event, seq, head.hmac), event.hmac or ""):
            return event
    return None


def _cut(head: Head, seq: int, by: str) -> Fault:
    gone = f"row {seq} is" if seq == head.seq + 1 else f"rows {head.seq + 1} to {seq} are"
    return Fault("cut", head.seq + 1, None, f"The end was cut off: {gone} missing ({by} {seq}).")
