"""What a session drew, by the readings that are kept of its device; what came and went between two is not in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from django.db.models import QuerySet
from django.utils.dateparse import parse_datetime

from devices.models import PowerSample
from hygate.models import AuditEvent
from sessions_app.models import DeviceSession

GAP = timedelta(minutes=5)
"""Twice as long as a device that measures is silent while all is well."""
STANDS_STILL = ("session_paused", "relay_went_off")
GOES_ON = ("session_running", "relay_came_back")
Sample = tuple[datetime, int]
"""When, and how many watts."""


@dataclass(frozen=True)
class Pause:
    """The site held the power back, or the relay went off by itself."""

    since: datetime
    until: datetime

    def parts(self, before: datetime, after: datetime) -> bool:
        return before <= self.since < after or before < self.until <= after


@dataclass(frozen=True)
class Power:
    """What is known of a session's power. ``samples``: oldest first, at least one; ``off_at``: when OFF was wanted.

    ``until`` is when that was, or when the last reading came: a relay that does not go off is seen drawing on.
    """

    since: datetime
    until: datetime
    off_at: datetime | None
    samples: Sequence[Sample]
    pauses: Sequence[Pause] = ()

    @property
    def peak(self) -> Sample:
        return max(self.samples, key=lambda sample: sample[1])

    @property
    def average_w(self) -> int:
        """Over the time that the curve covers: readings that come close together count no more than others."""
        pairs = [
            ((after - before).total_seconds(), (first_w + second_w) / 2)
            for run in self.runs()
            for (before, first_w), (after, second_w) in pairwise(run)
        ]
        if covered_s := sum(seconds for seconds, _ in pairs):
            return round(sum(seconds * watts for seconds, watts in pairs) / covered_s)
        return round(sum(watts for _, watts in self.samples) / len(self.samples))

    def runs(self) -> list[list[Sample]]:
        """The samples in unbroken rows."""
        runs = [[self.samples[0]]]
        for one, other in pairwise(self.samples):
            if self._parted(one[0], other[0]):
                runs.append([])
            runs[-1].append(other)
        return runs

    def _parted(self, before: datetime, after: datetime) -> bool:
        return after - before > GAP or any(pause.parts(before, after) for pause in self.pauses)


def newest(session: DeviceSession, now: datetime) -> datetime | None:
    """When the last of the session's samples was read: the curve is the same as long as this is."""
    if session.started_at is None:
        return None
    return _rows(session, now).order_by("-at").values_list("at", flat=True).first()


def measured(session: DeviceSession, now: datetime) -> Power | None:
    """What is kept of a session's power; null where that is nothing."""
    if session.started_at is None:
        return None
    samples = list(_rows(session, now).values_list("at", "watts"))
    if not samples:
        return None
    off_at = session.off_requested_at or session.closed_at
    until = max(filter(None, (samples[-1][0], off_at)))
    return Power(session.started_at, until, off_at, samples, tuple(_pauses(session, until)))


def _rows(session: DeviceSession, now: datetime) -> QuerySet[PowerSample]:
    """A device serves one session at a time: until it is closed, what the device draws is the session's."""
    return PowerSample.objects.filter(
        device=session.device_id, at__gte=session.started_at, at__lte=session.closed_at or now
    )


def _pauses(session: DeviceSession, until: datetime) -> Iterator[Pause]:
    events = AuditEvent.objects.filter(session=session.pk, kind__in=(*STANDS_STILL, *GOES_ON)).order_by("pk")
    since: datetime | None = None
    for kind, at, data in events.values_list("kind", "at", "data"):
        if kind in STANDS_STILL and since is None:
            since = parse_datetime(str(data.get("since", ""))) or at
        elif kind in GOES_ON and since is not None:
            yield Pause(since, at)
            since = None
    if since is not None:
        yield Pause(since, until)
