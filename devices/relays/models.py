"""What is wanted of a relay, each attempt to have it, and what it draws while it is on."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q

from hygate import clock


class CommandState(models.TextChoices):
    QUEUED = "queued", "Waiting to be sent"
    SENDING = "sending", "On its way"
    ACCEPTED = "accepted", "Accepted, not read back yet"
    CONFIRMED = "confirmed", "Read back"
    FAILED = "failed", "Given up"
    SUPERSEDED = "superseded", "Overtaken by a later wish"


OPEN = (CommandState.QUEUED, CommandState.SENDING, CommandState.ACCEPTED)


RE_ON = "re_on"
"""The reason of an ON for a relay that went off by itself: whoever wants it counts, so it is accepted only once."""


PULSE = "pulse"
"""The reason of an ON that tests a relay in maintenance: sent once, with the shortest timer, and never repeated."""


class RelayCommand(models.Model):
    """One wish for one relay, written before anything is sent: the audit's intent.

    A device has at most one open command; a new one supersedes the old in the same transaction, so OFF can never be
    followed by an old ON. ``next_at`` is when its next step (attempt or read-back) is due. An ON says how long:
    ``on_for_s`` from its confirmation for a fresh start, ``on_until`` for one that resumes or re-arms. An OFF that
    supersedes an ON in flight is read back no earlier than ``confirm_from``.
    """

    account = models.ForeignKey("devices.ShellyAccount", on_delete=models.CASCADE, related_name="commands")
    device = models.ForeignKey("devices.Device", on_delete=models.CASCADE, related_name="commands")
    on = models.BooleanField()
    reason = models.CharField(max_length=40)
    wanted_by = models.CharField(max_length=40, blank=True, default="")
    state = models.CharField(max_length=12, choices=CommandState, default=CommandState.QUEUED)
    on_for_s = models.PositiveIntegerField(null=True, blank=True)
    on_until = models.DateTimeField(null=True, blank=True)
    give_up_at = models.DateTimeField(null=True, blank=True)
    next_at = models.DateTimeField(default=clock.now)
    attempts = models.PositiveIntegerField(default=0)
    in_round = models.PositiveSmallIntegerField(default=0)
    rounds = models.PositiveIntegerField(default=0)
    reads = models.PositiveIntegerField(default=0)
    mark_before = models.CharField(max_length=60, blank=True, default="")
    output_before = models.BooleanField(null=True, blank=True)
    created_at = models.DateTimeField(default=clock.now)
    first_sent_at = models.DateTimeField(null=True, blank=True)
    last_sent_at = models.DateTimeField(null=True, blank=True)
    accepted_at = models.DateTimeField(null=True, blank=True)
    confirm_from = models.DateTimeField(null=True, blank=True)
    confirmed_at = models.DateTimeField(null=True, blank=True)
    closed_at = models.DateTimeField(null=True, blank=True)
    last_error = models.CharField(max_length=40, blank=True, default="")

    class Meta:
        ordering: ClassVar = ["id"]
        constraints: ClassVar = [
            models.UniqueConstraint(name="one_open_command", fields=["device"], condition=Q(state__in=OPEN)),
            models.CheckConstraint(name="command_state_known", condition=Q(state__in=CommandState.values)),
            models.CheckConstraint(
                name="on_has_a_timer",
                condition=Q(on=False, on_for_s__isnull=True, on_until__isnull=True)
                | Q(on=True, on_for_s__isnull=False, on_until__isnull=True)
                | Q(on=True, on_for_s__isnull=True, on_until__isnull=False),
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["account", "next_at"], name="command_open", condition=Q(state__in=OPEN)),
            models.Index(fields=["wanted_by"], name="command_wanted_by"),
        ]

    def __str__(self) -> str:
        return f"{'ON' if self.on else 'OFF'} {self.device_id} ({self.state})"


class AttemptKind(models.TextChoices):
    SEND = "send", "Command"
    READ = "read", "Read-back"


class AttemptOutcome(models.TextChoices):
    PENDING = "pending", "No answer yet"
    OK = "ok", "Accepted"
    FAILED = "failed", "Refused"
    UNKNOWN = "unknown", "No answer: may have acted"


class RelayAttempt(models.Model):
    """One request about one command: written before it leaves, completed with its answer."""

    command = models.ForeignKey(RelayCommand, on_delete=models.CASCADE, related_name="tries")
    kind = models.CharField(max_length=4, choices=AttemptKind, default=AttemptKind.SEND)
    number = models.PositiveIntegerField()
    sent_at = models.DateTimeField()
    timer_s = models.PositiveIntegerField(null=True, blank=True)
    together = models.PositiveSmallIntegerField(default=1)
    outcome = models.CharField(max_length=8, choices=AttemptOutcome, default=AttemptOutcome.PENDING)
    error = models.CharField(max_length=40, blank=True, default="")
    answer = models.CharField(max_length=300, blank=True, default="")
    latency_ms = models.PositiveIntegerField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["id"]
        constraints: ClassVar = [
            models.UniqueConstraint(name="attempt_once", fields=["command", "kind", "number"]),
        ]


class PowerSample(models.Model):
    """What a relay that is on drew, by a fresh reading: ``at`` is when that was fetched. Kept for thirty days."""

    device = models.ForeignKey("devices.Device", on_delete=models.CASCADE, related_name="power", db_index=False)
    at = models.DateTimeField()
    watts = models.PositiveIntegerField()

    class Meta:
        ordering: ClassVar = ["at"]
        indexes: ClassVar = [models.Index(fields=["device", "at"], name="power_sample")]
