"""The line in front of a busy device."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.db import models
from django.db.models import Q

from devices.models import Device
from hygate import clock
from hygate.due import About, Due, due_index
from hygate.secrets import EncryptedTextField


class Place(models.TextChoices):
    """Where a waiting guest stands. The last three are final."""

    WAITING = "waiting", "In line"
    OFFERED = "offered", "The device is kept for this guest"
    TAKEN = "taken", "Became a hold"
    LEFT = "left", "Left the line"
    LAPSED = "lapsed", "Did not come in time"


IN_LINE = (Place.WAITING, Place.OFFERED)


class QueueEntry(Due):
    """A guest who waits for a busy device, without an account; not a session.

    First come, first served. When the device frees, the first in line has it kept until ``offer_ends_at``; who buys
    then gets an ordinary hold (``session``). The link is the token, looked up by its hash as a session's is.
    """

    secret_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    token_hash = models.CharField(max_length=64, unique=True)
    token = EncryptedTextField()
    device = models.ForeignKey(Device, on_delete=models.PROTECT, related_name="line")
    place = models.CharField(max_length=10, choices=Place, default=Place.WAITING)
    joined_at = models.DateTimeField(default=clock.now)
    seen_at = models.DateTimeField(default=clock.now)
    offered_at = models.DateTimeField(null=True, blank=True)
    offer_ends_at = models.DateTimeField(null=True, blank=True)
    prolonged = models.BooleanField(default=False, help_text="The guest has asked for more time once")
    session = models.OneToOneField(
        "sessions_app.DeviceSession", on_delete=models.SET_NULL, null=True, blank=True, related_name="queue_entry"
    )
    closed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["joined_at", "id"]
        constraints: ClassVar = [
            models.UniqueConstraint(name="one_offer", fields=["device"], condition=Q(place=Place.OFFERED)),
            models.CheckConstraint(name="place_known", condition=Q(place__in=Place.values)),
            models.CheckConstraint(
                name="offer_has_an_end", condition=~Q(place=Place.OFFERED) | Q(offer_ends_at__isnull=False)
            ),
        ]
        indexes: ClassVar = [
            due_index("queue_due"),
            models.Index(fields=["device", "joined_at"], name="queue_line", condition=Q(place__in=IN_LINE)),
        ]

    def __str__(self) -> str:
        return f"{self.device_id} {self.place}"

    def about(self) -> About:
        return {"device": self.device_id}

    @property
    def is_in_line(self) -> bool:
        return self.place in IN_LINE
