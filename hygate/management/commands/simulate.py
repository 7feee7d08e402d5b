"""``manage.py simulate shelly|stripe|…``: one simulator in the foreground, until Ctrl-C or SIGTERM."""

from __future__ import annotations

import signal
import threading
from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from hygate.demo.preflight import why_not
from hygate.simulators import local_shelly, shelly, stripe
from hygate.simulators.base import RunningSimulator, Simulator

if TYPE_CHECKING:
    from hygate.simulators.sigenergy import SigenergySimulator

LOCAL_SHELLY_PORT = 8105
WEBHOOK_PATH = "/api/stripe/webhook"
Options = dict[str, Any]


class Command(BaseCommand):
    help = (
        "Run one simulator: shelly (Shelly Cloud and the relays behind it), stripe, sigenergy (a plant, asked over "
        "Modbus TCP and the cloud's ways), renogy or local-shelly (one device that the energy bridge writes to)."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("which", choices=sorted(BUILDERS))
        parser.add_argument(
            "--port",
            type=int,
            help="default: 8101 shelly, 8102 stripe, 8103 sigenergy, 8104 renogy, 8105 local-shelly",
        )
        parser.add_argument(
            "--payloads", type=Path, metavar="DIR", help="shelly: serve the device files of this folder"
        )
        parser.add_argument("--state", type=Path, metavar="FILE", help="keep the simulated world here between runs")
        parser.add_argument("--webhook-url", help="stripe: where events are sent (default: this Hygate)")
        parser.add_argument("--webhook-secret", help="stripe: what they are signed with")
        parser.add_argument(
            "--modbus-port",
            type=int,
            default=settings.SIM_MODBUS_PORT,
            help="sigenergy: the plant's Modbus TCP (default: 8502)",
        )
        parser.add_argument(
            "--mqtt-port",
            type=int,
            default=settings.SIM_MQTT_PORT,
            help="sigenergy: the broker of its push (default: 8883)",
        )
        parser.add_argument(
            "--relays", metavar="URL", help="sigenergy: what the Shelly simulator there has switched on is its load"
        )
        parser.add_argument("--password", default="", help="local-shelly: what its local pages ask for (default: none)")

    def handle(self, *args: Any, which: str, port: int | None, **options: Any) -> None:
        port = _default_port(which) if port is None else port
        self._refuse_taken(port, "--port")
        if which == "sigenergy":
            self._refuse_taken(options["modbus_port"], "--modbus-port")
            self._refuse_taken(options["mqtt_port"], "--mqtt-port")
        over = threading.Event()
        for one in (signal.SIGTERM, signal.SIGINT):
            signal.signal(one, lambda *_: over.set())
        try:
            running = RunningSimulator(self._build(which, options), port=port).start()
        except (OSError, OverflowError, ValueError) as error:
            raise CommandError(f"The simulator cannot start on port {port}: {_sentence(error)}.") from error
        self.stdout.write(_ready_line(which, running))
        self.stdout.flush()
        over.wait()
        running.stop()

    @staticmethod
    def _refuse_taken(port: int, option: str) -> None:
        taken = why_not(port)
        if taken:
            raise CommandError(f"Port {port} {taken}. Choose another with {option}.")

    def _build(self, which: str, options: Options) -> Simulator:
        if options["state"] is not None:
            options["state"].parent.mkdir(parents=True, exist_ok=True)
        return BUILDERS[which](options, self.stdout.write)


# -- each simulator by its name


def _shelly(options: Options, log: Callable[[str], Any]) -> Simulator:
    return shelly.build(options["payloads"], options["state"], log)


def _stripe(options: Options, _log: Callable[[str], Any]) -> Simulator:
    url = options["webhook_url"] or settings.BASE_URL + WEBHOOK_PATH
    secret = options["webhook_secret"] or settings.STRIPE_WEBHOOK_SECRETS[0]
    return stripe.build(url, secret, options["state"])


def _sigenergy(options: Options, _log: Callable[[str], Any]) -> Simulator:
    from hygate.simulators import sigenergy

    simulator = sigenergy.build(
        modbus_port=options["modbus_port"], mqtt_port=options["mqtt_port"], shelly_url=options["relays"]
    )
    simulator.plant.set(sigenergy.DEMO_DAY)
    return simulator


def _renogy(_options: Options, _log: Callable[[str], Any]) -> Simulator:
    from hygate.simulators import renogy

    return renogy.build()


def _local_shelly(options: Options, _log: Callable[[str], Any]) -> Simulator:
    return local_shelly.build(options["password"])


BUILDERS: dict[str, Callable[[Options, Callable[[str], Any]], Simulator]] = {
    "shelly": _shelly,
    "stripe": _stripe,
    "sigenergy": _sigenergy,
    "renogy": _renogy,
    "local-shelly": _local_shelly,
}


def _default_port(which: str) -> int:
    return {
        "shelly": settings.SIM_SHELLY_PORT,
        "stripe": settings.SIM_STRIPE_PORT,
        "sigenergy": settings.SIM_SIGENERGY_PORT,
        "renogy": settings.SIM_RENOGY_PORT,
        "local-shelly": LOCAL_SHELLY_PORT,
    }[which]


def _ready_line(which: str, running: RunningSimulator) -> str:
    url, simulator = running.url, running.simulator
    if which == "shelly":
        return f"Simulated Shelly Cloud: {url} (key {shelly.DEMO_KEY}; what happened: {url}/_ctl/ledger)"
    if which == "stripe":
        return f"Simulated Stripe: {url} (what happened: {url}/_ctl/ledger)"
    if which == "sigenergy":
        host, port = cast("SigenergySimulator", simulator).modbus_address
        return f"Simulated Sigenergy plant: {url} (Modbus TCP {host}:{port}, unit 247; its knobs: {url}/_ctl/plant)"
    if which == "local-shelly":
        return (
            f"Simulated local Shelly device: {url} (its numbers: {url}/_ctl/device; what happened: {url}/_ctl/ledger)"
        )
    return f"Simulated Renogy: {url} (what happened: {url}/_ctl/ledger)"


def _sentence(error: BaseException) -> str:
    text = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
    return text.rstrip(".")
