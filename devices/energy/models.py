"""The energy side as rows: where readings come from, what was read, what a site may carry, and what was promised."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q

from hygate import clock
from hygate.secrets import EncryptedTextField


class SourceKind(models.TextChoices):
    SIGENERGY_MODBUS = "sigenergy_modbus", "Sigenergy, Modbus TCP"
    SIGENERGY_MQTT = "sigenergy_mqtt", "Sigenergy, MQTT push"
    SIGENERGY_OPENAPI = "sigenergy_openapi", "Sigenergy, OpenAPI"
    RENOGY = "renogy", "Renogy, OpenAPI"


CLOUD_KINDS = (SourceKind.SIGENERGY_OPENAPI, SourceKind.RENOGY)
"""Shows, does not admit by itself: the maker's cloud is minutes old and cannot show it."""


class SourceStatus(models.TextChoices):
    UNTRIED = "untried", "Not tried yet"
    OK = "ok", "Delivers"
    REFUSED = "refused", "Settings refused"
    UNREACHABLE = "unreachable", "Does not answer"


class Sign(models.TextChoices):
    PROVEN = "proven", "Proven"
    REFUSED = "refused", "Refused"
    UNPROVEN = "unproven", "Not proven yet"


class EnergySource(models.Model):
    """One live source of a Location: how it is reached, how it fares, and whether its grid sign was proven.

    ``secrets`` is a JSON object of what its kind needs (keys, certificates); it is written through forms only.
    ``proof`` is the active proof under way or the last one (devices/energy/proof.py). ``bridge_address`` is the Shelly
    device in the local network whose virtual components show the readings, every ``bridge_every_s``; empty: none.
    ``watched_by``/``watched_until`` are the lease of the watcher that holds the connection; a second one stands by.
    """

    secret_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    location = models.ForeignKey("devices.Location", on_delete=models.PROTECT, related_name="energy_sources")
    name = models.CharField(max_length=60)
    kind = models.CharField(max_length=20, choices=SourceKind)
    address = models.CharField(max_length=200, blank=True, default="", help_text="Host, region or server address")
    port = models.PositiveIntegerField(
        null=True, blank=True, validators=[MinValueValidator(1), MaxValueValidator(65535)]
    )
    unit = models.PositiveSmallIntegerField(default=247)
    system_id = models.CharField(max_length=80, blank=True, default="")
    secrets = EncryptedTextField(blank=True, default="")
    active = models.BooleanField(default=True)
    load_has_own_meter = models.BooleanField(default=False)
    cloud_admits = models.BooleanField(default=False)
    cloud_extra_margin_w = models.PositiveIntegerField(default=2000)

    status = models.CharField(max_length=20, choices=SourceStatus, default=SourceStatus.UNTRIED)
    last_ok_at = models.DateTimeField(null=True, blank=True)
    last_error = models.CharField(max_length=40, blank=True, default="")
    last_sentence = models.CharField(max_length=300, blank=True, default="")
    sign = models.CharField(max_length=10, choices=Sign, default=Sign.UNPROVEN)
    sign_sentence = models.CharField(max_length=400, blank=True, default="")
    sign_at = models.DateTimeField(null=True, blank=True)
    told = models.JSONField(default=list, blank=True)
    surplus_since = models.DateTimeField(null=True, blank=True)
    proof = models.JSONField(default=dict, blank=True)
    bridge_address = models.CharField(max_length=60, blank=True, default="")
    bridge_every_s = models.PositiveSmallIntegerField(default=5, validators=[MinValueValidator(1)])
    watched_by = models.CharField(max_length=80, blank=True, default="")
    watched_until = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["location", "name"]
        constraints: ClassVar = [
            models.UniqueConstraint(name="energy_source_once", fields=["location", "name"]),
            models.CheckConstraint(name="energy_source_kind", condition=Q(kind__in=SourceKind.values)),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_cloud(self) -> bool:
        return self.kind in CLOUD_KINDS


class LatestReading(models.Model):
    """What a source last said: ``fields`` is ``{name: [value, unix seconds]}``, each with its own age."""

    source = models.OneToOneField(EnergySource, on_delete=models.CASCADE, related_name="latest", primary_key=True)
    fields = models.JSONField(default=dict)
    at = models.DateTimeField(default=clock.now)


class ReadingMean(models.Model):
    """History: means of 10 s for 30 days, then of an hour. ``values`` is ``{name: [mean, least, most]}``."""

    source = models.ForeignKey(EnergySource, on_delete=models.CASCADE, related_name="means")
    at = models.DateTimeField()
    span_s = models.PositiveSmallIntegerField(default=10)
    values = models.JSONField(default=dict)

    class Meta:
        ordering: ClassVar = ["at"]
        constraints: ClassVar = [
            models.UniqueConstraint(name="reading_mean_once", fields=["source", "span_s", "at"]),
        ]


class Supply(models.TextChoices):
    GRID = "grid", "Up to the limit of the grid connection"
    CAPPED = "capped", "Never above an import of its own"
    SURPLUS = "surplus", "Solar surplus only"


class SitePower(models.Model):
    """What a Location may carry and by which policy. Its row is the lock under which watts are promised.

    Lock order: session → site → payment → device. ``passes`` are those of the present trouble
    (when, how much was taken away, the flow before and after); ``calm_since``: since when there has been none.
    ``read_token_hash``: SHA-256 of the token with which a script reads the site's live numbers; empty: nobody may.
    """

    location = models.OneToOneField("devices.Location", on_delete=models.CASCADE, related_name="site_power")
    grid_import_w = models.PositiveIntegerField(null=True, blank=True)
    phases = models.PositiveSmallIntegerField(default=3)
    fuse_w = models.PositiveIntegerField(null=True, blank=True, help_text="Each phase; empty: equal shares")
    inverter_w = models.PositiveIntegerField(null=True, blank=True)
    reserve_soc_pct = models.PositiveSmallIntegerField(default=10, validators=[MaxValueValidator(100)])
    margin_w = models.PositiveIntegerField(default=500)
    shed_margin_w = models.PositiveIntegerField(default=0)
    max_age_s = models.PositiveSmallIntegerField(default=10)
    stand_alone = models.BooleanField(default=False)
    supply = models.CharField(max_length=10, choices=Supply, default=Supply.GRID)
    import_cap_w = models.PositiveIntegerField(default=0)
    battery_may_help = models.BooleanField(default=False)
    windows = models.JSONField(default=list, blank=True)
    min_soc_pct = models.PositiveSmallIntegerField(null=True, blank=True, validators=[MaxValueValidator(100)])
    min_surplus_w = models.PositiveIntegerField(null=True, blank=True)
    shed_when_blind = models.BooleanField(default=False)
    most_per_pass = models.PositiveSmallIntegerField(default=1)
    least_running = models.PositiveSmallIntegerField(default=0)
    passes = models.JSONField(default=list, blank=True)
    calm_since = models.DateTimeField(null=True, blank=True)
    read_token_hash = models.CharField(max_length=64, blank=True, default="")

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(name="site_phases", condition=Q(phases__in=(1, 3))),
            models.CheckConstraint(name="site_margins", condition=Q(shed_margin_w__lte=models.F("margin_w"))),
            models.CheckConstraint(name="site_supply", condition=Q(supply__in=Supply.values)),
        ]

    def __str__(self) -> str:
        return str(self.location)


class Promise(models.Model):
    """Watts that a session may draw until it ends: written in the transaction that holds the slot.

    ``session`` is a plain id, the sales room's. ``waiting_since``: it waits in the queue, so that only those behind it
    count its watts. ``started_at``: since when its relay is confirmed on, for a plan's lower ``reserve_w``.
    """

    device = models.ForeignKey("devices.Device", on_delete=models.CASCADE, related_name="promises")
    session = models.BigIntegerField()
    watts = models.PositiveIntegerField()
    reserve_w = models.PositiveIntegerField(null=True, blank=True)
    reserve_after_s = models.PositiveIntegerField(null=True, blank=True)
    made_at = models.DateTimeField(default=clock.now)
    waiting_since = models.DateTimeField(null=True, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    switched_at = models.DateTimeField(null=True, blank=True)
    paused_at = models.DateTimeField(null=True, blank=True)
    released_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["id"]
        constraints: ClassVar = [
            models.UniqueConstraint(name="one_promise", fields=["session"], condition=Q(released_at__isnull=True)),
        ]
        indexes: ClassVar = [
            models.Index(fields=["device"], name="promise_open", condition=Q(released_at__isnull=True)),
        ]
