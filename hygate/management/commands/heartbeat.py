"""``manage.py heartbeat worker:relays``: fails unless that worker (or ``sweep``) was seen at work just now."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db.utils import DatabaseError

from hygate.due.sweep import HEARTBEAT, silent_for_s
from hygate.health import SILENT_S


class Command(BaseCommand):
    help = (
        "Health check of a worker (worker:clock, worker:relays, worker:money), of beat's sweep (sweep) or of the energy"
        " watcher (energy)."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help=f"worker:<queue>, {HEARTBEAT} or energy")
        parser.add_argument("--within", type=float, default=SILENT_S, metavar="SECONDS")

    def handle(self, *_args: Any, name: str, within: float, **_options: Any) -> None:
        try:
            silence_s = silent_for_s(name)
        except DatabaseError as error:
            raise CommandError("The database does not answer.") from error
        if silence_s == float("inf"):
            raise CommandError(f"{name} was never seen at work. Is it running?")
        if silence_s > within:
            raise CommandError(f"{name} was last seen at work {silence_s:.0f} s ago. Look at its log.")
        self.stdout.write(f"{name} was seen at work {silence_s:.1f} s ago.")
