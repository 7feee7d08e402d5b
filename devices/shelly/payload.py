"""From the cloud's answers to readings: pure, and never stopped by one bad entry.

Three envelopes carry the same status object: v1 ``all_status`` (``_dev_info`` inside), v1 ``device/status`` and v2
``get``. Channels come from the payload; the model only helps to say what a device without relays is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from devices.shelly import gen1, gen2
from devices.shelly.readings import (
    ChannelReading,
    DeviceStatus,
    Json,
    Kind,
    ListedDevice,
    Listing,
    Skipped,
    Statuses,
    Target,
    Watched,
    as_flag,
    as_id,
    as_list,
    as_moment,
    as_name,
    as_number,
    as_object,
    as_text,
    as_whole,
)

__all__ = [
    "ChannelReading",
    "DeviceStatus",
    "Kind",
    "ListedDevice",
    "Listing",
    "Skipped",
    "Statuses",
    "Target",
    "parse_all_status",
    "parse_device",
    "parse_device_list",
    "parse_v2_get",
]

CHANNELS_MAX = 32
MARK_MAX = 60
UPDATED = "%Y-%m-%d %H:%M:%S"
WATCHED: tuple[Kind, ...] = ("light", "sensor", "ble")
"""What is looked at although it has no relay; a meter's or cover's own temperature is none of a room."""
FAMILIES = {"G1": 1, "G2": 2, "G3": 3, "G4": 4, "GBLE": 0, "V1": 0}
# For devices whose status shows no component that tells: what their model is.
MODEL_KINDS: tuple[tuple[re.Pattern[str], Kind], ...] = (
    (re.compile(r"SB[A-Z]{2}-"), "ble"),
    (re.compile(r"SH(RGBW|BLB|BDUO|CB|VIN|COLOR|DM|CL|2LED|BTRF)"), "light"),
    (re.compile(r"S(HEM|PEM-003|3EM|NPM|3PM|4EM)"), "meter"),
    (re.compile(r"SH(HT|WT|DW|MOS|SEN|SM|GS|TRV)|SNSN-00(13|31)|S3SN-0U12"), "sensor"),
    (re.compile(r"SHIX3|SHBTN|S[N34]SN-0[02]24"), "input"),
    (re.compile(r"SPCB-"), "breaker"),
)


def parse_all_status(answer: Any) -> Statuses:
    """v1 ``POST /device/all_status`` with ``show_info=true``; ``answer`` is its parsed JSON."""
    entries = as_object(as_object(answer).get("data")).get("devices_status")
    found: dict[str, DeviceStatus] = {}
    skipped: list[Skipped] = []
    for key, status in as_object(entries).items():
        if not isinstance(status, dict):
            skipped.append(Skipped(key, "not an object"))
            continue
        info = as_object(status.get("_dev_info"))
        device = parse_device(
            _id_of(info, status, key),
            status,
            model=as_text(info.get("code")),
            family=as_text(info.get("gen")),
            online=info.get("online"),
        )
        _take(device, key, found, skipped)
    return Statuses(tuple(found.values()), tuple(skipped))


def parse_v2_get(answer: Any) -> Statuses:
    """v2 ``POST /v2/devices/api/get``: an array; what the cloud does not know is simply not in it."""
    found: dict[str, DeviceStatus] = {}
    skipped: list[Skipped] = []
    for number, entry in enumerate(as_list(answer)):
        if not isinstance(entry, dict):
            skipped.append(Skipped(f"entry {number}", "not an object"))
            continue
        family = as_text(entry.get("gen"))
        device = parse_device(
            as_id(entry.get("id"), family),
            as_object(entry.get("status")),
            model=as_text(entry.get("code")),
            family=family,
            online=entry.get("online"),
            settings=as_object(entry.get("settings")),
        )
        _take(device, f"entry {number}", found, skipped)
    return Statuses(tuple(found.values()), tuple(skipped))


def parse_power_up(answer: Any, targets: Iterable[Target]) -> dict[Target, str]:
    """What relays do when their power returns, from the settings in a v2 ``get``; only those that say it."""
    settings = {}
    for raw in as_list(answer):
        entry = as_object(raw)
        settings[as_id(entry.get("id"), as_text(entry.get("gen")))] = as_object(entry.get("settings"))
    found = {}
    for target in targets:
        said = settings.get(target.shelly_id, {})
        found[target] = gen2.power_up(said, target.channel) or gen1.power_up(said, target.channel)
    return {target: power_up for target, power_up in found.items() if power_up}


def parse_device(
    shelly_id: str, status: Json, *, model: str = "", family: str = "", online: Any = None, settings: Json | None = None
) -> DeviceStatus:
    """One device from its status object (cloud or local). ``settings`` only adds names and the true generation."""
    settings = settings or {}
    model = model or as_text(status.get("code"))
    is_gen1 = family == "G1" or (family != "G2" and gen1.has_relays(status) and not gen2.has_relays(status))
    protocol = gen1 if is_gen1 else gen2
    channels = protocol.channels(shelly_id, status, settings)
    kind = "relay" if channels else _kind(status, model, family)
    return DeviceStatus(
        shelly_id=shelly_id,
        model=model,
        generation=_generation(model, family, settings, is_gen1=is_gen1),
        online=as_flag(online) is True,
        channels=channels,
        mark=_mark(status),
        has_relay_info=bool(channels),
        kind=kind,
        name=as_name(status.get("name")) or gen1.device_name(settings) or gen2.device_name(settings),
        watched=_watched(status, settings, kind),
    )


def parse_device_list(answer: Any) -> Listing:
    """The app's ``POST /interface/device/list``: one entry per channel, ``<id>`` and ``<id>_<channel>``."""
    entries = as_object(as_object(answer).get("data")).get("devices")
    found: dict[Target, ListedDevice] = {}
    skipped: list[Skipped] = []
    for key, entry in as_object(entries).items():
        listed = _listed(key, entry) if isinstance(entry, dict) else None
        if listed is None:
            skipped.append(Skipped(key, "no id or channel" if isinstance(entry, dict) else "not an object"))
        else:
            found.setdefault(Target(listed.shelly_id, listed.channel), listed)
    return Listing(tuple(found.values()), tuple(skipped))


