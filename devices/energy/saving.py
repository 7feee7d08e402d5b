"""Saving energy sources: another plant is not known yet, and the audit log says what changed, never what it is."""

from __future__ import annotations

import json
from typing import Any

from django.db import transaction

from devices.energy import key_ages
from devices.energy.models import EnergySource, LatestReading, Sign, SourceStatus
from devices.energy.sources.build import secrets_of
from devices.energy.sources.source import Refused
from hygate import audit
from hygate.alerts import close_alert

PLANT = frozenset({"location", "address", "port", "unit", "system_id"})
"""With another one of these the meter may be another one: nothing that was proven holds."""
UNKNOWN_PLANT: dict[str, Any] = {
    "status": SourceStatus.UNTRIED,
    "sign": Sign.UNPROVEN,
    "sign_sentence": "",
    "sign_at": None,
    "told": [],
    "surplus_since": None,
    "proof": {},
}


def add_source(*, columns: dict[str, Any], secrets: dict[str, str], by: str) -> EnergySource:
    """A new source, not tried yet; the watcher connects it within seconds."""
    with transaction.atomic():
        source = EnergySource.objects.create(**columns, secrets=json.dumps(_filled(secrets)))
        audit.write("energy_source_added", actor=by, source=source.pk, name=source.name, of=source.kind)
    return source


def change_source(source: EnergySource, *, columns: dict[str, Any], secrets: dict[str, str], by: str) -> list[str]:
    """Write what differs and answer its names; an empty secret keeps the saved one."""
    with transaction.atomic():
        fresh = EnergySource.objects.select_for_update(of=("self",)).get(pk=source.pk)
        news = {name: value for name, value in columns.items() if getattr(fresh, name) != value}
        named, told = sorted({*news, *_filled(secrets)}), audit.change(fresh, news)
        if _filled(secrets):
            news["secrets"] = json.dumps(known_secrets(fresh) | _filled(secrets))
            key_ages.forget(fresh.pk, _filled(secrets))
        if PLANT & set(news):
            news |= UNKNOWN_PLANT
            LatestReading.objects.filter(source=fresh).delete()
            close_alert(f"energy:{fresh.pk}:sign")
        if not news:
            return []
        for column, value in news.items():
            setattr(fresh, column, value)
        fresh.save(update_fields=list(news))
        audit.write("energy_source_edited", actor=by, source=fresh.pk, **told | {"changed": named})
    return named


def delete_source(source: EnergySource, *, by: str) -> None:
    """Away with it, its readings and its history; its alerts are about nothing any more."""
    with transaction.atomic():
        audit.write("energy_source_deleted", actor=by, source=source.pk, name=source.name, of=source.kind)
        pk = source.pk
        source.delete()
        for what in ("silent", "sign", "alarm", "bridge", "key_age", "certificate"):
            close_alert(f"energy:{pk}:{what}")


def known_secrets(source: EnergySource) -> dict[str, str]:
    """What is stored; nothing where our keys do not open it any more, so that it can be typed anew."""
    try:
        return secrets_of(source)
    except Refused:
        return {}


def _filled(secrets: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in secrets.items() if value}


def unsaved(source: EnergySource, secrets: dict[str, str]) -> EnergySource:
    """A copy of ``source`` with ``secrets`` in place of the saved ones, for one look; it is never saved."""
    columns = {
        field.attname: getattr(source, field.attname) for field in source._meta.fields if field.name != "secrets"
    }
    return EnergySource(**columns, secrets=json.dumps(_filled(secrets)))
