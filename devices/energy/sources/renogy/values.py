"""What a Renogy answer says, in our units and signs. Pure: no clock, no network, no guess.

Source: Renogy OpenAPI V0.9 and what its clients met. Values are plain, some families send texts, nulls are common, some
numbers mean "no value", and a current may stand in mA under the unit "A". What cannot be told for certain is absent.
Renogy's sign: a battery's current is negative while it discharges, as in our ``battery_charge_w``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from devices.energy.reading import Field
from devices.energy.sources.source import Malformed

Units = Mapping[str, str]
Values = Mapping[str, float | None]
Trio = tuple[str, str, str]  # the keys of volts, amps and watts of one flow
NO_CODE = 3084.0  # in place of a battery type or an output state that the device does not know
CODES = frozenset({"batteryType", "output"})
NO_TEMPERATURE = -3276.8
DOCUMENTED_UNITS = {"presentAmps": "mA", "gridChargeAmps": "mA"}  # where a datamap names none
AMPS_PER_AH = 3.0  # no battery of theirs gives three times its capacity; more under "A" is mA
SCALES = (1.0, 0.001)
AGREES_WITHIN = 0.25
SOLAR = (("solarChargingVolts", "solarChargingAmps", "solarWatts"), ("solarVolts", "solarAmps", "solarWatts"))
AC = (("outputVolts", "outputAmps", "loadActiveWatts"), ("loadVolts", "loadAmps", "loadWatts"))
POWER_MAX_W = 100_000.0  # a site of DC devices that shows more shows nonsense
NAME_MAX = 60
AFTER_MAX_S = 253_402_300_799  # the last second that a datetime holds


@dataclass(frozen=True)
class RenogyDevice:
    """A hub or a device below one. ``online``: it and its hub are heard; only then do its values count."""

    id: str
    name: str
    category: str
    online: bool
    hub_id: str


@dataclass(frozen=True)
class Latest:
    """What one device's ``latest`` says, W, % and Ah; None where it says nothing that can be used.

    ``scales``: by key of a current, what it must be multiplied with to be A, where volts and watts told it.
    ``generated_wh``: the lifetime counter, in Wh whatever its unit claims.
    """

    soc_pct: float | None = None
    capacity_ah: float | None = None
    battery_charge_w: float | None = None
    solar_w: float | None = None
    ac_w: float | None = None
    generated_wh: float | None = None
    scales: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Alarm:
    """An alarm that is on at one device. ``level`` is theirs (Minor to Fatal), "" where they name none."""

    device_id: str
    code: str
    level: str
    name: str
    advice: str
    at: datetime | None


@dataclass(frozen=True)
class SolarDay:
    """The yield of one day in Wh; ``start`` is the local midnight it was asked for."""

    start: datetime
    energy_wh: float


@dataclass(frozen=True)
class LogLine:
    at: datetime | None
    text: str


# -- single values


def number(raw: Any, key: str = "") -> float | None:
    """A finite number, also out of a text; None for null, words, NaN, and the marks that mean "no value"."""
    if isinstance(raw, bool) or not isinstance(raw, int | float | str):
        return None
    try:
        value = float(raw)
    except (ValueError, OverflowError):
        return None
    if not math.isfinite(value) or (key in CODES and value == NO_CODE):
        return None
    return None if abs(value - NO_TEMPERATURE) < 0.01 else value


def amps_scale(volts: float | None, amps: float | None, watts: float | None) -> float | None:
    """1 for A, 0.001 for mA: what makes volts × amps the watts that the device states; None when nothing tells."""
    if not volts or not amps or not watts:
        return None
    apparent = abs(volts * amps)
    fits = [scale for scale in SCALES if abs(apparent * scale - abs(watts)) <= AGREES_WITHIN * apparent * scale]
    return fits[0] if len(fits) == 1 else None


def power(at: Values, trio: Trio, units: Units, scales: Mapping[str, float]) -> float | None:
    """The watts a device states, else volts × amps where the scale of the amps was told once or their unit is mA.

    "A" alone is not believed: several products send mA under it.
    """
    volts_key, amps_key, watts_key = trio
    stated, volts, amps = at.get(watts_key), at.get(volts_key), at.get(amps_key)
    if stated is not None or volts is None or amps is None:
        return stated
    scale = scales.get(amps_key) or (0.001 if units.get(amps_key) == "mA" else None)
    return None if scale is None else volts * amps * scale


def battery_power(volts: float | None, amps: float | None, unit: str, capacity_ah: float | None) -> float | None:
    """W from a battery's current under the unit of its datamap; "A" is believed only as far as the battery can give."""
    if volts is None or amps is None or volts <= 0:
        return None
    if unit == "mA":
        return volts * amps / 1000
    if unit != "A" or capacity_ah is None:
        return None
    scale = 1.0 if abs(amps) <= AMPS_PER_AH * capacity_ah else 0.001
    return volts * amps * scale


