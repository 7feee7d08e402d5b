"""What the sales room plugs into the engine and into the relay room."""

from __future__ import annotations

from django.conf import settings

from devices.relays.outcomes import AboutToChange, RelayOutcome
from hygate.due import Queue, outcomes, register, wakeups
from sessions_app import moves, relay_events
from sessions_app.models import DeviceSession, Payment, Refund, WebhookEvent
from sessions_app.payments import acting, inbox, refunding
from sessions_app.states import State


def connect() -> None:
    numbers = settings.NUMBERS
    register(
        DeviceSession,
        moves.advance,
        queue=Queue.RELAYS,
        lease_s=lambda: numbers.lease_other_s,
        never_quarantine=lambda session: session.state in (State.RUNNING, State.PAUSED, State.STOPPING),
    )
    register(Payment, acting.advance, queue=Queue.MONEY, lease_s=lambda: numbers.lease_stripe_s, chunk=1)
    register(Refund, refunding.advance, queue=Queue.MONEY, lease_s=lambda: numbers.lease_stripe_s, chunk=1)
    register(WebhookEvent, inbox.advance, queue=Queue.MONEY, lease_s=lambda: numbers.lease_stripe_s, chunk=1)
    outcomes.register(AboutToChange, relay_events.lock_sessions)
    outcomes.register(RelayOutcome, relay_events.on_relay_outcome)
    if settings.BROKER_URL:
        from hygate.celery import publish_wake_up

        wakeups.publish_with(publish_wake_up)
