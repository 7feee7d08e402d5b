"""After an answer, the account's own row: its pace, its health, its circuit, and what a sync found.

Locked last and alone, so that no other transaction ever waits for it with something in hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings

from devices.models import AccountStatus, ShellyAccount
from devices.relays import found, rules, telling
from devices.relays.calls import Answer, Request
from devices.relays.circuit import Silence, after, is_silence
from devices.shelly.errors import BadKey, BadRequest, NoSuchRoute, RateLimited
from hygate import audit
from hygate.each import update_each


@dataclass(frozen=True)
class _Paced:
    """An account, its row as it was before the answer, and what the answer changes in it.

    ``is_heard``: the answer came to the key and server that the account has now.
    """

    account: ShellyAccount
    request: Request
    answer: Answer
    silence: Silence
    is_heard: bool
    changes: dict[str, Any]


def pace_accounts(landed: Sequence[tuple[Request, Answer]], now: datetime) -> None:
    """Each account's pace and health after its answer."""
    answers = {request.account_id: (request, answer) for request, answer in landed}
    rows = ShellyAccount.objects.select_for_update(no_key=True).filter(pk__in=answers).order_by("pk")
    paced = [_paced(account, *answers[account.pk], now) for account in rows]
    update_each(ShellyAccount, {one.account.pk: one.changes for one in paced})
    for one in paced:
        if one.is_heard:
            _tell(one, now)


def _paced(account: ShellyAccount, request: Request, answer: Answer, now: datetime) -> _Paced:
    """An answer to a key or server that was replaced meanwhile says nothing about the new one, but of the pace."""
    silence = _silence(account, request, answer, now)
    changes = _pace(account, answer, silence, now)
    is_heard = request.started_at >= account.key_saved_at and request.server_url == account.server_url
    if is_heard:
        changes |= _health(request, answer, silence, now) | _next_readings(request, answer, now)
        changes |= _smaller_groups(request, answer)
    return _Paced(account, request, answer, silence, is_heard, changes)


def _tell(paced: _Paced, now: datetime) -> None:
    account, answer = paced.account, paced.answer
    if answer.found is not None:
        found.keep_found(account, answer.found, now)
        found.ask_about_new(account, answer.found)
    _tell_of_circuit(account, paced.silence)
    telling.account_answered(account, answer.error, paced.changes.get("status", account.status))


def _silence(account: ShellyAccount, request: Request, answer: Answer, now: datetime) -> Silence:
    before = Silence(account.timeouts_in_row, tuple(account.timeout_devices), account.circuit_opened_at)
    asked = {target.shelly_id for target in request.targets.values()}
    return after(before, answer.error, asked, now, opens_after=settings.NUMBERS.circuit_after)


def _pace(account: ShellyAccount, answer: Answer, silence: Silence, now: datetime) -> dict[str, Any]:
    """The gap counts from the end of the answer; it is wider after a rate limit, and a probe's while silent."""
    if isinstance(answer.error, RateLimited):
        hits = account.limit_hits + 1
        return {
            "limit_hits": hits,
            "wide_gap_until": now + timedelta(seconds=settings.NUMBERS.wide_gap_for_s),
            "free_at": answer.finished_at + timedelta(seconds=rules.limited_pause_s(hits)),
        }
    gap_s = rules.gap_s(account.wide_gap_until, now, settings.NUMBERS)
    if silence.opened_at is not None:
        gap_s = max(gap_s, settings.NUMBERS.probe_every_s)
    return {"limit_hits": 0, "free_at": answer.finished_at + timedelta(seconds=gap_s)}


def _health(request: Request, answer: Answer, silence: Silence, now: datetime) -> dict[str, Any]:
    """A server that does not know the reading which every Shelly Cloud has is none: the account has moved."""
    error = answer.error
    changes: dict[str, Any] = {
        "last_latency_ms": answer.latency_ms,
        "timeouts_in_row": min(silence.in_row, 1000),
        "timeout_devices": list(silence.devices)[:100],
        "circuit_opened_at": silence.opened_at,
    }
    if error is None:
        changes |= {"status": AccountStatus.OK, "last_ok_at": now, "last_error": ""}
    elif isinstance(error, BadKey):
        changes |= {"status": AccountStatus.BAD_KEY, "last_error": error.name}
    elif silence.opened_at is not None or (request.kind == "status" and isinstance(error, NoSuchRoute)):
        changes |= {"status": AccountStatus.UNREACHABLE, "last_error": error.name}
    elif is_silence(error):
        changes["last_error"] = error.name
    return changes


def _next_readings(request: Request, answer: Answer, now: datetime) -> dict[str, Any]:
    """When the account is read next, and its list asked for. A silent cloud is asked again sooner."""
    numbers = settings.NUMBERS
    if request.kind == "status":
        soon_s = min(numbers.status_every_s, numbers.probe_every_s)
        wait_s = soon_s if is_silence(answer.error) else numbers.status_every_s
        return {"status_due_at": now + timedelta(seconds=wait_s)}
    if request.kind == "list" and answer.error is None:
        return {"status_due_at": now, "sync_due_at": now + timedelta(seconds=found.COMPLETES_WITHIN_S)}
    if request.kind == "list":
        return {"sync_due_at": now + timedelta(seconds=numbers.sync_every_s)}
    return {}


def _smaller_groups(request: Request, answer: Answer) -> dict[str, Any]:
    """A refused group may have been too big: half of it is the account's size from now on."""
    if request.kind != "group" or not isinstance(answer.error, BadRequest):
        return {}
    size = max(1, len(request.targets) // 2)
    audit.write("groups_halved", account=request.account_id, size=size, refused=len(request.targets))
    return {"groups_size": size}


def _tell_of_circuit(account: ShellyAccount, silence: Silence) -> None:
    opened_before, is_open = account.circuit_opened_at is not None, silence.opened_at is not None
    if is_open and not opened_before:
        audit.write("circuit_opened", account=account.pk, devices=list(silence.devices)[:100])
    elif opened_before and not is_open:
        audit.write("circuit_closed", account=account.pk)
