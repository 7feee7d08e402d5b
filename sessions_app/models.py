"""The sales: a session, its orders, what is paid back, and what Stripe told us."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.db import models
from django.db.models import F, Q

from devices.models import Device, UsagePlan
from hygate import clock
from hygate.due import About, Due, due_index
from hygate.secrets import EncryptedTextField
from sessions_app.states import LIVE, PaymentStatus, Purpose, Reason, RefundStatus, State


class DeviceSession(Due):
    """One use of one Device, from slot hold to relay confirmed off.

    What was bought stands here as a snapshot: a plan edited meanwhile changes nothing. Each clock has a column of its
    own; ``due_at`` is their minimum, computed by ``rules.decide``. The guest's link is the token: looked up by its
    hash, shown again from its encrypted copy.
    """

    secret_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    reference = models.CharField(max_length=12, unique=True)
    token_hash = models.CharField(max_length=64, unique=True)
    token = EncryptedTextField()
    device = models.ForeignKey(Device, on_delete=models.PROTECT, related_name="sessions")
    continues = models.OneToOneField(
        "self", on_delete=models.SET_NULL, null=True, blank=True, related_name="continued_by"
    )
    plan = models.ForeignKey(UsagePlan, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    plan_name = models.CharField(max_length=60)
    duration_s = models.PositiveIntegerField(help_text="Seconds bought and paid for, extensions included")
    grace_s = models.PositiveIntegerField(default=0)
    refund_unused = models.BooleanField(default=True)
    extendable = models.BooleanField(default=False)
    max_total_s = models.PositiveIntegerField(null=True, blank=True, help_text="Most seconds, extensions included")
    state = models.CharField(max_length=20, choices=State, default=State.HELD)
    reason = models.CharField(max_length=30, choices=Reason, blank=True, default="")
    created_at = models.DateTimeField(default=clock.now)
    hold_expires_at = models.DateTimeField()
    grace_ends_at = models.DateTimeField(null=True, blank=True)
    power_wait_ends_at = models.DateTimeField(null=True, blank=True)
    start_window_ends_at = models.DateTimeField(null=True, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    ends_at = models.DateTimeField(null=True, blank=True)
    paused_at = models.DateTimeField(null=True, blank=True)
    pause_ends_at = models.DateTimeField(null=True, blank=True)
    paused_ms = models.PositiveBigIntegerField(default=0)
    timer_ends_at = models.DateTimeField(null=True, blank=True)
    off_requested_at = models.DateTimeField(null=True, blank=True)
    delivered_s = models.PositiveIntegerField(null=True, blank=True)
    closed_at = models.DateTimeField(null=True, blank=True)
    re_ons = models.PositiveSmallIntegerField(default=0)
    energy_from_wh = models.FloatField(null=True, blank=True, help_text="The device's counter at the confirmed ON")
    energy_wh = models.FloatField(null=True, blank=True, help_text="Used since then, as information")

    class Meta:
        ordering: ClassVar = ["-created_at", "-id"]
        constraints: ClassVar = [
            models.UniqueConstraint(name="one_live_session", fields=["device"], condition=Q(state__in=LIVE)),
            models.CheckConstraint(name="session_state_known", condition=Q(state__in=State.values)),
            models.CheckConstraint(name="cancelled_says_why", condition=~Q(state=State.CANCELLED) | ~Q(reason="")),
            models.CheckConstraint(
                name="running_has_an_end",
                condition=~Q(state=State.RUNNING) | Q(started_at__isnull=False, ends_at__isnull=False),
            ),
            models.CheckConstraint(
                name="delivered_at_most_bought",
                condition=Q(delivered_s__isnull=True) | Q(delivered_s__lte=F("duration_s")),
            ),
        ]
        indexes: ClassVar = [
            due_index("session_due"),
            models.Index(fields=["state", "created_at"], name="session_state"),
            models.Index(fields=["device", "-created_at"], name="session_device"),
        ]

    def __str__(self) -> str:
        return self.reference

    def about(self) -> About:
        return {"session": self.pk, "device": self.device_id}

    @property
    def is_live(self) -> bool:
        return self.state in LIVE


class Payment(Due):
    """One order: what is due for a start or an extension, and what became of the money.

    The idempotency key and the exact parameters of Checkout are stored before the call, so that any process can repeat
    it byte for byte (the parameters hold the guest's link: encrypted). ``charge_minor`` is the settlement: null until
    it is decided, then what may be kept.
    """

    secret_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    ref = models.CharField(max_length=20, unique=True)
    session = models.ForeignKey(DeviceSession, on_delete=models.PROTECT, related_name="payments")
    purpose = models.CharField(max_length=10, choices=Purpose, default=Purpose.START)
    status = models.CharField(max_length=20, choices=PaymentStatus, default=PaymentStatus.PENDING)
    amount_minor = models.PositiveIntegerField()
    currency = models.CharField(max_length=3)
    vat_rate_bp = models.PositiveIntegerField(default=0)
    duration_s = models.PositiveIntegerField()
    plan_name = models.CharField(max_length=60)
    created_at = models.DateTimeField(default=clock.now)

    key_number = models.PositiveSmallIntegerField(default=1)
    checkout_key = models.CharField(max_length=80, unique=True)
    checkout_params = EncryptedTextField()
    checkout_id = models.CharField(max_length=120, unique=True, null=True, blank=True)
    checkout_url = models.TextField(blank=True, default="")
    intent_id = models.CharField(max_length=120, unique=True, null=True, blank=True)
    method = models.CharField(max_length=40, blank=True, default="")
    settled_by = models.CharField(max_length=20, blank=True, default="")
    failure = models.CharField(max_length=80, blank=True, default="")
    checked_at = models.DateTimeField(null=True, blank=True)
    authorized_at = models.DateTimeField(null=True, blank=True)
    capture_before = models.DateTimeField(null=True, blank=True)
    charge_minor = models.PositiveIntegerField(null=True, blank=True)
    capture_wanted_at = models.DateTimeField(null=True, blank=True)
    captured_minor = models.PositiveIntegerField(default=0)
    captured_at = models.DateTimeField(null=True, blank=True)
    refund_promised_minor = models.PositiveIntegerField(default=0)
    refunded_minor = models.PositiveIntegerField(default=0)
    disputed_at = models.DateTimeField(null=True, blank=True)
    method_detail = models.CharField(max_length=60, blank=True, default="", help_text="Visa ending 4242")
    applied_at = models.DateTimeField(
        null=True, blank=True, help_text="An extension's seconds were added to its session"
    )
    compared_at = models.DateTimeField(null=True, blank=True)
    closed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["-created_at", "-id"]
        constraints: ClassVar = [
            models.UniqueConstraint(name="one_start_order", fields=["session"], condition=Q(purpose=Purpose.START)),
            models.UniqueConstraint(
                name="one_pending_extension",
                fields=["session"],
                condition=Q(purpose=Purpose.EXTENSION, status=PaymentStatus.PENDING),
            ),
            models.CheckConstraint(name="payment_status_known", condition=Q(status__in=PaymentStatus.values)),
            models.CheckConstraint(name="payment_amount", condition=Q(amount_minor__gte=1)),
            models.CheckConstraint(name="captured_at_most_price", condition=Q(captured_minor__lte=F("amount_minor"))),
            models.CheckConstraint(
                name="refunds_at_most_captured", condition=Q(refund_promised_minor__lte=F("captured_minor"))
            ),
            models.CheckConstraint(
                name="refunded_at_most_promised", condition=Q(refunded_minor__lte=F("refund_promised_minor"))
            ),
            models.CheckConstraint(
                name="charge_at_most_price",
                condition=Q(charge_minor__isnull=True) | Q(charge_minor__lte=F("amount_minor")),
            ),
        ]
        indexes: ClassVar = [
            due_index("payment_due"),
            models.Index(fields=["status", "created_at"], name="payment_status"),
            models.Index(fields=["captured_at"], name="payment_captured"),
        ]

    def __str__(self) -> str:
        return f"{self.purpose} {self.amount_minor} {self.currency} ({self.status})"

    def about(self) -> About:
        return {"session": self.session_id, "payment": self.pk}

    @property
    def is_decided(self) -> bool:
        """Something is to be done with the money that is held: capture it or let it go."""
        return self.charge_minor is not None or self.capture_wanted_at is not None


class Refund(Due):
    """Money that goes back. Never dropped: owed until Stripe says that it succeeded."""

    payment = models.ForeignKey(Payment, on_delete=models.PROTECT, related_name="refunds")
    amount_minor = models.PositiveIntegerField()
    reason = models.CharField(max_length=40)
    status = models.CharField(max_length=10, choices=RefundStatus, default=RefundStatus.OWED)
    stripe_id = models.CharField(max_length=120, unique=True, null=True, blank=True)
    key_number = models.PositiveSmallIntegerField(default=1)
    made_by = models.CharField(max_length=60, default="hygate", help_text="hygate, user:<id>, or stripe (imported)")
    created_at = models.DateTimeField(default=clock.now)
    requested_at = models.DateTimeField(null=True, blank=True)
    closed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["-created_at", "-id"]
        constraints: ClassVar = [
            models.CheckConstraint(name="refund_amount", condition=Q(amount_minor__gte=1)),
            models.CheckConstraint(name="refund_status_known", condition=Q(status__in=RefundStatus.values)),
        ]
        indexes: ClassVar = [due_index("refund_due"), models.Index(fields=["status", "created_at"], name="refund_open")]

    def __str__(self) -> str:
        return f"{self.amount_minor} of {self.payment_id} ({self.status})"

    def about(self) -> About:
        return {"payment": self.payment_id}


class StripeWatch(Due):
    """One row: what keeps our books and Stripe's in agreement beside the orders' own clocks.

    ``cursor`` is the newest event that was followed; ``compare_since`` and ``compare_cursor`` say where a running full
    compare stands; ``next_read_at`` when the reconciler's next reading may leave (a budget shared by all processes).
    """

    id = models.PositiveSmallIntegerField(primary_key=True, default=1, editable=False)
    cursor = models.CharField(max_length=120, blank=True, default="")
    events_due_at = models.DateTimeField(null=True, blank=True)
    compare_due_at = models.DateTimeField(null=True, blank=True)
    compare_since = models.DateTimeField(null=True, blank=True)
    compare_cursor = models.CharField(max_length=120, blank=True, default="")
    next_read_at = models.DateTimeField(null=True, blank=True)
    key_status = models.CharField(max_length=20, blank=True, default="")

    class Meta:
        constraints: ClassVar = [models.CheckConstraint(name="stripe_watch_one_row", condition=Q(id=1))]


class StripeKeys(models.Model):
    """One row, if an administrator has saved keys: they go before the environment's. Empty: the environment's."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1, editable=False)
    secret_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    key = EncryptedTextField(blank=True, default="")
    webhook_secrets = EncryptedTextField(blank=True, default="", help_text="One on each line")
    saved_at = models.DateTimeField(default=clock.now)

    class Meta:
        constraints: ClassVar = [models.CheckConstraint(name="stripe_keys_one_row", condition=Q(id=1))]


class WebhookEvent(Due):
    """The inbox: one row for each event id. Only a hint to look Stripe's objects up again; no body is kept."""

    event_id = models.CharField(max_length=120, unique=True)
    kind = models.CharField(max_length=80)
    object_id = models.CharField(max_length=120, blank=True, default="")
    intent_id = models.CharField(max_length=120, blank=True, default="")
    payment_ref = models.CharField(max_length=40, blank=True, default="")
    received_at = models.DateTimeField(default=clock.now)
    handled_at = models.DateTimeField(null=True, blank=True)
    effect = models.CharField(max_length=40, blank=True, default="")
    livemode = models.BooleanField(default=False)

    class Meta:
        ordering: ClassVar = ["-received_at", "-id"]
        indexes: ClassVar = [due_index("webhook_due"), models.Index(fields=["-received_at"], name="webhook_newest")]

    def __str__(self) -> str:
        return f"{self.kind} {self.event_id}"


# The queue, the receipts, the reports and the guests' mail have rooms of their own; Django finds their rows here.
from sessions_app.mail.models import GuestMail  # noqa: E402
from sessions_app.problems.models import ProblemReport  # noqa: E402
from sessions_app.queue.models import QueueEntry  # noqa: E402
from sessions_app.receipts.models import Receipt  # noqa: E402

__all__ = [
    "DeviceSession",
    "GuestMail",
    "Payment",
    "ProblemReport",
    "QueueEntry",
    "Receipt",
    "Refund",
    "StripeKeys",
    "StripeWatch",
    "WebhookEvent",
]
