"""A broker that goes away while messages are fetched and not yet begun."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep

import pytest
from kombu.connection import Connection
from kombu.exceptions import OperationalError

from hygate.demo import processes
from hygate.demo.environment import Place, Ports
from tests.stack.ports import free_port
from tests.stack.processes import Process

pytestmark = pytest.mark.slow
PLAIN, OURS = "redis", "hygate.broker:Transport"
WITHIN_S = 10.0


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def valkey(port: int, tmp_path: Path) -> Iterator[Process]:
    program = processes.broker(Place(tmp_path), Ports(0, 0, 0, port))
    assert program is not None, "the embedded Valkey runs on glibc Linux and macOS"
    process = Process("broker", program.command, tree=tmp_path, log=tmp_path / "broker.log")
    process.start(dict(os.environ))
    _until_it_answers(port)
    yield process
    process.kill()


def _until_it_answers(port: int) -> None:
    deadline = monotonic() + WITHIN_S
    while True:
        try:
            Connection(f"redis://127.0.0.1:{port}/0").ensure_connection(max_retries=1, timeout=1)
        except OperationalError:
            assert monotonic() < deadline, "no broker"
            sleep(0.05)
        else:
            return


def fetched(port: int, transport: str) -> Connection:
    """A connection with a message fetched and not acknowledged."""
    connection = Connection(f"redis://127.0.0.1:{port}/0", transport=transport)
    waiting = connection.SimpleQueue(f"q-{transport}")
    waiting.put("a hint")
    waiting.get(timeout=WITHIN_S)
    return connection


@pytest.mark.parametrize("transport", [PLAIN, OURS])
def test_closing_after_the_broker_died_ends_only_the_plain_way(valkey: Process, port: int, transport: str) -> None:
    connection = fetched(port, transport)
    valkey.kill()
    channel = connection.default_channel
    connection.transport.client = None  # what Celery's consumer has done by then
    if transport == PLAIN:
        with pytest.raises(AttributeError):
            channel.close()  # once this no longer raises, hygate.broker can go
    else:
        channel.close()


@pytest.mark.parametrize("transport", [PLAIN, OURS])
def test_a_task_that_ends_after_its_channel_ends_the_worker_only_the_plain_way(
    valkey: Process, port: int, transport: str
) -> None:
    connection = Connection(f"redis://127.0.0.1:{port}/0", transport=transport)
    waiting = connection.SimpleQueue(f"q-{transport}")
    waiting.put("a hint")
    task, errors = waiting.get(timeout=WITHIN_S), connection.connection_errors
    valkey.kill()
    task.channel.qos._on_collect.cancel()
    task.channel.connection = task.channel._pool = None  # what the consumer does when it has lost the broker
    if transport == PLAIN:
        with pytest.raises(AttributeError):
            task.ack_log_error(logging.getLogger(__name__), errors)
    else:
        task.ack_log_error(logging.getLogger(__name__), errors)


def test_what_was_fetched_goes_back_while_the_broker_lives(valkey: Process, port: int) -> None:
    fetched(port, OURS).close()
    again = Connection(f"redis://127.0.0.1:{port}/0", transport=OURS)
    assert again.SimpleQueue(f"q-{OURS}").get(timeout=WITHIN_S).payload == "a hint"
    again.close()
