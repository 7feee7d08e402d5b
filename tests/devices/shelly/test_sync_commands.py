"""``add_account`` and ``sync_devices`` as an operator types them, against captured payloads of real accounts."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from devices.models import ShellyAccount
from hygate.simulators.base import RunningSimulator
from hygate.simulators.shelly import ShellySimulator
from tests.captured import SHELLY, needs_shelly

ROOT = Path(__file__).resolve().parents[3]
ROW = re.compile(r"^\| (?P<file>\S+\.json) \|.*?\| [1-4] \| [^|]* \|[^|]*\| (?P<count>\d+)", re.MULTILINE)
pytestmark = [
    needs_shelly,
    pytest.mark.django_db(transaction=True),
]


def sync(url: str, key: str, name: str = "camp") -> list[dict[str, Any]]:
    """What the two commands print, read back as a script would."""
    call_command("add_account", name, "--server-url", url, "--auth-key", key, stdout=io.StringIO())
    out = io.StringIO()
    call_command("sync_devices", name, "--json", stdout=out)
    rows: list[dict[str, Any]] = json.loads(out.getvalue())
    return rows


def captured(what: str) -> Any:
    return json.loads((SHELLY / f"cloud_v1_{what}__mixed-account.json").read_text())


@pytest.fixture
def mixed() -> Iterator[RunningSimulator]:
    simulator = ShellySimulator()
    simulator.add_raw_account("mixed", all_status=captured("all_status"), device_list=captured("interface_device_list"))
    running = RunningSimulator(simulator).start()
    yield running
    running.stop()


def test_the_mixed_account_is_listed_exactly_as_ruled(
    mixed: RunningSimulator, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        rows = sync(mixed.url, "mixed")
    assert {(row["shelly_id"], row["channel"], row["name"]) for row in rows if row["sellable"]} == {
        ("a8032ab1c2d3", 0, "Water Heater Supply"),
        ("a8032ab12345", 0, "Kitchen Lamp"),
    }
    assert {row["model"] for row in rows if row["sellable"]} == {"SHSW-PM", "SNSW-001P16EU"}
    without_status = {(row["shelly_id"], row["channel"]) for row in rows if row["reason"] == "no status yet"}
    assert without_status == {(id, channel) for id in ("485519aabbcc", "c45bbe010203") for channel in (0, 1)}
    without_relay = {(row["shelly_id"], row["channel"]) for row in rows if row["reason"] == "no relay reported"}
    assert without_relay == {("ecc9ff00aa11", None), ("dc4f2276846a", None)}
    assert all(row["reason"] for row in rows if not row["sellable"])
    assert "broken0000ff" in caplog.text
    assert not [row for row in rows if "broken" in row["shelly_id"]]
    assert ShellyAccount.objects.get().found == rows


def test_nothing_of_the_mixed_account_is_lost_or_told_twice(mixed: RunningSimulator) -> None:
    rows = sync(mixed.url, "mixed")
    keys = Counter((row["shelly_id"], row["channel"]) for row in rows)
    assert set(keys.values()) == {1}
    assert list(rows[0]) == [
        "shelly_id", "channel", "name", "model", "generation", "online", "output", "sellable", "reason"
    ]  # fmt: skip


def test_a_wrong_key_is_one_sentence(mixed: RunningSimulator) -> None:
    with pytest.raises(CommandError, match=r"auth key.*\(bad_key\)") as refused:
        sync(mixed.url, "another-key")
    assert "another" not in str(refused.value)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """``manage.py simulate shelly --payloads`` as a process of its own; answers its address."""
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "hygate.settings",
        "HYGATE_SIMULATED": "1",
        "HYGATE_VAR_DIR": str(tmp_path),
    }
    process = subprocess.Popen(
        [sys.executable, "manage.py", "simulate", "shelly", "--port", str(free_port()), "--payloads", str(SHELLY)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        ready = next(line for line in process.stdout if "Simulated Shelly Cloud" in line)
        yield ready.split()[3]
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=10)


@pytest.mark.slow
def test_every_captured_device_is_found_through_a_simulator_of_its_own(server: str) -> None:
    """28 channels in 23 files; the Pro 2PM was captured in both of its profiles, so it needs two accounts."""
    found = {key: sync(server, key, name=key) for key in ("demo-shelly-key", "demo-shelly-key-2")}
    rows = [row for rows in found.values() for row in rows]
    channels = Counter((key, row["shelly_id"]) for key in found for row in found[key] if row["channel"] is not None)
    assert sum(channels.values()) == 28
    assert all(row["sellable"] for row in rows if row["channel"] is not None)
    assert {row["shelly_id"] for row in found["demo-shelly-key-2"]} == {"ec62608c9c00"}
    expected = [int(hit["count"]) for hit in ROW.finditer((SHELLY / "README.md").read_text())]
    devices = {(key, row["shelly_id"]) for key in found for row in found[key]}
    assert len(devices) == len(expected) == 23
    assert sorted(channels.get(device, 0) for device in devices) == sorted(expected)
    assert [row["channel"] for row in rows if row["model"] == "SHEM-3"] == [0]
