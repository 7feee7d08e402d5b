"""``manage.py rotate_secrets [--check]``: re-encrypt what is stored with the first key of ``HYGATE_FIELD_KEYS``.

1. Put the new key in front of the old ones and restart every process. 2. Run this, while the site goes on.
3. When ``--check`` says that no old key is needed, take the old ones out of ``HYGATE_FIELD_KEYS`` and restart.
"""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from hygate.rotation import Count, count_old, rotate


class Command(BaseCommand):
    help = "Re-encrypt every stored secret with the first key of HYGATE_FIELD_KEYS; safe while the site runs."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--check", action="store_true", help="change nothing; fails while an old key is needed")

    def handle(self, *_args: Any, **options: Any) -> None:
        counts = count_old() if options["check"] else rotate()
        for one in counts:
            self.stdout.write(line(one))
        refuse_leftovers(counts)
        self.stdout.write("Every secret is encrypted with the first key; the others can be removed.")


def line(one: Count) -> str:
    words = {
        "renewed": one.renewed,
        "with the first key already": one.current,
        "still with an old key": one.old,
        "saved by someone else meanwhile": one.overtaken,
        "UNREADABLE": one.unreadable,
    }
    told = ", ".join(f"{number} {word}" for word, number in words.items() if number)
    return f"{one.column}: {told or 'none stored'}"


def refuse_leftovers(counts: list[Count]) -> None:
    """An exit status other than 0 while a key that is not the first is needed."""
    if unreadable := sum(one.unreadable for one in counts):
        raise CommandError(
            f"{unreadable} secrets open with no key of HYGATE_FIELD_KEYS. Put the missing key back and run this again,"
            " or save those secrets anew."
        )
    if left := sum(one.left for one in counts):
        raise CommandError(f"{left} secrets still need an old key: keep it, and run manage.py rotate_secrets.")
