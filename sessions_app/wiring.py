"""What the sales room plugs into the engine and into the relay room."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.db.models.signals import post_migrate

from devices.energy.orders import PowerOrder
from devices.relays.outcomes import AboutToChange, RelayObserved, RelayOutcomes
from hygate import clock_watch
from hygate.due import Queue, outcomes, register, wakeups
from sessions_app import moves, power_events, premature_off, relay_events
from sessions_app.mail import sending
from sessions_app.models import DeviceSession, GuestMail, Payment, QueueEntry, Refund, StripeWatch, WebhookEvent
from sessions_app.payments import acting, inbox, refunding, watching
from sessions_app.queue import services as queue_services
from sessions_app.states import LIVE, State

LEASE_WATCH_S = 60.0


def _make_watch(app_config: AppConfig, **_: Any) -> None:
    if app_config.name == "sessions_app":
        watching.ensure_watch()


def connect() -> None:
    numbers = settings.NUMBERS
    register(
        DeviceSession,
        moves.advance,
        queue=Queue.RELAYS,
        lease_s=lambda: numbers.lease_other_s,
        moments=moves.moments,
        never_quarantine=lambda session: session.state in (State.RUNNING, State.PAUSED, State.STOPPING),
    )
    # Of what happens at Stripe nothing has to be done on the second, and its threads are few: none of them sleeps until
    # a row is due. What a line or a letter does is with them, so that it never stands before an OFF.
    money = partial(register, queue=Queue.MONEY, ahead=False)
    money(Payment, acting.advance, lease_s=lambda: numbers.lease_stripe_s, chunk=1)
    money(Refund, refunding.advance, lease_s=lambda: numbers.lease_stripe_s, chunk=1)
    money(WebhookEvent, inbox.advance, lease_s=lambda: numbers.lease_stripe_s)
    money(QueueEntry, queue_services.advance, lease_s=lambda: numbers.lease_other_s)
    money(GuestMail, sending.advance, lease_s=lambda: sending.LEASE_S, chunk=1)
    money(StripeWatch, watching.advance, lease_s=lambda: LEASE_WATCH_S, chunk=1)
    post_migrate.connect(_make_watch, dispatch_uid="stripe_watch")
    clock_watch.under_way_while(DeviceSession.objects.filter(state__in=LIVE).exists)
    outcomes.register(AboutToChange, relay_events.lock_sessions)
    outcomes.register(RelayOutcomes, relay_events.on_relay_outcomes)
    outcomes.register(RelayObserved, premature_off.on_relay_observed)
    outcomes.register(PowerOrder, power_events.on_power_order)
    if settings.BROKER_URL:
        from hygate.celery import publish_wake_up

        wakeups.publish_with(publish_wake_up)
