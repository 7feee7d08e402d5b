"""``manage.py sync_devices NAME [--json]``: ask the Shelly Cloud what an account has, and show it."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from devices.models import ShellyAccount
from devices.relays.sync import sync_account
from devices.shelly.errors import ShellyError

COLUMNS = ("shelly_id", "channel", "name", "model", "generation", "online", "output", "sellable", "reason")
WORDS = {True: "yes", False: "no", None: "-"}


class Command(BaseCommand):
    help = "List the devices and relay channels of a Shelly Cloud account, as a table or as JSON."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name")
        parser.add_argument("--json", action="store_true", help="a JSON list on standard output, and nothing else")

    def handle(self, *_args: Any, **options: Any) -> None:
        account = ShellyAccount.objects.filter(name=options["name"]).first()
        if account is None:
            raise CommandError(f"No account is called {options['name']}. Add it with: manage.py add_account")
        try:
            found = sync_account(account)
        except ShellyError as error:
            raise CommandError(f"{error.sentence} ({error.name})") from None
        self.stdout.write(json.dumps(found, indent=2, ensure_ascii=False) if options["json"] else table(found))


def table(found: list[dict[str, Any]]) -> str:
    """``found`` in columns; channels as in the cloud, counted from 0."""
    if not found:
        return "The account has no devices."
    rows = [COLUMNS, *(tuple(_word(row[column]) for column in COLUMNS) for row in found)]
    widths = [max(len(row[index]) for row in rows) for index in range(len(COLUMNS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _word(value: Any) -> str:
    return WORDS[value] if value is None or isinstance(value, bool) else str(value)
