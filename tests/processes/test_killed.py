"""Processes killed at the worst moments: one session, one capture, minutes counted from the confirmed ON."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sessions_app.models import DeviceSession
from sessions_app.states import PaymentStatus, State
from tests.processes.workers import Workers, wait_for
from tests.world import World, kinds_of

DURATION_S = 6
MARGIN_S = 5
pytestmark = pytest.mark.slow


class WallClock:
    """The world's clock for tests with real processes: real time."""

    def now(self) -> Any:
        from hygate import clock

        return clock.now()

    def set(self, _moment: Any) -> None:
        """Real time cannot be set."""

    def sleep(self, seconds: float) -> None:
        time.sleep(max(0.0, seconds))


@pytest.fixture
def site(transactional_db: None, settings: Any, tmp_path: Path) -> Iterator[tuple[World, Workers]]:
    world = World(settings, WallClock(), lively=False)  # type: ignore[arg-type]
    world.plan.duration_s, world.plan.grace_s = DURATION_S, 0
    world.plan.save(update_fields=["duration_s", "grace_s"])
    workers = Workers(tmp_path, HYGATE_STRIPE_API_BASE=world.stripe_server.url, HYGATE_TIMER_MARGIN_S=MARGIN_S)
    try:
        yield world, workers
    finally:
        workers.close()
        world.close()


def bought(world: World) -> DeviceSession:
    wait_for(lambda: world.availability() == "free", 20, "the device becomes sellable once it has been read")
    session = world.buy()
    from sessions_app.payments.settling import nudge

    nudge(session)
    return session


def in_state(session: DeviceSession, *states: str) -> bool:
    session.refresh_from_db()
    return session.state in states


def check_one_whole_sale(world: World, session: DeviceSession) -> None:
    wait_for(lambda: in_state(session, State.COMPLETED), 40, f"completed, not {session.state}")
    assert session.started_at is not None and session.ends_at is not None
    assert (session.ends_at - session.started_at).total_seconds() == DURATION_S
    wait_for(lambda: session.payments.get().status == PaymentStatus.SUCCEEDED, 10, "captured")
    assert world.money() == [("authorized", 250), ("captured", 250)]
    assert kinds_of(session).count("session_running") == 1
    assert world.relay()[-1] == (False, "request")
    on_at, off_at = (entry["t"] for entry in world.ledger(world.shelly_server, "relay")[-2:])
    assert off_at - on_at >= DURATION_S
    off_request = next(entry["t"] for entry in world.switched() if not _is_on(entry))
    assert 0 <= off_request - session.ends_at.timestamp() <= 1.0


def _is_on(entry: dict[str, Any]) -> bool:
    body = entry["body"]
    return bool(body["on"] if "on" in body else body["switch"]["command"]["on"])


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_worker_killed_on_receipt_of_on(site: tuple[World, Workers], when: str) -> None:
    world, workers = site
    workers.start()
    wait_for(lambda: world.availability() == "free", 30, "the device is read")
    world.fault(world.shelly_server, on="switch_on", do="kill", when=when, pid=workers.pid("relays"))
    session = bought(world)
    wait_for(lambda: workers.dead("relays"), 20, "the worker was killed by its own request")
    workers.start("relays")
    check_one_whole_sale(world, session)


def test_everything_killed_while_running_leaves_the_relay_to_its_own_timer(site: tuple[World, Workers]) -> None:
    world, workers = site
    workers.start()
    session = bought(world)
    wait_for(lambda: in_state(session, State.RUNNING), 20, "running")
    wait_for(lambda: session.payments.get().captured_minor == 250, 10, "captured")
    time.sleep(1)
    workers.kill()
    assert session.ends_at is not None and session.started_at is not None
    wait_for(lambda: world.relay()[-1][0] is False, DURATION_S + MARGIN_S + 5, "the relay's own timer")
    off = world.ledger(world.shelly_server, "relay")[-1]
    assert off["cause"] == "timer"
    assert abs(off["t"] - (session.ends_at.timestamp() + MARGIN_S)) <= 1.0
    workers.start()
    wait_for(lambda: in_state(session, State.COMPLETED), 30, "closed after the restart")
    assert session.delivered_s == DURATION_S
    assert world.money() == [("authorized", 250), ("captured", 250)]
    assert "session_completed" in kinds_of(session)
    assert not [entry for entry in world.switched() if _is_on(entry)][1:]
