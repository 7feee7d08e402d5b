"""E-mail that a guest asked for."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.db import models
from django.db.models import Q

from hygate import clock
from hygate.due import About, Due, due_index
from hygate.secrets import EncryptedTextField


class MailKind(models.TextChoices):
    RECEIPT = "receipt", "The receipt"
    DONE = "done", "The session is over"
    TURN = "turn", "It is your turn"


class GuestMail(Due):
    """One e-mail that a guest asked for, sent once. The address is forgotten as soon as it was sent or given up.

    ``due_at`` is null while the mail waits for its moment (the session's end, the turn in line). ``address_hash`` tells
    a second asking for the same mail from a new one and is forgotten with the address.
    """

    secret_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    kind = models.CharField(max_length=10, choices=MailKind)
    session = models.ForeignKey(
        "sessions_app.DeviceSession", on_delete=models.CASCADE, null=True, blank=True, related_name="mails"
    )
    entry = models.ForeignKey(
        "sessions_app.QueueEntry", on_delete=models.CASCADE, null=True, blank=True, related_name="mails"
    )
    address = EncryptedTextField(blank=True, default="")
    address_hash = models.CharField(max_length=64, blank=True, default="")
    language = models.CharField(max_length=10, default="en")
    message_id = models.CharField(max_length=120, unique=True)
    created_at = models.DateTimeField(default=clock.now)
    sent_at = models.DateTimeField(null=True, blank=True)
    given_up_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["-created_at", "-id"]
        constraints: ClassVar = [
            models.CheckConstraint(name="mail_kind_known", condition=Q(kind__in=MailKind.values)),
            models.CheckConstraint(
                name="mail_is_about_one",
                condition=Q(session__isnull=False, entry__isnull=True) | Q(session__isnull=True, entry__isnull=False),
            ),
            *(
                models.UniqueConstraint(
                    name=f"mail_once_a_{about}",
                    fields=["kind", about, "address_hash"],
                    condition=Q(sent_at__isnull=True, given_up_at__isnull=True),
                )
                for about in ("session", "entry")
            ),
        ]
        indexes: ClassVar = [due_index("guest_mail_due")]

    def __str__(self) -> str:
        return f"{self.kind} {self.message_id}"

    def about(self) -> About:
        return {"session": self.session_id}
