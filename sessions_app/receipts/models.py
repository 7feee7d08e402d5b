"""What a guest can show to a bookkeeper."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from hygate import clock


class Receipt(models.Model):
    """A number for what a session took, given once, when it was first asked for after money was taken.

    ``serial`` is gapless within ``year`` (site time). ``seller`` is the operator's details as they were then: a later
    move to another address changes no receipt. Amounts are not stored: they are the session's orders and refunds.
    """

    session = models.OneToOneField("sessions_app.DeviceSession", on_delete=models.PROTECT, related_name="receipt")
    year = models.PositiveSmallIntegerField()
    serial = models.PositiveIntegerField()
    number = models.CharField(max_length=20, unique=True)
    issued_at = models.DateTimeField(default=clock.now)
    seller = models.JSONField(default=dict)

    class Meta:
        ordering: ClassVar = ["-year", "-serial"]
        constraints: ClassVar = [
            models.UniqueConstraint(name="receipt_serial", fields=["year", "serial"]),
            models.CheckConstraint(name="receipt_serial_counts", condition=models.Q(serial__gte=1)),
        ]

    def __str__(self) -> str:
        return self.number
