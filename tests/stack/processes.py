"""Programs of the stack: started in a group and with an environment of their own, killed, frozen, started again."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

GRACE_S = 8.0


class Process:
    """One program. ``command`` runs in ``tree``, the source tree under test; its output goes to ``log``."""

    def __init__(self, name: str, command: tuple[str, ...], *, tree: Path, log: Path) -> None:
        self.name, self.command = name, command
        self._tree, self._log = tree, log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.name} has not been started"
        return self._process.pid

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, environment: dict[str, str]) -> None:
        with self._log.open("ab") as out:
            self._process = subprocess.Popen(
                self.command,
                cwd=self._tree,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def signal(self, what: signal.Signals) -> None:
        """To the whole group: a web server has children."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, what)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait(10)

    def freeze(self) -> None:
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.signal(signal.SIGCONT)

    def stop(self) -> None:
        """In order, and by force after eight seconds."""
        self.signal(signal.SIGTERM)
        if self._process is None:
            return
        try:
            self._process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            self.kill()
        self.signal(signal.SIGKILL)
