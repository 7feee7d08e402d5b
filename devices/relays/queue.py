"""The account queue: one request at a time per Shelly account, many accounts side by side.

``advance`` takes a chunk of due accounts. In rounds: one transaction picks each account's next request and writes its
attempt rows; the requests run in a thread pool; one transaction writes what came of those that have answered. A slow
account therefore never holds up the outcome of a quick one.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import Min, QuerySet

from devices import key_age
from devices.models import Device, RelayCommand, ShellyAccount
from devices.relays import calls, pacing, power, results, sending
from devices.relays.calls import Answer, Request
from devices.relays.commands import accounts_hurried_last
from devices.relays.models import OPEN, CommandState
from devices.relays.steps import Step, Wait, next_step
from hygate import clock
from hygate.due import Claim, released, still_mine
from hygate.each import update_each

DRAIN_S = 20.0
HOLD_S = 1.2
TOGETHER_S = 0.1
CROWD = 12
"""Drains of a process. Where there are more, threads are for what ends next and not to sleep until a reading may go."""
LEFT_S, BEHIND_S = 0.1, 0.4
"""Outcomes are written once nothing has left this process for so long, but never more than so long after the answer."""
log = structlog.get_logger(__name__)
_pool = ThreadPoolExecutor(max_workers=64, thread_name_prefix="shelly")
_running: set[int] = set()
"""The drains of this process, by their ids."""
_last_left = -LEFT_S
"""When a request last left this process, by the monotonic clock. Written by many threads: any of the last will do."""


def advance(claims: Sequence[Claim]) -> None:
    """Send what the claimed accounts have waiting, until nothing more may leave now."""
    _Drain(claims).run()


@dataclass
class _Drain:
    claims: Sequence[Claim]
    asleep: dict[int, datetime] = field(default_factory=dict)
    flying: dict[Future[Answer], Request] = field(default_factory=dict)

    def run(self) -> None:
        _running.add(id(self))
        try:
            self._run()
        finally:
            _running.discard(id(self))

    def _run(self) -> None:
        stop_at = time.monotonic() + DRAIN_S
        ready = [one.pk for one in self.claims]
        while ready or self.asleep or self.flying:
            last = time.monotonic() > stop_at
            if ready:
                self._launch(ready, last=last)
            self._go_on(self._record(self._landed()), last=last)
            ready = self._awake()

    def _launch(self, accounts: Sequence[int], *, last: bool) -> None:
        """Pick each account's next request, write its rows, and let it go; give back what has none.

        Lock order: no transaction waits for an account's row while it holds a command's or a device's. So the lease is
        renewed by a statement of its own, and giving back is a transaction of its own. The time is taken after it, as
        in ``_rest``: what was written while we waited for the row is due, and leaves in this request.
        """
        with_lease = self._renew(accounts)
        now = clock.now()
        with transaction.atomic():
            steps: list[tuple[ShellyAccount, Step]] = []
            work = _work_of(with_lease, now)
            for account, commands, off_at in work:
                step = next_step(account, commands, off_at, now, settings.NUMBERS)
                if isinstance(step, Step) and not last:
                    steps.append((account, step))
            requests = [one for one in sending.prepare_all(steps, now) if one is not None]
        results.give_up_late((one for _, commands, _ in work for one in commands), now)
        for request in requests:
            _leaves()
            self.flying[_pool.submit(calls.perform, request)] = request
        busy = {request.account_id for request in requests}
        idle = [account.pk for account in with_lease if account.pk not in busy]
        if idle:
            self._rest(idle, last=last)

    def _mine(self, accounts: Sequence[int]) -> QuerySet[ShellyAccount]:
        wanted = set(accounts)
        return ShellyAccount.objects.filter(still_mine([one for one in self.claims if one.pk in wanted]))

    def _renew(self, accounts: Sequence[int]) -> list[ShellyAccount]:
        """Those that are still ours, locked in the order in which everyone locks many of them.

        The lock also waits for whoever is just writing wishes: what ends together leaves in one request.
        """
        with transaction.atomic():
            rows = list(self._mine(accounts).select_for_update(no_key=True).order_by("pk"))
            until = clock.now() + timedelta(seconds=settings.NUMBERS.lease_relay_s)
            ShellyAccount.objects.filter(pk__in=[one.pk for one in rows]).update(claimed_until=until)
        return rows

    def _rest(self, accounts: Sequence[int], *, last: bool) -> None:
        """Sleep out a short gap with the account in hand; otherwise give it back, due at its next moment.

        The rows are locked and looked at again: a wish written meanwhile either is seen here, or makes the account due
        after we have let go of it. So the time is taken after the lock: whoever we waited for wrote a later one, and
        its hint has found the account in hand.
        """
        with transaction.atomic():
            rows = list(self._mine(accounts).select_for_update(no_key=True).order_by("pk"))
            now = clock.now()
            returned: dict[int, dict[str, Any]] = {}
            for account, commands, off_at in _work_of(rows, now, recover=False):
                step = next_step(account, commands, off_at, now, settings.NUMBERS)
                until = None if last else _held_until(step, commands, now)
                if until is not None:
                    self.asleep[account.pk] = until
                else:
                    due_at = step.until if isinstance(step, Wait) else now
                    returned[account.pk] = released(due_at)
            update_each(ShellyAccount, returned)

    def _landed(self) -> list[tuple[Request, Answer]]:
        """Wait for answers or the next gap's end; answers that come soon after the first are taken together.

        Writing outcomes one by one would take the processor from the requests that still have to leave, also from those
        of other chunks: switching off comes before writing down that it was done.
        """
        if not self.flying:
            clock.sleep(self._next_wake_s())
            return []
        done, _ = wait(self.flying, timeout=self._next_wake_s() if self.asleep else None, return_when=FIRST_COMPLETED)
        if done and len(self.flying) > len(done):
            done, _ = wait(self.flying, timeout=TOGETHER_S)
        if done:
            _let_others_leave()
        return [(self.flying.pop(future), future.result()) for future in done]

    def _next_wake_s(self) -> float:
        if not self.asleep:
            return 0.0
        return max(0.0, (min(self.asleep.values()) - clock.now()).total_seconds())

    def _record(self, landed: Sequence[tuple[Request, Answer]]) -> list[int]:
        """Write what came back, and answer whose it was; what cannot be written must not take the others' with it.

        An account of which nothing could be written stays leased: the next holder finds the command on its way, and
        reads first.
        """
        if not landed:
            return []
        now = clock.now()
        try:
            _write(landed, now)
        except Exception:
            log.exception("relays.not_recorded", accounts=len(landed))
            return [] if len(landed) == 1 else [pk for one in landed for pk in self._record([one])]
        for request, _ in landed:
            if request.kind == "status":
                key_age.watch(request.account_id, now)
                power.forget_unsynced(request.account_id, now)
        return [request.account_id for request, _ in landed]

    def _go_on(self, accounts: Sequence[int], *, last: bool) -> None:
        """After an answer: mostly its gap is in the way of anything else."""
        if accounts and settings.NUMBERS.gap_s:
            self._rest(accounts, last=last)
        else:
            self.asleep |= dict.fromkeys(accounts, clock.now())

    def _awake(self) -> list[int]:
        now = clock.now()
        ready = [pk for pk, until in self.asleep.items() if until <= now]
        for pk in ready:
            del self.asleep[pk]
        return ready


def _held_until(step: Step | Wait, commands: Sequence[RelayCommand], now: datetime) -> datetime | None:
    """Until when an account stays in hand: through a short gap before a command, and, where few drain, a reading.

    Also for a command that is due in a moment: whoever wants it may have a clock a little ahead of ours.
    """
    if isinstance(step, Step):
        return now
    soon = [one.next_at for one in commands if one.state == CommandState.QUEUED and one.next_at > now]
    if not step.hold and soon and min(soon) <= now + timedelta(seconds=clock.APART_S):
        return min(soon)
    if not step.hold or step.until is None or step.until > now + timedelta(seconds=HOLD_S):
        return None
    is_wanted = any(one.state == CommandState.QUEUED for one in commands)
    return step.until if is_wanted or len(_running) <= CROWD else None


def _leaves() -> None:
    global _last_left
    _last_left = time.monotonic()


def _let_others_leave() -> None:
    """Where others send too: a drain that is alone has nobody to let go first."""
    if len(_running) < 2:
        return
    until = time.monotonic() + BEHIND_S
    while (now := time.monotonic()) < until and now < _last_left + LEFT_S:
        time.sleep(min(until, _last_left + LEFT_S) - now)


def _write(landed: Sequence[tuple[Request, Answer]], now: datetime) -> None:
    with transaction.atomic(), accounts_hurried_last():
        results.record(landed, now)
    with transaction.atomic():
        pacing.pace_accounts(landed, now)


def _work_of(
    accounts: Sequence[ShellyAccount], now: datetime, *, recover: bool = True
) -> list[tuple[ShellyAccount, list[RelayCommand], datetime | None]]:
    """Each account with its open commands and the moment of its next expected OFF."""
    commands: dict[int, list[RelayCommand]] = {account.pk: [] for account in accounts}
    opened = RelayCommand.objects.filter(account__in=accounts, state__in=OPEN).select_related("device").order_by("pk")
    for command in opened:
        commands[command.account_id].append(results.recovered(command, now) if recover else command)
    expected = dict(
        Device.objects.filter(account__in=accounts, off_expected_at__isnull=False)
        .order_by()
        .values_list("account")
        .annotate(Min("off_expected_at"))
    )
    return [(account, commands[account.pk], expected.get(account.pk)) for account in accounts]