def _take(device: DeviceStatus, key: str, found: dict[str, DeviceStatus], skipped: list[Skipped]) -> None:
    """Keep ``device``; of two entries with one id the one that shows relays."""
    if not device.shelly_id:
        skipped.append(Skipped(key, "no id"))
        return
    known = found.get(device.shelly_id)
    if known is None or (device.has_relay_info and not known.has_relay_info):
        found[device.shelly_id] = device
    if known is not None:
        skipped.append(Skipped(key, "the same id twice"))


def _id_of(info: Json, status: Json, key: str) -> str:
    """The documentation tells not to rely on the outer key; it is the last resort."""
    family = as_text(info.get("gen"))
    return as_id(info.get("id"), family) or as_id(status.get("id"), family) or as_id(key, family)


def _watched(status: Json, settings: Json, kind: Kind) -> Watched | None:
    """What a light or sensor shows; None for every other kind, and where it shows nothing."""
    if kind not in WATCHED:
        return None
    lights = gen1.lights(status, settings) or gen2.lights(status, settings) if kind == "light" else ()
    measured = zip(gen1.climate(status), gen2.climate(status), strict=True)
    celsius, humidity = (new if old is None else old for old, new in measured) if kind != "light" else (None, None)
    if not lights and celsius is None and humidity is None:
        return None
    return Watched(lights, celsius, humidity, as_flag(status.get("_sleeping")) is True, _told_at(status))


def _told_at(status: Json) -> datetime | None:
    """When the device last spoke: ``_updated``, else Gen2's serial, which is that moment, else its own clock then.

    Gen1's serial is a counter: far below any moment of this century.
    """
    try:
        return datetime.strptime(as_text(status.get("_updated")), UPDATED).replace(tzinfo=UTC)
    except ValueError:
        clocks = (status.get("serial"), status.get("unixtime"), as_object(status.get("sys")).get("unixtime"))
        return next((moment for raw in clocks if (moment := as_moment(as_number(raw)))), None)


def _mark(status: Json) -> str:
    """``serial`` where there is one (v2 may leave out ``_updated``, and marks of both APIs are compared)."""
    serial = status.get("serial")
    if as_number(serial) is not None or as_text(serial):
        return f"serial {serial}"[:MARK_MAX]
    updated = as_text(status.get("_updated"))
    return f"updated {updated}"[:MARK_MAX] if updated else ""


def _generation(model: str, family: str, settings: Json, *, is_gen1: bool) -> int:
    """``gen`` is only the protocol family: a Gen3 device says G2. The device's own word, then its model, know more."""
    own = as_whole(as_object(settings.get("DeviceInfo")).get("gen"))
    if own:
        return own
    hit = re.match(r"S([3-9])[A-Z]{2}", model)
    if hit:
        return int(hit[1])
    if family in FAMILIES:
        return FAMILIES[family]
    if re.match(r"S[NPA][A-Z]{2}-", model):
        return 2
    return 1 if is_gen1 or model.startswith("SH") else 0 if model.startswith("SB") else 2


def _kind(status: Json, model: str, family: str) -> Kind:
    if family == "GBLE":
        return "ble"
    if family == "V1":
        return "virtual"
    for shown in (gen1.kind(status), gen2.kind(status)):
        if shown not in ("unknown", "input"):
            return shown
    by_model = next((kind for pattern, kind in MODEL_KINDS if pattern.match(model)), None)
    return by_model or "unknown"


def _listed(key: str, entry: Json) -> ListedDevice | None:
    raw = entry.get("id")
    text = as_text(raw) or (as_id(raw) if isinstance(raw, int) else as_text(key))
    base, _, suffix = text.partition("_")
    shelly_id = as_id(base)
    channel = as_whole(entry.get("channel"))
    if channel is None:
        channel = as_whole(suffix) or 0
    if not shelly_id or not 0 <= channel < CHANNELS_MAX:
        return None
    model = as_text(entry.get("type"))
    gen = as_whole(entry.get("gen"))
    family = f"G{gen}" if gen is not None else as_text(entry.get("gen"))
    return ListedDevice(
        shelly_id=shelly_id,
        channel=channel,
        name=as_name(entry.get("name")),
        model=model,
        generation=_generation(model, family, {}, is_gen1=family == "G1"),
        category=as_text(entry.get("category")).lower(),
        mode=as_text(entry.get("mode")).lower(),
        channels_count=min(max(as_whole(entry.get("channels_count")) or 1, 1), CHANNELS_MAX),
    )
