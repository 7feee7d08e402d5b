"""Random histories with faults: after each, the ledgers must add up to the cent and the relay must be off.

``HYGATE_HISTORIES`` says how many (60; CI plays 500, the nightly run ten thousand). One that fails is
printed, written to ``var/histories/``, and belongs into ``kept/`` once it is mended: those are played every time.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, note, seed, settings

from sessions_app.models import DeviceSession, Payment
from sessions_app.states import PaymentStatus, Purpose
from tests.simulation.history import BUYING, History, steps
from tests.world import World

HISTORIES = int(os.environ.get("HYGATE_HISTORIES", "60"))
PARTS = 10
HERE = Path(__file__).parent
KEPT = sorted((HERE / "kept").glob("*.json"))
FAILED = HERE.parents[1] / "var" / "histories"


@pytest.mark.parametrize("part", range(PARTS))
def test_money_and_power_add_up_after_any_history(world: World, part: int) -> None:
    world.settings.NUMBERS = replace(world.settings.NUMBERS, status_every_s=300, recon_s=60, extend_least_left_s=1)

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
        try:
            played(history, plan)
        except BaseException:
            note("\n".join(history.told))
            note(f"Kept as {keep(plan)}")
            raise

    histories()


def test_histories_that_failed_once_add_up_now(world: World) -> None:
    world.settings.NUMBERS = replace(world.settings.NUMBERS, status_every_s=300, recon_s=60, extend_least_left_s=1)
    for kept in KEPT:
        played(History(world), [(step, value) for step, value in json.loads(kept.read_text())])


def test_a_history_with_more_time_adds_it_and_one_that_pays_too_late_does_not(world: World) -> None:
    """What the random histories are to cover is really reached by their steps."""
    world.settings.NUMBERS = replace(world.settings.NUMBERS, status_every_s=300, recon_s=60, extend_least_left_s=1)
    for wait_s, seconds, status in ((4.0, 40, PaymentStatus.SUCCEEDED), (25.0, 20, PaymentStatus.VOIDED)):
        played(History(world), [*BUYING, ("extend", None), ("wait", wait_s), ("pay", "pay"), ("tell", "page")])
        assert DeviceSession.objects.get().duration_s == seconds
        assert Payment.objects.get(purpose=Purpose.EXTENSION).status == status


def played(history: History, plan: list[tuple[str, Any]]) -> None:
    history.clean()
    history.play(plan)
    history.check()


def keep(plan: list[tuple[str, Any]]) -> str:
    """Write a failing history down, so that it can be played again whatever Hypothesis draws then."""
    text = json.dumps(plan)
    FAILED.mkdir(parents=True, exist_ok=True)
    path = FAILED / f"{hashlib.sha256(text.encode()).hexdigest()[:10]}.json"
    path.write_text(text)
    return f"{path.parent.name}/{path.name}"
