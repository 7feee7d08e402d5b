"""What every room stands on, as rows: people, the audit log, the sweep's heartbeat, the site's own words."""

from __future__ import annotations

import re
from typing import Any, ClassVar

from django.contrib.auth.models import AbstractUser, BaseUserManager
from django.db import models

from hygate import clock
from hygate.due.row import Due, due_index


class UserManager(BaseUserManager["User"]):
    """Users are known by their e-mail address; there is no user name."""

    use_in_migrations = True

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> User:
        user = self.model(email=self.normalize_email(email).lower(), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> User:
        return self.create_user(email, password, is_staff=True, is_superuser=True, role=Role.ADMINISTRATOR, **fields)


class Role(models.TextChoices):
    ADMINISTRATOR = "administrator", "Administrator"
    OPERATOR = "operator", "Operator"


class User(AbstractUser):
    """A person who runs the site. Guests have no account."""

    username = None  # type: ignore[assignment]
    email = models.EmailField("e-mail address", unique=True)
    role = models.CharField(max_length=20, choices=Role, default=Role.OPERATOR)

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []
    objects: ClassVar[UserManager] = UserManager()  # type: ignore[assignment]

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(name="user_role_known", condition=models.Q(role__in=Role.values)),
        ]

    def __str__(self) -> str:
        return self.get_full_name() or self.email

    @property
    def is_administrator(self) -> bool:
        return self.role == Role.ADMINISTRATOR


BRAND_COLOR = "#153e63"


class SiteSettings(models.Model):
    """The operator's own words and colours: one row.

    ``logo`` names the picture in ``SiteLogo`` by its contents (``3fa9c1d2e4b5``); empty: none. Its size is kept here,
    so that a page needs no second query for it. ``setup_closed_at``: an administrator has put the first-run setup away.
    """

    id = models.PositiveSmallIntegerField(primary_key=True, default=1, editable=False)
    company = models.CharField(max_length=80, default="Hygate")
    contact_phone = models.CharField(max_length=40, blank=True, default="")
    contact_email = models.EmailField(blank=True, default="")
    legal_name = models.CharField(max_length=120, blank=True, default="", help_text="On receipts; else the company")
    legal_address = models.CharField(max_length=200, blank=True, default="")
    vat_number = models.CharField(max_length=40, blank=True, default="")
    terms_url = models.URLField(max_length=200, blank=True, default="")
    privacy_url = models.URLField(max_length=200, blank=True, default="")
    brand_color = models.CharField(max_length=7, default=BRAND_COLOR)
    header_text = models.CharField(max_length=120, blank=True, default="")
    footer_text = models.CharField(max_length=300, blank=True, default="")
    logo = models.CharField(max_length=12, blank=True, default="")
    logo_width = models.PositiveSmallIntegerField(default=0)
    logo_height = models.PositiveSmallIntegerField(default=0)
    second_factor_required = models.BooleanField(default=False)
    setup_closed_at = models.DateTimeField(null=True, blank=True)
    devices_enabled = models.BooleanField(default=True)
    refund_limit_minor = models.PositiveIntegerField(default=5000, help_text="The most an operator may refund at once")

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(name="site_settings_one_row", condition=models.Q(id=1)),
        ]

    @classmethod
    def current(cls) -> SiteSettings:
        return cls.objects.filter(pk=1).first() or cls()

    @property
    def brand_hex(self) -> str:
        """The colour as six digits, fit for an address; ours where the row holds something else."""
        color = self.brand_color.lower()
        return (color if re.fullmatch(r"#[0-9a-f]{6}", color) else BRAND_COLOR)[1:]


