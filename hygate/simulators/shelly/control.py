"""The control plane of the devices and accounts: what a person, a failing wire or another controller does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from aiohttp import web

from hygate.simulators.base import ControlError, control_body
from hygate.simulators.shelly.cloud import Account, Cloud
from hygate.simulators.shelly.device import Device
from hygate.simulators.shelly.relay import Relay, initial_state

FLAGS = ("online", "stale", "enforced_off")
NUMBERS = ("status_lag_s", "timer_drift_s")
Step = Callable[[float], None]


class Control:
    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._world = cloud.world

    def add_routes(self, app: web.Application) -> None:
        app.router.add_get("/_ctl/devices", self.get_devices)
        app.router.add_post("/_ctl/devices/{id}", self.post_device)
        app.router.add_get("/_ctl/accounts", self.get_accounts)
        app.router.add_post("/_ctl/accounts/{name}", self.post_account)
        app.router.add_get("/_ctl/limits", self.get_limits)
        app.router.add_post("/_ctl/limits", self.post_limits)

    async def get_devices(self, _request: web.Request) -> web.Response:
        """The true physical state, whatever the cloud was told."""
        now = self._world.settle()
        return web.json_response([_truth(device, now) for device in self._world.devices.values()])

    async def post_device(self, request: web.Request) -> web.Response:
        """All of the body is checked before any of it happens."""
        wanted = await control_body(request)
        device = self._device(request.match_info["id"], wanted.pop("account", None))
        steps = [self._step(device, key, value) for key, value in wanted.items()]
        now = self._world.settle()
        for step in steps:
            step(now)
        self._world.dirty = True
        return web.json_response(_truth(device, now))

    async def get_accounts(self, _request: web.Request) -> web.Response:
        """Names and device ids; keys are not shown."""
        ids = {account.name: [device.id for device in self._cloud.devices(account)] for account in self._cloud.accounts}
        return web.json_response([{"name": name, "devices": devices} for name, devices in ids.items()])

    async def post_account(self, request: web.Request) -> web.Response:
        """A new auth key, as after a change of password: the old one is refused from now on."""
        account, wanted = self._account(request.match_info["name"]), await control_body(request)
        key = wanted.get("auth_key")
        if set(wanted) != {"auth_key"} or not isinstance(key, str) or not key:
            raise ControlError('An account takes {"auth_key": "<new key>"}')
        if self._cloud.by_key(key) not in (None, account):
            raise ControlError("Another account has this key")
        account.key = key
        self._world.dirty = True
        return web.json_response({"name": account.name})

    async def get_limits(self, _request: web.Request) -> web.Response:
        return web.json_response(asdict(self._cloud.limits))

    async def post_limits(self, request: web.Request) -> web.Response:
        self._cloud.limits.change(await control_body(request))
        self._world.dirty = True
        return web.json_response(asdict(self._cloud.limits))

    def _account(self, name: str) -> Account:
        account = self._cloud.by_name(name)
        if account is None:
            known = ", ".join(account.name for account in self._cloud.accounts)
            raise ControlError(f"No account is called {name!r}; there are: {known or 'none'}")
        return account

    def _device(self, id: str, account: str | None) -> Device:
        """By id, which two accounts can share: ``account`` then says whose."""
        found = [d for d in self._world.devices.values() if d.id == id.lower() and account in (None, d.account)]
        if not found:
            known = ", ".join(sorted({device.id for device in self._world.devices.values()}))
            raise ControlError(f"No device has the id {id!r}; there are: {known or 'none'}")
        if len(found) > 1:
            owners = ", ".join(device.account for device in found)
            raise ControlError(f"Accounts {owners} all have a device {id!r}: say which by 'account'")
        return found[0]

    def _step(self, device: Device, key: str, value: Any) -> Step:
        """What one key of the body will do; wrong values are refused here."""
        if key in FLAGS:
            return self._flag(device, key, _boolean(key, value))
        if key in NUMBERS:
            number = _number(key, value)
            return lambda _t: setattr(device, key, number)
        if key == "reboot":
            return (lambda t: self._world.reboot(device, t)) if _boolean(key, value) else (lambda _t: None)
        if key == "press":
            relay = _relay(device, value)
            return lambda t: self._world.press(device, relay, t)
        if key == "watts":
            return self._watts(device, value)
        if key == "welded":
            return self._welded(device, None if value is None else _relay(device, value))
        if key == "initial_state":
            return self._initial_state(device, str(value))
        known = [*FLAGS, *NUMBERS, "reboot", "press", "watts", "welded", "initial_state", "account"]
        raise ControlError(f"A device has no {key!r}; known: {', '.join(known)}")

    def _flag(self, device: Device, key: str, value: bool) -> Step:
        def step(t: float) -> None:
            before = device.is_heard
            setattr(device, key, value)
            if device.is_heard and not before:
                self._world.push(device, t)
            if key == "enforced_off":
                for relay in device.relays.values():
                    self._world.revert_if_enforced(device, relay, t)

        return step

    def _watts(self, device: Device, value: Any) -> Step:
        if not isinstance(value, list) or len(value) != len(device.relays):
            raise ControlError(f"watts needs a list of {len(device.relays)} numbers, one per channel of {device.id}")
        loads = [_number("watts", load) for load in value]

        def step(t: float) -> None:
            for relay, load in zip(device.relays.values(), loads, strict=True):
                relay.count(t)
                relay.load_w = load
            self._world.push(device, t)

        return step

    def _welded(self, device: Device, welded: Relay | None) -> Step:
        """One more contact is welded, or (null) every contact is whole again."""

        def step(t: float) -> None:
            for relay in device.relays.values():
                relay.count(t)
                relay.welded = welded is not None and (relay.welded or relay is welded)
            self._world.push(device, t)

        return step

    def _initial_state(self, device: Device, name: str) -> Step:
        wanted = initial_state(name)

        def step(_t: float) -> None:
            for relay in device.relays.values():
                relay.initial_state = wanted

        return step


def _truth(device: Device, now: float) -> dict[str, Any]:
    state: dict[str, Any] = {key: getattr(device, key) for key in (*FLAGS, *NUMBERS)}
    state.update(id=device.id, account=device.account, model=device.model, gen=device.gen, name=device.name)
    channels = []
    for relay in device.relays.values():
        relay.count(now)
        channels.append({**relay.state(), "alias": device.alias(relay.channel), "watts": relay.watts})
    state["channels"] = channels
    state["lights"] = [{"channel": light.channel, "output": light.output} for light in device.lights.values()]
    return state


def _relay(device: Device, channel: Any) -> Relay:
    if isinstance(channel, bool) or channel not in device.relays:
        raise ControlError(f"Device {device.id} has no relay channel {channel!r}; it has {sorted(device.relays)}")
    return device.relays[channel]


def _boolean(key: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ControlError(f"{key} must be true or false, not {value!r}")
    return value


def _number(key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ControlError(f"{key} must be a number, not {value!r}")
    return float(value)
