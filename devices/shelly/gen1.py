"""Gen1 status: ``relays[]`` with ``meters[]`` or ``emeters[]`` beside them.

Source: Gen1 API pages "status", "relay" and "light". Units: ``meters[].total`` watt-minutes, ``emeters[].total`` Wh.
"""

from __future__ import annotations

from datetime import datetime

from devices.shelly.readings import (
    ChannelReading,
    Json,
    Kind,
    LightReading,
    as_flag,
    as_list,
    as_moment,
    as_name,
    as_number,
    as_object,
    as_text,
)

WATT_MINUTES_PER_WH = 60.0
POWER_UP = {"last": "restore_last", "switch": "match_input"}
"""What Gen1 calls otherwise than later generations."""
SENSOR_KEYS = ("hum", "bat", "lux", "flood", "smoke", "motion", "sensor", "gas_sensor", "accel", "thermostats")


def has_relays(status: Json) -> bool:
    return bool(as_list(status.get("relays")))


def channels(shelly_id: str, status: Json, settings: Json) -> tuple[ChannelReading, ...]:
    """One reading per entry of ``relays[]``; an entry that is no object keeps its place and says nothing."""
    relays = as_list(status.get("relays"))
    names = as_list(settings.get("relays"))
    found = []
    for number, raw in enumerate(relays):
        relay = as_object(raw)
        watts, energy_wh = _meter(status, number, len(relays))
        found.append(
            ChannelReading(
                shelly_id=shelly_id,
                channel=number,
                output=as_flag(relay.get("ison")),
                watts=watts,
                energy_wh=energy_wh,
                timer_ends_at=_timer_end(relay, status),
                source=as_text(relay.get("source")),
                name=as_name(relay.get("name")) or _nth_name(names, number),
            )
        )
    return tuple(found)


def lights(status: Json, settings: Json) -> tuple[LightReading, ...]:
    """One reading per entry of ``lights[]``, of bulbs as of RGBW2; one that is no object keeps its place."""
    names = as_list(settings.get("lights"))
    return tuple(
        LightReading(number, as_flag(as_object(raw).get("ison")), _nth_name(names, number))
        for number, raw in enumerate(as_list(status.get("lights")))
    )


def climate(status: Json) -> tuple[float | None, float | None]:
    """Degrees Celsius and percent humidity of a sensor; what calls itself invalid measures nothing."""
    tmp, hum = as_object(status.get("tmp")), as_object(status.get("hum"))
    celsius = as_number(tmp.get("tC"))
    if celsius is None and tmp.get("units") == "C":
        celsius = as_number(tmp.get("value"))
    return (
        None if as_flag(tmp.get("is_valid")) is False else celsius,
        None if as_flag(hum.get("is_valid")) is False else as_number(hum.get("value")),
    )


def kind(status: Json) -> Kind:
    """What a device without relays is, as far as its status shows."""
    if as_list(status.get("rollers")):
        return "cover"
    if as_list(status.get("lights")):
        return "light"
    if as_list(status.get("emeters")):
        return "meter"
    if any(key in status for key in SENSOR_KEYS):
        return "sensor"
    return "unknown"


def device_name(settings: Json) -> str | None:
    return as_name(settings.get("name"))


def power_up(settings: Json, channel: int) -> str:
    """``default_state`` of a relay in the words of Gen2 (``initial_state``); empty when it is not said."""
    relays = as_list(settings.get("relays"))
    said = as_text(as_object(relays[channel]).get("default_state")) if channel < len(relays) else ""
    return POWER_UP.get(said, said)


def _nth_name(entries: list[object], number: int) -> str | None:
    return as_name(as_object(entries[number]).get("name")) if number < len(entries) else None


def _meter(status: Json, number: int, relays: int) -> tuple[float | None, float | None]:
    """Watts and Wh of relay ``number``. One meter for several relays (SHSW-21) belongs to none of them."""
    meters = as_list(status.get("meters"))
    if meters:
        is_shared = len(meters) == 1 and relays > 1
        return (None, None) if is_shared or number >= len(meters) else _own_meter(as_object(meters[number]))
    return _clamps(status) if relays == 1 else (None, None)


def _own_meter(meter: Json) -> tuple[float | None, float | None]:
    """A relay without a meter (SHSW-1) still shows ``{"power": 0}``, without a counter: that measures nothing."""
    if as_flag(meter.get("is_valid")) is False:
        return None, None
    watts, total = as_number(meter.get("power")), as_number(meter.get("total"))
    if total is None:
        return watts or None, None
    return watts, total / WATT_MINUTES_PER_WH


def _clamps(status: Json) -> tuple[float | None, float | None]:
    """All clamps of an energy meter together: its one relay drives the contactor of what they measure."""
    clamps = [as_object(raw) for raw in as_list(status.get("emeters"))]
    valid = [clamp for clamp in clamps if as_flag(clamp.get("is_valid")) is not False]
    watts = [value for clamp in valid if (value := as_number(clamp.get("power"))) is not None]
    totals = [value for clamp in valid if (value := as_number(clamp.get("total"))) is not None]
    return (sum(watts) if watts else None), (sum(totals) if totals else None)


def _timer_end(relay: Json, status: Json) -> datetime | None:
    """When the armed timer fires: start + duration, else (clock not set at its start) the device's now + the rest."""
    if as_flag(relay.get("has_timer")) is not True:
        return None
    started, duration = as_number(relay.get("timer_started")), as_number(relay.get("timer_duration"))
    if started and duration:
        return as_moment(started + duration)
    now, rest = as_number(status.get("unixtime")), as_number(relay.get("timer_remaining"))
    return as_moment(now + rest) if now and rest else None
