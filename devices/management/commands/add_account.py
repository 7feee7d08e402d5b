"""``manage.py add_account NAME --server-url URL --auth-key KEY``: save a Shelly account, or change it by its name."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from devices import accounts
from devices.models import ShellyAccount
from devices.shelly.server_url import check_server_url

KEY_VARIABLE = "HYGATE_SHELLY_AUTH_KEY"


class Command(BaseCommand):
    help = "Save a Shelly Cloud account (server and key); with a NAME that exists, replace both."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name")
        parser.add_argument("--server-url", default=settings.SHELLY_DEFAULT_URL, help="as the Shelly app shows it")
        key = parser.add_mutually_exclusive_group()
        key.add_argument("--auth-key", help=f"default: the environment variable {KEY_VARIABLE}")
        key.add_argument("--auth-key-file", help="file with the key, - for standard input")

    def handle(self, *_args: Any, **options: Any) -> None:
        name = str(options["name"]).strip()
        if not 1 <= len(name) <= 60:
            raise CommandError("The name needs 1 to 60 characters.")
        try:
            url = check_server_url(options["server_url"], settings.SHELLY_HOSTS, settings.SIMULATED)
        except ValueError as refused:
            raise CommandError(str(refused)) from None
        created = save_account(name=name, server_url=url, auth_key=read_key(options))
        self.stdout.write(f"Account {name} {'added' if created else 'changed'}: {url}")


def read_key(options: dict[str, Any]) -> str:
    """The key from the option, a file, standard input (-) or the environment, in this order."""
    key, file = options["auth_key"], options["auth_key_file"]
    try:
        if key == "-" or file == "-":
            key = sys.stdin.readline()
        elif file:
            key = Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise CommandError(f"The key file {file} cannot be read.") from None
    key = (key or os.environ.get(KEY_VARIABLE, "")).strip()
    if not key or not key.isprintable() or " " in key:
        raise CommandError(f"No usable key: give --auth-key, --auth-key-file or {KEY_VARIABLE}.")
    return str(key)


def save_account(*, name: str, server_url: str, auth_key: str) -> bool:
    """Whether the account is new."""
    account = ShellyAccount.objects.filter(name=name).first()
    if account is None:
        accounts.add_account(name=name, server_url=server_url, auth_key=auth_key)
        return True
    accounts.change_account(account, name=name, server_url=server_url, auth_key=auth_key)
    return False
