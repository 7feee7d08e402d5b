"""How old the sources' keys are, and when their certificates end: somebody has to change them before they stop."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from cryptography import x509
from django.conf import settings
from django.db import transaction

from devices.energy.models import EnergySource, SourceKind
from devices.energy.sources.build import secrets_of
from devices.energy.sources.source import Refused
from devices.key_age import KeyAge, key_age
from hygate.alerts import close_alert, raise_alert
from hygate.models import AuditEvent, Severity

ADDED, EDITED = "energy_source_added", "energy_source_edited"
API_KEYS = frozenset({"app_key", "app_secret"})
CERTIFICATE = frozenset({"certificate_pem", "key_pem"})
KEYS: Mapping[str, frozenset[str]] = {
    SourceKind.SIGENERGY_OPENAPI: API_KEYS,
    SourceKind.SIGENERGY_MQTT: API_KEYS,
    SourceKind.RENOGY: frozenset({"access_key", "secret_key"}),
}
"""Which secrets of a kind grow old; a certificate says itself when it ends."""
WARN_BEFORE = timedelta(days=30)
ERROR_BEFORE = timedelta(days=7)


@dataclass(frozen=True)
class Ends:
    """When a client certificate ends; ``level`` is the dashboard's tone."""

    at: datetime
    level: Literal["ok", "hold", "stop"]

    @property
    def sentence(self) -> str:
        return f"Its client certificate is good until {self.at:%-d %b %Y}."


def typed_at() -> dict[int, datetime]:
    """By source, when a key of it was typed last: the audit log knows, the sources themselves keep no time."""
    kinds = dict(EnergySource.objects.values_list("pk", "kind"))
    found: dict[int, datetime] = {}
    for event in AuditEvent.objects.filter(kind__in=(ADDED, EDITED)).order_by("id").only("at", "kind", "data"):
        source = int(event.data.get("source", 0))
        if event.kind == ADDED or KEYS.get(kinds.get(source, ""), frozenset()) & set(event.data.get("changed", ())):
            found[source] = event.at
    return {source: at for source, at in found.items() if kinds.get(source) in KEYS}


def certificate_ends(source: EnergySource, now: datetime) -> Ends | None:
    """None for a source without a client certificate, or with one that cannot be read: its *Test* says so."""
    try:
        certificate = x509.load_pem_x509_certificate(secrets_of(source).get("certificate_pem", "").encode())
    except (Refused, ValueError, x509.InvalidVersion):
        return None
    left = certificate.not_valid_after_utc - now
    return Ends(
        certificate.not_valid_after_utc, "stop" if left < ERROR_BEFORE else "hold" if left < WARN_BEFORE else "ok"
    )


def watch(now: datetime) -> None:
    """Raise what wants a person, close what does not any more; called now and then by the watcher."""
    typed = typed_at()
    for source in EnergySource.objects.filter(active=True, kind__in=KEYS):
        age = key_age(typed[source.pk], now, settings.NUMBERS) if source.pk in typed else None
        with transaction.atomic():
            _tell_age(source, age)
            _tell_end(source, certificate_ends(source, now))


def forget(source_id: int, typed: Iterable[str]) -> None:
    """New secrets were typed: the alerts of the old ones are over. Inside the transaction that saves them."""
    if any(set(typed) & keys for keys in KEYS.values()):
        close_alert(_key(source_id, "key_age"))
    if set(typed) & CERTIFICATE:
        close_alert(_key(source_id, "certificate"))


def _tell_age(source: EnergySource, age: KeyAge | None) -> None:
    if age is None or age.level == "ok":
        close_alert(_key(source.pk, "key_age"))
        return
    raise_alert(
        _key(source.pk, "key_age"),
        kind="key_age",
        title=f"The keys of {source.name} are {age.days} days old",
        advice="Make new ones where the maker gives them out, and save them under Settings, Energy.",
        severity=_severity(age.level),
        help_anchor="key-age",
    )


def _tell_end(source: EnergySource, ends: Ends | None) -> None:
    if ends is None or ends.level == "ok":
        close_alert(_key(source.pk, "certificate"))
        return
    raise_alert(
        _key(source.pk, "certificate"),
        kind="energy_certificate",
        title=f"The client certificate of {source.name} is good until {ends.at:%-d %b %Y}",
        advice="Get a new one from the developer portal and save it under Settings, Energy: after that day the broker "
        "refuses this one, and no high power is sold on its numbers.",
        severity=_severity(ends.level),
        help_anchor="sigenergy-certificate",
    )


def _severity(level: str) -> Severity:
    return Severity.ERROR if level == "stop" else Severity.WARNING


def _key(source_id: int, what: str) -> str:
    return f"energy:{source_id}:{what}"
