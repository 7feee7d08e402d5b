"""Running a chunk of claimed rows: wait for their moment, advance them, isolate the one that raises."""

from __future__ import annotations

from collections.abc import Sequence

import structlog
from django.conf import settings
from django.db import close_old_connections, transaction
from django.db.models import F

from hygate import alerts, audit, clock
from hygate.due.claims import Claim, hand_back, postpone
from hygate.due.registry import Handler
from hygate.due.row import Due
from hygate.models import Severity

POISON_AFTER = 5
LONGEST_WAIT_S = 2.0
MOST_ERRORS = 1000
"""Counting stops here: a row that must go off may fail for days."""
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
    _note_recovered(handler, claims)
    close_old_connections()


def _wait_for(claims: Sequence[Claim]) -> None:
    """The sweep claims a second ahead; the last fraction is waited out here.

    Never longer, even if whoever claimed them has another clock: a row that comes too early just waits for its moment.
    """
    latest = max(one.due_at for one in claims)
    clock.sleep(min((latest - clock.now()).total_seconds(), LONGEST_WAIT_S))


def _note_unexpected(handler: Handler, one: Claim) -> None:
    """Count an exception nobody foresaw; five in a row set the row aside for ten minutes.

    A row that has to switch OFF is never set aside: it goes on, at most the back-off cap apart.
    """
    with transaction.atomic():
        mine = handler.model._default_manager.filter(pk=one.pk, claim_token=one.token)
        mine.filter(unexpected_errors__lt=MOST_ERRORS).update(unexpected_errors=F("unexpected_errors") + 1)
        row = mine.first()
        if row is None:
            return
        now = clock.now()
        poisoned = row.unexpected_errors >= POISON_AFTER and not handler.never_quarantine(row)
        wait_s = min(2.0 ** min(row.unexpected_errors, POISON_AFTER), settings.NUMBERS.off_backoff_cap_s)
        if poisoned:
            wait_s = settings.NUMBERS.quarantine_s
        postpone(handler, one, now + clock.seconds(wait_s))
        if poisoned:
            audit.write("row_quarantined", data_label=handler.label, row=one.pk, errors=row.unexpected_errors)
            _tell(handler, row)


def _tell(handler: Handler, row: Due) -> None:
    name = str(handler.model._meta.verbose_name)
    alerts.raise_alert(
        _key(handler, row.pk),
        kind="row_quarantined",
        title=f"Work on {name} {row.pk} fails again and again",
        advice="It is tried every few minutes and holds up nothing else. Look at what it is about, and at the log for"
        " due.unexpected; an update of Hygate may be needed.",
        severity=Severity.ERROR,
        help_anchor="row-quarantined",
        **row.about(),
    )


def _key(handler: Handler, pk: int) -> str:
    return f"quarantine:{handler.label}:{pk}"


def _note_recovered(handler: Handler, claims: Sequence[Claim]) -> None:
    """A row that went through has healed: only errors in a row count."""
    for one in claims:
        if one.errors:
            handler.model._default_manager.filter(pk=one.pk).update(unexpected_errors=0)
        if one.errors >= POISON_AFTER:
            alerts.close_alert(_key(handler, one.pk))
