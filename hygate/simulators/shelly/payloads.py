"""Device files (captured ``shelly``, ``settings``/``config``, ``status``) turned into devices."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from hygate.simulators.shelly.device import COVER_MODES, Device
from hygate.simulators.shelly.light import lights_of
from hygate.simulators.shelly.relay import INITIAL_STATES, Relay

SWITCH = re.compile(r"switch:(\d+)")
MAC = re.compile(r"[0-9a-f]{12}")
# What draws power behind a metered relay whose capture was taken while it was off.
SOME_LOAD_W = 60.0
WATT_MINUTES_PER_WH = 60.0
# The category that the cloud files a device under, by what its status has; the first that fits.
CATEGORIES = (
    ("emeters", "emeter"),
    ("em:0", "emeter"),
    ("relays", "relay"),
    ("switch:0", "relay"),
    ("rollers", "roller"),
    ("cover:0", "roller"),
    ("lights", "light"),
    ("light:0", "light"),
)


class NotADeviceFile(ValueError):
    """A file that describes no device; the text says why."""


def device_of_file(path: Path) -> Device:
    """The device that a file describes, without an account yet."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise NotADeviceFile(f"cannot be read as JSON: {error}") from error
    if not isinstance(content, dict) or not isinstance(content.get("shelly"), dict):
        raise NotADeviceFile("no device file: it has no object 'shelly'")
    if not isinstance(content.get("status"), dict):
        raise NotADeviceFile("no device file: it has no object 'status'")
    settings = content.get("settings") or content.get("config")
    try:
        return device_of(content["shelly"], settings if isinstance(settings, dict) else {}, content["status"])
    except (AttributeError, TypeError) as error:  # an array or a text where every device has an object
        raise NotADeviceFile(f"its content has no device's shape: {error}") from error


def device_of(info: dict[str, Any], settings: dict[str, Any], status: dict[str, Any]) -> Device:
    """A device from its local answers: GET /shelly, its settings and its status, of any generation."""
    id = str(info.get("mac", "")).replace(":", "").lower()
    if not MAC.fullmatch(id):
        raise NotADeviceFile("its 'shelly' names no MAC address of 12 hex digits")
    gen = int(info.get("gen", 1))
    relays = _gen1_relays(settings, status) if gen == 1 else _gen2_relays(settings, status)
    return Device(
        account="",
        id=id,
        model=str(info.get("model") or info.get("type") or "unknown"),
        gen=gen,
        name=_name(gen, settings),
        mode=str(info.get("profile") or info.get("mode") or ("relay" if relays else "")),
        category=next((category for key, category in CATEGORIES if key in status), "sensor"),
        relays=relays,
        lights={} if relays else lights_of(status),
        base_status=status,
        settings=settings,
        info={**info, "gen": gen, "key": f"simulated-device-key-of-{id}"},
        sleeping=_is_sleeper(info, status),
        serial=float(status.get("serial", 0)),
    )


def _name(gen: int, settings: dict[str, Any]) -> str | None:
    if gen == 1:
        return settings.get("name")
    name: str | None = settings.get("sys", {}).get("device", {}).get("name")
    return name


def _is_sleeper(info: dict[str, Any], status: dict[str, Any]) -> bool:
    return bool(info.get("sleep_mode")) or "wakeup_period" in status.get("sys", {})


def _gen2_relays(settings: dict[str, Any], status: dict[str, Any]) -> dict[int, Relay]:
    relays = {}
    for key, block in status.items():
        match = SWITCH.fullmatch(key)
        if match is None:
            continue
        channel, config = int(match[1]), settings.get(key, {})
        relays[channel] = Relay(
            channel,
            name=config.get("name"),
            output=bool(block.get("output")),
            source=block.get("source", "init"),
            load_w=_load(block, bool(block.get("output")), "apower"),
            initial_state=INITIAL_STATES.get(config.get("initial_state", ""), "off"),
            wall_input=bool(status.get(f"input:{channel}", {}).get("state")),
            energy_wh=block.get("aenergy", {}).get("total", 0.0),
        )
    return relays


def _gen1_relays(settings: dict[str, Any], status: dict[str, Any]) -> dict[int, Relay]:
    if settings.get("mode") in COVER_MODES:
        return {}
    configs, meters, inputs = (settings.get("relays", []), status.get("meters") or [], status.get("inputs", []))
    relays = {}
    for channel, block in enumerate(status.get("relays", [])):
        config = configs[channel] if channel < len(configs) else {}
        meter = meters[channel] if channel < len(meters) else {}
        relays[channel] = Relay(
            channel,
            name=config.get("name"),
            output=bool(block.get("ison")),
            source=block.get("source", "init"),
            load_w=_load(meter, bool(block.get("ison")), "power") if "total" in meter else 0.0,
            initial_state=INITIAL_STATES.get(config.get("default_state", ""), "off"),
            wall_input=bool(inputs[channel].get("input")) if channel < len(inputs) else False,
            energy_wh=meter.get("total", 0.0) / WATT_MINUTES_PER_WH,
        )
    return relays


def _load(block: dict[str, Any], is_on: bool, key: str) -> float:
    if key not in block:
        return 0.0
    return float(block[key]) if is_on else SOME_LOAD_W
