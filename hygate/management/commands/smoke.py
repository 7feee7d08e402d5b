"""``manage.py smoke``: what ``make smoke`` runs, beside a running demo."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError


class Command(BaseCommand):
    help = "Buy one short session on the running demo and compare money, relay and audit."
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        from hygate.demo.smoke import Refused, smoke

        try:
            smoke(self._say)
        except Refused as error:
            raise CommandError(str(error)) from error

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()
