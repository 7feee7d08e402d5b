"""What becomes of a delivery: the latest reading, its history, the sign check, and what people are told."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.utils import DatabaseError

from devices.energy import balance, rule, site
from devices.energy.models import EnergySource, LatestReading, ReadingMean, Sign, SourceStatus
from devices.energy.reading import Field, Fields, Reading
from devices.energy.sources.source import SourceError
from devices.energy.terms import CAUTIONS
from hygate import audit
from hygate.alerts import close_alert, raise_alert
from hygate.models import Severity

SPAN_S = 10
HOUR_S = 3600
KEPT_FOR = timedelta(days=30)
WEIGHED = 12
TOLD_AGAIN_AFTER = timedelta(seconds=5)


@dataclass
class Bucket:
    """Mean, least and most of each field over ten seconds."""

    at: datetime
    sums: dict[Field, list[float]] = field(default_factory=dict)

    def add(self, fields: Fields) -> None:
        for name, measured in fields.items():
            value = float(measured.value)
            if not math.isfinite(value):
                continue
            known = self.sums.setdefault(name, [0, 0.0, value, value])
            known[0] += 1
            known[1] += value
            known[2], known[3] = min(known[2], value), max(known[3], value)

    def values(self) -> dict[str, list[float]]:
        return {
            str(name): [round(total / count, 1), least, most] for name, (count, total, least, most) in self.sums.items()
        }


@dataclass
class Keeper:
    """One source's memory in the watcher; the database holds everything that matters."""

    source: EnergySource
    reading: Reading = field(default_factory=lambda: Reading({}))
    verdicts: deque[balance.Verdict] = field(default_factory=lambda: deque(maxlen=WEIGHED))
    bucket: Bucket | None = None
    closed: list[Bucket] = field(default_factory=list)
    is_dirty: bool = False
    told_ok_at: datetime | None = None

    def take(self, news: Fields, now: datetime) -> None:
        """In the event loop: no database here.

        What contradicts a proven sign is not taken: until three such readings refuse the sign, it would count as room
        that is not there, while what was known before grows old by itself.
        """
        self.is_dirty = True
        merged = self.reading.merged(news)
        if Field.GRID_IMPORT in news and all(math.isfinite(one.value) for one in merged.fields.values()):
            verdict = balance.judge(merged, load_has_own_meter=self.source.load_has_own_meter)
            self.verdicts.append(verdict)
            if isinstance(verdict, balance.Refused) and self.source.sign == Sign.PROVEN:
                return
        self.reading = merged
        start = now.replace(second=now.second // SPAN_S * SPAN_S, microsecond=0)
        if self.bucket is None or self.bucket.at != start:
            if self.bucket is not None:
                self.closed.append(self.bucket)
            self.bucket = Bucket(start)
        self.bucket.add(news)

    def store(self, now: datetime) -> None:
        """On the watcher's database thread. What could not be written is kept for the next time."""
        self.is_dirty = False
        done, self.closed = self.closed, []
        try:
            self._store(now, done)
        except DatabaseError:
            self.is_dirty, self.closed = True, [*done, *self.closed]
            raise

    def _store(self, now: datetime, done: Sequence[Bucket]) -> None:
        with transaction.atomic():
            self._store_latest(now)
            self._store_history(done)
            changes = self._sign(now) | self._told() | self._surplus(now) | self._well(now)
            if changes:
                EnergySource.objects.filter(pk=self.source.pk).update(**changes)
                for name, value in changes.items():
                    setattr(self.source, name, value)

    def _store_latest(self, now: datetime) -> None:
        """One statement each second, and two the first time: the watcher with the lease is the only one who writes."""
        latest = {"fields": site.stored(self.reading), "at": now}
        if not LatestReading.objects.filter(source=self.source).update(**latest):
            LatestReading.objects.update_or_create(source=self.source, defaults=latest)

    def _store_history(self, done: Sequence[Bucket]) -> None:
        ReadingMean.objects.bulk_create(
            [ReadingMean(source=self.source, at=one.at, span_s=SPAN_S, values=one.values()) for one in done],
            ignore_conflicts=True,
        )

    def _sign(self, now: datetime) -> dict[str, Any]:
        """A proof stays until readings refuse it: a moment that cannot tell takes nothing back."""
        said = balance.weigh(tuple(self.verdicts))  # the event loop goes on adding to it
        sign = {balance.Proven: Sign.PROVEN, balance.Refused: Sign.REFUSED}.get(type(said), Sign.UNPROVEN)
        if sign == Sign.UNPROVEN and self.source.sign != Sign.UNPROVEN:
            return {}
        sentence = said.sentence[:400]
        if sign == self.source.sign:
            return {"sign_sentence": sentence} if not self.source.sign_sentence else {}
        audit.write("energy_sign", source=self.source.pk, sign=str(sign), sentence=sentence)
        if sign == Sign.REFUSED:
            sign_refused(self.source, sentence)
        else:
            close_alert(f"energy:{self.source.pk}:sign")
        return {"sign": sign, "sign_sentence": sentence, "sign_at": now}

    def _told(self) -> dict[str, Any]:
        """What a source told once it has to go on telling: a caution that falls silent is a no."""
        known = set(self.source.told) | {str(name) for name in CAUTIONS & set(self.reading.fields)}
        return {"told": sorted(known)} if known != set(self.source.told) else {}

    def _surplus(self, now: datetime) -> dict[str, Any]:
        power = site.power_of(self.source.location_id)
        if power is None or power.min_surplus_w is None:
            return {}
        limits, policy = site.limits_of(power, self.source), site.policy_of(power)
        enough = rule.surplus_w(self.reading, limits, policy) >= power.min_surplus_w
        if enough == (self.source.surplus_since is not None):
            return {}
        return {"surplus_since": now if enough else None}

    def _well(self, now: datetime) -> dict[str, Any]:
        if self.told_ok_at is not None and now - self.told_ok_at < TOLD_AGAIN_AFTER:
            return {}
        self.told_ok_at = now
        if self.source.status != SourceStatus.OK:
            close_alert(_silent_key(self.source.pk))
        return {"status": SourceStatus.OK, "last_ok_at": now, "last_error": "", "last_sentence": ""}


def note_failure(source: EnergySource, error: SourceError) -> None:
    """One alert for a source that is dead, however often it is tried."""
    status = SourceStatus.UNREACHABLE if error.retryable else SourceStatus.REFUSED
    with transaction.atomic():
        EnergySource.objects.filter(pk=source.pk).update(
            status=status, last_error=error.code[:40], last_sentence=error.sentence[:300]
        )
        source.status = status
        raise_alert(
            _silent_key(source.pk),
            kind="energy_silent",
            title=f"The energy source {source.name} does not deliver",
            advice=f"{error.sentence} {error.advice} Until it does, no high power is sold at {source.location.name}.",
            severity=Severity.ERROR,
            help_anchor="energy-source",
        )


def note_alarms(source: EnergySource, alarms: Sequence[str]) -> None:
    """What the maker's system itself reports as alarms: one alert for each source."""
    key = f"energy:{source.pk}:alarm"
    with transaction.atomic():
        if not alarms:
            close_alert(key)
            return
        raise_alert(
            key,
            kind="energy_alarm",
            title=f"{source.name} reports {len(alarms)} alarm{'s' if len(alarms) > 1 else ''}",
            advice="; ".join(alarms)[:250] + " Look at the maker's own app.",
            severity=Severity.WARNING,
            help_anchor="energy-source",
        )


def _silent_key(source_id: int) -> str:
    return f"energy:{source_id}:silent"


def sign_refused(source: EnergySource, sentence: str) -> None:
    raise_alert(
        f"energy:{source.pk}:sign",
        kind="energy_sign",
        title=f"The grid meter of {source.name} has the wrong sign",
        advice=sentence,
        severity=Severity.ERROR,
        help_anchor="energy-sign",
    )


def tidy(now: datetime) -> int:
    """Hourly means of the hours that are over, and away with ten-second rows older than 30 days."""
    made = 0
    hour = now.replace(minute=0, second=0, microsecond=0)
    for source in EnergySource.objects.all():
        last = ReadingMean.objects.filter(source=source, span_s=HOUR_S).order_by("-at").first()
        since = last.at + timedelta(hours=1) if last else hour - timedelta(hours=24)
        rows = ReadingMean.objects.filter(source=source, span_s=SPAN_S, at__gte=since, at__lt=hour)
        by_hour: dict[datetime, list[ReadingMean]] = {}
        for one in rows.iterator():
            by_hour.setdefault(one.at.replace(minute=0, second=0, microsecond=0), []).append(one)
        hours = [ReadingMean(source=source, at=at, span_s=HOUR_S, values=_mean(of)) for at, of in by_hour.items()]
        ReadingMean.objects.bulk_create(hours, ignore_conflicts=True)
        made += len(hours)
    ReadingMean.objects.filter(span_s=SPAN_S, at__lt=now - KEPT_FOR).delete()
    return made


def _mean(rows: Sequence[ReadingMean]) -> dict[str, list[float]]:
    names = {name for row in rows for name in row.values}
    found = {}
    for name in names:
        known = [row.values[name] for row in rows if name in row.values]
        mean = sum(one[0] for one in known) / len(known)
        found[name] = [round(mean, 1), min(one[1] for one in known), max(one[2] for one in known)]
    return found
