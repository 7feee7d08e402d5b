"""``manage.py simulate shelly|stripe``: one simulator in the foreground, until Ctrl-C or SIGTERM."""

from __future__ import annotations

import signal
import threading
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from hygate.demo.preflight import why_not
from hygate.simulators import shelly, stripe
from hygate.simulators.base import RunningSimulator, Simulator

WEBHOOK_PATH = "/api/stripe/webhook"


class Command(BaseCommand):
    help = "Run one simulator: shelly (Shelly Cloud and the relays behind it) or stripe."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("which", choices=["shelly", "stripe"])
        parser.add_argument("--port", type=int, help="default: 8101 for shelly, 8102 for stripe")
        parser.add_argument(
            "--payloads", type=Path, metavar="DIR", help="shelly: serve the device files of this folder"
        )
        parser.add_argument("--state", type=Path, metavar="FILE", help="keep the simulated world here between runs")
        parser.add_argument("--webhook-url", help="stripe: where events are sent (default: this Hygate)")
        parser.add_argument("--webhook-secret", help="stripe: what they are signed with")

    def handle(self, *args: Any, which: str, port: int | None, **options: Any) -> None:
        default = settings.SIM_SHELLY_PORT if which == "shelly" else settings.SIM_STRIPE_PORT
        port = default if port is None else port
        taken = why_not(port)
        if taken:
            raise CommandError(f"Port {port} {taken}. Choose another with --port.")
        over = threading.Event()
        for one in (signal.SIGTERM, signal.SIGINT):
            signal.signal(one, lambda *_: over.set())
        try:
            running = RunningSimulator(self._build(which, options), port=port).start()
        except (OSError, OverflowError, ValueError) as error:
            raise CommandError(f"The simulator cannot start on port {port}: {_sentence(error)}.") from error
        self.stdout.write(self._ready_line(which, running.url))
        self.stdout.flush()
        over.wait()
        running.stop()

    def _build(self, which: str, options: dict[str, Any]) -> Simulator:
        if options["state"] is not None:
            options["state"].parent.mkdir(parents=True, exist_ok=True)
        if which == "shelly":
            return shelly.build(options["payloads"], options["state"], self.stdout.write)
        url = options["webhook_url"] or settings.BASE_URL + WEBHOOK_PATH
        secret = options["webhook_secret"] or settings.STRIPE_WEBHOOK_SECRETS[0]
        return stripe.build(url, secret, options["state"])

    @staticmethod
    def _ready_line(which: str, url: str) -> str:
        if which == "shelly":
            return f"Simulated Shelly Cloud: {url} (key {shelly.DEMO_KEY}; what happened: {url}/_ctl/ledger)"
        return f"Simulated Stripe: {url} (what happened: {url}/_ctl/ledger)"


def _sentence(error: BaseException) -> str:
    text = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
    return text.rstrip(".")
