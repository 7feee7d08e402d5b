"""``make demo`` and what it stands on: clear sentences when it cannot run, and nothing left behind when it ends."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
READY_WITHIN_S, STOPPED_WITHIN_S = 90.0, 10.0
PORTS = (
    "PORT",
    "HYGATE_VALKEY_PORT",
    "HYGATE_SIM_SHELLY_PORT",
    "HYGATE_SIM_STRIPE_PORT",
    "HYGATE_SIM_SIGENERGY_PORT",
    "HYGATE_SIM_RENOGY_PORT",
    "HYGATE_SIM_MODBUS_PORT",
    "HYGATE_SIM_MQTT_PORT",
)
HAS_PROC = Path("/proc/self/environ").exists()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Ports and a folder of this test's own; the folder's name also marks every process that the demo starts."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {**kept, **{name: str(free_port()) for name in PORTS}, "HYGATE_VAR_DIR": str(tmp_path / "demo")}


def manage(*arguments: str, environ: dict[str, str], within_s: float = 30) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "manage.py", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=within_s, check=False)


def is_one_sentence(answer: subprocess.CompletedProcess[str]) -> bool:
    return answer.returncode != 0 and "Traceback" not in answer.stderr and len(answer.stderr.strip().splitlines()) == 1


def test_a_port_in_use_is_named_with_the_way_out(environ: dict[str, str]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", int(environ["HYGATE_SIM_STRIPE_PORT"])))
        other.listen()
        answer = manage("demo", environ=environ)
    assert is_one_sentence(answer), answer.stderr
    assert f"Port {environ['HYGATE_SIM_STRIPE_PORT']}" in answer.stderr
    assert "make demo HYGATE_SIM_STRIPE_PORT=" in answer.stderr


def test_a_folder_that_cannot_be_written_is_one_sentence(environ: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    answer = manage("demo", environ={**environ, "HYGATE_VAR_DIR": str(tmp_path / "file" / "demo")})
    assert is_one_sentence(answer), answer.stderr
    assert "cannot write to" in answer.stderr
    assert "HYGATE_VAR_DIR" in answer.stderr


def test_a_port_that_is_no_port_is_one_sentence(environ: dict[str, str]) -> None:
    answer = manage("demo", environ={**environ, "PORT": "eighty"})
    assert is_one_sentence(answer), answer.stderr
    assert "PORT is 'eighty'" in answer.stderr


def test_smoke_without_a_demo_is_one_sentence(environ: dict[str, str]) -> None:
    answer = manage("smoke", environ=environ)
    assert is_one_sentence(answer), answer.stderr
    assert "make demo" in answer.stderr


def test_a_simulator_whose_port_is_taken_is_one_sentence(environ: dict[str, str]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        answer = manage("simulate", "stripe", "--port", str(other.getsockname()[1]), environ=environ)
    assert is_one_sentence(answer), answer.stderr


def test_a_simulator_runs_alone_and_ends_at_once(environ: dict[str, str]) -> None:
    command = [sys.executable, "manage.py", "simulate", "shelly"]
    simulator = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, text=True)
    try:
        assert simulator.stdout is not None
        url = f"http://127.0.0.1:{environ['HYGATE_SIM_SHELLY_PORT']}"
        assert simulator.stdout.readline().startswith(f"Simulated Shelly Cloud: {url}")
        with urllib.request.urlopen(f"{url}/_ctl/ledger", timeout=5) as answer:
            assert answer.status == 200
        simulator.terminate()
        assert simulator.wait(3) == 0
    finally:
        simulator.kill()
        simulator.communicate()


def test_without_a_new_enough_python_the_install_lines_are_shown(tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("mkdir", "rm"):
        (tools / name).symlink_to(shutil.which(name) or name)
    shutil.copy(ROOT / "tools" / "setup.sh", tmp_path)
    answer = subprocess.run(
        ["/bin/sh", "setup.sh", "run"],
        cwd=tmp_path,
        env={"PATH": str(tools), "PYTHON": "python-of-old"},
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
    )
    assert answer.returncode == 1
    assert "Python 3.11 or newer" in answer.stderr
    assert all(system in answer.stderr for system in ("Debian", "Fedora", "macOS"))


# -- the whole of it


class Demo:
    """``make demo`` in a session of its own, its output read as it comes."""

    def __init__(self, environ: dict[str, str]) -> None:
        self.mark = f"HYGATE_VAR_DIR={environ['HYGATE_VAR_DIR']}".encode()
        self.make = subprocess.Popen(
            ["make", "demo"],
            cwd=ROOT,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.make.stdout is not None
        self.lines.extend(self.make.stdout)

    @property
    def output(self) -> str:
        return "".join(self.lines)

    def is_ready(self) -> bool:
        return "Hygate is ready" in self.output

    def wait_until_ready(self) -> None:
        assert wait_for(lambda: self.is_ready() or self.make.poll() is not None, READY_WITHIN_S), self.output
        assert self.is_ready(), self.output

    def processes(self) -> dict[int, str]:
        """Everything alive that carries this demo's mark, whatever its group or parent."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if self.mark in (folder / "environ").read_bytes().split(b"\0"):
                    found[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ")
        return found

    def close(self) -> None:
        """Leave nothing to the next test, whatever this one found."""
        for pid in self.processes():
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        self.make.kill()
        self.make.wait()
        self._reader.join(5)
        if self.make.stdout is not None:
            self.make.stdout.close()


def wait_for(what: object, within_s: float) -> bool:
    assert callable(what)
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if what():
            return True
        time.sleep(0.1)
    return False


@pytest.fixture
def demo(environ: dict[str, str]) -> Iterator[Demo]:
    if not HAS_PROC or shutil.which("make") is None or not (ROOT / ".venv" / ".ready-run").exists():
        pytest.skip("needs make, /proc and the environment that make test has made")
    running = Demo(environ)
    yield running
    running.close()


@pytest.mark.slow
def test_demo_starts_and_stops_cleanly(demo: Demo, environ: dict[str, str]) -> None:
    demo.wait_until_ready()
    with urllib.request.urlopen(f"http://127.0.0.1:{environ['PORT']}/healthz", timeout=5) as answer:
        assert answer.status == 200
    assert len(demo.processes()) >= 11

    demo.make.send_signal(signal.SIGTERM)

    demo.make.wait(STOPPED_WITHIN_S)
    assert demo.processes() == {}
    assert wait_for(lambda: "Stopped." in demo.output, 2), demo.output


@pytest.mark.slow
def test_nothing_outlives_a_supervisor_that_is_killed(demo: Demo) -> None:
    demo.wait_until_ready()
    supervisor = next(pid for pid, command in demo.processes().items() if "manage.py demo" in command)

    os.kill(supervisor, signal.SIGKILL)

    assert wait_for(lambda: not demo.processes(), STOPPED_WITHIN_S), demo.processes()


@pytest.mark.slow
def test_a_killed_worker_comes_back(demo: Demo) -> None:
    demo.wait_until_ready()
    worker = next(pid for pid, command in demo.processes().items() if "-Q relays" in command)

    os.kill(worker, signal.SIGKILL)

    assert wait_for(lambda: any("-Q relays" in command for command in demo.processes().values()), 10)
    assert wait_for(lambda: "worker-relays ended" in demo.output, 5), demo.output


@pytest.mark.slow
def test_a_purchase_on_the_demo_agrees_everywhere(demo: Demo, environ: dict[str, str]) -> None:
    demo.wait_until_ready()
    answer = manage("smoke", environ=environ, within_s=150)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "Money, relay, page and audit agree." in answer.stdout
