"""What the runtime rows share: the stack's own processes, which of them works, and all of them whole again."""

from __future__ import annotations

from tests.faults.row import Row, Sale
from tests.stack.stack import wait_for

RELAYS = ("relays-1", "relays-2")
READY_S = 30.0
WORKER_UP_S = 6.0
"""How long a worker takes from its start to its first work on a busy machine."""


def whole_again(row: Row) -> None:
    """Start what does not run, and wait until it works: the next row finds a whole stack."""
    stack = row.stack
    down = [name for name in stack.process if not stack.process[name].runs]
    stack.run(*down)
    for name in down:
        if name.startswith("relays"):
            wait_for(lambda name=name: beats(row, name), READY_S, f"{name} is at work again")  # type: ignore[misc]
    wait_for(lambda: stack.answers("/readyz"), READY_S, "the pages can sell again")


def beats(row: Row, name: str) -> bool:
    """Whether this very process has told the database that it works."""
    mine = f"{row.stack.process[name].pid}-%"
    return bool(row.stack.sql("SELECT 1 FROM hygate_heartbeat WHERE detail->>'process' LIKE %s", mine))


def only_one_relay_worker(row: Row) -> str:
    """Stop one of the two, so that the seed knows who does the work; answers the name of the other."""
    works, rests = row.rng.sample(RELAYS, 2)
    row.after.append(lambda: whole_again(row))
    row.stack.process[rests].stop()
    return works


def until_dead(row: Row, name: str, within_s: float = 20) -> None:
    wait_for(lambda: not row.stack.process[name].runs, within_s, f"{name} was killed", 0.02)


def told(row: Row, sale: Sale, kind: str) -> int:
    """How many audit events of that kind the session has."""
    found = row.stack.sql(
        "SELECT count(*) FROM hygate_auditevent WHERE session = %s AND kind = %s", sale.session_id, kind
    )
    return int(found[0][0])
