"""The benchmarks and their parts by name: ``python -m tests.bench.parts <part> <folder> <answer file> [quick]``."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.bench import dashboard, decided, killed, large, off_lateness, one_account, pages, paid, polls, tiles, watched
from tests.bench.killed import CASES
from tests.bench.results import Finding


@dataclass(frozen=True)
class Benchmark:
    title: str
    parts: tuple[str, ...]


BENCHMARKS = {
    "a": Benchmark("OFF request after the promised end, N at once on N accounts", ("a-postgresql", "a-sqlite")),
    "a1": Benchmark("The same on one account, with Shelly's limiter and the gap (a′)", ("a1",)),
    "b": Benchmark("Guest pages under load", ("b",)),
    "c": Benchmark("From paid to relay on", ("c",)),
    "d": Benchmark("Killed with ends overdue", tuple(f"d-{case}" for case in CASES)),
    "e": Benchmark("Ten thousand sessions", ("e",)),
    "f": Benchmark("The energy watcher with many plants", ("f-watcher", "f-decision")),
    "g": Benchmark("A thousand open session pages", ("g",)),
    "h": Benchmark("The operator's pages under load", ("h",)),
    "i": Benchmark("200 tiles in a browser", ("i",)),
}


def found_by(part: str, folder: Path, *, quick: bool) -> Finding:
    """Run one part in this very interpreter."""
    name, _, way = part.partition("-")
    match name:
        case "a":
            return off_lateness.run(folder, database="sqlite" if way == "sqlite" else "postgresql", quick=quick)
        case "a1":
            return one_account.run(folder, quick=quick)
        case "b":
            return pages.run(folder, quick=quick)
        case "c":
            return paid.run(folder, quick=quick)
        case "d":
            return killed.run(folder, case=way)
        case "f":
            return decided.run(folder, quick=quick) if way == "decision" else watched.run(folder, quick=quick)
        case "g":
            return polls.run(folder, quick=quick)
        case "h":
            return dashboard.run(folder, quick=quick)
        case "i":
            return tiles.run(folder, quick=quick)
        case _:
            return large.run(folder, quick=quick)


def main(part: str, folder: str, answer: str, *more: str) -> None:
    finding = found_by(part, Path(folder), quick="quick" in more)
    Path(answer).write_text(json.dumps(finding.as_json()))


if __name__ == "__main__":
    main(*sys.argv[1:])
