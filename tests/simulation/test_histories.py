"""Random histories with faults: after each, the ledgers must add up to the cent and the relay must be off.

``HYGATE_HISTORIES`` says how many (60; CI plays 500 on each database, the nightly run more).
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, note, seed, settings

from tests.simulation.history import History, steps
from tests.world import World

HISTORIES = int(os.environ.get("HYGATE_HISTORIES", "60"))
PARTS = 4


@pytest.mark.parametrize("part", range(PARTS))
def test_money_and_power_add_up_after_any_history(world: World, part: int) -> None:
    world.settings.NUMBERS = replace(world.settings.NUMBERS, status_every_s=300, recon_s=60)

    @seed(part)
    @settings(
        max_examples=HISTORIES // PARTS,
        deadline=None,
        print_blob=True,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(plan=steps)
    def histories(plan: list[tuple[str, Any]]) -> None:
        history = History(world)
        history.clean()
        try:
            history.play(plan)
            history.check()
        except BaseException:
            note("\n".join(history.told))
            raise

    histories()
