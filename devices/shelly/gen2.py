"""Gen2 and later: one block per component, ``switch:0`` … ``switch:3`` being the relays.

Source: Gen2 API pages "Switch", "Cover", "Light", "Temperature", "Humidity", "Sys". Units: ``apower`` W,
``aenergy.total`` Wh, ``tC`` degrees, ``rh`` percent, times Unix UTC.
"""

from __future__ import annotations

import re
from collections import Counter
from datetime import datetime

from devices.shelly.readings import (
    ChannelReading,
    Json,
    Kind,
    LightReading,
    as_flag,
    as_moment,
    as_name,
    as_number,
    as_object,
    as_text,
)

SWITCH = re.compile(r"switch:(\d{1,3})")
LIGHT = re.compile(r"(?:light|rgb|rgbw|cct|rgbcct):(\d{1,3})")
# The first that fits names the device; a cover has inputs too, a meter a temperature.
KINDS: tuple[tuple[re.Pattern[str], Kind], ...] = (
    (re.compile(r"cover:\d+"), "cover"),
    (re.compile(r"cb:\d+"), "breaker"),
    (re.compile(r"(light|rgb|rgbw|cct|rgbcct):\d+"), "light"),
    (re.compile(r"(em|em1|pm1):\d+"), "meter"),
    (re.compile(r"(humidity|devicepower|flood|smoke|presence|illuminance|thermostat):\d+|presence"), "sensor"),
    (re.compile(r"temperature:\d+"), "sensor"),
    (re.compile(r"input:\d+"), "input"),
)


def has_relays(status: Json) -> bool:
    return any(SWITCH.fullmatch(key) for key in status)


def channels(shelly_id: str, status: Json, settings: Json) -> tuple[ChannelReading, ...]:
    """One reading per ``switch:N``, by number. A partial block (only ``apower``) leaves the rest unknown."""
    numbers = sorted(int(hit[1]) for key in status if (hit := SWITCH.fullmatch(key)))
    return tuple(_channel(shelly_id, number, status, settings) for number in numbers)


def lights(status: Json, settings: Json) -> tuple[LightReading, ...]:
    """One reading per light, by number.

    A command names only the number: of two kinds of light that share one (``rgb:0``, ``light:0``) neither is listed.
    """
    found = sorted((int(hit[1]), key) for key in status if (hit := LIGHT.fullmatch(key)))
    times = Counter(number for number, _ in found)
    return tuple(
        LightReading(
            number,
            as_flag(as_object(status[key]).get("output")),
            as_name(as_object(status[key]).get("name")) or as_name(as_object(settings.get(key)).get("name")),
        )
        for number, key in found
        if times[number] == 1
    )


def climate(status: Json) -> tuple[float | None, float | None]:
    """Degrees Celsius and percent humidity of a sensor, each from the first component that has it."""
    return _measured(status, "temperature", "tC"), _measured(status, "humidity", "rh")


def kind(status: Json) -> Kind:
    """What a device without relays is, as far as its components show."""
    return next((kind for pattern, kind in KINDS if any(pattern.fullmatch(key) for key in status)), "unknown")


def device_name(settings: Json) -> str | None:
    return as_name(as_object(as_object(settings.get("sys")).get("device")).get("name"))


def power_up(settings: Json, channel: int) -> str:
    """``initial_state`` of a relay: off, on, restore_last or match_input; empty when it is not said."""
    return as_text(as_object(settings.get(f"switch:{channel}")).get("initial_state"))


def _channel(shelly_id: str, number: int, status: Json, settings: Json) -> ChannelReading:
    key = f"switch:{number}"
    block = as_object(status.get(key))
    return ChannelReading(
        shelly_id=shelly_id,
        channel=number,
        output=as_flag(block.get("output")),
        watts=as_number(block.get("apower")),
        energy_wh=as_number(as_object(block.get("aenergy")).get("total")),
        timer_ends_at=_timer_end(block),
        source=as_text(block.get("source")),
        name=as_name(block.get("name")) or as_name(as_object(settings.get(key)).get("name")),
    )


def _measured(status: Json, component: str, key: str) -> float | None:
    keys = sorted((name for name in status if re.fullmatch(rf"{component}:\d{{1,3}}", name)), key=_number)
    values = (as_number(as_object(status[name]).get(key)) for name in keys)
    return next((value for value in values if value is not None), None)


def _number(key: str) -> int:
    return int(key.rpartition(":")[2])


def _timer_end(block: Json) -> datetime | None:
    started, duration = as_number(block.get("timer_started_at")), as_number(block.get("timer_duration"))
    return as_moment(started + duration) if started and duration else None
