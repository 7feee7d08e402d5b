"""The README as a newcomer follows it: its commands, exactly as written, in a copy of the tree and an empty home."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)
SIMULATORS = ("SHELLY", "STRIPE", "SIGENERGY", "RENOGY", "MODBUS", "MQTT")
PORTS = ("PORT", "HYGATE_VALKEY_PORT", *(f"HYGATE_SIM_{name}_PORT" for name in SIMULATORS))
SERVES = {"make demo": "Hygate is ready", "manage.py simulate shelly": "Simulated Shelly Cloud"}
# against what hangs: an empty machine needs 30 s to install and start, a busy one beside other tests many times that
READY_WITHIN_S, DONE_WITHIN_S, STOPPED_WITHIN_S = 600.0, 300.0, 30.0
NEEDED = ("git", "make", "python3")


@dataclass(frozen=True)
class Block:
    language: str
    text: str

    @property
    def ready(self) -> str:
        """What a block that goes on until somebody stops it says when it is up; nothing for one that ends."""
        return next((said for command, said in SERVES.items() if command in self.text), "")


BLOCKS = [Block(language, text) for _, language, text in BLOCK.findall(README)]
TO_RUN = [block for block in BLOCKS if block.language == "sh"]


def test_every_block_says_whether_it_is_to_be_run() -> None:
    assert len(BLOCKS) * 2 == len(re.findall(r"^ *```", README, re.MULTILINE))
    assert {block.language for block in BLOCKS} <= {"sh", "text", "mermaid"}
    assert TO_RUN[0].text == "make demo\n"


def test_every_make_target_is_in_the_readme_and_the_other_way_round() -> None:
    targets = set(re.findall(r"^([a-z0-9]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"^\| `make (\w+)` \|", README, re.MULTILINE)) == targets - {"help", "lock"}


def test_every_variable_of_the_readme_is_read_somewhere() -> None:
    code = "".join(path.read_text() for path in (ROOT / "hygate").rglob("*.py"))
    named = set(re.findall(r"`(HYGATE_\w+)`", README))
    assert named
    unread = [one for one in named if one not in code and one.removeprefix("HYGATE_").lower() not in code]
    assert [one for one in unread if one not in (ROOT / "docker-compose.yml").read_text()] == []


# -- following it


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def copy_of_the_tree(folder: Path) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode != 0:
        pytest.skip("the tree is no git checkout")
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)


class Newcomer:
    """Types the README's blocks into a shell: one terminal for what goes on, another for what ends."""

    def __init__(self, tree: Path, home: Path) -> None:
        self.tree = tree
        kept = {name: value for name, value in os.environ.items() if name == "PATH" or name.startswith("PIP_")}
        self.environment = {**kept, "HOME": str(home), **{name: str(free_port()) for name in PORTS}}
        self.serving: subprocess.Popen[str] | None = None
        self.listener: threading.Thread | None = None
        self.said: list[str] = []

    def follow(self, block: Block) -> str:
        if block.ready:
            self.stop()
            self._serve(block)
            return ""
        done = subprocess.run(
            ["sh", "-e", "-c", block.text],
            cwd=self.tree,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=DONE_WITHIN_S,
            check=False,
        )
        assert done.returncode == 0, f"{block.text}\n{done.stdout}\n{done.stderr}\n{''.join(self.said)}"
        return done.stdout

    def _serve(self, block: Block) -> None:
        self.said.clear()
        self.serving = subprocess.Popen(
            ["sh", "-e", "-c", f"exec {block.text}"],
            cwd=self.tree,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.listener = threading.Thread(target=self._listen, args=[self.serving], daemon=True)
        self.listener.start()
        deadline = time.monotonic() + READY_WITHIN_S
        while block.ready not in "".join(self.said):
            if "package index cannot be reached" in "".join(self.said):
                pytest.skip("no package index can be reached")
            assert self.serving.poll() is None and time.monotonic() < deadline, "".join(self.said)
            time.sleep(0.1)

    def _listen(self, serving: subprocess.Popen[str]) -> None:
        assert serving.stdout is not None
        self.said.extend(serving.stdout)

    def stop(self) -> None:
        """Ctrl-C; what does not end by it fails the test, and is ended anyway."""
        if self.serving is None:
            return
        os.killpg(self.serving.pid, signal.SIGINT)
        try:
            self.serving.wait(STOPPED_WITHIN_S)
        finally:
            with suppress(OSError):
                os.killpg(self.serving.pid, signal.SIGKILL)
            self.serving.wait(5)
            assert self.listener is not None and self.serving.stdout is not None
            self.listener.join(5)
            self.serving.stdout.close()
            self.serving = None


@pytest.fixture
def newcomer(tmp_path: Path) -> Iterator[Newcomer]:
    if not all(shutil.which(tool) for tool in NEEDED):
        pytest.skip("needs git, make and python3")
    (tmp_path / "home").mkdir()
    copy_of_the_tree(tmp_path / "hygate")
    one = Newcomer(tmp_path / "hygate", tmp_path / "home")
    try:
        yield one
    finally:
        one.stop()


@pytest.mark.slow
def test_the_readmes_commands_work_as_they_are_written(newcomer: Newcomer) -> None:
    said = {block.text: newcomer.follow(block) for block in TO_RUN}
    assert "Money, relay, page and audit agree." in said["make smoke\n"]
    synced = next(text for block, text in said.items() if "sync_devices" in block)
    found = json.loads(synced[synced.index("[\n") :])
    assert any(row["sellable"] for row in found)
