"""The first run: seven steps from an empty site to its first sale, told by what the database holds.

Nothing is ticked off by hand but the labels on the machines, which nothing else can see: a step that was done on its
own page counts, one that was left half-way is still to be done, and an administrator may put the whole list away.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.expressions import Combinable

from devices.models import Device, Location, ShellyAccount, UsagePlan
from hygate import audit, clock
from hygate.models import AuditEvent, SiteSettings, User
from sessions_app.models import DeviceSession
from sessions_app.payments import key_seen, keys

Step = Literal["company", "shelly", "devices", "plans", "stripe", "labels", "sale"]
STEPS: tuple[Step, ...] = ("company", "shelly", "devices", "plans", "stripe", "labels", "sale")
UNNAMED = "Hygate"
"""What the company is called until somebody says otherwise."""
LABELS_UP = "labels_put_up"
CLOSED, REOPENED = "setup_closed", "setup_reopened"


@dataclass(frozen=True)
class Progress:
    """Which steps are done; ``closed`` when an administrator has put the list away."""

    done: frozenset[Step]
    closed: bool

    @property
    def next(self) -> Step | None:
        return next((step for step in STEPS if step not in self.done), None)

    @property
    def is_over(self) -> bool:
        return self.closed or self.next is None

    @property
    def words(self) -> str:
        return f"{len(self.done)} of {len(STEPS)}"


def progress(site: SiteSettings, known: Mapping[str, Any] | None = None) -> Progress:
    """As it stands now; ``known`` is what ``asked`` was answered, where that was read along with something else."""
    row = known or next(iter(User.objects.order_by("pk").values(**asked())[:1]), {})
    done: set[Step] = {step for step in STEPS if row.get(step)}
    if site.company == UNNAMED:
        done.discard("company")
    if not keys.look().ok:
        done.discard("stripe")
    return Progress(frozenset(done), closed=site.setup_closed_at is not None)


def asked() -> dict[str, Combinable]:
    """What has to exist for each step."""
    return {
        "company": Exists(Location.objects.all()),
        "shelly": Exists(ShellyAccount.objects.filter(last_ok_at__isnull=False)),
        "devices": Exists(Device.objects.all()),
        "plans": Exists(UsagePlan.objects.filter(active=True)),
        "stripe": Exists(key_seen.seen()),
        "labels": Exists(AuditEvent.objects.filter(kind=LABELS_UP)),
        "sale": Exists(DeviceSession.objects.filter(started_at__isnull=False)),
    }


def without_plans() -> QuerySet[Device]:
    """Devices that guests see as not for sale because no plan of theirs is."""
    plans = UsagePlan.objects.filter(device=OuterRef("pk"), active=True)
    return Device.objects.filter(~Q(Exists(plans)), active=True)


def labels_are_up(*, by: str) -> None:
    """Somebody has seen them hang; said once."""
    with transaction.atomic():
        if not AuditEvent.objects.filter(kind=LABELS_UP).exists():
            audit.write(LABELS_UP, actor=by, devices=Device.objects.count())


def close(*, by: str) -> bool:
    """Put the list away, done or not; False when it was away already."""
    return _put(away=True, by=by)


def reopen(*, by: str) -> bool:
    return _put(away=False, by=by)


def _put(*, away: bool, by: str) -> bool:
    with transaction.atomic():
        SiteSettings.objects.get_or_create(pk=1)
        columns: dict[str, Any] = {"setup_closed_at": clock.now() if away else None}
        moved = SiteSettings.objects.filter(pk=1, setup_closed_at__isnull=away).update(**columns)
        if moved:
            audit.write(CLOSED if away else REOPENED, actor=by)
    return bool(moved)
