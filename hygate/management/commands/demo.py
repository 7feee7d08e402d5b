"""``manage.py demo``: what ``make demo`` runs."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from hygate.demo.preflight import CannotStart


class Command(BaseCommand):
    help = "Run all of Hygate on this machine against its simulators, until Ctrl-C or SIGTERM."
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        from hygate.demo.running import run

        try:
            run(self._say)
        except CannotStart as error:
            raise CommandError(str(error)) from error

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()
