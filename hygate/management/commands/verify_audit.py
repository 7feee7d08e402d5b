"""``manage.py verify_audit``: does the audit log still say what was sealed? Ends with 1 where it does not."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from hygate import guarding
from hygate.sealing import Head
from hygate.verifying import Report, verify


class Command(BaseCommand):
    help = "Walk the sealed audit log and name the first row that was changed, deleted, moved or cut off."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--head", type=Path, metavar="FILE", help="compare with a head exported on another day")
        parser.add_argument(
            "--export-head", type=Path, metavar="FILE", help="write the last seal, to be kept on another machine"
        )
        parser.add_argument("--json", action="store_true", help="answer as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        report = verify(_read(options["head"]) if options["head"] else None)
        if report.fault is None and options["export_head"]:
            _export(options["export_head"], report.head)
        protected = guarding.is_protected()
        if options["json"]:
            self.stdout.write(json.dumps(report.as_json() | {"protected": protected}, indent=2))
            if not report.ok:
                sys.exit(1)
            return
        if not protected:
            self.stdout.write("No triggers protect the log: run manage.py protect_audit.")
        if not report.ok:
            raise CommandError(_complaint(report))
        self.stdout.write(f"{report.sealed} rows, each as it was sealed.")


def _complaint(report: Report) -> str:
    """What is wrong, in sentences."""
    said = [report.fault.says] if report.fault else []
    if report.late:
        rows = "1 row has" if report.late == 1 else f"{report.late} rows have"
        said.append(f"{rows} waited more than a minute for a seal (first: event {report.late_row}): do workers run?")
    return " ".join(said)


def _read(path: Path) -> Head:
    try:
        found = json.loads(path.read_text())
        return Head(int(found["seq"]), str(found["hmac"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CommandError(f"{path} is no exported head: {error}. Name a file that --export-head wrote.") from error


def _export(path: Path, head: Head) -> None:
    try:
        path.write_text(json.dumps({"seq": head.seq, "hmac": head.hmac}) + "\n")
    except OSError as error:
        raise CommandError(f"The head cannot be written to {path}: {error.strerror}.") from error
