"""One look at a site: who gives up power now, who gets it back. The choice is pure (``devices.energy.shedding``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction

from devices.energy import shedding, site
from devices.energy.models import SitePower
from devices.energy.orders import PowerOrder
from devices.energy.rule import Overload
from devices.energy.shedding import Candidate, Pass, Paused, ShedRules, Why
from devices.energy.site import OpenPromise
from devices.energy.terms import Phases
from hygate import audit
from hygate.alerts import close_alert, raise_alert
from hygate.due import outcomes
from hygate.models import Alert, Severity

MOST_PASSES = 10
TELL_AGAIN_AFTER = timedelta(minutes=1)
NOTHING_HELPS = {
    Why.FUTILE: "Pausing sessions did not move the meter: something else draws the power. Look for it.",
    Why.FLOOR: "No further session may be paused here, by the setting for the least that runs on.",
    Why.NOBODY: "No running session may be paused now. Switch something else off.",
}


@dataclass(frozen=True)
class _Look:
    power: SitePower
    promises: Sequence[OpenPromise]
    now: datetime

    @property
    def running(self) -> list[OpenPromise]:
        """Confirmed on and meant to be: whose OFF is under way already gives up its power without being asked."""
        on = (one for one in self.promises if one.started_at is not None and one.paused_at is None)
        return [one for one in on if not one.is_going_off]

    @property
    def paused(self) -> list[OpenPromise]:
        """Those who stand still; one whose way back has begun is asked nothing more."""
        return [one for one in self.promises if site.stands_still(one)]

    @property
    def served(self) -> list[OpenPromise]:
        """Whose watts count before those who stand still get theirs back; whoever waits in the queue comes after."""
        return [one for one in self.promises if one.waiting_since is None and not site.stands_still(one)]

    def named(self, devices: Sequence[str]) -> list[OpenPromise]:
        by_id = {str(one.device_id): one for one in self.promises}
        return [by_id[name] for name in devices]


def look(location_id: int, now: datetime) -> None:
    """Called after every reading of the site. Nothing to do is the rule: two queries then."""
    promises = site.open_promises(location_id)
    power = site.power_of(location_id)
    if power is None:
        return
    seen = _Look(power, promises, now)
    if not seen.running and not seen.paused:
        _calm(power, now)
        return
    here = site.site_of(power, now, site.apart_at(location_id) if seen.paused else site.NONE_APART)
    trouble = here.overload(now)
    if trouble.blind:
        _blind(seen, trouble)
        return
    if trouble.is_trouble:
        _shed(seen, trouble)
        return
    _calm(power, now)
    _give_back(seen, here)


def rules(power: SitePower) -> ShedRules:
    numbers = settings.NUMBERS
    return ShedRules(
        per_pass=power.most_per_pass,
        floor=power.least_running,
        settle=timedelta(seconds=numbers.shed_settle_s),
        calm_for=timedelta(seconds=numbers.shed_calm_s),
    )


def _calm(power: SitePower, now: datetime) -> None:
    if power.calm_since is None or power.passes:
        power.calm_since = power.calm_since or now
        with transaction.atomic():
            SitePower.objects.filter(pk=power.pk).update(calm_since=power.calm_since, passes=[])
            close_alert(_key(power))


def _shed(seen: _Look, trouble: Overload) -> None:
    power, now = seen.power, seen.now
    passes = [_pass_of(one) for one in power.passes]
    passes = _settled(passes, trouble, now, rules(power))
    candidates = [_candidate(one, now) for one in seen.running]
    choice = shedding.choose_to_pause(candidates, trouble, now, rules(power), passes)
    if choice.why == Why.CHOSEN:
        passes = [*passes, Pass(now, choice.watts, trouble.flow_w)]
    stored = [_stored(one) for one in passes[-MOST_PASSES:]]
    is_news = choice.why in NOTHING_HELPS and not _told_lately(power, choice.why, now)
    if stored == power.passes and power.calm_since is None and not is_news:
        return
    with transaction.atomic():
        SitePower.objects.filter(pk=power.pk).update(passes=stored, calm_since=None)
        if is_news:
            _nothing_helps(power, choice.why, trouble.reason)
    # each on its own, and after the site's row was let go: a pause locks its session first of all
    for one in seen.named(choice.devices):
        with transaction.atomic():
            outcomes.publish(PowerOrder(one.device_id, "pause", trouble.reason, now))


def _give_back(seen: _Look, here: site.Site) -> None:
    if not seen.paused:
        return
    room = here.headroom(site.reservations(seen.served, seen.now), seen.now)
    paused = [paused_of(one) for one in seen.paused]
    choice = shedding.choose_to_resume(paused, room, seen.now, rules(seen.power), seen.power.calm_since)
    if choice.why != Why.CHOSEN:
        return
    for one in seen.named(choice.devices):
        with transaction.atomic():
            outcomes.publish(PowerOrder(one.device_id, "resume", "The site can carry it again.", seen.now))


def _blind(seen: _Look, trouble: Overload) -> None:
    """No reading to be trusted: running sessions go on, unless the site's setting says that they must not."""
    if seen.power.calm_since is not None:
        # what nobody saw was no calm
        SitePower.objects.filter(pk=seen.power.pk).update(calm_since=None)
    if not seen.power.shed_when_blind:
        return
    due = [one for one in seen.running if one.may_pause]
    for one in due:
        with transaction.atomic():
            outcomes.publish(PowerOrder(one.device_id, "pause", trouble.sentence, seen.now))
    if due:
        audit.write("energy_blind", location=seen.power.location_id, paused=len(due), sentence=trouble.sentence)


