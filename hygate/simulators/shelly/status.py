"""The status as the cloud serves it: the device's own answer with what is live merged in and four extra keys."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from hygate.simulators.shelly.device import Device
from hygate.simulators.shelly.light import merge_light
from hygate.simulators.shelly.relay import Relay

WATT_MINUTES_PER_WH = 60.0
MAINS_V = 230.0


def pushed_status(device: Device, t: float) -> dict[str, Any]:
    """What ``device`` tells the cloud at ``t``; a fresh structure that nothing else holds."""
    status = {key: cloud_form(value) for key, value in device.base_status.items()}
    merge = _merge_gen1 if device.gen == 1 else _merge_gen2
    for relay in device.relays.values():
        merge(status, relay, t)
    for light in device.lights.values():
        merge_light(status, light)
    _merge_clock(status, device, t)
    status.update(id=device.id, code=device.model, serial=device.serial, _updated=utc_text(t))
    if device.sleeping:
        status["_sleeping"] = True
    return status


def next_serial(device: Device, t: float) -> float:
    """Gen1 counts its messages, Gen2 writes the moment of the push; neither ever repeats."""
    if device.gen == 1:
        return int(device.serial) + 1
    return max(round(t, 2), round(device.serial + 0.01, 2))


def cloud_form(value: Any) -> Any:
    """A copy in which empty objects are empty lists, as the cloud writes them."""
    if isinstance(value, dict):
        return {key: cloud_form(item) for key, item in value.items()} if value else []
    if isinstance(value, list):
        return [cloud_form(item) for item in value]
    return value


def utc_text(t: float) -> str:
    return datetime.fromtimestamp(t, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _merge_gen2(status: dict[str, Any], relay: Relay, t: float) -> None:
    block = status.setdefault(f"switch:{relay.channel}", {"id": relay.channel})
    block.update(output=relay.output, source=relay.source)
    for key in ("timer_started_at", "timer_duration"):
        block.pop(key, None)
    if relay.timer is not None:  # these two exist only while a timer is armed
        block["timer_started_at"] = round(relay.timer.started_at, 2)
        block["timer_duration"] = relay.timer.duration
    if "apower" not in block:  # a relay without a meter
        return
    block["apower"] = round(relay.watts, 1)
    block["current"] = round(abs(relay.watts) / (block.get("voltage") or MAINS_V), 3)
    if isinstance(block.get("aenergy"), dict):
        block["aenergy"].update(total=round(relay.energy_wh, 3), minute_ts=int(t // 60 * 60))


def _merge_gen1(status: dict[str, Any], relay: Relay, t: float) -> None:
    timer = relay.timer
    status["relays"][relay.channel].update(
        ison=relay.output,
        has_timer=timer is not None,
        timer_started=int(timer.started_at) if timer else 0,
        timer_duration=int(timer.duration) if timer else 0,
        timer_remaining=max(0, round(timer.fires_at - t)) if timer else 0,
        source=relay.source,
    )
    meters = status.get("meters") or []
    if relay.channel < len(meters) and "total" in meters[relay.channel]:  # a meter without counter measures nothing
        meters[relay.channel].update(
            power=round(relay.watts, 2), total=round(relay.energy_wh * WATT_MINUTES_PER_WH), timestamp=int(t)
        )


def _merge_clock(status: dict[str, Any], device: Device, t: float) -> None:
    place = status if device.gen == 1 else status.get("sys")
    if not isinstance(place, dict) or device.sleeping:
        return
    place.update(unixtime=int(t), time=utc_text(t)[11:16], uptime=max(0, int(t - device.booted_at)))
