"""The demo's processes: what each is called, and the command that runs it."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from hygate.demo.environment import HERE, HOST, Place, Ports, broker_binary

WORKERS = {"clock": 8, "relays": 32, "money": 8}
"""Queue and threads. They mostly wait: the clock's for the moment of an end, the others for Shelly and Stripe."""
WEB_THREADS = 8
"""Of all web processes together."""


@dataclass(frozen=True)
class Program:
    name: str
    command: tuple[str, ...]
    service: bool = False
    """A service (broker, simulator) starts first and stops last: the others still speak to it."""


def python(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, *arguments)


def manage(*arguments: str) -> tuple[str, ...]:
    return python(str(HERE / "manage.py"), *arguments)


def broker(place: Place, ports: Ports) -> Program | None:
    """The embedded Valkey, or None where there is none for this platform.

    Its server is run here directly: the package's own command leaves the server behind on SIGTERM, and its class
    would put a process between us and the server, which a ``kill -9`` could separate.
    """
    binary = broker_binary()
    if binary is None:
        return None
    options = ("--port", str(ports.broker), "--bind", HOST, "--save", "", "--appendonly", "no")
    # a title of its own would overwrite the environment by which the demo's processes are told from others
    untitled = ("--set-proc-title", "no")
    return Program("broker", (str(binary), *options, *untitled, "--dir", str(place.folder)), service=True)


def simulators(place: Place, ports: Ports) -> list[Program]:
    shelly = ("--port", str(ports.shelly), "--state", str(place.shelly_state))
    stripe = ("--port", str(ports.stripe), "--state", str(place.stripe_state))
    plant = ("--port", str(ports.sigenergy), "--modbus-port", str(ports.modbus), "--mqtt-port", str(ports.mqtt))
    wired = ("--relays", f"http://{HOST}:{ports.shelly}")
    return [
        Program("shelly", manage("simulate", "shelly", *shelly), service=True),
        Program("stripe", manage("simulate", "stripe", *stripe), service=True),
        Program("sigenergy", manage("simulate", "sigenergy", *plant, *wired), service=True),
        Program("renogy", manage("simulate", "renogy", "--port", str(ports.renogy)), service=True),
    ]


def web(ports: Ports, processes: int = 1) -> Program:
    """A process computes one page at a time: more of its threads than wait for others only take from one another."""
    options = ("--interface", "wsgi", "--host", HOST, "--port", str(ports.web))
    # no access log: a guest's link is a key, and it stands in the address
    capacity = ("--workers", str(processes), "--blocking-threads", str(WEB_THREADS // processes), "--no-ws")
    log = ("--no-access-log", "--log-level", "warning")
    return Program("web", python("-m", "granian", *options, *capacity, *log, "hygate.wsgi:application"))


def workers() -> list[Program]:
    return [Program(f"worker-{queue}", worker(queue, threads)) for queue, threads in WORKERS.items()]


def worker(queue: str, threads: int) -> tuple[str, ...]:
    which = ("-Q", queue, "-n", f"{queue}@%h", "-P", "threads", "-c", str(threads))
    quiet = ("--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "WARNING")
    return python("-m", "celery", "-A", "hygate.celery", "worker", *which, *quiet)


def watcher() -> Program:
    return Program("watcher", manage("watch_energy"))


def beat() -> Program:
    return Program("beat", python("-m", "celery", "-A", "hygate.celery", "beat", "--loglevel", "WARNING", "--pidfile="))
