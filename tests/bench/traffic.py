"""Many readers of one page: by wrk where it is installed, else by an event loop of our own."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from tests.bench.figures import summary, windows
from tests.bench.machine import Stolen

SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}
LATENCY = re.compile(r"^\s+(50|75|90|95|99)%\s+([\d.]+)(us|ms|s|m)\s*$", re.MULTILINE)
RATE = re.compile(r"^Requests/sec:\s+([\d.]+)$", re.MULTILINE)
COUNT = re.compile(r"^\s*(\d+) requests in", re.MULTILINE)
BAD = re.compile(r"^\s*Non-2xx or 3xx responses: (\d+)$", re.MULTILINE)
P95 = Path(__file__).with_name("p95.lua")
"""wrk prints no p95 by itself."""
SOCKET = re.compile(r"^\s*Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)$", re.MULTILINE)


@dataclass(frozen=True)
class Traffic:
    """``figures``: latency percentiles in seconds; ``per_s``: answers a second; ``bad``: answers that were no 200."""

    figures: dict[str, float | int]
    per_s: float
    bad: int
    tool: str


@dataclass(frozen=True)
class Windows:
    """Readings of one page, one after the other; ``facts`` tells of each, and what the host took meanwhile."""

    rank: str
    all: tuple[Traffic, ...]
    stolen: tuple[float, ...]

    @property
    def quickest(self) -> Traffic:
        return min(self.all, key=lambda one: one.figures[self.rank])

    @property
    def measured(self) -> float:
        return float(self.quickest.figures[self.rank])

    @property
    def bad(self) -> int:
        return sum(one.bad for one in self.all)

    @property
    def facts(self) -> dict[str, object]:
        found = self.quickest
        each = [one.figures[self.rank] for one in self.all]
        return {"per second": found.per_s, "by": found.tool, f"{self.rank} of each": each, "stolen": list(self.stolen)}


def read_page(url: str, *, connections: int, seconds: int, headers: dict[str, str] | None = None) -> Traffic:
    """Ask for ``url`` over ``connections`` connections, each again as soon as it has its answer."""
    wrk = shutil.which("wrk")
    if wrk is None:
        return asyncio.run(_ask_all(url, connections, seconds, headers or {}))
    told = [part for name, value in (headers or {}).items() for part in ("-H", f"{name}: {value}")]
    command = [wrk, "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "--latency", "-s", str(P95), *told]
    command.append(url)
    return parsed(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def read_until(
    bar_s: float, rank: str, url: str, *, connections: int, seconds: int, headers: dict[str, str] | None = None
) -> Windows:
    """Once warm, read ``url`` until its ``rank`` keeps to ``bar_s``, three times at most."""

    def read(seconds: int = seconds) -> tuple[Traffic, float]:
        stolen = Stolen()
        return read_page(url, connections=connections, seconds=seconds, headers=headers), stolen.share()

    read(1)
    found, stolen = zip(*windows(read, lambda one: one[0].figures[rank] <= bar_s), strict=True)
    return Windows(rank, found, stolen)


def parsed(text: str) -> Traffic:
    """wrk's report as figures."""
    figures: dict[str, float | int] = {
        f"p{rank}": round(float(value) * SECONDS[unit], 5) for rank, value, unit in LATENCY.findall(text)
    }
    count, rate = COUNT.search(text), RATE.search(text)
    assert count is not None and rate is not None and "p99" in figures, f"wrk said: {text}"
    bad, socket = BAD.search(text), SOCKET.search(text)
    wrong = (int(bad[1]) if bad else 0) + (sum(map(int, socket.groups())) if socket else 0)
    return Traffic({"n": int(count[1]), **figures}, float(rate[1]), wrong, "wrk")


async def _ask_all(url: str, connections: int, seconds: int, headers: dict[str, str]) -> Traffic:
    taken: list[float] = []
    bad, until = 0, time.monotonic() + seconds

    async def reader(session: aiohttp.ClientSession) -> None:
        nonlocal bad
        while (began := time.monotonic()) < until:
            async with session.get(url) as answer:
                await answer.read()
                bad += answer.status != 200
            taken.append(time.monotonic() - began)

    connector = aiohttp.TCPConnector(limit=connections)
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
        await asyncio.gather(*(reader(session) for _ in range(connections)))
    return Traffic(summary(taken), round(len(taken) / seconds, 1), bad, "aiohttp")
