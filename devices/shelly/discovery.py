"""What an account has to offer: every relay channel with its best name, and why the other things cannot be sold."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from devices.shelly.cloud import ShellyCloud
from devices.shelly.readings import NAME_MAX, DeviceStatus, Kind, ListedDevice, Watched

NO_STATUS = "no status yet"
NO_RELAY = "no relay reported"
OFFLINE = "offline"
OUTPUT_UNKNOWN = "the relay does not say whether it is on"
# Why a device without a relay is not for sale, in words that can stand behind its name.
REASONS: dict[Kind, str] = {
    "cover": "cover profile: switch the device to its relay (switch) profile to sell it",
    "light": "light without a relay",
    "meter": "energy meter without a relay",
    "breaker": "circuit breaker: not a relay that may be switched for each customer",
    "sensor": "sensor without a relay",
    "input": "inputs only, no relay",
    "ble": "Bluetooth (BLE) device without a relay",
    "virtual": "virtual device, no relay",
}
LISTED_KINDS: dict[str, Kind] = {"light": "light", "emeter": "meter", "sensor": "sensor", "roller": "cover"}


@dataclass(frozen=True)
class FoundChannel:
    """One row of a sync. ``channel`` counts from 0 and is None for what has no relay; ``reason`` is empty when all is
    well. A relay that is offline is still sellable as a thing. ``watched``: what a light or sensor shows.
    """

    shelly_id: str
    channel: int | None
    name: str
    model: str
    generation: int
    online: bool
    output: bool | None
    sellable: bool
    reason: str
    watched: Watched | None = None

    def as_json(self) -> dict[str, Any]:
        """Only what is watched has that key."""
        row = asdict(self)
        if self.watched is None:
            del row["watched"]
        else:
            told_at = self.watched.told_at
            row["watched"] |= {"told_at": told_at.isoformat() if told_at else None}
        return row


def discover(cloud: ShellyCloud, between: Callable[[Sequence[DeviceStatus]], None]) -> tuple[FoundChannel, ...]:
    """Two requests, all_status and the device list; raises their ``ShellyError``.

    ``between`` them is for whoever keeps the gap; it is told what the first one answered.
    """
    statuses = cloud.all_status()
    between(statuses)
    return merged(statuses, cloud.device_list())


def merged(statuses: Iterable[DeviceStatus], listed: Iterable[ListedDevice]) -> tuple[FoundChannel, ...]:
    """What both say together: first the devices with a status, in the cloud's order, then those only listed."""
    entries: dict[str, list[ListedDevice]] = defaultdict(list)
    for entry in listed:
        entries[entry.shelly_id].append(entry)
    rows: list[FoundChannel] = []
    for status in statuses:
        rows += _told_apart(_with_status(status, entries.pop(status.shelly_id, [])))
    for only_listed in entries.values():
        rows += _told_apart(_without_status(only_listed))
    return tuple(rows)


def _with_status(status: DeviceStatus, entries: Sequence[ListedDevice]) -> list[FoundChannel]:
    model = status.model or next((entry.model for entry in entries if entry.model), "")
    if not status.channels:
        kind = status.kind if status.kind != "unknown" else _kind_of(entries)
        name = _alias(entries, 0) or status.name or _by_model(model)
        return [
            FoundChannel(
                shelly_id=status.shelly_id,
                channel=None,
                name=name,
                model=model,
                generation=status.generation,
                online=status.online,
                output=None,
                sellable=False,
                reason=REASONS.get(kind, NO_RELAY),
                watched=status.watched and _named(status.watched, entries),
            )
        ]
    several = len(status.channels) > 1
    rows = []
    for reading in status.channels:
        is_readable = reading.output is not None
        reason = OUTPUT_UNKNOWN if not is_readable else "" if status.online else OFFLINE
        number = reading.channel if several else None
        rows.append(
            FoundChannel(
                shelly_id=status.shelly_id,
                channel=reading.channel,
                name=_alias(entries, reading.channel) or reading.name or status.name or _by_model(model, number),
                model=model,
                generation=status.generation,
                online=status.online,
                output=reading.output,
                sellable=is_readable,
                reason=reason,
            )
        )
    return rows


def _named(watched: Watched, entries: Sequence[ListedDevice]) -> Watched:
    """Several lights of one device have names of their own in the app."""
    if len(watched.lights) < 2:
        return watched
    lights = (replace(one, name=_alias(entries, one.channel) or one.name) for one in watched.lights)
    return replace(watched, lights=tuple(lights))


def _without_status(entries: Sequence[ListedDevice]) -> list[FoundChannel]:
    """A device that the list knows and the status does not: its channels by the list, none of them for sale yet."""
    first = entries[0]
    kind = _kind_of(entries)
    if kind != "relay":
        name = _alias(entries, first.channel) or _by_model(first.model)
        reason = REASONS.get(kind, NO_STATUS)
        return [FoundChannel(first.shelly_id, None, name, first.model, first.generation, False, None, False, reason)]
    count = max(entry.channels_count for entry in entries)
    numbers = sorted({*range(count), *(entry.channel for entry in entries)})
    return [
        FoundChannel(
            shelly_id=first.shelly_id,
            channel=number,
            name=_alias(entries, number) or _by_model(first.model, number if len(numbers) > 1 else None),
            model=first.model,
            generation=first.generation,
            online=False,
            output=None,
            sellable=False,
            reason=NO_STATUS,
        )
        for number in numbers
    ]


def _kind_of(entries: Sequence[ListedDevice]) -> Kind:
    """What the list says a device is: its mode (roller, color) tells more than its category."""
    for entry in entries:
        if entry.mode in ("roller", "cover"):
            return "cover"
        if entry.category in LISTED_KINDS:
            return LISTED_KINDS[entry.category]
        if entry.category == "relay":
            return "relay"
    return "unknown"


def _alias(entries: Sequence[ListedDevice], channel: int) -> str | None:
    return next((entry.name for entry in entries if entry.channel == channel), None)


def _by_model(model: str, channel: int | None = None) -> str:
    """The name of last resort. People count channels from 1."""
    name = f"Shelly {model}" if model else "Shelly device"
    return name if channel is None else f"{name} channel {channel + 1}"


def _told_apart(rows: list[FoundChannel]) -> list[FoundChannel]:
    """Channels of one device that would share a name get their number."""
    shared = {name for name, times in Counter(row.name for row in rows).items() if times > 1}
    return [replace(row, name=_numbered(row)) if row.name in shared else row for row in rows]


def _numbered(row: FoundChannel) -> str:
    suffix = f" channel {(row.channel or 0) + 1}"
    return row.name[: NAME_MAX - len(suffix)].rstrip() + suffix
