"""The Shelly Cloud simulator: how it is furnished, how a request gets in, and what it keeps."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from hygate.simulators.base import Handler, Simulator, read_state, write_state
from hygate.simulators.shelly import templates, v1, v2
from hygate.simulators.shelly.cloud import ACCOUNT, CALL, Account, Call, Cloud, Limits, is_cut, read_call
from hygate.simulators.shelly.control import Control
from hygate.simulators.shelly.demo import DEMO_ACCOUNT, DEMO_KEY, furnish
from hygate.simulators.shelly.device import Device
from hygate.simulators.shelly.journal import Journal
from hygate.simulators.shelly.payloads import NotADeviceFile, device_of, device_of_file
from hygate.simulators.shelly.relay import initial_state as initial_state_named
from hygate.simulators.shelly.state import restore, state_of
from hygate.simulators.shelly.world import World

TICK_S = 0.02


class ShellySimulator(Simulator):
    """Accounts, their devices and the two APIs over them.

    ``rate_limit_s``: seconds that must lie between the end of an answer and the next request of an account (0 = no
    limiter). ``state_path``: file in which everything survives a restart; the ledger lies beside it.
    Furnish it before it runs, or through ``RunningSimulator.call``.
    """

    name = "shelly"
    ledger: Journal

    def __init__(
        self,
        clock: Callable[[], float] = time.time,
        rate_limit_s: float = 1.0,
        state_path: Path | None = None,
        *,
        groups_max: int | None = None,
        v2_updated: bool = False,
    ) -> None:
        super().__init__(clock=clock)
        self.ledger = Journal(clock)
        self.world = World(clock, self.ledger)
        self.limits = Limits(rate_limit_s=rate_limit_s, groups_max=groups_max, v2_updated=v2_updated)
        self.cloud = Cloud(self.world, self.limits)
        self._state_path = state_path
        self._keeps_state = False

    # -- furnishing
    @classmethod
    def demo(cls, clock: Callable[[], float] = time.time, **options: Any) -> ShellySimulator:
        simulator = cls(clock, **options)
        furnish(simulator)
        return simulator

    def add_account(self, key: str, name: str | None = None) -> Account:
        return self.cloud.add_account(key, name)

    def add_raw_account(
        self,
        key: str,
        *,
        all_status: dict[str, Any] | None = None,
        device_list: dict[str, Any] | None = None,
        name: str | None = None,
    ) -> Account:
        """An account that serves captured bodies as they are; it has nothing that could be switched."""
        account = self.cloud.add_account(key, name)
        account.raw_all_status, account.raw_device_list = all_status, device_list
        return account

    def add_device(
        self,
        key: str,
        id: str,
        model: str,
        *,
        channels: int = 1,
        name: str | None = None,
        channel_names: tuple[str | None, ...] = (),
        gen: int = 2,
        watts: tuple[float, ...] = (),
        initial_state: str = "off",
        mode: str = "",
    ) -> Device:
        """A made-up device. ``mode``: roller (Gen1), cover, switch or sensor (Gen2+), light; see ``templates``."""
        if gen == 1:
            device = device_of(*templates.gen1(id, model, name, mode or "relay", channels))
        else:
            device = device_of(*templates.gen2(id, model, name, mode, channels, gen))
        for channel, relay in device.relays.items():
            relay.name = channel_names[channel] if channel < len(channel_names) else None
            relay.load_w = watts[channel] if channel < len(watts) else relay.load_w
            relay.initial_state = initial_state_named(initial_state)
        return self._place(device, self._account(key))

    def load_payloads(self, folder: Path) -> list[tuple[str, str]]:
        """Serve every device file of ``folder``; returns (file name, why) for each file that is passed over.

        One account holds a MAC once, so a second device with it goes to the next account.
        """
        passed_over = []
        for path in sorted(path for path in folder.iterdir() if path.is_file()):
            try:
                device = device_of_file(path)
            except NotADeviceFile as why:
                passed_over.append((path.name, str(why)))
            else:
                self._place(device, self._account_without(device.id))
        return passed_over

    def _account(self, key: str) -> Account:
        account = self.cloud.by_key(key)
        if account is None:
            raise ValueError("No account has this key: add_account comes first")
        return account

    def _account_without(self, id: str) -> Account:
        number = 1
        while True:
            key = DEMO_KEY if number == 1 else f"{DEMO_KEY}-{number}"
            account = self.cloud.by_key(key) or self.cloud.add_account(key, DEMO_ACCOUNT if number == 1 else None)
            if (account.name, id) not in self.world.devices:
                return account
            number += 1

    def _place(self, device: Device, account: Account) -> Device:
        if (account.name, device.id) in self.world.devices:
            raise ValueError(f"Account {account.name} has a device {device.id} already")
        device.account = account.name
        return self.world.add(device)

    # -- running
    def add_routes(self, app: web.Application) -> None:
        v1.V1(self.cloud).add_routes(app)
        v2.V2(self.cloud).add_routes(app)
        Control(self.cloud).add_routes(app)

    def application(self) -> web.Application:
        app = super().application()
        app.middlewares.insert(0, self._enter)
        app.middlewares.append(self._act)
        return app

    async def on_start(self) -> None:
        if self._state_path is not None:
            self._restore(self._state_path)
        self.background(self._tick())

    async def on_stop(self) -> None:
        self.save()
        self._keeps_state = False
        self.ledger.close()

    def operation(self, request: web.Request) -> str:
        """``switch_on`` or ``switch_off`` for what switches a relay or a light, ``read`` for the rest."""
        call = request.get(CALL)
        if call is None or not ("/set/" in request.path or request.path.endswith("/control")):
            return "read"
        return "switch_on" if _asks_for_on(call) else "switch_off"

    @web.middleware
    async def _enter(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Write the request down as it arrives, and its answer's status when that leaves."""
        if request.path.startswith("/_ctl/"):
            return await handler(request)
        call = await read_call(request)
        now = self.world.settle()  # what came due before this request stands before it in the ledger
        account = self.cloud.by_key(call.key)
        path, body = self.cloud.without_keys([request.path, call.recorded()])
        name = account.name if account else None
        entry = self.ledger.add("request", t=now, account=name, path=path, body=body, status=None)
        status = None
        try:
            response = await self._admit(request, call, account, handler)
            status = response.status
        except web.HTTPException as refused:
            status = refused.status
            raise
        finally:
            self.ledger.answered(entry, None if is_cut(request) else status)
        return response

    async def _admit(
        self, request: web.Request, call: Call, account: Account | None, handler: Handler
    ) -> web.StreamResponse:
        """The key first, then the limiter; only then the faults and the service itself."""
        is_v2 = request.path.startswith("/v2/")
        if request.match_info.http_exception is not None:
            return await handler(request)  # no such route
        if is_v2 and not self.limits.v2:
            raise web.HTTPNotFound
        if account is None:
            return v2.refusal("invalid_token") if is_v2 else v1.refusal(v1.INVALID_KEY, 401)
        if not account.limiter.admit(request, self.clock(), self.limits.rate_limit_s):
            return v1.refusal(v1.RATE_LIMITED, self.limits.v2_status if is_v2 else self.limits.v1_status)
        request[CALL], request[ACCOUNT] = call, account
        try:
            return await handler(request)
        finally:
            account.limiter.done(request, self.clock())

    @web.middleware
    async def _act(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Innermost: the world is up to date before a handler looks at it, and on disk before its answer leaves."""
        self.world.settle()
        try:
            return await handler(request)
        finally:
            self.save()

    async def _tick(self) -> None:
        while True:
            now = self.world.settle()
            self.cloud.forget_gone(now)
            self.save()
            await asyncio.sleep(min(TICK_S, max(0.001, self.world.next_due() - now)))

    # -- state
    def save(self) -> None:
        if self._keeps_state and self._state_path is not None and self.world.dirty:
            write_state(self._state_path, state_of(self.cloud, self.ledger.moves))
            self.world.dirty = False

    def _restore(self, path: Path) -> None:
        state = read_state(path)
        self.ledger.open(path.with_suffix(path.suffix + ".ledger"), state.get("moves", 0))
        restore(self.cloud, state, self.clock())
        self._keeps_state = self.world.dirty = True
        self.save()


def _asks_for_on(call: Call) -> bool:
    if not isinstance(call.json, dict):
        return call.form.get("turn") == "on"
    group = call.json.get("switch")
    command = group.get("command") if isinstance(group, dict) else call.json
    return isinstance(command, dict) and command.get("on") is True


def build(
    payloads: Path | None,
    state_path: Path | None,
    log: Callable[[str], None],
    *,
    rate_limit_s: float = 1.0,
    clock: Callable[[], float] = time.time,
) -> ShellySimulator:
    """The demo world, or the devices of a folder; ``log`` gets a line for each file that is passed over."""
    if payloads is None:
        return ShellySimulator.demo(clock, rate_limit_s=rate_limit_s, state_path=state_path)
    if not payloads.is_dir():
        raise NotADirectoryError(f"{payloads} is no folder with device files")
    simulator = ShellySimulator(clock, rate_limit_s, state_path)
    for name, why in simulator.load_payloads(payloads):
        log(f"{name} passed over: {why}")
    return simulator