def within(value: float | None, least: float, most: float) -> float | None:
    """The value where it is possible; an impossible one is left out, never cut to size."""
    return value if value is not None and least <= value <= most else None


# -- answers


def rows_of(answer: Any, what: str) -> list[dict[str, Any]]:
    """The objects of an array, bare or under ``data``; raises ``Malformed`` for anything else."""
    rows = answer.get("data") if isinstance(answer, dict) else answer
    if not isinstance(rows, list):
        raise Malformed(f"Renogy's {what} is no list.", "Try again later.")
    return [row for row in rows if isinstance(row, dict)]


def devices_of(answer: Any) -> tuple[RenogyDevice, ...]:
    """Hubs and what is below them. A device of an offline hub is offline, whatever its own row says."""
    found: list[RenogyDevice] = []
    for row in rows_of(answer, "device list"):
        hub = _device(row, hub_id="", reached=True)
        below = row.get("sublist")
        subs = [sub for sub in below if isinstance(sub, dict)] if isinstance(below, list) else []
        found.extend(_device(each, hub.id, reached=hub.online) for each in subs)
        found.append(hub)
    return tuple({device.id: device for device in found if device.id}.values())


def _device(row: dict[str, Any], hub_id: str, reached: bool) -> RenogyDevice:
    id = _text(row.get("deviceId"))
    name = _text(row.get("name")) or _text(row.get("sku")) or id
    online = reached and _text(row.get("onlineStatus")).lower() == "online"
    return RenogyDevice(id, name, _text(row.get("category")).lower(), online, hub_id)


def units_of(answer: Any) -> dict[str, str]:
    """Name → unit of a datamap; rows without a unit are left out."""
    rows = rows_of(answer, "data map")
    return {_text(row.get("name")): _text(row["unit"]) for row in rows if _text(row.get("unit"))}


def latest_of(answer: Any, units: Units, scales: Mapping[str, float] | None = None) -> Latest:
    """``latest`` of one device; a body without ``data`` says nothing, anything but an object is ``Malformed``.

    ``scales``: what earlier answers of the device told about its currents.
    """
    if not isinstance(answer, dict):
        raise Malformed("Renogy's latest data is no object.", "Try again later.")
    data = answer.get("data")
    raw = data if isinstance(data, dict) else {}
    at = {key: number(value, key) for key, value in raw.items() if isinstance(key, str)}
    capacity = within(at.get("maximumCapacity"), 0.1, 10_000)
    told = {**(scales or {}), **_scales(at)}
    return Latest(
        soc_pct=within(_first(at, "batteryLevel", "soc"), 0, 100),
        capacity_ah=capacity,
        battery_charge_w=within(_battery_w(at, units, capacity), -POWER_MAX_W, POWER_MAX_W),
        solar_w=within(_first_power(at, SOLAR, units, told), 0, POWER_MAX_W),
        ac_w=within(_first_power(at, AC, units, told), 0, POWER_MAX_W),
        scales=told,
        generated_wh=within(at.get("totalKwhGenerated"), 0, 1e12),
    )


def _scales(at: Values) -> dict[str, float]:
    found = {amps: amps_scale(at.get(volts), at.get(amps), at.get(watts)) for volts, amps, watts in (*SOLAR, *AC)}
    return {key: scale for key, scale in found.items() if scale is not None}


