"""The watcher: one task for each source it holds the lease of, one thread for the database.

A source whose watcher dies is taken over when its lease ends; a second watcher stands by. Deliveries are merged in the
event loop and stored together twice a second, so that twenty plants cost one thread and few transactions.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

import structlog
from django.db import close_old_connections, connections
from django.db.models import Q
from django.db.utils import DatabaseError

from devices.energy import key_ages, proof, site
from devices.energy.models import EnergySource, LatestReading
from devices.energy.reading import Fields
from devices.energy.sources.build import build
from devices.energy.sources.renogy.values import Alarm
from devices.energy.sources.source import RateLimited, SourceError
from devices.energy.watching import keeping, shed
from devices.energy.watching.alive import HEARTBEAT
from devices.energy.watching.keeping import Keeper
from hygate import clock
from hygate.due.sweep import beat

LEASE_S = 10.0
LOOK_S = 2.0
STORE_S = 0.5
TIDY_S = 600.0
LOOK_AGAIN_AFTER = timedelta(seconds=1)
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
REFUSED_PAUSE_S = 300.0
T = TypeVar("T")
log = structlog.get_logger(__name__)


@dataclass
class _Held:
    """A source that this watcher holds: its keeper, its task, and the settings it was started with."""

    keeper: Keeper
    task: asyncio.Task[None]
    settings: tuple[object, ...]


class Watcher:
    """``run()`` until cancelled. Nothing that matters lives in it alone."""

    def __init__(self, name: str = "") -> None:
        self._name = name or f"{socket.gethostname()}:{os.getpid()}"
        self._held: dict[int, _Held] = {}
        self._seen_at: dict[int, datetime] = {}
        self._database = ThreadPoolExecutor(max_workers=1, thread_name_prefix="energy-db")
        self._tidied_at = clock.now() - timedelta(seconds=TIDY_S)

    async def run(self) -> None:
        looked = 0.0
        loop = asyncio.get_running_loop()
        try:
            while True:
                try:
                    if loop.time() - looked >= LOOK_S:
                        looked = loop.time()
                        await self._look_at(await self._in_database(self._leased))
                    await self._in_database(self._store)
                except DatabaseError as error:
                    # what was delivered is kept, and stored when the database is back
                    log.warning("energy.database", error=type(error).__name__)
                await asyncio.sleep(STORE_S)
        finally:
            await self._let_go()

    async def _in_database(self, work: Callable[[], T]) -> T:
        def run() -> T:
            close_old_connections()
            return work()

        return await asyncio.get_running_loop().run_in_executor(self._database, run)

    # -- leases and tasks

    def _leased(self) -> list[EnergySource]:
        """The active sources that are ours for the next ten seconds."""
        now = clock.now()
        free = Q(watched_until__isnull=True) | Q(watched_until__lt=now) | Q(watched_by=self._name)
        EnergySource.objects.filter(free, active=True).update(
            watched_by=self._name, watched_until=now + timedelta(seconds=LEASE_S)
        )
        beat(HEARTBEAT, sources=len(self._held))
        if now - self._tidied_at >= timedelta(seconds=TIDY_S):
            self._tidied_at = now
            keeping.tidy(now)
            key_ages.watch(now)
        return list(EnergySource.objects.select_related("location").filter(active=True, watched_by=self._name))

    async def _look_at(self, ours: list[EnergySource]) -> None:
        wanted = {one.pk: one for one in ours}
        for pk, held in list(self._held.items()):
            if pk not in wanted or _settings(wanted[pk]) != held.settings:
                held.task.cancel()
                del self._held[pk]
        for pk, row in wanted.items():
            if pk in self._held:
                kept = self._held[pk].keeper.source
                kept.sign = row.sign  # it may have been proven by hand meanwhile
                kept.load_has_own_meter = row.load_has_own_meter
                self._held[pk].keeper.source.proof = row.proof
            else:
                await self._hold(row)

    async def _hold(self, row: EnergySource) -> None:
        known = await self._in_database(lambda: LatestReading.objects.filter(source=row).first())
        keeper = Keeper(row)
        if known is not None:
            keeper.reading = site.reading_of(known.fields)
        task = asyncio.create_task(self._watch(keeper), name=f"energy-{row.pk}")
        self._held[row.pk] = _Held(keeper, task, _settings(row))

    async def _watch(self, keeper: Keeper) -> None:
        """Keep one source connected: again after 1, 2, 4 … 60 s; settings that are refused wait for a person."""
        pause_s = FIRST_PAUSE_S

        async def deliver(fields: Fields) -> None:
            nonlocal pause_s
            pause_s = FIRST_PAUSE_S
            keeper.take(fields, clock.now())

        async def alarmed(alarms: tuple[Alarm, ...]) -> None:
            told = [str(one) for one in alarms]
            await self._in_database(lambda: keeping.note_alarms(keeper.source, told))

        while True:
            try:
                await build(keeper.source, alarmed).watch(deliver)
            except SourceError as error:
                wait_s = _pause(error, pause_s)
                await self._note(keeper, error)
            except Exception:
                log.exception("energy.unexpected", source=keeper.source.pk)
                wait_s = LONGEST_PAUSE_S
            else:
                wait_s = pause_s
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
            await asyncio.sleep(wait_s)

    async def _note(self, keeper: Keeper, error: SourceError) -> None:
        log.warning("energy.source", source=keeper.source.pk, code=error.code, sentence=error.sentence)
        try:
            await self._in_database(lambda: keeping.note_failure(keeper.source, error))
        except DatabaseError as away:
            log.warning("energy.database", error=type(away).__name__)

    # -- storing

    def _store(self) -> None:
        now = clock.now()
        fresh = [held.keeper for held in tuple(self._held.values()) if held.keeper.is_dirty]
        for keeper in fresh:
            keeper.store(now)
            if keeper.source.proof and not keeper.source.proof["over_at"]:
                proof.advance(keeper.source.pk, now)
        for location_id in {keeper.source.location_id for keeper in fresh} | self._silent_sites(now):
            self._seen_at[location_id] = now
            self._look_at_site(location_id)

    def _silent_sites(self, now: datetime) -> set[int]:
        """Where nothing comes in any more the look goes on, once a second: a setting says what happens then."""
        sites = {held.keeper.source.location_id for held in tuple(self._held.values())}
        return {one for one in sites if one not in self._seen_at or now - self._seen_at[one] >= LOOK_AGAIN_AFTER}

    @staticmethod
    def _look_at_site(location_id: int) -> None:
        """Whatever goes wrong at one site, the others' readings are stored."""
        try:
            shed.look(location_id, clock.now())
        except DatabaseError:
            raise
        except Exception:
            log.exception("energy.look", location=location_id)

    async def _let_go(self) -> None:
        for held in self._held.values():
            held.task.cancel()
        await asyncio.gather(*(held.task for held in self._held.values()), return_exceptions=True)
        try:
            await self._in_database(self._give_up_leases)
        except DatabaseError as error:
            log.warning("energy.database", error=type(error).__name__)
        self._database.shutdown(wait=False)

    def _give_up_leases(self) -> None:
        """The last work of the database thread: it closes its own connection, which nobody else can."""
        try:
            EnergySource.objects.filter(watched_by=self._name).update(watched_by="", watched_until=None)
        finally:
            connections.close_all()


def _settings(row: EnergySource) -> tuple[object, ...]:
    """What a connection was made with; the ciphertext changes with every save."""
    sealed = row.__dict__.get("secrets")
    return (row.kind, row.address, row.port, row.unit, row.system_id, repr(getattr(sealed, "token", sealed)))


def _pause(error: SourceError, pause_s: float) -> float:
    if isinstance(error, RateLimited):
        return max(error.wait_s, pause_s)
    return pause_s if error.retryable else REFUSED_PAUSE_S
