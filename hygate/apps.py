from __future__ import annotations

from django.apps import AppConfig


class HygateConfig(AppConfig):
    name = "hygate"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from hygate import checks

        checks.register()
