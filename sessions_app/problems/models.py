"""What guests tell the people of the site."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q

from devices.models import Device
from hygate import clock


class Cause(models.TextChoices):
    """One tap says which. The last is about the label, told before anything is bought."""

    NO_POWER = "no_power", "It has no power"
    TOO_EARLY = "too_early", "It stopped too early"
    MACHINE = "machine", "The machine itself is faulty"
    AMOUNT = "amount", "The amount is wrong"
    OTHER = "other", "Something else"
    STICKER = "sticker", "The label looks odd"


class ProblemReport(models.Model):
    """A guest's report about a session, or about a label. Answered by staff; the answer shows under the same link.

    ``evidence`` is what the relay did and showed when the report came (lines of time, what, answer; no personal data),
    kept because the rows it was taken from are tidied up. ``code`` is the label's, as it was scanned.
    """

    reference = models.CharField(max_length=12, unique=True)
    session = models.ForeignKey(
        "sessions_app.DeviceSession", on_delete=models.PROTECT, null=True, blank=True, related_name="problems"
    )
    device = models.ForeignKey(Device, on_delete=models.PROTECT, null=True, blank=True, related_name="problems")
    code = models.CharField(max_length=40, blank=True, default="")
    cause = models.CharField(max_length=20, choices=Cause)
    note = models.CharField(max_length=500, blank=True, default="")
    language = models.CharField(max_length=10, default="en")
    evidence = models.JSONField(default=list, blank=True)
    created_at = models.DateTimeField(default=clock.now)
    seen_at = models.DateTimeField(null=True, blank=True)
    answer = models.CharField(max_length=1000, blank=True, default="")
    answered_at = models.DateTimeField(null=True, blank=True)
    answered_by = models.ForeignKey("hygate.User", on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    closed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["-created_at", "-id"]
        constraints: ClassVar = [
            models.CheckConstraint(name="problem_cause_known", condition=Q(cause__in=Cause.values)),
            models.UniqueConstraint(
                name="one_open_report", fields=["session", "cause"], condition=Q(closed_at__isnull=True)
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["created_at"], name="problem_open", condition=Q(closed_at__isnull=True)),
        ]

    def __str__(self) -> str:
        return self.reference
