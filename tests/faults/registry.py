"""Which rows there are: each scenario of the fault plan is one function under its name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.faults.row import Row

CORE = frozenset(
    {
        *("P1", "P2", "P3", "P4", "P5", "P8", "P14", "P16", "P18", "P20"),
        *("D1", "D2", "D4", "D7", "D9", "D10", "D15"),
        *("R1", "R3", "R5", "R6", "R11", "R14", "R16"),
        *("C1", "C2", "T1", "T3", "E1", "E2", "E5", "S2", "S4", "S6", "S8"),
    }
)
"""The gate that every commit passes; of its 35 rows those of energy and security join with their parts."""


@dataclass(frozen=True)
class Scenario:
    """One row of the plan. ``lane``: ``shared`` rows run side by side on one stack, ``alone`` ones restart or disturb
    what others need and run one after the other on a stack of theirs. ``free_power_s``: how long a relay may be on
    without a funded session (I4); ``off_late_s``: how late our OFF request may be (I5); ``alerts``: kinds that are open
    at the end because a person has to act; ``unread``: the page need not show this row's sessions (no guest looked)."""

    id: str
    says: str
    play: Callable[[Row], None]
    lane: str = "shared"
    free_power_s: float = 0.0
    off_late_s: float = 1.5
    alerts: tuple[str, ...] = ()
    limits_hit: bool = False
    by_timer: bool = False
    clock_slack_s: float = 0.0
    excused: tuple[str, ...] = field(default=())
    """Invariants that the row itself breaks on purpose, with the reason in its docstring."""


_scenarios: dict[str, Scenario] = {}


def row(
    id: str,
    says: str,
    *,
    lane: str = "shared",
    free_power_s: float = 0.0,
    off_late_s: float = 1.5,
    alerts: tuple[str, ...] = (),
    limits_hit: bool = False,
    by_timer: bool = False,
    clock_slack_s: float = 0.0,
    excused: tuple[str, ...] = (),
) -> Callable[[Callable[[Row], None]], Callable[[Row], None]]:
    """Enter a scenario into the plan's table. ``limits_hit``: the account's rate limit is met on purpose (I9).
    ``by_timer``: ends may be the device timer's doing, because nobody of ours could act (I5). ``clock_slack_s``: by how
    much more than usual the product's time may differ from the ledgers', because clocks are turned (I8)."""

    def enter(play: Callable[[Row], None]) -> Callable[[Row], None]:
        assert id not in _scenarios, f"{id} stands twice"
        _scenarios[id] = Scenario(
            id, says, play, lane, free_power_s, off_late_s, alerts, limits_hit, by_timer, clock_slack_s, excused
        )
        return play

    return enter


def scenarios() -> dict[str, Scenario]:
    """All rows by name, in the plan's order of letters and numbers."""
    from tests.faults import rows

    rows.load()
    order = "PDRCTESQ"
    return dict(sorted(_scenarios.items(), key=lambda one: (order.index(one[0][0]), int(one[0][1:]))))
