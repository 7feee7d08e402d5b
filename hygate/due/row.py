"""The columns of a row that has work ahead."""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypedDict

from django.db import models


class About(TypedDict, total=False):
    """What an alert about a row points at, by ids."""

    session: int | None
    payment: int | None
    device: int | None
    account: int | None


class Due(models.Model):
    """``due_at`` is business time (null = nothing pending) and is never touched by a claim.

    The lease (``claimed_until``, ``claim_token``) *is* the crash recovery: a holder that dies is followed by another
    when it runs out. An outsider (guest, operator, webhook) who moves the row sets a new token and clears the lease, so
    that a sleeping holder's write matches nothing. ``attempts`` counts executed actions, not claims.
    """

    due_at = models.DateTimeField(null=True, blank=True)
    claimed_until = models.DateTimeField(null=True, blank=True)
    claim_token = models.UUIDField(null=True, blank=True)
    attempts = models.PositiveIntegerField(default=0)
    unexpected_errors = models.PositiveSmallIntegerField(default=0)
    last_error = models.TextField(blank=True, default="")

    class Meta:
        abstract = True

    def about(self) -> About:
        """What an alert about this row points at."""
        return {}


def due_index(name: str) -> models.Index:
    """The partial index that keeps an idle sweep's look under a millisecond."""
    return models.Index(fields=["due_at"], name=name, condition=models.Q(due_at__isnull=False))


def released(due_at: datetime | None) -> dict[str, Any]:
    """Column values of a row that its holder hands back, to be looked at again at ``due_at``."""
    return {"due_at": due_at, "claimed_until": None}
