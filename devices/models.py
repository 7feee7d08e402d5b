"""The things: a place, a Shelly account, one relay channel that is sold, its codes and its plans."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import F, Q

from hygate import clock
from hygate.due import Due, due_index
from hygate.secrets import EncryptedTextField


class Location(models.Model):
    """A site with its own time zone, currency and energy system. Devices above ``high_power_w`` need headroom."""

    name = models.CharField(max_length=80)
    timezone = models.CharField(max_length=60, default="Europe/Vienna")
    currency = models.CharField(max_length=3, default="eur")
    contact_phone = models.CharField(max_length=40, blank=True, default="")
    high_power_w = models.PositiveIntegerField(default=2500)

    class Meta:
        ordering: ClassVar = ["name"]

    def __str__(self) -> str:
        return self.name


class AccountStatus(models.TextChoices):
    UNTRIED = "untried", "Not tried yet"
    OK = "ok", "Answers"
    BAD_KEY = "bad_key", "Key refused"
    UNREACHABLE = "unreachable", "Does not answer"


AWAY = (AccountStatus.BAD_KEY, AccountStatus.UNREACHABLE)
"""An account that tells nothing about its devices."""


class ShellyAccount(Due):
    """Server and key of one Shelly Cloud account, and the queue of everything that is asked of it.

    As a due row it says when its next request may leave: one at a time, spaced from the end of the last answer.
    """

    secret_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    name = models.CharField(max_length=60, unique=True)
    server_url = models.URLField(max_length=200)
    auth_key = EncryptedTextField()
    key_saved_at = models.DateTimeField(default=clock.now)
    status = models.CharField(max_length=20, choices=AccountStatus, default=AccountStatus.UNTRIED)
    last_ok_at = models.DateTimeField(null=True, blank=True)
    last_latency_ms = models.PositiveIntegerField(null=True, blank=True)
    free_at = models.DateTimeField(null=True, blank=True)
    wide_gap_until = models.DateTimeField(null=True, blank=True)
    limit_hits = models.PositiveSmallIntegerField(default=0)
    groups_size = models.PositiveSmallIntegerField(default=50, validators=[MinValueValidator(1)])
    timeouts_in_row = models.PositiveSmallIntegerField(default=0)
    timeout_devices = models.JSONField(default=list, blank=True)
    circuit_opened_at = models.DateTimeField(null=True, blank=True)
    status_due_at = models.DateTimeField(null=True, blank=True)
    sync_due_at = models.DateTimeField(null=True, blank=True)
    found = models.JSONField(default=list, blank=True)
    synced_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["name"]
        indexes: ClassVar = [due_index("account_due")]
        constraints: ClassVar = [
            models.CheckConstraint(name="account_groups_size", condition=Q(groups_size__gte=1)),
        ]

    def __str__(self) -> str:
        return self.name


class Phases(models.TextChoices):
    L1 = "L1"
    L2 = "L2"
    L3 = "L3"
    ALL = "3", "L1, L2, L3"


class DeviceKind(models.TextChoices):
    """What it is to a guest: picks the icon and the verb on the page."""

    WASHER = "washer", "Washing machine"
    DRYER = "dryer", "Dryer"
    EV = "ev", "EV socket"
    SAUNA = "sauna", "Sauna"
    SOCKET = "socket", "Power socket"


class Device(models.Model):
    """One relay channel that Hygate sells or manages.

    ``output``, ``watts``, ``online`` are what the last reading said; ``reading_mark`` changes with every push of the
    device to its cloud. ``must_be_off_since`` is the device's duty to be off: set with every OFF that is wanted and
    cleared only by a reading that proves it; while it stands, nothing is sold here.
    """

    location = models.ForeignKey(Location, on_delete=models.PROTECT, related_name="devices")
    account = models.ForeignKey(ShellyAccount, on_delete=models.PROTECT, related_name="devices")
    shelly_id = models.CharField(max_length=40)
    channel = models.PositiveSmallIntegerField(default=0)
    model = models.CharField(max_length=40, blank=True, default="")
    generation = models.PositiveSmallIntegerField(default=2)
    name = models.CharField(max_length=60)
    place = models.CharField(max_length=80, blank=True, default="")
    kind = models.CharField(max_length=20, choices=DeviceKind, default=DeviceKind.SOCKET)
    active = models.BooleanField(default=True)
    maintenance_since = models.DateTimeField(null=True, blank=True)
    maintenance_until = models.DateTimeField(null=True, blank=True)
    maintenance_text = models.CharField(max_length=200, blank=True, default="")

    rated_w = models.PositiveIntegerField(null=True, blank=True)
    phases = models.CharField(max_length=2, choices=Phases, blank=True, default="")
    priority = models.PositiveSmallIntegerField(default=100)
    may_pause = models.BooleanField(default=True)
    min_on_s = models.PositiveIntegerField(default=300)
    min_off_s = models.PositiveIntegerField(default=180)
    apart_group = models.CharField(
        max_length=30, blank=True, default="", help_text="Only one of a group runs at a time"
    )

    online = models.BooleanField(default=False)
    output = models.BooleanField(null=True, blank=True)
    watts = models.PositiveIntegerField(null=True, blank=True)
    energy_wh = models.FloatField(null=True, blank=True, help_text="The channel's own counter, since it was made")
    reading_mark = models.CharField(max_length=60, blank=True, default="")
    reading_at = models.DateTimeField(null=True, blank=True)
    seen_at = models.DateTimeField(null=True, blank=True)
    vanished_at = models.DateTimeField(null=True, blank=True)

    off_expected_at = models.DateTimeField(null=True, blank=True)
    must_be_off_since = models.DateTimeField(null=True, blank=True)
    timer_unproven = models.BooleanField(default=False)
    failed_last = models.BooleanField(default=False)
    blocked_since = models.DateTimeField(null=True, blank=True)
    blocked_reason = models.CharField(max_length=40, blank=True, default="")
    off_confirmed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["name"]
        constraints: ClassVar = [
            models.UniqueConstraint(name="device_once", fields=["account", "shelly_id", "channel"]),
            models.CheckConstraint(name="device_min_on_off", condition=Q(min_on_s__gte=0, min_off_s__gte=0)),
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["account", "off_expected_at"],
                name="device_off_expected",
                condition=Q(off_expected_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_high_power(self) -> bool:
        return self.rated_w is not None and self.rated_w > self.location.high_power_w


class DeviceCode(models.Model):
    """What the QR label says. A rotated code stays, retired, so that its label can say that it was replaced."""

    device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="codes")
    code = models.CharField(max_length=12, unique=True)
    created_at = models.DateTimeField(default=clock.now)
    retired_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["-created_at"]
        constraints: ClassVar = [
            models.UniqueConstraint(name="one_current_code", fields=["device"], condition=Q(retired_at__isnull=True)),
            models.CheckConstraint(name="code_spelling", condition=Q(code__regex=r"^[A-Z0-9]{4,12}$")),
        ]

    def __str__(self) -> str:
        return self.code


class UsagePlan(models.Model):
    """What a guest can choose. Seconds and minor units are stored; people see minutes and money."""

    device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="plans")
    name = models.CharField(max_length=60)
    description = models.CharField(max_length=120, blank=True, default="")
    duration_s = models.PositiveIntegerField()
    grace_s = models.PositiveIntegerField(default=0)
    price_minor = models.PositiveIntegerField()
    vat_rate_bp = models.PositiveIntegerField(default=0, help_text="Basis points: 2000 is 20 %")
    sort_order = models.PositiveSmallIntegerField(default=0)
    active = models.BooleanField(default=True)
    refund_unused = models.BooleanField(default=True)
    extendable = models.BooleanField(default=False)
    max_total_s = models.PositiveIntegerField(null=True, blank=True)
    reserve_w = models.PositiveIntegerField(null=True, blank=True)
    reserve_after_s = models.PositiveIntegerField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["sort_order", "price_minor", "id"]
        constraints: ClassVar = [
            models.CheckConstraint(name="plan_duration", condition=Q(duration_s__gte=1, duration_s__lte=7 * 86400)),
            models.CheckConstraint(name="plan_grace", condition=Q(grace_s__lte=3600)),
            models.CheckConstraint(name="plan_price", condition=Q(price_minor__gte=1, price_minor__lte=10_000_00)),
            models.CheckConstraint(name="plan_vat", condition=Q(vat_rate_bp__lte=10_000)),
            models.CheckConstraint(
                name="plan_max_total", condition=Q(max_total_s__isnull=True) | Q(max_total_s__gte=F("duration_s"))
            ),
        ]

    def __str__(self) -> str:
        return self.name


# The energy and the relay rows have rooms of their own; Django finds an app's models through this module.
from devices.energy.models import EnergySource, LatestReading, Promise, ReadingMean, SitePower  # noqa: E402
from devices.relays.models import PowerSample, RelayAttempt, RelayCommand  # noqa: E402

__all__ = [
    "AccountStatus",
    "Device",
    "DeviceCode",
    "DeviceKind",
    "EnergySource",
    "LatestReading",
    "Location",
    "Phases",
    "PowerSample",
    "Promise",
    "ReadingMean",
    "RelayAttempt",
    "RelayCommand",
    "ShellyAccount",
    "SitePower",
    "UsagePlan",
]
