"""From rows to the pure rule: which reading of a site counts, its limits and policy, and what was promised."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, time, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Func, QuerySet
from django.db.models.sql.compiler import SQLCompiler

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
from hygate.prepared import Prepared

OWN_WATTS_AGE = timedelta(seconds=100)
"""A relay tells its cloud a change at once and repeats itself each minute; we read that each half minute."""


class OpenPromise(NamedTuple):
    """A promise that is not released, with what of its device decides about watts: one narrow row for each.

    ``must_be_off_since`` and ``off_confirmed_at`` are the device's: since its last ON its OFF is wanted, or proven.
    """

    pk: int
    session: int
    device_id: int
    watts: int
    reserve_w: int | None
    reserve_after_s: int | None
    made_at: datetime
    waiting_since: datetime | None
    started_at: datetime | None
    switched_at: datetime | None
    paused_at: datetime | None
    device_name: str
    phases: str
    priority: int
    may_pause: bool
    min_on_s: int
    min_off_s: int
    own_watts: int | None
    reading_at: datetime | None
    must_be_off_since: datetime | None
    off_confirmed_at: datetime | None

    @property
    def is_going_off(self) -> bool:
        """Its session is over but for the proof that the relay is off: pausing it would give nothing more."""
        return self.must_be_off_since is not None or self.off_confirmed_at is not None


OF_THE_DEVICE = {"device_name": "name", "own_watts": "watts"} | {
    name: name
    for name in (
        "phases",
        "priority",
        "may_pause",
        "min_on_s",
        "min_off_s",
        "reading_at",
        "must_be_off_since",
        "off_confirmed_at",
    )
}


class _Seconds(Func):
    """A moment as Unix seconds. Django makes each timestamp a datetime in Python: the four hundred of 100 promises took
    a third of a decision's time."""

    output_field: models.Field[Any, Any] = models.Field()  # of no kind: the database's number needs no converting

    def as_postgresql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper) -> Any:
        return self.as_sql(compiler, connection, template="extract(epoch FROM %(expressions)s)::float8")

    def as_sqlite(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **_: Any) -> Any:
        return self.as_sql(compiler, connection, template="((julianday(%(expressions)s) - 2440587.5) * 86400)")


MOMENTS = tuple(number for number, name in enumerate(OpenPromise._fields) if name.endswith(("_at", "_since")))


def _open_rows(location: int) -> QuerySet[Promise, tuple[Any, ...]]:
    names = [f"device__{OF_THE_DEVICE[name]}" if name in OF_THE_DEVICE else name for name in OpenPromise._fields]
    columns = [_Seconds(name) if number in MOMENTS else name for number, name in enumerate(names)]
    return Promise.objects.filter(released_at__isnull=True, device__location=location).order_by().values_list(*columns)


_OPEN = Prepared(_open_rows, location=int)


@dataclass(frozen=True)
class Apart:
    """Who may not run beside whom: groups of device ids, as the rule takes them, and the devices' names by id."""

    groups: tuple[frozenset[str], ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)


NONE_APART = Apart()


@dataclass(frozen=True)
class Checked:
    """The stored verdict on a source's sign, as the rule asks for it."""

    admits: bool
    sentence: str


@dataclass(frozen=True)
class Site:
    """Everything the rule is asked with but the promises; ``source`` is None where the site has none."""

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


def site_of(power: SitePower, now: datetime, apart: Apart = NONE_APART) -> Site:
    """The site as it stands now, on the best of its sources; ``apart`` where somebody in a group is asked about."""
    source, reading = best_source(power.location_id, now)
    return Site(power, source, reading, limits_of(power, source), policy_of(power, apart))


_LATEST = Prepared(
    lambda location: LatestReading.objects.select_related("source__location__site_power").filter(
        source__location=location, source__active=True
    ),
    location=int,
)


def here(location_id: int, now: datetime, apart: Apart = NONE_APART) -> Site | None:
    """The site as it stands now, limits and readings in one query; None where no limits are set."""
    rows = _LATEST.rows(location=location_id)
    power = getattr(rows[0].source.location, "site_power", None) if rows else power_of(location_id)
    if power is None:
        return None
    source, reading = _best(rows, location_id, now)
    return Site(power, source, reading, limits_of(power, source), policy_of(power, apart))


def best_source(location_id: int, now: datetime) -> tuple[EnergySource | None, Reading]:
    """A local or pushed source before a cloud, a proven one before others, and of equals the one that spoke last."""
    return _best(_LATEST.rows(location=location_id), location_id, now)


