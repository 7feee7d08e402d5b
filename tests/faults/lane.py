"""One lane: a stack, and rows on it. ``shared`` rows run side by side, ``alone`` ones one after the other.

Runs as a process of its own (``python -m tests.faults.lane``): Django knows one database, and each lane has its own.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.stack.stack import ROOT, Stack

if TYPE_CHECKING:
    from tests.faults.registry import Scenario

SIDE_BY_SIDE = 8
SPREAD_S = 0.4


@dataclass
class Result:
    """What became of one row; ``complaints`` empty = it holds."""

    id: str
    says: str
    seed: int
    seconds: float = 0.0
    worst_off_s: float = 0.0
    worst_free_s: float = 0.0
    money_off_minor: int = 0
    commands: int = 0
    sessions: int = 0
    complaints: list[str] = field(default_factory=list)


def play(stack: Stack, scenario: Scenario, seed: int) -> Result:
    from tests.faults.invariants import judge
    from tests.faults.row import Row, seeded

    result = Result(scenario.id, scenario.says, seed)
    row = Row(stack, scenario, seeded(seed, scenario.id))
    began = time.monotonic()
    try:
        try:
            scenario.play(row)
        except Exception as error:  # whatever a row meets is its finding; the invariants are judged all the same
            where = traceback.extract_tb(error.__traceback__)
            line = next(
                (f"{Path(one.filename).name}:{one.lineno}" for one in reversed(where) if "rows" in one.filename), ""
            )
            result.complaints.append(f"expectation ({line}): {str(error) or type(error).__name__}")
        row.quiesce()
        result.complaints += [f"not at rest: {said}" for said in row.under_way]
        verdict = judge(row.evidence(), scenario)
        result.complaints += verdict.complaints
        result.worst_off_s, result.worst_free_s = round(verdict.worst_off_s, 3), round(verdict.worst_free_s, 1)
        result.money_off_minor, result.commands = verdict.money_off_minor, verdict.commands
        result.sessions = verdict.sessions
    finally:
        row.close()
        from django.db import connections

        connections.close_all()
    result.seconds = round(time.monotonic() - began, 1)
    return result


def run_lane(lane: str, ids: list[str], seed: int, tree: Path) -> list[Result]:
    folder = Path(tempfile.mkdtemp(prefix=f"hygate-faults-{lane}-"))
    energy = any(id.startswith("E") for id in ids)
    stack = Stack(folder, tree=tree, web_workers=2 if lane == "shared" else 1, watches_energy=energy)
    try:
        stack.start()
        os.environ.update(stack.own_environment)
        import django

        django.setup()
        from tests.faults.registry import scenarios

        chosen = [scenarios()[id] for id in ids]
        results = (
            _side_by_side(stack, chosen, seed) if lane == "shared" else [_played(stack, one, seed) for one in chosen]
        )
        return [*results, _whole_lane(stack, lane, seed)]
    finally:
        stack.close()


def _side_by_side(stack: Stack, chosen: list[Scenario], seed: int) -> list[Result]:
    with ThreadPoolExecutor(max_workers=SIDE_BY_SIDE) as pool:
        waiting = []
        for scenario in chosen:
            waiting.append(pool.submit(_played, stack, scenario, seed))
            time.sleep(SPREAD_S)
        return [one.result() for one in waiting]


def _played(stack: Stack, scenario: Scenario, seed: int) -> Result:
    return _say(play(stack, scenario, seed))


def _say(result: Result) -> Result:
    """A line as soon as a row is over: somebody waits."""
    word = "ok  " if not result.complaints else "FAIL"
    sys.stderr.write(f"{word} {result.id:<4} {result.seconds:6.1f} s  {result.says}\n")
    for said in result.complaints:
        sys.stderr.write(f"          {said}\n")
    sys.stderr.flush()
    return result


def _whole_lane(stack: Stack, lane: str, seed: int) -> Result:
    """What is judged once for all rows of a lane: the audit chain (I8), silent secrets (I12), processes that lived."""
    result, began = Result(f"*{lane}", "the lane's audit chain, logs and processes", seed), time.monotonic()
    time.sleep(2.5)  # the sealer follows within two seconds
    checked = subprocess.run(
        [sys.executable, "manage.py", "verify_audit"],
        cwd=ROOT, env=stack.own_environment, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    if checked.returncode != 0:
        result.complaints.append(f"I8: verify_audit: {(checked.stdout + checked.stderr).strip()[-300:]}")
    result.complaints += [f"I12: {said}" for said in _leaks(stack)]
    result.complaints += [f"{name} does not run any more" for name in stack.product if not stack.process[name].runs]
    result.seconds = round(time.monotonic() - began, 1)
    return _say(result)


def _leaks(stack: Stack) -> list[str]:
    """Planted canaries in what the product wrote: every auth key, the Stripe key, the webhook secret, every token."""
    links = stack.stripe_server.call(lambda: [one["success_url"] for one in stack.stripe.books.sessions.values()])
    tokens = {link.split("/session/")[1].split("/")[0] for link in links if "/session/" in link}
    secrets = {"sk_test_simulated", "whsec_demo", "fault-key-"} | tokens
    found = []
    for log in sorted(stack.folder.glob("*.log")):
        text = log.read_text(errors="replace")
        found += [f"{log.name} holds a secret ({secret[:6]}…)" for secret in secrets if secret in text]
    rows = stack.sql("SELECT data::text FROM hygate_auditevent")
    told = "\n".join(str(one[0]) for one in rows)
    return found + [f"the audit log holds a secret ({secret[:6]}…)" for secret in secrets if secret in told]


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--lane", choices=["shared", "alone"], required=True)
    parser.add_argument("--rows", required=True, help="names with commas between them")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--tree", type=Path, default=ROOT)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    results = run_lane(given.lane, given.rows.split(","), given.seed, given.tree)
    given.out.write_text(json.dumps([asdict(one) for one in results]))
    return 0 if all(not one.complaints for one in results) else 1


if __name__ == "__main__":
    sys.exit(main())
