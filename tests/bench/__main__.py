"""``make bench`` (``python -m tests.bench``): run the benchmarks in turn, print the table, keep the results.

``ONLY=a,b`` picks some; ``QUICK=1`` runs small sizes and keeps nothing. Each part runs in an interpreter of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.bench import machine, results
from tests.bench.parts import BENCHMARKS, Benchmark
from tests.bench.table import table

RESULTS = machine.ROOT / "bench" / "results.json"
MOST_S = 3600


def main() -> int:
    """0 when every promise of the benchmarks that ran is met."""
    quick = os.environ.get("QUICK", "") not in ("", "0")
    wanted = [name for name in os.environ.get("ONLY", "").split(",") if name] or list(BENCHMARKS)
    unknown = set(wanted) - set(BENCHMARKS)
    if unknown:
        return _refuse(f"No benchmark is called {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}.")
    found: dict[str, Any] = {}
    for name in wanted:
        found[name] = _run(name, BENCHMARKS[name], quick=quick)
        if not quick:
            results.keep(RESULTS, machine.facts(), {name: found[name]})
    sys.stdout.write(table(found) + "\n")
    return 0 if all(one["met"] for one in found.values()) else 1


def _run(name: str, benchmark: Benchmark, *, quick: bool) -> dict[str, Any]:
    started, load, speed_s, parts = time.monotonic(), machine.load(), machine.speed_s(), []
    for part in benchmark.parts:
        sys.stdout.write(f"({name}) {part} …\n")
        sys.stdout.flush()
        parts.append(_part(part, quick=quick))
    return {
        "title": benchmark.title,
        "date": machine.now(),
        "commit": machine.commit(),
        "load_before": load,
        "load_after": machine.load(),
        "ten_million_additions_s": [speed_s, machine.speed_s()],
        "took_s": round(time.monotonic() - started),
        "quick": quick,
        **results.joined(parts),
    }


def _part(part: str, *, quick: bool) -> dict[str, Any]:
    """One part in an interpreter of its own: Django is set up once for each database."""
    with tempfile.TemporaryDirectory(prefix="hygate-bench-") as folder:
        answer = Path(folder) / "finding.json"
        command = [sys.executable, "-m", "tests.bench.parts", part, folder, str(answer), *(["quick"] if quick else [])]
        subprocess.run(command, cwd=machine.ROOT, check=True, timeout=MOST_S)
        finding: dict[str, Any] = json.loads(answer.read_text())
        return finding


def _refuse(sentence: str) -> int:
    sys.stderr.write(f"{sentence}\n")
    return 2


if __name__ == "__main__":
    sys.exit(main())
