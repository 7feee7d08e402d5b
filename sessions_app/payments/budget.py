"""The reconciler's read budget: at most so many readings of Stripe a second, over all processes together."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction

from hygate import clock
from sessions_app.models import StripeWatch

SOON_S = 0.5


def reserve_read() -> datetime | None:
    """Take the next slot. Null: read now. A moment: the budget is spent until then, come back.

    Slots are kept on the watch's one row; a slot that lies further ahead than half a second is not taken.
    """
    now = clock.now()
    with transaction.atomic():
        watch, _ = StripeWatch.objects.select_for_update().get_or_create(pk=1)
        slot = max(now, watch.next_read_at or now)
        if slot > now + timedelta(seconds=SOON_S):
            return slot
        taken_until = slot + timedelta(seconds=1 / settings.NUMBERS.stripe_reads_per_s)
        StripeWatch.objects.filter(pk=1).update(next_read_at=taken_until)
    clock.sleep((slot - now).total_seconds())
    return None
