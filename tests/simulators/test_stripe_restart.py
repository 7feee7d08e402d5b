"""What the fake Stripe still knows after a restart, and how the demo makes it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hygate.simulators.stripe import build
from tests.simulators.stripe_rig import KEY, SECRET, Receiver, Rig, eventually, order


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


def test_restart_keeps_payments_keys_and_undelivered_events(tmp_path: Path, receiver: Receiver) -> None:
    state = tmp_path / "stripe.json"
    first = Rig(receiver, state)
    parameters = order()
    first.control("webhooks", only=["checkout.session.completed"], delay_s=3600)
    session = first.client.v1.checkout.sessions.create(parameters, {"idempotency_key": "k1"})
    first.control(f"checkout/{session.id}/pay")
    ledger = first.http.get("/_ctl/ledger").json()
    first.close()
    second = Rig(receiver, state)
    try:
        assert second.http.get("/_ctl/ledger").json() == ledger
        assert second.client.v1.checkout.sessions.create(parameters, {"idempotency_key": "k1"}).id == session.id
        assert second.intent_of(session.id).status == "requires_capture"
        assert receiver.got == []
        second.control("clock", advance_s=3600)
        eventually(lambda: receiver.types() == ["checkout.session.completed"])
        assert KEY not in state.read_text() and SECRET not in state.read_text()
    finally:
        second.close()


def test_build_gives_the_demo_its_simulator(tmp_path: Path) -> None:
    assert build("http://127.0.0.1:1/hook", "whsec_demo", tmp_path / "s.json").webhooks.habits.secrets == ["whsec_demo"]