def _best(rows: Sequence[LatestReading], location_id: int, now: datetime) -> tuple[EnergySource | None, Reading]:
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


def _grouped() -> QuerySet[Device, tuple[int, str, str]]:
    return Device.objects.exclude(apart_group="").order_by().values_list("pk", "name", "apart_group")


_ALL_GROUPS = Prepared(lambda location: _grouped().filter(location=location), location=int)
_ONE_GROUP = Prepared(
    lambda location, group: _grouped().filter(location=location, apart_group=group), location=int, group=str
)


def apart_at(location_id: int, group: str = "") -> Apart:
    """The groups of a Location, or just one of them. By id: two devices may well have the same name."""
    found = _ONE_GROUP.rows(location=location_id, group=group) if group else _ALL_GROUPS.rows(location=location_id)
    groups: dict[str, set[str]] = defaultdict(set)
    names = {}
    for pk, name, its_group in found:
        groups[its_group].add(str(pk))
        names[str(pk)] = name
    return Apart(tuple(frozenset(ids) for ids in groups.values() if len(ids) > 1), names)


def policy_of(power: SitePower, apart: Apart = NONE_APART) -> Policy:
    return Policy(
        supply=Supply(power.supply),
        import_cap_w=power.import_cap_w,
        battery_may_help=power.battery_may_help,
        windows=tuple(map(window_of, power.windows)),
        zone=ZoneInfo(power.location.timezone),
        min_soc_pct=power.min_soc_pct,
        min_surplus_w=power.min_surplus_w,
        apart=apart.groups,
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


def open_promises(location_id: int) -> list[OpenPromise]:
    return [OpenPromise._make(_with_moments(row)) for row in _OPEN.rows(location=location_id)]


def _with_moments(row: Sequence[Any]) -> list[Any]:
    values = list(row)
    for number in MOMENTS:
        if values[number] is not None:
            values[number] = datetime.fromtimestamp(values[number], UTC)
    return values


def reservations(
    promises: Sequence[OpenPromise], now: datetime, *, asking: OpenPromise | None = None
) -> list[Reservation]:
    """What counts against whoever asks: every promise, but of those who wait only the ones ahead in the queue, and
    those who stand still not against each other: which of them goes on is chosen before anyone asks."""
    counted = [one for one in promises if asking is None or (one.pk != asking.pk and _counts(one, asking))]
    return [_reservation(one, now) for one in counted]


def rank(promise: OpenPromise) -> tuple[int, datetime, int]:
    """The queue's order: the device's priority (a small number is served first), then who has waited longest."""
    return (promise.priority, promise.waiting_since or promise.made_at, promise.pk)


def _counts(other: OpenPromise, asking: OpenPromise) -> bool:
    if asking.paused_at is not None and stands_still(other):
        return False
    return other.waiting_since is None or (asking.waiting_since is not None and rank(other) < rank(asking))


def stands_still(promise: OpenPromise) -> bool:
    """Paused, and its way back has not begun."""
    return promise.paused_at is not None and (promise.switched_at is None or promise.switched_at <= promise.paused_at)


def _reservation(promise: OpenPromise, now: datetime) -> Reservation:
    after = timedelta(seconds=promise.reserve_after_s) if promise.reserve_after_s is not None else None
    watts = promised_w(promise.watts, promise.started_at, now, reserve_w=promise.reserve_w, reserve_after=after)
    measures = promise.paused_at is None and measured_since_switched(promise)
    return Reservation(
        phases=Phases(promise.phases),
        watts=watts,
        seen_w=promise.own_watts if measures else None,
        seen_at=promise.reading_at if measures else None,
        device=str(promise.device_id),
    )


def measured_since_switched(promise: OpenPromise) -> bool:
    """Whether the device's own watts are of the time since its relay was last confirmed on: what it drew before a
    pause, or for the guest before, is not in the meter any more."""
    if promise.started_at is None or promise.own_watts is None or promise.reading_at is None:
        return False
    return promise.reading_at >= max(promise.started_at, promise.switched_at or promise.started_at)


_POWER = Prepared(lambda location: SitePower.objects.select_related("location").filter(location=location), location=int)


def power_of(location_id: int) -> SitePower | None:
    return _POWER.first(location=location_id)


def place_in_queue(promise: Promise) -> int | None:
    """1 for whoever is served next at the Location of this one's device; None for who does not wait."""
    waiting = [one for one in open_promises(promise.device.location_id) if one.waiting_since is not None]
    return next((place for place, one in enumerate(sorted(waiting, key=rank), 1) if one.pk == promise.pk), None)


def device_phases(device: Device) -> Phases:
    return Phases(device.phases)