class SiteLogo(models.Model):
    """The operator's logo as it is served: one row, in the database, so that every web process and backup has it."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1, editable=False)
    name = models.CharField(max_length=12)
    image = models.BinaryField()

    class Meta:
        constraints: ClassVar = [models.CheckConstraint(name="site_logo_one_row", condition=models.Q(id=1))]


class AuditEvent(models.Model):
    """Append-only. Written unsealed in the transaction of the move it tells of; a sealer adds ``seq`` and ``hmac``.

    No IP and no e-mail here: those live in ``AuditContact``, which retention deletes. ``session``, ``payment``,
    ``device`` and ``command`` are plain ids: the log outlives the rows it speaks of.
    """

    at = models.DateTimeField(default=clock.now)
    kind = models.CharField(max_length=60)
    actor = models.CharField(max_length=60, default="hygate")
    session = models.BigIntegerField(null=True, blank=True)
    payment = models.BigIntegerField(null=True, blank=True)
    device = models.BigIntegerField(null=True, blank=True)
    command = models.BigIntegerField(null=True, blank=True)
    data = models.JSONField(default=dict, blank=True)
    seq = models.BigIntegerField(null=True, blank=True, unique=True)
    hmac = models.CharField(max_length=64, null=True, blank=True)  # noqa: DJ001 - null = not sealed yet

    class Meta:
        ordering: ClassVar = ["at", "id"]
        indexes: ClassVar = [
            models.Index(fields=["session", "at"], name="audit_session"),
            models.Index(fields=["device", "at"], name="audit_device"),
            models.Index(fields=["kind", "at"], name="audit_kind"),
            models.Index(fields=["id"], name="audit_unsealed", condition=models.Q(seq__isnull=True)),
        ]
        constraints: ClassVar = [
            models.CheckConstraint(
                name="audit_sealed_whole",
                condition=models.Q(seq__isnull=True, hmac__isnull=True)
                | models.Q(seq__isnull=False, hmac__isnull=False),
            ),
        ]


class AuditContact(models.Model):
    """Who was behind an event, as far as law lets us keep it; deleted by retention, never sealed."""

    event = models.OneToOneField(AuditEvent, on_delete=models.DO_NOTHING, related_name="contact")
    ip = models.GenericIPAddressField(null=True, blank=True)
    email = models.EmailField(blank=True, default="")


class Severity(models.TextChoices):
    WARNING = "warning", "Look at it soon"
    ERROR = "error", "Something does not work"


class Alert(Due):
    """One thing that a person must do. Open once per ``key``, however often it is noticed; closed when it has healed.

    As a due row it says when its e-mail is to be sent. ``blocks_completion``: a session must not close before it.
    """

    key = models.CharField(max_length=120)
    kind = models.CharField(max_length=60)
    severity = models.CharField(max_length=10, choices=Severity, default=Severity.WARNING)
    title = models.CharField(max_length=160)
    advice = models.CharField(max_length=300, blank=True, default="")
    help_anchor = models.CharField(max_length=60, blank=True, default="")
    session = models.BigIntegerField(null=True, blank=True)
    payment = models.BigIntegerField(null=True, blank=True)
    device = models.BigIntegerField(null=True, blank=True)
    account = models.BigIntegerField(null=True, blank=True)
    blocks_completion = models.BooleanField(default=False)
    opened_at = models.DateTimeField(default=clock.now)
    noticed_at = models.DateTimeField(default=clock.now)
    times = models.PositiveIntegerField(default=1)
    acknowledged_at = models.DateTimeField(null=True, blank=True)
    acknowledged_by = models.CharField(max_length=60, blank=True, default="")
    mailed_at = models.DateTimeField(null=True, blank=True)
    closed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["-severity", "-opened_at", "-id"]
        constraints: ClassVar = [
            models.UniqueConstraint(name="one_open_alert", fields=["key"], condition=models.Q(closed_at__isnull=True)),
            models.CheckConstraint(name="alert_severity_known", condition=models.Q(severity__in=Severity.values)),
        ]
        indexes: ClassVar = [
            due_index("alert_due"),
            models.Index(fields=["opened_at"], name="alert_open", condition=models.Q(closed_at__isnull=True)),
        ]

    def __str__(self) -> str:
        return self.title


class Heartbeat(models.Model):
    """When something that must go on was last seen going on: ``sweep``, ``worker:relays``, …"""

    name = models.CharField(max_length=60, primary_key=True)
    at = models.DateTimeField()
    detail = models.JSONField(default=dict, blank=True)
