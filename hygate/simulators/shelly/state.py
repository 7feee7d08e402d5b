"""The state file: what of accounts, limits and devices outlives the simulator."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from hygate.simulators.shelly.cloud import Cloud
from hygate.simulators.shelly.device import Device, Push

KEPT = ("online", "stale", "enforced_off", "status_lag_s", "timer_drift_s", "serial", "booted_at")


def state_of(cloud: Cloud, moves: int) -> dict[str, Any]:
    """``moves``: how many of the ledger's entries about relays and lights this state has behind it."""
    return {
        "moves": moves,
        "limits": asdict(cloud.limits),
        "accounts": {account.name: account.key for account in cloud.accounts},
        "devices": [_device_state(device) for device in cloud.world.devices.values()],
    }


def restore(cloud: Cloud, state: dict[str, Any], now: float) -> None:
    """Put an earlier run's state over what is furnished now, then let the time between pass for the devices."""
    if not state:
        return
    cloud.limits.change(state["limits"])
    for account in cloud.accounts:
        account.key = state["accounts"].get(account.name, account.key)
    known = [_restored(cloud, kept) for kept in state["devices"]]
    cloud.world.settle()  # timers that ran out meanwhile, each at its own moment
    for device in known:
        if device is not None and not device.sleeping:
            cloud.world.push(device, now)


def _device_state(device: Device) -> dict[str, Any]:
    state = {key: getattr(device, key) for key in KEPT}
    state.update(account=device.account, id=device.id)
    state["relays"] = [relay.state() for relay in device.relays.values()]
    state["lights"] = [{"channel": light.channel, "output": light.output} for light in device.lights.values()]
    if not device.is_heard or device.sleeping:  # the cloud's last word, which no new push will replace
        state["shown"] = [asdict(push) for push in device.pushes]
    return state


def _restored(cloud: Cloud, kept: dict[str, Any]) -> Device | None:
    device = cloud.world.devices.get((kept["account"], kept["id"]))
    if device is None:
        return None
    for key in KEPT:
        setattr(device, key, kept[key])
    for state in kept["relays"]:
        if state["channel"] in device.relays:
            device.relays[state["channel"]].restore(state)
    for state in kept.get("lights", []):
        if state["channel"] in device.lights:
            device.lights[state["channel"]].output = state["output"]
    device.pushes = [Push(**push) for push in kept.get("shown", [])]
    cloud.world.resume(device)
    return device
