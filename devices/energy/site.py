"""From rows to the pure rule: which reading of a site counts, its limits and policy, and what was promised."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.db.models import Q

from devices.energy import rule
from devices.energy.models import EnergySource, LatestReading, Promise, Sign, SitePower
from devices.energy.reading import Field, Measured, Reading
from devices.energy.terms import (
    CAUTIONS,
    CloudData,
    Limits,
    Phases,
    Policy,
    Reservation,
    Supply,
    Window,
    promised_w,
)
from devices.models import Device

OWN_WATTS_AGE = timedelta(seconds=100)
"""A relay tells its cloud a change at once and repeats itself each minute; we read that each half minute."""


@dataclass(frozen=True)
class Checked:
    """The stored verdict on a source's sign, as the rule asks for it."""

    admits: bool
    sentence: str


@dataclass(frozen=True)
class Site:
    """Everything the rule is asked with, read in three queries; ``source`` is None where the site has none."""

    power: SitePower
    source: EnergySource | None
    reading: Reading
    limits: Limits
    policy: Policy

    @property
    def sign(self) -> Checked:
        if self.source is None:
            return Checked(False, "No energy source is connected.")
        said = self.source.sign_sentence or "The sign of the grid power has not been proven yet."
        return Checked(self.source.sign == Sign.PROVEN, said)

    @property
    def cloud_only(self) -> bool:
        return self.source is not None and self.source.is_cloud

    def headroom(self, promises: Iterable[Reservation], now: datetime) -> rule.Headroom:
        if self.source is None:
            return rule.Headroom(no=rule.No.NOT_CONFIGURED, sentence="No energy source is connected.")
        return rule.headroom(
            self.reading,
            self.limits,
            self.policy,
            promises,
            self.sign,
            now,
            cloud_only=self.cloud_only,
            surplus_since=self.source.surplus_since,
        )

    def overload(self, now: datetime) -> rule.Overload:
        return rule.overload(self.reading, self.limits, self.policy, self.sign, now, cloud_only=self.cloud_only)


def site_of(power: SitePower, now: datetime) -> Site:
    """The site as it stands now, on the best of its sources."""
    source, reading = best_source(power.location_id, now)
    return Site(power, source, reading, limits_of(power, source), policy_of(power))


def best_source(location_id: int, now: datetime) -> tuple[EnergySource | None, Reading]:
    """A local or pushed source before a cloud, a proven one before others, and of equals the one that spoke last."""
    rows = LatestReading.objects.select_related("source").filter(source__location=location_id, source__active=True)
    found = [(one.source, reading_of(one.fields), one.at) for one in rows]
    if not found:
        return EnergySource.objects.filter(location=location_id, active=True).first(), Reading({})

    def worth(candidate: tuple[EnergySource, Reading, datetime]) -> tuple[bool, bool, bool, datetime]:
        source, reading, at = candidate
        is_fresh = now - at < timedelta(seconds=60)
        return (not source.is_cloud and is_fresh, source.sign == Sign.PROVEN, Field.GRID_IMPORT in reading.fields, at)

    source, reading, _ = max(found, key=worth)
    return source, reading


def reading_of(fields: dict[str, Any]) -> Reading:
    """A stored reading; a name that this version does not know is passed over."""
    known = set(Field)
    return Reading(
        {
            Field(name): Measured(value, datetime.fromtimestamp(at, UTC))
            for name, (value, at) in fields.items()
            if name in known
        }
    )


def stored(reading: Reading) -> dict[str, Any]:
    """A reading as JSON. What is no number becomes null, which no rule believes: JSON knows no NaN."""
    return {
        str(name): [one.value if math.isfinite(one.value) else None, round(one.at.timestamp(), 3)]
        for name, one in reading.fields.items()
    }


def limits_of(power: SitePower, source: EnergySource | None) -> Limits:
    told = frozenset(Field(name) for name in (source.told if source else ()) if name in set(Field)) & CAUTIONS
    cloud = CloudData(source.cloud_extra_margin_w) if source is not None and source.cloud_admits else None
    limits = Limits(
        grid_import_w=power.grid_import_w,
        fuse_w=(power.fuse_w,) * power.phases if power.fuse_w else (),
        phases=power.phases,
        inverter_w=power.inverter_w,
        reserve_soc_pct=power.reserve_soc_pct,
        margin_w=power.margin_w,
        shed_margin_w=power.shed_margin_w,
        max_age=timedelta(seconds=power.max_age_s),
        cloud=cloud,
        max_age_seen=OWN_WATTS_AGE,
        stand_alone=power.stand_alone,
    )
    return replace(limits, told=told)


