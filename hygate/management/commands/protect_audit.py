"""``manage.py protect_audit``: the database itself refuses to change or delete audit rows. Run after every migrate."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from hygate import guarding


class Command(BaseCommand):
    help = "Install the triggers that make the audit log append-only. Run it after every migrate; twice does no harm."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--remove", action="store_true", help="take them away again, before tables are rebuilt")

    def handle(self, *args: Any, remove: bool = False, verbosity: int = 1, **options: Any) -> None:
        if remove:
            guarding.unprotect()
        else:
            guarding.protect()
        if verbosity:
            done = "no longer protected: anyone who writes to the database can change it" if remove else "append-only"
            self.stdout.write(f"The audit log is {done}.")
