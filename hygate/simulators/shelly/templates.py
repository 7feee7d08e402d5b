"""Local answers of made-up devices, in the shape of captured ones: what ``payloads.device_of`` takes."""

from __future__ import annotations

from typing import Any

Answers = tuple[dict[str, Any], dict[str, Any], dict[str, Any]]


def gen1(id: str, model: str, name: str | None, mode: str, channels: int) -> Answers:
    """(shelly, settings, status) of a Gen1 device; instead of relays, mode ``roller`` has rollers, ``light`` one lamp.

    ``channels`` is 0 for both.
    """
    mac = id.upper()
    is_light, mode = mode == "light", "white" if mode == "light" else mode
    info = {"type": model, "mac": mac, "auth": False, "fw": "20230913-112234/v1.14.0-gcb84623", "mode": mode}
    relay_settings = [{"name": None, "default_state": "off", "auto_on": 0, "auto_off": 0} for _ in range(channels)]
    settings = {"device": {"type": model, "mac": mac}, "name": name, "mode": mode, "relays": relay_settings}
    status: dict[str, Any] = {
        "wifi_sta": {"connected": True, "ssid": "", "ip": "192.168.1.61", "rssi": -61},
        "cloud": {"enabled": True, "connected": True},
        "mqtt": {"connected": False},
        "time": "",
        "unixtime": 0,
        "serial": 1,
        "has_update": False,
        "mac": mac,
        "actions_stats": {"skipped": 0},
    }
    if mode == "roller":
        status["rollers"] = [{"state": "stop", "power": 0, "is_valid": True, "current_pos": 0, "positioning": True}]
    elif is_light:
        status["lights"] = [
            {"ison": False, "source": "input", "has_timer": False, "mode": mode, "brightness": 80, "temp": 2700}
        ]
    else:
        status["relays"] = [
            {"ison": False, "has_timer": False, "overpower": False, "is_valid": True, "source": "input"}
            for _ in range(channels)
        ]
    meters = max(channels, 1)
    meter = {"power": 0, "overpower": 0, "is_valid": True, "timestamp": 0, "total": 0}
    status["meters"] = [dict(meter) for _ in range(meters)]
    status["inputs"] = [{"input": 0, "event": "", "event_cnt": 0} for _ in range(meters)]
    return info, settings, {**status, "ram_total": 50720, "ram_free": 37372, "uptime": 0}


def gen2(id: str, model: str, name: str | None, mode: str, channels: int, gen: int) -> Answers:  # noqa: PLR0917
    """(shelly, settings, status) of a Gen2+ device; profile ``cover`` has a cover, ``light`` one lamp, ``sensor`` only
    measures; ``channels`` is 0 for all three.
    """
    mac = id.upper()
    info: dict[str, Any] = {"name": name, "id": f"shelly-{id}", "mac": mac, "model": model, "gen": gen, "ver": "1.7.5"}
    settings: dict[str, Any] = {"sys": {"device": {"name": name, "mac": mac}, "cfg_rev": 1}, "cloud": {"enable": True}}
    status: dict[str, Any] = {
        "ble": {},
        "cloud": {"connected": True},
        "mqtt": {"connected": False},
        "sys": {"mac": mac, "restart_required": False, "time": "", "unixtime": 0, "uptime": 0, "available_updates": {}},
        "wifi": {"sta_ip": "192.168.1.57", "status": "got ip", "ssid": "", "rssi": -55},
    }
    for channel in range(channels):
        status[f"switch:{channel}"] = _switch(channel)
        settings[f"switch:{channel}"] = {"id": channel, "name": None, "initial_state": "off", "auto_off": False}
    if mode == "cover":
        info["profile"] = mode
        status["cover:0"] = {"id": 0, "source": "init", "state": "stopped", "apower": 0, "pos_control": False}
    elif mode in ("switch", "light"):
        info["profile"] = mode
        if mode == "light":
            status["light:0"] = {"id": 0, "source": "init", "output": False, "brightness": 80}
    elif mode == "sensor":
        status["temperature:0"] = {"id": 0, "tC": 21.7, "tF": 71.1}
        status["humidity:0"] = {"id": 0, "rh": 52.5}
        status["devicepower:0"] = {"id": 0, "battery": {"V": 5.64, "percent": 81}, "external": {"present": False}}
        status["sys"]["wakeup_period"] = 7200
    return info, settings, status


def _switch(channel: int) -> dict[str, Any]:
    return {
        "id": channel,
        "source": "init",
        "output": False,
        "apower": 0.0,
        "voltage": 231.4,
        "current": 0.0,
        "aenergy": {"total": 0.0, "by_minute": [0, 0, 0], "minute_ts": 0},
        "temperature": {"tC": 42.3, "tF": 108.1},
    }