def policy_of(power: SitePower) -> Policy:
    zone = ZoneInfo(power.location.timezone)
    groups: dict[str, set[str]] = defaultdict(set)
    for name, group in power.location.devices.exclude(apart_group="").values_list("name", "apart_group"):
        groups[group].add(name)
    return Policy(
        supply=Supply(power.supply),
        import_cap_w=power.import_cap_w,
        battery_may_help=power.battery_may_help,
        windows=tuple(map(window_of, power.windows)),
        zone=zone,
        min_soc_pct=power.min_soc_pct,
        min_surplus_w=power.min_surplus_w,
        apart=tuple(frozenset(names) for names in groups.values() if len(names) > 1),
    )


def window_of(stored_window: dict[str, Any]) -> Window:
    """``{"start": "22:00", "end": "06:00", "weekdays": [0, …]}``, weekdays optional."""
    days = stored_window.get("weekdays")
    return Window(
        time.fromisoformat(stored_window["start"]),
        time.fromisoformat(stored_window["end"]),
        frozenset(range(7)) if days is None else frozenset(days),
    )


# -- what was promised


def open_promises(location_id: int) -> list[Promise]:
    return list(Promise.objects.filter(released_at__isnull=True, device__location=location_id).select_related("device"))


def reservations(promises: Sequence[Promise], now: datetime, *, asking: Promise | None = None) -> list[Reservation]:
    """What counts against whoever asks: every promise, but of those who wait only the ones ahead in the queue, and
    those who stand still not against each other: which of them goes on is chosen before anyone asks."""
    counted = [one for one in promises if asking is None or (one.pk != asking.pk and _counts(one, asking))]
    return [_reservation(one, now) for one in counted]


def rank(promise: Promise) -> tuple[int, datetime, int]:
    """The queue's order: the device's priority (a small number is served first), then who has waited longest."""
    return (promise.device.priority, promise.waiting_since or promise.made_at, promise.pk)


def _counts(other: Promise, asking: Promise) -> bool:
    if asking.paused_at is not None and stands_still(other):
        return False
    return other.waiting_since is None or (asking.waiting_since is not None and rank(other) < rank(asking))


def stands_still(promise: Promise) -> bool:
    """Paused, and its way back has not begun."""
    return promise.paused_at is not None and (promise.switched_at is None or promise.switched_at <= promise.paused_at)


def _reservation(promise: Promise, now: datetime) -> Reservation:
    device = promise.device
    after = timedelta(seconds=promise.reserve_after_s) if promise.reserve_after_s is not None else None
    watts = promised_w(promise.watts, promise.started_at, now, reserve_w=promise.reserve_w, reserve_after=after)
    measures = promise.paused_at is None and measured_since_switched(promise)
    return Reservation(
        phases=Phases(device.phases),
        watts=watts,
        seen_w=device.watts if measures else None,
        seen_at=device.reading_at if measures else None,
        device=device.name,
    )


def measured_since_switched(promise: Promise) -> bool:
    """Whether the device's own watts are of the time since its relay was last confirmed on: what it drew before a
    pause, or for the guest before, is not in the meter any more."""
    device = promise.device
    if promise.started_at is None or device.watts is None or device.reading_at is None:
        return False
    return device.reading_at >= max(promise.started_at, promise.switched_at or promise.started_at)


def power_of(location_id: int) -> SitePower | None:
    return SitePower.objects.select_related("location").filter(location=location_id).first()


def ahead_of(promise: Promise) -> int:
    """How many wait before this one in its Location's queue."""
    waiting = Promise.objects.filter(
        Q(waiting_since__isnull=False), released_at__isnull=True, device__location=promise.device.location_id
    ).select_related("device")
    return sum(1 for one in waiting if one.pk != promise.pk and rank(one) < rank(promise))


def device_phases(device: Device) -> Phases:
    return Phases(device.phases)
