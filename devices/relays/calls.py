"""Making one request to Shelly, outside of any transaction, with its outcome as data."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import structlog
from django.conf import settings

from devices.models import ShellyAccount
from devices.relays import listings
from devices.relays.rules import KeyUnreadable, Stale
from devices.shelly.cloud import ShellyCloud, Target
from devices.shelly.discovery import FoundChannel, merged
from devices.shelly.errors import BadAnswer, ShellyError
from devices.shelly.payload import DeviceStatus
from hygate import clock
from hygate.secrets import SecretUnreadable

STALE_S = 2.0
Kind = Literal["send", "group", "read", "status", "list"]
log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Request:
    """What ``sending.prepare`` decided: everything the call needs, so that it touches no row.

    ``is_probe``: the account's circuit is open, and this asks whether the cloud is back. ``by_v1``: the server was
    found to have no v2.
    """

    account_id: int
    server_url: str
    auth_key: str = field(repr=False)
    kind: Kind
    prepared_at: float
    started_at: datetime
    targets: dict[int, Target] = field(default_factory=dict)
    on: bool = False
    timer_s: int | None = None
    attempt_ids: dict[int, int] = field(default_factory=dict)
    numbers: dict[int, int] = field(default_factory=dict)
    is_probe: bool = False
    by_v1: bool = False


@dataclass(frozen=True)
class Answer:
    """What came back. ``error`` is the whole request's; ``refused`` those of single targets in a group.

    ``found``: with a device list asked for shortly before, a status of the whole account completes a sync.
    """

    finished_at: datetime
    latency_ms: int
    error: ShellyError | None = None
    refused: dict[Target, ShellyError] = field(default_factory=dict)
    statuses: dict[str, DeviceStatus] = field(default_factory=dict)
    found: tuple[FoundChannel, ...] | None = None


def key_of(account: ShellyAccount) -> str:
    """The account's auth key; empty when it cannot be decrypted, which ``cloud_of`` then says."""
    try:
        return str(account.auth_key)
    except SecretUnreadable:
        log.error("account.key_unreadable", account=account.pk)
        return ""


def cloud_of(server_url: str, auth_key: str) -> ShellyCloud:
    """The client of an account. Raises ``KeyUnreadable`` without a key."""
    if not auth_key:
        raise KeyUnreadable
    return ShellyCloud(
        server_url,
        auth_key,
        command_timeout_s=settings.NUMBERS.command_timeout_s,
        read_timeout_s=settings.NUMBERS.read_timeout_s,
    )


def perform(request: Request) -> Answer:
    """Make the call; never raises a Shelly error, every answer says when it came and how long it took."""
    started = time.monotonic()
    told: dict[str, Any] = {}
    error: ShellyError | None = None
    try:
        if request.kind in ("send", "group") and started - request.prepared_at > STALE_S:
            raise Stale("not sent: the process stood still")
        told = _call(request)
    except ShellyError as problem:
        error = problem
    except Exception as problem:  # noqa: BLE001 - a thread of the pool must hand back every account it was given
        error = BadAnswer(f"unexpected {type(problem).__name__}")
    latency_ms = int((time.monotonic() - started) * 1000)
    return Answer(clock.now(), latency_ms, error, **told)


def _call(request: Request) -> dict[str, Any]:
    """The fields of the answer that this kind of request fills."""
    cloud = cloud_of(request.server_url, request.auth_key)
    targets = list(request.targets.values())
    match request.kind:
        case "send" if request.by_v1:
            cloud.switch_off_v1(targets[0])
        case "send":
            cloud.switch(targets[0], on=request.on, toggle_after_s=request.timer_s)
        case "group":
            return {"refused": cloud.switch_group(targets)}
        case "read" if not request.by_v1:
            return {"statuses": cloud.statuses(sorted({target.shelly_id for target in targets}))}
        case "list":
            listings.keep(request.account_id, cloud.device_list())
        case "read" | "status":
            return _whole(request, cloud)
    return {}


def _whole(request: Request, cloud: ShellyCloud) -> dict[str, Any]:
    statuses = {status.shelly_id: status for status in cloud.all_status()}
    listed = listings.take(request.account_id) if request.kind == "status" else None
    return {"statuses": statuses, "found": None if listed is None else merged(statuses.values(), listed)}
