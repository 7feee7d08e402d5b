"""What a payload says, in Hygate's words; and the small readers that both generations share.

Cloud payloads are untidy: empty objects come as ``[]``, ids as numbers, ``online`` as a bool or 0/1. The readers take
anything and answer None for what is not what it should be.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

Kind = Literal["relay", "cover", "light", "meter", "breaker", "sensor", "input", "ble", "virtual", "unknown"]
Json = dict[str, Any]
NAME_MAX = 60
MAC_DIGITS, SHORT_ID_DIGITS = 12, 6
EARLIEST, LATEST = 946_684_800, 4_102_444_800  # the years 2000 and 2100: a timer outside is a clock that was never set


@dataclass(frozen=True)
class Target:
    """One relay as the cloud addresses it; its text is the form that set/groups takes. Channels count from 0."""

    shelly_id: str
    channel: int

    def __str__(self) -> str:
        return f"{self.shelly_id}_{self.channel}"


@dataclass(frozen=True)
class ChannelReading:
    """One relay channel. None always means: the payload does not say (never "off" or "no power").

    ``watts`` may be negative (a reversed clamp, feed-in). ``energy_wh`` counts since the device's own reset.
    ``timer_ends_at``: when the armed one-shot timer flips the relay back. ``source``: what moved it last.
    """

    shelly_id: str
    channel: int
    output: bool | None
    watts: float | None = None
    energy_wh: float | None = None
    timer_ends_at: datetime | None = None
    source: str = ""
    name: str | None = None

    @property
    def target(self) -> Target:
        return Target(self.shelly_id, self.channel)


@dataclass(frozen=True)
class LightReading:
    """One light of a bulb or dimmer. ``output`` None: the payload does not say."""

    channel: int
    output: bool | None
    name: str | None = None


@dataclass(frozen=True)
class Watched:
    """What a light or a sensor shows: never sold, only looked at (and a light switched by the staff).

    ``told_at``: when the device itself last spoke to the cloud, which is how old the values are. ``asleep``: a battery
    sensor that speaks only when it wakes; the cloud repeats its last word meanwhile and calls it online.
    """

    lights: tuple[LightReading, ...] = ()
    celsius: float | None = None
    humidity: float | None = None
    asleep: bool = False
    told_at: datetime | None = None


@dataclass(frozen=True)
class DeviceStatus:
    """One device as the cloud knows it. ``mark`` changes with every push of the device; empty where none is given.

    ``generation`` is the true one (1 to 4), 0 for what is no relay family (Bluetooth, virtual). ``has_relay_info``: the
    payload has relay blocks at all; without them it says nothing about how many relays the device has. ``watched``: of
    a device without relays, where it shows something; a device with a relay never has it.
    """

    shelly_id: str
    model: str
    generation: int
    online: bool
    channels: tuple[ChannelReading, ...] = ()
    mark: str = ""
    has_relay_info: bool = False
    kind: Kind = "unknown"
    name: str | None = None
    watched: Watched | None = None

    def channel(self, number: int) -> ChannelReading | None:
        return next((reading for reading in self.channels if reading.channel == number), None)


@dataclass(frozen=True)
class ListedDevice:
    """One entry of the app's device list: a channel with the name that its owner gave it."""

    shelly_id: str
    channel: int
    name: str | None
    model: str
    generation: int
    category: str = ""
    mode: str = ""
    channels_count: int = 1


@dataclass(frozen=True)
class Skipped:
    """An entry that could not be read. ``key`` is what the payload calls it."""

    key: str
    why: str


@dataclass(frozen=True)
class Statuses:
    devices: tuple[DeviceStatus, ...]
    skipped: tuple[Skipped, ...] = field(default=())


@dataclass(frozen=True)
class Listing:
    devices: tuple[ListedDevice, ...]
    skipped: tuple[Skipped, ...] = field(default=())


def as_object(value: Any) -> Json:
    """``value`` where it is an object, else an empty one (the cloud writes ``{}`` as ``[]``)."""
    return value if isinstance(value, dict) else {}


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def as_number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def as_whole(value: Any) -> int | None:
    """A whole number, also as a text of digits."""
    if isinstance(value, str) and re.fullmatch(r"\s*[0-9]{1,15}\s*", value):
        return int(value)
    number = as_number(value)
    return int(number) if number is not None and number == int(number) else None


def as_flag(value: Any) -> bool | None:
    """A bool that may come as 0/1 or as a text."""
    if isinstance(value, str):
        return {"true": True, "1": True, "false": False, "0": False}.get(value.strip().lower())
    return bool(value) if value in (0, 1) else None


def as_text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""


def as_name(value: Any) -> str | None:
    """A name that a person gave: blanks tidied; the app's placeholder "unnamed" is none."""
    name = " ".join(value.split())[:NAME_MAX].rstrip() if isinstance(value, str) else ""
    return None if name.lower() in ("", "unnamed") else name


def as_moment(seconds: float | None) -> datetime | None:
    """Unix seconds as an aware UTC moment."""
    if seconds is None or not EARLIEST <= seconds <= LATEST:
        return None
    return datetime.fromtimestamp(seconds, UTC)


def as_id(value: Any, family: str = "") -> str:
    """The id in lower case; empty where there is none.

    A MAC of digits only can arrive as a number that lost its leading zeros: they come back (12 digits, 6 for the
    short ids of old Gen1 devices). The ids of virtual devices are numbers by nature and stay as they are.
    """
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**15:
        digits = str(value)
        if family == "V1":
            return digits
        return digits.zfill(SHORT_ID_DIGITS if len(digits) <= SHORT_ID_DIGITS else MAC_DIGITS)
    text = value.strip().lower() if isinstance(value, str) else ""
    return text if re.fullmatch(r"[0-9a-z:.-]{1,40}", text) else ""