def _candidate(promise: OpenPromise, now: datetime) -> Candidate:
    assert promise.started_at is not None
    is_own = (
        site.measured_since_switched(promise)
        and promise.reading_at is not None
        and now - promise.reading_at < site.OWN_WATTS_AGE
    )
    return Candidate(
        device=str(promise.device_id),
        phases=Phases(promise.phases),
        watts=float(promise.own_watts or 0) if is_own else float(promise.watts),
        on_since=promise.switched_at or promise.started_at,
        priority=promise.priority,
        may_pause=promise.may_pause,
        min_on=timedelta(seconds=promise.min_on_s),
    )


def paused_of(promise: OpenPromise) -> Paused:
    assert promise.paused_at is not None
    return Paused(
        device=str(promise.device_id),
        phases=Phases(promise.phases),
        watts=float(promise.watts),
        off_since=promise.paused_at,
        priority=promise.priority,
        min_off=timedelta(seconds=promise.min_off_s),
    )


def _settled(passes: Sequence[Pass], trouble: Overload, now: datetime, rules: ShedRules) -> list[Pass]:
    """The flow after each pass, noted once the meter has had time to show it."""
    return [
        Pass(one.at, one.taken_w, one.before_w, trouble.flow_w)
        if one.after_w is None and now - one.at >= rules.settle
        else one
        for one in passes
    ]


def _pass_of(stored: dict[str, Any]) -> Pass:
    at = datetime.fromtimestamp(stored["at"], UTC)
    return Pass(at, stored["taken_w"], stored["before_w"], stored["after_w"])


def _stored(one: Pass) -> dict[str, Any]:
    return {"at": one.at.timestamp(), "taken_w": one.taken_w, "before_w": one.before_w, "after_w": one.after_w}


def _key(power: SitePower) -> str:
    return f"energy:location:{power.location_id}:overload"


def _told_lately(power: SitePower, why: Why, now: datetime) -> bool:
    """A look comes up to four times a second; the alert is written when it says something else, or is a minute old."""
    rows = Alert.objects.filter(key=_key(power), closed_at__isnull=True, noticed_at__gt=now - TELL_AGAIN_AFTER)
    return rows.filter(advice__endswith=NOTHING_HELPS[why]).exists()


def _nothing_helps(power: SitePower, why: Why, reason: str) -> None:
    raise_alert(
        _key(power),
        kind="energy_overload",
        title=f"{power.location.name} draws too much power",
        advice=f"{reason} {NOTHING_HELPS[why]}",
        severity=Severity.ERROR,
        help_anchor="energy-overload",
    )
