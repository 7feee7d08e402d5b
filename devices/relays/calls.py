"""Making one request to Shelly, outside of any transaction, with its outcome as data."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from django.conf import settings

from devices.shelly.cloud import ShellyCloud, Target
from devices.shelly.errors import BadAnswer, ShellyError
from devices.shelly.payload import DeviceStatus
from hygate import clock

STALE_S = 2.0


class Stale(ShellyError):
    """The process stood still between deciding and sending: what was decided may no longer hold."""

    name, retryable = "stale", True


@dataclass(frozen=True)
class Request:
    """What ``sending.prepare`` decided: everything the call needs, so that it touches no row."""

    account_id: int
    server_url: str
    auth_key: str = field(repr=False)
    kind: Literal["send", "group", "read", "status"]
    prepared_at: float
    started_at: datetime
    targets: dict[int, Target] = field(default_factory=dict)
    on: bool = False
    timer_s: int | None = None
    attempt_ids: dict[int, int] = field(default_factory=dict)
    numbers: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """What came back. ``error`` is the whole request's; ``refused`` those of single targets in a group."""

    finished_at: datetime
    latency_ms: int
    error: ShellyError | None = None
    refused: dict[Target, ShellyError] = field(default_factory=dict)
    statuses: dict[str, DeviceStatus] = field(default_factory=dict)


def cloud_of(server_url: str, auth_key: str) -> ShellyCloud:
    return ShellyCloud(
        server_url,
        auth_key,
        command_timeout_s=settings.NUMBERS.command_timeout_s,
        read_timeout_s=settings.NUMBERS.read_timeout_s,
    )


def perform(request: Request) -> Answer:
    """Make the call; never raises a Shelly error, every answer says when it came and how long it took."""
    started = time.monotonic()
    refused: dict[Target, ShellyError] = {}
    statuses: dict[str, DeviceStatus] = {}
    error: ShellyError | None = None
    try:
        if request.kind in ("send", "group") and started - request.prepared_at > STALE_S:
            raise Stale("not sent: the process stood still")
        refused, statuses = _call(request)
    except ShellyError as problem:
        error = problem
    except Exception as problem:  # noqa: BLE001 - a thread of the pool must hand back every account it was given
        error = BadAnswer(f"unexpected {type(problem).__name__}")
    latency_ms = int((time.monotonic() - started) * 1000)
    return Answer(clock.now(), latency_ms, error, refused, statuses)


def _call(request: Request) -> tuple[dict[Target, ShellyError], dict[str, DeviceStatus]]:
    cloud = cloud_of(request.server_url, request.auth_key)
    targets = list(request.targets.values())
    if request.kind == "send":
        cloud.switch(targets[0], on=request.on, toggle_after_s=request.timer_s)
        return {}, {}
    if request.kind == "group":
        return cloud.switch_group(targets), {}
    if request.kind == "read":
        return {}, cloud.statuses(sorted({target.shelly_id for target in targets}))
    return {}, {status.shelly_id: status for status in cloud.all_status()}
