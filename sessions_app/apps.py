"""The sales room subscribes to what the lower rooms publish, and says what its due rows do."""

from __future__ import annotations

from django.apps import AppConfig


class SessionsConfig(AppConfig):
    name = "sessions_app"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from sessions_app import wiring

        wiring.connect()
