"""The watch on Stripe: events that no webhook brought, and once a day everything compared.

Orders that are open have clocks of their own; this is for what is settled. All of it reads within the budget.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import structlog
from django.db import transaction

from hygate import clock
from hygate.due import Claim, released, still_mine
from sessions_app.models import Payment, StripeWatch
from sessions_app.payments import alerts, comparing, inbox, key_seen, key_watch, keyring
from sessions_app.payments.budget import reserve_read
from sessions_app.payments.gateway import KeyRefused, PaymentError, RequestRefused
from sessions_app.payments.providers import gateway
from sessions_app.states import PaymentStatus

EVENTS_EVERY_S = 60
COMPARE_EVERY_S = 24 * 3600
COMPARE_DAYS = 30
AFTER_ERROR_S = 60
MOST_PAGES = 10
log = structlog.get_logger(__name__)


def ensure_watch() -> None:
    """The one row; made with the tables, due at once."""
    StripeWatch.objects.get_or_create(pk=1, defaults={"due_at": clock.now()})


def advance(claims: Sequence[Claim]) -> None:
    """The engine's entry: follow events, go on with the compare, and say when to look again."""
    for watch in StripeWatch.objects.filter(still_mine(claims)):
        now = clock.now()
        try:
            due_at = _look(watch, now)
        except PaymentError as error:
            key_watch.note(error)
            refused = isinstance(error, KeyRefused)
            due_at = key_watch.look_again_at(now) if refused else now + timedelta(seconds=AFTER_ERROR_S)
            StripeWatch.objects.filter(still_mine(claims)).update(last_error=error.name, **released(due_at))
            continue
        StripeWatch.objects.filter(still_mine(claims)).update(last_error="", **released(due_at))


def _look(watch: StripeWatch, now: datetime) -> datetime:
    if not keyring.in_force().key:
        return now + timedelta(seconds=EVENTS_EVERY_S)
    if watch.key_status or watch.events_due_at is None or watch.events_due_at <= now:
        follow_events(watch)
        watch.events_due_at = now + timedelta(seconds=EVENTS_EVERY_S)
        key_watch.note_answer()
        key_seen.note(now)
    if watch.compare_since is not None or watch.compare_due_at is None or watch.compare_due_at <= now:
        compare(watch, now)
    StripeWatch.objects.filter(pk=watch.pk).update(
        cursor=watch.cursor,
        events_due_at=watch.events_due_at,
        compare_due_at=watch.compare_due_at,
        compare_since=watch.compare_since,
        compare_cursor=watch.compare_cursor,
    )
    if watch.compare_since is not None:
        return now + timedelta(seconds=1)
    if key_watch.closes_sales():
        return key_watch.look_again_at(now)
    assert watch.compare_due_at is not None
    return min(watch.events_due_at, watch.compare_due_at)


def follow_events(watch: StripeWatch) -> None:
    """Put every event since the cursor into the inbox, where a webhook may have put it already."""
    for _ in range(MOST_PAGES):
        if reserve_read() is not None:
            return
        try:
            events = gateway().events_after(watch.cursor)
        except RequestRefused:
            log.warning("stripe.cursor_lost")  # older than the thirty days that Stripe keeps events
            watch.cursor = ""
            return
        for event in events:
            inbox.receive(event)
            watch.cursor = event["id"]
        if len(events) < 100:
            return


def compare(watch: StripeWatch, now: datetime) -> None:
    """One page of the full compare; after the last one, what Stripe never named is looked for."""
    if watch.compare_since is None:
        watch.compare_since, watch.compare_cursor = now, ""
    if reserve_read() is not None:
        return
    page = gateway().intents_since(now - timedelta(days=COMPARE_DAYS), after=watch.compare_cursor)
    for intent in page.intents:
        comparing.compare_intent(intent, now)
        watch.compare_cursor = intent.id
    if page.more:
        return
    _never_named(watch.compare_since, now)
    watch.compare_since, watch.compare_cursor = None, ""
    watch.compare_due_at = now + timedelta(seconds=COMPARE_EVERY_S)


def _never_named(started: datetime, now: datetime) -> None:
    """Orders that count as paid here, of the compared days, that Stripe's list did not hold."""
    since = now - timedelta(days=COMPARE_DAYS - 1)
    paid = (PaymentStatus.SUCCEEDED, PaymentStatus.PARTIALLY_REFUNDED, PaymentStatus.REFUNDED)
    missing = Payment.objects.filter(status__in=paid, authorized_at__gte=since, authorized_at__lt=started)
    for payment in missing.exclude(compared_at__gte=started).select_related("session"):
        with transaction.atomic():
            alerts.money_differs(payment, "Stripe does not list this payment.")
