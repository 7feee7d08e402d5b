"""The facts of the machine and of the moment that figures stand or fall with."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def facts() -> dict[str, Any]:
    """Machine, date and commit of this run."""
    return {"machine": machine(), "date": now(), "commit": commit()}


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def machine() -> dict[str, Any]:
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": _line("/proc/cpuinfo", "model name"),
        "cores": os.cpu_count(),
        "memory": _line("/proc/meminfo", "MemTotal"),
        "python": platform.python_version(),
    }


def load() -> list[float]:
    """The load averages over 1, 5 and 15 minutes: what else the cores had to do."""
    return [round(one, 2) for one in os.getloadavg()]


def speed_s() -> float:
    """How long ten million additions take one core, here and now: about 0.5 s where most figures were measured."""
    began, count = time.perf_counter(), 0
    for _ in range(10_000_000):
        count += 1  # noqa: SIM113 - counting is the work
    return round(time.perf_counter() - began, 2)


class Stolen:
    """How much of the processors' time the host of a virtual machine gave to others since this was made, 0 to 1."""

    def __init__(self) -> None:
        self._before = _jiffies()

    def share(self) -> float:
        """0 where Linux does not tell."""
        spent = [after - before for before, after in zip(self._before, _jiffies(), strict=True)]
        return round(spent[STEAL] / sum(spent), 3) if sum(spent) else 0.0


STEAL = 7
"""The place in the first line of /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal."""


def _jiffies() -> list[int]:
    file = Path("/proc/stat")
    return [int(one) for one in file.read_text().split()[1 : STEAL + 2]] if file.exists() else [0] * (STEAL + 1)


def commit() -> str:
    """The commit, with a plus where the tree differs from it."""
    head = _git("rev-parse", "--short", "HEAD")
    return f"{head}+" if head and _git("status", "--porcelain") else head or "unknown"


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _line(path: str, name: str) -> str:
    file = Path(path)
    lines = file.read_text().splitlines() if file.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "unknown")
