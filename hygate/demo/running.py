"""The demo from start to stop."""

from __future__ import annotations

import os
import socket
import urllib.error
import urllib.request
from datetime import datetime
from pathlib import Path

from django.core.management import call_command
from django.db import connections
from django.db.migrations.exceptions import InconsistentMigrationHistory, NodeNotFoundError
from django.db.utils import DatabaseError

from devices.models import LatestReading
from devices.shelly.errors import ShellyError
from hygate import clock
from hygate.demo import environment, preflight, processes
from hygate.demo.environment import HOST, Place, Ports
from hygate.demo.preflight import CannotStart
from hygate.demo.seed import CODE, PASSWORD, PEOPLE, seed
from hygate.demo.supervisor import KeepsDying, Say, Stopped, Supervisor
from hygate.models import Heartbeat

SERVICES_WITHIN_S, SITE_WITHIN_S = 30.0, 90.0


def run(say: Say) -> None:
    """Run the demo until somebody stops it. Raises ``CannotStart`` with a sentence."""
    place, ports = environment.place(), environment.ports()
    preflight.folder_is_writable(place)
    with preflight.only_one(place):
        preflight.ports_are_free(ports)
        _make_room(place, fresh=os.environ.get("FRESH", "") not in ("", "0"))
        try:
            with Supervisor(place.logs, say) as supervisor:
                _serve(supervisor, place, ports, say)
        except Stopped:
            say("Stopped.")
        except KeepsDying as error:
            raise CannotStart(str(error)) from error


def _make_room(place: Place, *, fresh: bool) -> None:
    """Logs are of this run; with ``fresh`` everything is."""
    for path in place.data() if fresh else place.logs.glob("*.log"):
        path.unlink()


def _serve(supervisor: Supervisor, place: Place, ports: Ports, say: Say) -> None:
    say("Starting ...")
    broker = processes.broker(place, ports)
    if broker is None:
        say("There is no broker for this system: the workers look for work by themselves, a little later each time.")
    else:
        supervisor.start([broker])
    supervisor.start(processes.simulators(place, ports))
    supervisor.wait_until(lambda: _services_answer(ports, broker is not None), "The simulators", SERVICES_WITHIN_S)
    _prepare_data(supervisor)
    supervisor.start([processes.web(ports), *processes.workers(), processes.watcher()])
    if broker is not None:
        supervisor.start([processes.beat()])
    since = clock.now()
    supervisor.wait_until(lambda: answers(f"http://{HOST}:{ports.web}/healthz"), "The pages", SITE_WITHIN_S)
    supervisor.wait_until(lambda: _workers_look(since), "The workers", SITE_WITHIN_S)
    supervisor.wait_until(lambda: _plant_is_read(since), "The energy watcher", SITE_WITHIN_S)
    connections.close_all()
    say(welcome(ports, place.logs))
    supervisor.run()


def _prepare_data(supervisor: Supervisor) -> None:
    try:
        call_command("migrate", verbosity=0, interactive=False)
        call_command("protect_audit", verbosity=0)
        supervisor.check()
        seed()
    except (DatabaseError, InconsistentMigrationHistory, NodeNotFoundError) as error:
        raise CannotStart(
            "The demo's data come from another version of Hygate and cannot be brought up to date"
            f" ({error}). Start anew: make demo FRESH=1"
        ) from error
    except ShellyError as error:
        raise CannotStart(f"The simulated Shelly Cloud did not answer as it should: {error}") from error
    finally:
        connections.close_all()


def _services_answer(ports: Ports, with_broker: bool) -> bool:
    asked = (ports.shelly, ports.stripe, ports.sigenergy)
    return all(answers(f"http://{HOST}:{port}/_ctl/faults") for port in asked) and (
        not with_broker or listens(ports.broker)
    )


def _workers_look(since: datetime) -> bool:
    seen = Heartbeat.objects.filter(name__startswith="worker:", at__gte=since).count()
    return seen >= len(processes.WORKERS)


def _plant_is_read(since: datetime) -> bool:
    return LatestReading.objects.filter(at__gte=since).exists()


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 - our own address
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def listens(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), timeout=1).close()
    except OSError:
        return False
    return True


def welcome(ports: Ports, logs: Path) -> str:
    site = f"http://{HOST}:{ports.web}"
    logins = " and ".join(PEOPLE)
    return (
        f"\nHygate is ready: {site}/\n\n"
        f"  As a guest:      {site}/d/{CODE}/ (Washer 1; a plan of 20 seconds, paid with play money)\n"
        f"  As an operator:  {site}/dashboard/\n"
        f"                   {logins}, password {PASSWORD}\n"
        f"  Shelly Cloud:    http://{HOST}:{ports.shelly}/_ctl/ledger (simulated; what its relays did)\n"
        f"  Stripe:          http://{HOST}:{ports.stripe}/_ctl/ledger (simulated; what became of the money)\n"
        f"  Energy:          http://{HOST}:{ports.sigenergy}/_ctl/plant (simulated; sun, battery, loads and grid)\n"
        f"  Logs:            {logs}/*.log\n\n"
        "Ctrl-C stops it; the data stay for the next time (make demo FRESH=1 starts anew).\n"
    )
