"""The question every high-power sale asks: can the site carry this Device now? And the promise that follows a yes.

Watts are promised under the lock of the Location's ``SitePower`` row, so that two who ask at once never get the same
ones. Lock order: session → site → payment → device.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.db.models import QuerySet

from devices.energy import rule, site
from devices.energy.models import Promise, SitePower
from devices.models import Device, UsagePlan

NOTHING_SET = "No energy source and no limits are set for this location."


@dataclass(frozen=True)
class Headroom:
    """``ok`` or not; ``reason`` in words an operator can act on, ``why`` its name (``rule.No``), empty where ok."""

    ok: bool
    reason: str
    why: str = ""


NOT_NEEDED = Headroom(True, "below the high-power threshold")
NOT_CONFIGURED = Headroom(False, NOTHING_SET, rule.No.NOT_CONFIGURED)


def headroom(device: Device, now: datetime, *, session: int | None = None) -> Headroom:
    """Whether the site can carry ``device`` at ``now``, for nobody in particular or for a session that was promised it.

    Fails closed: no energy source, no limits, or a reading that is not to be trusted means no for high power.
    """
    if not device.is_high_power:
        return NOT_NEEDED
    return _ask(device, now, session)


def goes_on(device: Device, now: datetime, *, session: int) -> Headroom:
    """Whether the site can go on carrying ``device``, which is on for ``session``: for as long as nobody knows, so what
    it draws already is there, and only what it may still draw beyond that has to be. Fails closed as ``headroom`` does.
    """
    if not device.is_high_power:
        return NOT_NEEDED
    return _ask(device, now, session, is_on=True)


def lock_sites(devices: Iterable[Device]) -> None:
    """Lock the sites whose watts are about to be asked for and promised, in one order, until the transaction ends."""
    assert transaction.get_connection().in_atomic_block, "watts are promised inside the mover's transaction"
    locations = {device.location_id for device in devices if device.is_high_power}
    if locations:
        rows = SitePower.objects.select_for_update(of=("self",)).filter(location__in=locations).order_by("pk")
        list(rows.values_list("pk"))


def _ask(device: Device, now: datetime, session: int | None, *, is_on: bool = False) -> Headroom:
    apart = site.apart_at(device.location_id, device.apart_group) if device.apart_group else site.NONE_APART
    here = site.here(device.location_id, now, apart)
    if here is None:
        return NOT_CONFIGURED
    promises = site.open_promises(device.location_id)
    asking = next((one for one in promises if session is not None and one.session == session), None)
    room = here.headroom(site.reservations(promises, now, asking=asking), now)
    phases = site.device_phases(device)
    watts: float = device.rated_w or 0
    if is_on and asking is not None and room.measured_at is not None:
        unseen_w = site.reservations([asking], now)[0].unseen_w(room.measured_at, here.limits.max_age_seen)
        watts = max(1.0, unseen_w)
    answer = rule.can_carry(room, watts, phases, str(device.pk), names=apart.names)
    return Headroom(True, "") if answer.ok else Headroom(False, answer.sentence, str(answer.no or ""))


# -- the promise


def promise(device: Device, plan: UsagePlan | None, session: int, now: datetime) -> None:
    """Keep the device's watts for ``session``; the caller holds the site's lock and has just been told yes."""
    if device.is_high_power:
        Promise.objects.create(
            device=device,
            session=session,
            watts=device.rated_w or 0,
            reserve_w=plan.reserve_w if plan else None,
            reserve_after_s=plan.reserve_after_s if plan else None,
            made_at=now,
        )


def waits(session: int, now: datetime) -> None:
    _open(session).filter(waiting_since__isnull=True).update(waiting_since=now)


def switched(session: int, now: datetime) -> None:
    """Its start is on its way: it waits no more."""
    _open(session).update(waiting_since=None, switched_at=now)


def runs(session: int, since: datetime, now: datetime) -> None:
    """Its relay is confirmed on, for the first time or again after a pause."""
    _open(session).filter(started_at__isnull=True).update(started_at=since)
    _open(session).update(paused_at=None, switched_at=now)


def pauses(session: int, now: datetime) -> None:
    _open(session).update(paused_at=now, switched_at=now)


def returns(session: int, now: datetime) -> None:
    """Its way back from a pause has begun: from now on its watts count again."""
    _open(session).filter(paused_at__isnull=False).update(switched_at=now)


def release(sessions: Collection[int], now: datetime) -> None:
    """The sessions are over: their watts are free."""
    Promise.objects.filter(session__in=sessions, released_at__isnull=True).update(released_at=now, waiting_since=None)


def place_in_queue(session: int) -> int | None:
    """1 for whoever is served next; None for a session that does not wait."""
    mine = _open(session).filter(waiting_since__isnull=False).select_related("device").first()
    return None if mine is None else site.place_in_queue(mine)


def _open(session: int) -> QuerySet[Promise]:
    return Promise.objects.filter(session=session, released_at__isnull=True)
