"""A source from its row: which adapter, with which settings."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from devices.energy.models import EnergySource, SourceKind
from devices.energy.reading import Fields
from devices.energy.sources import sigenergy_mqtt, sigenergy_openapi
from devices.energy.sources.renogy import source as renogy
from devices.energy.sources.renogy.client import BASE_URL, RenogySettings
from devices.energy.sources.renogy.values import Alarm
from devices.energy.sources.sigenergy_modbus import adapter as sigenergy_modbus
from devices.energy.sources.source import Refused, Source
from hygate.secrets import SecretUnreadable

Alarmed = Callable[[tuple[Alarm, ...]], Awaitable[None]]


def build(row: EnergySource, alarmed: Alarmed | None = None, known: Fields | None = None) -> Source:
    """The adapter for ``row``; raises ``Refused`` where its settings cannot be used. Nothing is connected yet.

    ``known``: what was read last, for *Test connection* of a cloud that may be asked only every five minutes.
    """
    secrets = secrets_of(row)
    match row.kind:
        case SourceKind.SIGENERGY_MODBUS:
            port = row.port or sigenergy_modbus.ModbusSettings.port
            return sigenergy_modbus.build(sigenergy_modbus.ModbusSettings(row.address, port, row.unit))
        case SourceKind.SIGENERGY_OPENAPI:
            return sigenergy_openapi.build(_cloud(row, secrets), known)
        case SourceKind.SIGENERGY_MQTT:
            return sigenergy_mqtt.build(
                sigenergy_mqtt.MqttSettings(
                    api=_cloud(row, secrets),
                    ca_pem=secrets.get("ca_pem", ""),
                    certificate_pem=secrets.get("certificate_pem", ""),
                    key_pem=secrets.get("key_pem", ""),
                    broker=secrets.get("broker", ""),
                )
            )
        case SourceKind.RENOGY:
            chosen = tuple(filter(None, (one.strip() for one in row.system_id.split(","))))
            given = RenogySettings(
                secrets.get("access_key", ""), secrets.get("secret_key", ""), row.address or BASE_URL, chosen
            )
            return renogy.build(given, alarmed)
    raise Refused(f"Hygate knows no energy source of the kind {row.kind!r}.", "Choose one of the kinds in the list.")


def _cloud(row: EnergySource, secrets: dict[str, str]) -> sigenergy_openapi.OpenApiSettings:
    return sigenergy_openapi.OpenApiSettings(
        row.address, secrets.get("app_key", ""), secrets.get("app_secret", ""), row.system_id
    )


def secrets_of(row: EnergySource) -> dict[str, str]:
    """What is stored encrypted; raises ``Refused`` where our keys do not open it."""
    try:
        stored: Any = json.loads(row.secrets or "{}")
    except SecretUnreadable as error:
        raise Refused(str(error), "Put the old key back into HYGATE_FIELD_KEYS, or save the keys anew.") from error
    return {str(name): str(value) for name, value in stored.items()}