def _first_power(at: Values, trios: tuple[Trio, ...], units: Units, scales: Mapping[str, float]) -> float | None:
    return next((watts for trio in trios if (watts := power(at, trio, units, scales)) is not None), None)


def _battery_w(at: Values, units: Units, capacity: float | None) -> float | None:
    unit = units.get("presentAmps", DOCUMENTED_UNITS["presentAmps"])
    return battery_power(at.get("presentVolts"), at.get("presentAmps"), unit, capacity)


def _first(at: Values, *keys: str) -> float | None:
    """The value of the first of ``keys`` that has one: products differ in what they call a thing."""
    return next((value for key in keys if (value := at.get(key)) is not None), None)


def alarms_of(answer: Any, device_id: str) -> tuple[Alarm, ...]:
    return tuple(
        Alarm(
            device_id=device_id,
            code=_text(row.get("code")),
            level=_text(row.get("alarmLevel")),
            name=_text(row.get("alarmName")) or "Alarm without a name",
            advice=_text(row.get("suggestion"), 400) or _text(row.get("desc"), 400),
            at=_moment(row.get("ts")),
        )
        for row in rows_of(answer, "alarm list")
    )


def history_of(answer: Any) -> tuple[SolarDay, ...]:
    """Days with both a time and a yield, in Wh."""
    days = []
    for row in rows_of(answer, "history"):
        start, energy = _moment(row.get("ts")), within(number(row.get("generatePower")), 0, 1e9)
        if start is not None and energy is not None:
            days.append(SolarDay(start, energy))
    return tuple(days)


def log_of(answer: Any) -> tuple[LogLine, ...]:
    return tuple(LogLine(_moment(row.get("ts")), _text(row.get("content"), 400)) for row in rows_of(answer, "log"))


def _text(raw: Any, most: int = NAME_MAX) -> str:
    return " ".join(str(raw).split())[:most] if isinstance(raw, str | int) and not isinstance(raw, bool) else ""


def _moment(raw: Any) -> datetime | None:
    milliseconds = within(number(raw), 0, AFTER_MAX_S * 1000)
    return None if milliseconds is None else datetime.fromtimestamp(milliseconds / 1000, UTC)


# -- the site


def site_fields(latest: Iterable[tuple[RenogyDevice, Latest | None]]) -> dict[Field, int | float]:
    """The fields of the site from its devices; None stands for a device that was not heard.

    A sum or a mean with a hole in it is no value: one silent battery leaves the state of charge absent, one silent
    charge controller the sun. A plan that gave power by half of the batteries would drain the other half. A device that
    was taken away for good but stays listed has to be left out by the source's settings.
    """
    known = list(latest)
    batteries = [one for device, one in known if device.category == "battery"]
    controllers = [one for device, one in known if device.category == "controller"]
    others = [one for device, one in known if device.category not in ("battery", "controller")]
    stores = [one for one in others if one is None or one.soc_pct is not None]
    inverters = [one for device, one in known if device.category.startswith("inverter")]
    suns = [*controllers, *(one for one in others if one is not None and one.solar_w is not None)]
    found = {
        Field.SOC: _soc(batteries or controllers or stores),
        Field.BATTERY_CHARGE: _sum([None if one is None else one.battery_charge_w for one in batteries]),
        Field.PV: _sum([None if one is None else one.solar_w for one in suns]),
        Field.INVERTER_AC: _sum([None if one is None else one.ac_w for one in inverters]),
    }
    return {field: value for field, value in found.items() if value is not None}


def _sum(watts: list[float | None]) -> int | None:
    whole = [value for value in watts if value is not None]
    return round(sum(whole)) if whole and len(whole) == len(watts) else None


def _soc(batteries: list[Latest | None]) -> float | None:
    """By capacity where every battery names its own, else the lowest: a bank is as empty as its emptiest part."""
    levels = [one.soc_pct for one in batteries if one is not None and one.soc_pct is not None]
    if not levels or len(levels) < len(batteries):
        return None
    sizes = [one.capacity_ah for one in batteries if one is not None and one.capacity_ah is not None]
    if len(sizes) < len(levels):
        return round(min(levels), 1)
    return round(sum(level * size for level, size in zip(levels, sizes, strict=True)) / sum(sizes), 1)
