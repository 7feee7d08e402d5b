"""Running a chunk of claimed rows: wait for their moment, advance them, isolate the one that raises."""

from __future__ import annotations

from collections.abc import Sequence

import structlog
from django.conf import settings
from django.db import close_old_connections, transaction
from django.db.models import F

from hygate import audit, clock
from hygate.due.claims import Claim, hand_back, postpone
from hygate.due.registry import Handler

POISON_AFTER = 5
log = structlog.get_logger(__name__)


def run(handler: Handler, claims: Sequence[Claim]) -> None:
    """Advance ``claims``; never raises, never leaves a lease behind that it could have given back."""
    if not claims:
        return
    _wait_for(claims)
    close_old_connections()
    try:
        handler.advance(claims)
    except Exception:
        if len(claims) == 1:
            log.exception("due.unexpected", label=handler.label, pk=claims[0].pk)
            _note_unexpected(handler, claims[0])
            return
        log.exception("due.chunk_failed", label=handler.label, rows=len(claims))
        for one in claims:
            run(handler, [one])
        return
    hand_back(handler, claims)
    close_old_connections()


def _wait_for(claims: Sequence[Claim]) -> None:
    """The sweep claims a second ahead; the last fraction is waited out here."""
    latest = max(one.due_at for one in claims)
    clock.sleep((latest - clock.now()).total_seconds())


def _note_unexpected(handler: Handler, one: Claim) -> None:
    """Count an exception nobody foresaw; five in a row set the row aside for ten minutes.

    A row that has to switch OFF is never set aside: it goes on, at most the back-off cap apart.
    """
    with transaction.atomic():
        mine = handler.model._default_manager.filter(pk=one.pk, claim_token=one.token)
        mine.update(unexpected_errors=F("unexpected_errors") + 1)
        row = mine.first()
        if row is None:
            return
        now = clock.now()
        if row.unexpected_errors < POISON_AFTER or handler.never_quarantine(row):
            wait_s = min(2.0**row.unexpected_errors, settings.NUMBERS.off_backoff_cap_s)
        else:
            wait_s = settings.NUMBERS.quarantine_s
            audit.write("row_quarantined", data_label=handler.label, row=one.pk, errors=row.unexpected_errors)
        postpone(handler, one, now + clock.seconds(wait_s))
