"""One supervised process: its group, its log, and the lines of it that people should see."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from hygate.demo.environment import HERE
from hygate.demo.processes import Program

WORTH_SHOWING = re.compile(r"\[(?:error|critical)\s*\]|^Traceback|\b(?:ERROR|CRITICAL)\b|^\S*(?:Error|Exception): ")
LAST_LINES = 12
YOUNG_S = 10.0


class Child:
    """Runs one program in a process group of its own, so that nothing it starts can be left behind."""

    def __init__(self, program: Program, logs: Path) -> None:
        self.program = program
        self.log = logs / f"{program.name}.log"
        self.died_young = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._read_to = 0

    @property
    def name(self) -> str:
        return self.program.name

    @property
    def group(self) -> int:
        return self._process.pid if self._process else 0

    @property
    def code(self) -> int | None:
        """The exit code, or None while it runs."""
        return self._process.poll() if self._process else 0

    def start(self) -> None:
        with self.log.open("ab") as out:
            self._read_to = out.tell()
            self._process = subprocess.Popen(
                self.program.command,
                cwd=HERE,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._started = time.monotonic()

    def note_death(self) -> None:
        young = time.monotonic() - self._started < YOUNG_S
        self.died_young = self.died_young + 1 if young else 0
        self.signal(signal.SIGKILL)

    def signal(self, what: signal.Signals) -> None:
        """To the whole group: a program may have started others."""
        if self.group:
            with suppress(OSError):
                os.killpg(self.group, what)

    def is_gone(self) -> bool:
        """Whether the whole group is."""
        if self.code is None:
            return False
        try:
            os.killpg(self.group, 0)
        except OSError:
            return True
        return not self.group

    def news(self) -> Iterator[str]:
        """Lines written since the last call that tell of an error."""
        with suppress(OSError), self.log.open("rb") as written:
            written.seek(self._read_to)
            fresh = written.read()
            whole, newline, _ = fresh.rpartition(b"\n")
            self._read_to += len(whole) + len(newline)
            for line in whole.decode(errors="replace").splitlines():
                if WORTH_SHOWING.search(line):
                    yield line

    def last_words(self) -> str:
        with suppress(OSError):
            lines = [line for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
            return "\n".join(f"  {line}" for line in lines[-LAST_LINES:])
        return ""
