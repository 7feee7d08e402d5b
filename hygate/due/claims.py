"""Claiming due rows: a lease and a token, taken in one UPDATE; business time is never touched."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from django.db import transaction
from django.db.models import Q

from hygate import clock
from hygate.due.registry import Handler
from hygate.due.row import released


@dataclass(frozen=True)
class Claim:
    """The right to move one row until the lease ends; the token is what a write must match.

    ``errors``: how many exceptions nobody foresaw the row had raised in a row when it was claimed.
    """

    label: str
    pk: int
    token: uuid.UUID
    due_at: datetime
    errors: int = 0

    def as_json(self) -> list[Any]:
        return [self.pk, str(self.token), self.due_at.timestamp(), self.errors]

    @classmethod
    def from_json(cls, label: str, parts: Sequence[Any]) -> Claim:
        pk, token, stamp, errors = parts
        return cls(label, int(pk), uuid.UUID(token), datetime.fromtimestamp(stamp, UTC), int(errors))


def _claimable(horizon: datetime, now: datetime) -> Q:
    return Q(due_at__lte=horizon) & (Q(claimed_until__isnull=True) | Q(claimed_until__lt=now))


def claim(handler: Handler, *, limit: int, ahead_s: float = 0, pks: Iterable[int] | None = None) -> list[Claim]:
    """Take up to ``limit`` rows due within ``ahead_s``, oldest first; with ``pks``, only from among those.

    Looks before it locks: on SQLite an idle sweep must not take the write lock. Named rows are mostly there.
    """
    now = clock.now()
    wanted = _claimable(now + clock.seconds(ahead_s), now)
    rows = handler.model._default_manager.filter(wanted)
    if pks is not None:
        rows = rows.filter(pk__in=list(pks))
    rows = rows.order_by("due_at")
    if pks is None and not rows.exists():
        return []
    token, columns = uuid.uuid4(), ("pk", "due_at", "unexpected_errors")
    with transaction.atomic():
        chosen = list(rows.select_for_update(skip_locked=True).values_list(*columns)[:limit])
        if not chosen:
            return []
        taken = handler.model._default_manager.filter(wanted, pk__in=[pk for pk, *_ in chosen]).update(
            claim_token=token, claimed_until=now + clock.seconds(handler.lease_s() + ahead_s)
        )
    if taken != len(chosen):
        chosen = list(handler.model._default_manager.filter(claim_token=token).values_list(*columns))
    return [Claim(handler.label, pk, token, due_at or now, errors) for pk, due_at, errors in chosen]


def is_claimable(handler: Handler, pks: Iterable[int], *, within_s: float) -> bool:
    """Whether any of these rows is free, and due within ``within_s``."""
    now = clock.now()
    wanted = _claimable(now + clock.seconds(within_s), now)
    return handler.model._default_manager.filter(wanted, pk__in=list(pks)).exists()


def take(handler: Handler, claims: Sequence[Claim]) -> list[Claim]:
    """Exchange the token of a chunk that came by the broker, which may deliver it twice: only the first one gets it."""
    token = uuid.uuid4()
    rows = handler.model._default_manager
    if rows.filter(still_mine(claims)).update(claim_token=token) == len(claims):
        mine = {one.pk for one in claims}
    else:
        mine = set(rows.filter(claim_token=token).values_list("pk", flat=True))
    return [replace(one, token=token) for one in claims if one.pk in mine]


def still_mine(claims: Iterable[Claim]) -> Q:
    """The rows whose claim still holds: the filter every holder's query and UPDATE starts from."""
    mine = Q(pk__in=[])
    by_token: dict[uuid.UUID, list[int]] = {}
    for one in claims:
        by_token.setdefault(one.token, []).append(one.pk)
    for token, pks in by_token.items():
        mine |= Q(pk__in=pks, claim_token=token)
    return mine


def hand_back(handler: Handler, claims: Iterable[Claim]) -> None:
    """Give up the leases that are still ours, leaving business time as it is."""
    rows = handler.model._default_manager.filter(still_mine(claims), claimed_until__isnull=False)
    rows.update(claimed_until=None)


def postpone(handler: Handler, one: Claim, due_at: datetime) -> None:
    handler.model._default_manager.filter(pk=one.pk, claim_token=one.token).update(**released(due_at))
