"""``make faults``: the fault plan on real processes, and a table of what held.

``ROW=P1,D4`` picks rows, ``SEED=7`` repeats a seed, ``ALL=1`` runs every row there is, ``MUTANTS=1`` shows that the
harness sees the seeded bugs, ``AGAIN=1`` plays a few red rows once more by themselves. Without any of them: the core
gate, that is what every commit has to pass.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.faults.lane import Result
from tests.faults.registry import CORE, Scenario, scenarios
from tests.stack.stack import ROOT

REPORT = ROOT / "var" / "faults.json"
MOST_AGAIN, FEW = 12, 4
"""Where processor time is short many rows are late the first time: they are played again, a few at once."""


def main() -> int:
    prepare()
    if os.environ.get("MUTANTS"):
        from tests.faults.mutants import run_mutants

        return run_mutants(os.environ.get("MUTANT", ""))
    seed = int(os.environ.get("SEED") or random.SystemRandom().randrange(1, 10**6))
    chosen = choose(os.environ.get("ROW", ""), everything=bool(os.environ.get("ALL")))
    began = time.monotonic()
    results = run(chosen, seed)
    if os.environ.get("AGAIN"):
        results = played_again(results, seed)
    seconds = time.monotonic() - began
    print(table(results, seed, seconds))  # noqa: T201 - this is what the command is for
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(
        json.dumps({"seed": seed, "seconds": round(seconds, 1), "rows": [vars(one) for one in results]}, indent=1)
    )
    return 0 if all(not one.complaints for one in results) else 1


def prepare() -> None:
    """Row modules import the product's models: this process only lists them and needs no database."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hygate.settings")
    os.environ.setdefault("HYGATE_SIMULATED", "1")
    os.environ.setdefault("HYGATE_VAR_DIR", tempfile.mkdtemp(prefix="hygate-faults-"))
    import django

    django.setup()


def choose(names: str, *, everything: bool) -> list[Scenario]:
    known = scenarios()
    if names:
        wanted = names.replace(",", " ").upper().split()
        missing = [one for one in wanted if one not in known]
        if missing:
            raise SystemExit(f"No such row: {', '.join(missing)}. Known: {', '.join(known)}")
        return [known[one] for one in wanted]
    return [one for one in known.values() if everything or one.id in CORE]


def run(chosen: list[Scenario], seed: int, tree: Path = ROOT) -> list[Result]:
    """Both lanes at once, each a process with a stack of its own."""
    lanes = {lane: [one.id for one in chosen if one.lane == lane] for lane in ("shared", "alone")}
    with tempfile.TemporaryDirectory() as folder:
        running = [
            (lane, ids, Path(folder) / f"{lane}.json", start_lane(lane, ids, seed, tree, Path(folder) / f"{lane}.json"))
            for lane, ids in lanes.items()
            if ids
        ]
        try:
            return [one for lane, ids, out, process in running for one in finished(lane, ids, out, process, seed)]
        finally:
            for *_, process in running:
                process.terminate()
                process.wait(60)


def played_again(results: list[Result], seed: int) -> list[Result]:
    """A few red rows once more, by themselves: other work on the machine makes a row late, a defect makes it red twice.

    What was red the first time is printed all the same.
    """
    red = [one for one in results if one.complaints and not one.id.startswith("*")]
    if not 0 < len(red) <= MOST_AGAIN or any(one.complaints for one in results if one.id.startswith("*")):
        return results
    known = scenarios()
    batches = [red[first : first + FEW] for first in range(0, len(red), FEW)]
    played = [one for batch in batches for one in run([known[row.id] for row in batch], seed)]
    second = {one.id: one for one in played if not one.id.startswith("*")}
    for one in red:
        said = f"red the first time ({'; '.join(one.complaints)})"
        second[one.id].says += f" [{said}]"
    of_lanes = [one for one in played if one.id.startswith("*") and one.complaints]
    return [second.get(one.id, one) if one in red else one for one in results] + of_lanes


def start_lane(lane: str, ids: list[str], seed: int, tree: Path, out: Path) -> subprocess.Popen[bytes]:
    what = ["--lane", lane, "--rows", ",".join(ids), "--seed", str(seed), "--tree", str(tree), "--out", str(out)]
    return subprocess.Popen([sys.executable, "-m", "tests.faults.lane", *what], cwd=ROOT)


def finished(lane: str, ids: list[str], out: Path, process: subprocess.Popen[bytes], seed: int) -> list[Result]:
    code = process.wait()
    if not out.exists():
        return [
            Result(f"*{lane}", "the lane itself", seed, complaints=[f"the lane of {', '.join(ids)} ended with {code}"])
        ]
    return [Result(**one) for one in json.loads(out.read_text())]


def table(results: list[Result], seed: int, seconds: float) -> str:
    lines = [
        f"\nSeed {seed}, {seconds:.0f} s. Repeat one row: make faults ROW=<row> SEED={seed}\n",
        f"{'row':<8}{'':<6}{'OFF late':>9}{'free power':>12}{'money off':>11}{'commands':>10}  what happened",
    ]
    for one in results:
        per_session = f"{one.commands / one.sessions:.1f}" if one.sessions else "-"
        word = "pass" if not one.complaints else "FAIL"
        lines.append(
            f"{one.id:<8}{word:<6}{one.worst_off_s:>7.2f} s{one.worst_free_s:>10.1f} s"
            f"{one.money_off_minor / 100:>11.2f}{per_session:>10}  {one.says}"
        )
        lines += [f"        {said}" for said in one.complaints]
    red = sum(1 for one in results if one.complaints)
    rows = [one for one in results if not one.id.startswith("*")]
    lines.append(
        f"\n{len(rows)} rows, {red} red. Money off in all: {sum(one.money_off_minor for one in rows) / 100:.2f}"
    )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
