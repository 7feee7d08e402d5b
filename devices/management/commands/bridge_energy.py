"""``manage.py bridge_energy``: write the sources' readings to local Shelly devices, until Ctrl-C or SIGTERM."""

from __future__ import annotations

import signal
import threading
from argparse import ArgumentParser
from typing import Any

import structlog
from django.core.management.base import BaseCommand
from django.db import close_old_connections
from django.db.utils import DatabaseError

from devices.energy.bridge import Bridge

EVERY_S = 1.0
log = structlog.get_logger(__name__)


class Command(BaseCommand):
    help = "Write PV, battery, grid and load to the virtual components 200 to 204 of local Shelly devices."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--once", action="store_true", help="one round, and say how many devices took their numbers"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        bridge = Bridge()
        if options["once"]:
            self.stdout.write(f"{bridge.round()} written")
            return
        stop = threading.Event()
        for one in (signal.SIGTERM, signal.SIGINT):
            signal.signal(one, lambda *_: stop.set())
        while not stop.wait(EVERY_S):
            _round(bridge)


def _round(bridge: Bridge) -> None:
    try:
        close_old_connections()
        bridge.round()
    except DatabaseError as away:
        log.warning("energy.database", error=type(away).__name__)
