"""The devices room says what a due Shelly account does, and what the active proof makes of a relay's outcome."""

from __future__ import annotations

from django.apps import AppConfig


class DevicesConfig(AppConfig):
    name = "devices"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from devices.energy import wiring as energy
        from devices.relays import wiring as relays

        relays.connect()
        energy.connect()
