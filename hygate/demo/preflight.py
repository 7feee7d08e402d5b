"""Before anything starts: is there room to write, and are the ports free? Each *no* is one sentence."""

from __future__ import annotations

import errno
import fcntl
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO

from hygate.demo.environment import HOST, Place, Ports

LISTENING = "0A"


class CannotStart(Exception):
    """The demo cannot run here; the text says why and what to do."""


def folder_is_writable(place: Place) -> None:
    try:
        place.logs.mkdir(parents=True, exist_ok=True)
        probe = place.folder / ".writable"
        probe.write_text("")
        probe.unlink()
    except OSError as error:
        raise CannotStart(
            f"The demo cannot write to {place.folder}: {error.strerror}. Set HYGATE_VAR_DIR to a folder of your own."
        ) from error


def only_one(place: Place) -> IO[str]:
    """The demo's lock on its folder, held as long as the file stays open."""
    held = place.lock.open("w")
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        held.close()
        raise CannotStart(
            f"A demo is running on {place.folder} already. Stop it, or set HYGATE_VAR_DIR to another folder."
        ) from error
    return held


def ports_are_free(ports: Ports) -> None:
    wanted = {
        "PORT": ("the pages", ports.web),
        "HYGATE_SIM_SHELLY_PORT": ("the simulated Shelly Cloud", ports.shelly),
        "HYGATE_SIM_STRIPE_PORT": ("the simulated Stripe", ports.stripe),
        "HYGATE_SIM_SIGENERGY_PORT": ("the simulated Sigenergy cloud", ports.sigenergy),
        "HYGATE_SIM_MODBUS_PORT": ("the simulated plant's Modbus", ports.modbus),
        "HYGATE_SIM_MQTT_PORT": ("the simulated plant's push", ports.mqtt),
        "HYGATE_SIM_RENOGY_PORT": ("the simulated Renogy", ports.renogy),
        "HYGATE_VALKEY_PORT": ("the broker", ports.broker),
    }
    numbers = [port for _, port in wanted.values()]
    for variable, (what, port) in wanted.items():
        if numbers.count(port) > 1:
            raise CannotStart(f"Port {port} is wanted twice; give {variable} another number.")
        reason = why_not(port)
        if reason:
            raise CannotStart(
                f"Port {port}, wanted for {what}, {reason}. Move it: make demo {variable}={free_near(port)}"
            )


def why_not(port: int) -> str:
    """Why nobody can listen on ``port`` here, or nothing when it is free."""
    if not 1 <= port <= 65535:
        return "is no port: it lies outside 1 to 65535"
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except PermissionError:
            return "is only for the system's administrator"
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                return f"cannot be used ({error.strerror})"
            return f"is in use by {holder(port) or 'another program'}"
    return ""


def free_near(port: int) -> int:
    return next((one for one in range(port + 1, min(port + 200, 65535)) if not why_not(one)), port + 1)


def holder(port: int) -> str:
    """``name (process 123)`` of the listener on ``port``; known on Linux only, and only of our own programs."""
    inodes = set(_listening_inodes(port))
    if not inodes:
        return ""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if any(str(handle.readlink()) in inodes for handle in (process / "fd").iterdir()):
                return f"{(process / 'comm').read_text().strip()} (process {process.name})"
    return ""


def _listening_inodes(port: int) -> Iterator[str]:
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                yield f"socket:[{fields[9]}]"
