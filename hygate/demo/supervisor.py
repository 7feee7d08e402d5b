"""Keeps the demo's processes running, restarts what dies, and ends all of them within ten seconds."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Self

from hygate.demo.child import Child
from hygate.demo.processes import Program

LOOK_EVERY_S = 0.2
YOUNG_DEATHS = 3
PATIENCE_S, SERVICE_PATIENCE_S = 6.0, 2.0
LINES_A_MINUTE = 20
Say = Callable[[str], None]


class Stopped(Exception):
    """Somebody asked us to stop."""


class KeepsDying(Exception):
    """A program died at its start, again and again; the text ends with its last lines."""


class Supervisor:
    """Use as a context manager: whatever happens inside, leaving it ends every process."""

    def __init__(self, logs: Path, say: Say) -> None:
        self._logs, self._say = logs, say
        self._children: list[Child] = []
        self._asked = threading.Event()
        self._told: list[float] = []
        self._watchdog: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        for one in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(one, self._on_signal)
        self._watchdog = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("watchdog.py"))],
            stdin=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._stop_all()
        if self._watchdog is not None and self._watchdog.stdin is not None:
            self._watchdog.stdin.close()
            self._watchdog.wait(10)

    def start(self, programs: Sequence[Program]) -> None:
        for program in programs:
            self._check_asked()
            child = Child(program, self._logs)
            self._children.append(child)
            self._launch(child)

    def wait_until(self, ready: Callable[[], bool], what: str, within_s: float) -> None:
        """Look after the processes until ``ready()``; raises ``KeepsDying`` when that takes too long."""
        deadline = time.monotonic() + within_s
        while not ready():
            if time.monotonic() > deadline:
                raise KeepsDying(f"{what} did not get ready in {within_s:.0f} s. The logs lie in {self._logs}.")
            self._look()
            self._asked.wait(LOOK_EVERY_S)

    def run(self) -> None:
        """Look after the processes until somebody asks us to stop."""
        while True:
            self._look()
            self._asked.wait(LOOK_EVERY_S)

    def check(self) -> None:
        """Between two long steps: go on, unless somebody asked us to stop or a process cannot live."""
        self._look()

    def _look(self) -> None:
        self._check_asked()
        for child in self._children:
            self._pass_on(child)
            if child.code is not None:
                self._revive(child)

    def _revive(self, child: Child) -> None:
        code = child.code
        self._tell_watchdog("-", child)
        child.note_death()
        if child.died_young >= YOUNG_DEATHS:
            raise KeepsDying(
                f"{child.name} ended at its start {YOUNG_DEATHS} times (exit code {code}):\n{child.last_words()}"
            )
        self._say(f"{child.name} ended (exit code {code}) and is started again.")
        self._asked.wait(0.5 * child.died_young)
        self._check_asked()
        self._launch(child)

    def _launch(self, child: Child) -> None:
        child.start()
        self._tell_watchdog("+", child)

    def _tell_watchdog(self, sign: str, child: Child) -> None:
        if self._watchdog is None or self._watchdog.stdin is None:
            return
        try:
            self._watchdog.stdin.write(f"{sign}{child.group}\n")
            self._watchdog.stdin.flush()
        except BrokenPipeError:
            self._watchdog = None

    def _pass_on(self, child: Child) -> None:
        for line in child.news():
            now = time.monotonic()
            self._told = [at for at in self._told if now - at < 60]
            self._told.append(now)
            if len(self._told) < LINES_A_MINUTE:
                self._say(f"{child.name}: {line}")
            elif len(self._told) == LINES_A_MINUTE:
                self._say(f"{child.name}: more errors follow, in {child.log}")

    def _check_asked(self) -> None:
        if self._asked.is_set():
            raise Stopped

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        if self._asked.is_set():
            for child in self._children:
                child.signal(signal.SIGKILL)
        self._asked.set()

    def _stop_all(self) -> None:
        """First those who do the work, so that they can finish a sentence; then the services they speak to."""
        self._end([child for child in self._children if not child.program.service], PATIENCE_S)
        self._end([child for child in self._children if child.program.service], SERVICE_PATIENCE_S)

    def _end(self, children: list[Child], patience_s: float) -> None:
        for child in children:
            child.signal(signal.SIGTERM)
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline and not all(child.is_gone() for child in children):
            time.sleep(0.05)
        for child in children:
            child.signal(signal.SIGKILL)
        while not all(child.code is not None for child in children):
            time.sleep(0.02)
        for child in children:
            self._tell_watchdog("-", child)
