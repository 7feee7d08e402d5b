"""``/readyz`` is red when something is wrong that nobody would notice otherwise."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from hygate import clock, health
from hygate.due import sweep

pytestmark = pytest.mark.django_db


def ready(client: Client) -> tuple[int, str]:
    answer = client.get("/readyz")
    return answer.status_code, answer.json().get("why", "")


def test_a_scheduler_that_beats_is_ready(client: Client) -> None:
    sweep.beat(sweep.HEARTBEAT)
    assert ready(client) == (200, "")


def test_a_dead_scheduler_is_red_although_the_workers_sweep(client: Client, settings: Any, manual_clock: Any) -> None:
    settings.BROKER_URL = "redis://127.0.0.1:1/0"
    sweep.beat(sweep.HEARTBEAT)
    manual_clock.set(clock.now() + timedelta(seconds=sweep.SILENT_S + 1))
    sweep.beat("worker:relays")
    status, why = ready(client)
    assert status == 503
    assert "scheduler" in why


def test_without_a_broker_the_workers_own_sweep_is_enough(client: Client, settings: Any) -> None:
    settings.BROKER_URL = ""
    sweep.beat("worker:relays")
    assert ready(client) == (200, "")


def test_a_database_that_cannot_be_written_is_red(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep.beat(sweep.HEARTBEAT)
    monkeypatch.setattr(health, "is_writable", lambda: False)
    status, why = ready(client)
    assert status == 503
    assert "written" in why
