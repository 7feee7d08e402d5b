"""``manage.py simulate``: each simulator by its name, and a port that is taken is said before anything starts."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from hygate.management.commands.simulate import BUILDERS, Command
from hygate.simulators.renogy import RenogySimulator
from hygate.simulators.sigenergy import SigenergySimulator


def options(*arguments: str) -> dict[str, Any]:
    return vars(Command().create_parser("manage.py", "simulate").parse_args([*arguments]))


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which somebody listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen()
        yield one.getsockname()[1]


@pytest.fixture
def free() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


@pytest.mark.parametrize(("which", "made"), [("sigenergy", SigenergySimulator), ("renogy", RenogySimulator)])
def test_each_name_builds_its_simulator(which: str, made: type) -> None:
    assert isinstance(BUILDERS[which](options(which), print), made)


def test_the_plants_ports_are_the_demos() -> None:
    chosen = options("sigenergy")
    assert (chosen["modbus_port"], chosen["mqtt_port"]) == (8502, 8883)


def test_a_taken_control_port_is_refused_by_name(taken: int) -> None:
    with pytest.raises(CommandError, match=f"Port {taken} .*Choose another with --port"):
        call_command("simulate", "sigenergy", port=taken)


def test_a_taken_modbus_port_is_refused_by_name(taken: int, free: int) -> None:
    with pytest.raises(CommandError, match=f"Port {taken} .*Choose another with --modbus-port"):
        call_command("simulate", "sigenergy", port=free, modbus_port=taken)
