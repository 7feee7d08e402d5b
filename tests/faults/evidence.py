"""What the three ledgers say about one row: money (Stripe's), power (the relays'), claims (our database, by SQL)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

Entry = dict[str, Any]


@dataclass
class Roof:
    """What a row's plant did, by its own books: the limit of its grid connection, and how old a reading may be.

    ``house``: (when, import without the sold devices in W). ``answered``: when the plant answered the watcher.
    ``rated``: watts of each sold relay.
    """

    limit_w: int
    max_age_s: float
    house: list[tuple[float, int]] = field(default_factory=list)
    answered: list[float] = field(default_factory=list)
    rated: dict[tuple[str, int], int] = field(default_factory=dict)

    def house_at(self, t: float) -> int:
        """The house's import at ``t``: the last word before it."""
        return max((one for one in self.house if one[0] <= t), default=(0.0, 0))[1]

    def age_at(self, t: float) -> float:
        return t - max((one for one in self.answered if one <= t), default=float("-inf"))


@dataclass
class Evidence:
    """Everything of one row. Times are Unix seconds; rows of the database are dicts by column."""

    requests: list[Entry] = field(default_factory=list)
    relays: list[Entry] = field(default_factory=list)
    money: list[Entry] = field(default_factory=list)
    sessions: list[Entry] = field(default_factory=list)
    payments: list[Entry] = field(default_factory=list)
    refunds: list[Entry] = field(default_factory=list)
    commands: list[Entry] = field(default_factory=list)
    attempts: list[Entry] = field(default_factory=list)
    audit: list[Entry] = field(default_factory=list)
    alerts: list[Entry] = field(default_factory=list)
    devices: list[Entry] = field(default_factory=list)
    physical: dict[tuple[str, int], bool] = field(default_factory=dict)
    pages: list[tuple[float, int, str]] = field(default_factory=list)
    """(when asked, session id, state that the page showed)"""
    roof: Roof | None = None
    operator_on: list[tuple[str, int, float, float]] = field(default_factory=list)
    """Stretches in which somebody on the spot had the relay on (wall button): (device, channel, from, to)"""

    def of_order(self, ref: str) -> list[Entry]:
        return [entry for entry in self.money if entry.get("order") == ref]

    def changes(self, shelly_id: str, channel: int) -> list[Entry]:
        return [one for one in self.relays if one["device"] == shelly_id and one["channel"] == channel]

    def switching(self) -> list[Entry]:
        return [one for one in self.requests if is_switching(one)]

    def wishes(self, shelly_id: str, channel: int) -> list[tuple[float, bool]]:
        """Requests that asked this relay for something, in order: (when, on)."""
        asked = ((entry["t"], wanted_of(entry, shelly_id, channel)) for entry in self.switching())
        return [(t, on) for t, on in asked if on is not None]

    def stretches(self, shelly_id: str, channel: int) -> list[tuple[float, float]]:
        """From when to when the relay was really on; an open one ends at infinity."""
        found: list[tuple[float, float]] = []
        since: float | None = None
        for change in self.changes(shelly_id, channel):
            if change["on"] and since is None:
                since = change["t"]
            elif not change["on"] and since is not None:
                found.append((since, change["t"]))
                since = None
        if since is not None:
            found.append((since, float("inf")))
        return found


def is_switching(entry: Entry) -> bool:
    return entry["kind"] == "request" and ("/set/" in entry["path"] or entry["path"].endswith("/relay/control"))


def wanted_of(entry: Entry, shelly_id: str, channel: int) -> bool | None:
    """What a request wanted of one relay: on, off, or None when it is about others."""
    body = entry["body"] if isinstance(entry["body"], dict) else {}
    group = body.get("switch")
    if isinstance(group, dict):
        ids = {str(one).lower().replace(":", "_") for one in group.get("ids", ())}
        return bool(group["command"]["on"]) if names(ids, shelly_id, channel) else None
    if str(body.get("id", "")).lower() != shelly_id or int(body.get("channel", 0)) != channel:
        return None
    return bool(body["on"]) if "on" in body else body.get("turn") == "on"


def names(ids: Iterable[str], shelly_id: str, channel: int) -> bool:
    """Whether a list of Shelly's ids (``id`` or ``id_channel``) names this relay."""
    return f"{shelly_id}_{channel}" in ids or (channel == 0 and shelly_id in ids)
