"""The states of a session and the moves between them: the one place that says what may follow what."""

from __future__ import annotations

from django.db import models


class State(models.TextChoices):
    HELD = "held", "Slot held"
    GRACE = "grace", "Grace period"
    WAITING_FOR_POWER = "waiting_for_power", "Waiting for power"
    STARTING = "starting", "Switching on"
    RUNNING = "running", "Running"
    PAUSED = "paused", "Power hold"
    STOPPING = "stopping", "Switching off"
    COMPLETED = "completed", "Completed"
    CANCELLED = "cancelled", "Cancelled"


class Reason(models.TextChoices):
    """Why a session did not simply run its time."""

    HOLD_EXPIRED = "hold_expired", "The hold ran out before a payment came"
    PAYMENT_FAILED = "payment_failed", "The payment failed"
    START_FAILED = "start_failed", "The relay never confirmed that it is on"
    NO_POWER = "no_power", "The site had no power to give"
    STOPPED_BY_GUEST = "stopped_by_guest", "Stopped by the guest"
    STOPPED_BY_STAFF = "stopped_by_staff", "Stopped by staff"
    FORCE_ENDED = "force_ended_by_admin", "Ended by an administrator"
    RELAY_OFF = "relay_off_prematurely", "The relay went off before its time"
    RECONCILIATION = "reconciliation_timeout", "Could not be brought into agreement in time"
    REVERSED = "payment_reversed", "The payment was reversed"


LIVE = (
    State.HELD,
    State.GRACE,
    State.WAITING_FOR_POWER,
    State.STARTING,
    State.RUNNING,
    State.PAUSED,
    State.STOPPING,
)
"""States that keep the device for one guest."""

ACTIVE = LIVE[1:]
"""What people call active: paid for, and not over."""

TERMINAL = (State.COMPLETED, State.CANCELLED)

MOVES: dict[State, tuple[State, ...]] = {
    State.HELD: (State.GRACE, State.CANCELLED),
    State.GRACE: (State.WAITING_FOR_POWER, State.STARTING, State.CANCELLED),
    State.WAITING_FOR_POWER: (State.STARTING, State.CANCELLED),
    State.STARTING: (State.RUNNING, State.CANCELLED),
    State.RUNNING: (State.PAUSED, State.STOPPING, State.CANCELLED),
    State.PAUSED: (State.RUNNING, State.STOPPING, State.CANCELLED),
    State.STOPPING: (State.COMPLETED, State.CANCELLED),
    State.COMPLETED: (),
    State.CANCELLED: (),
}


class PaymentStatus(models.TextChoices):
    PENDING = "PENDING", "Pending"
    AUTHORIZED = "AUTHORIZED", "Authorised"
    SUCCEEDED = "SUCCEEDED", "Succeeded"
    FAILED = "FAILED", "Failed"
    VOIDED = "VOIDED", "Voided"
    REFUNDED = "REFUNDED", "Refunded"
    PARTIALLY_REFUNDED = "PARTIALLY_REFUNDED", "Partially refunded"


class RefundStatus(models.TextChoices):
    OWED = "owed", "Owed"
    REQUESTED = "requested", "Requested"
    PENDING = "pending", "Pending at the bank"
    SUCCEEDED = "succeeded", "Paid back"
    FAILED = "failed", "Failed"
    COVERED = "covered", "Covered by a refund made at Stripe"


class Purpose(models.TextChoices):
    START = "start", "Start"
    EXTENSION = "extension", "Extension"
