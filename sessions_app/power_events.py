"""Power holds: the site asks a session to give up power, and gives it back. Paid time stands still meanwhile."""

from __future__ import annotations

import math

from devices.energy import headroom as power
from devices.energy.orders import PowerOrder
from devices.relays.commands import order_on
from devices.relays.models import OPEN
from hygate import audit
from sessions_app.models import DeviceSession
from sessions_app.moves import transition
from sessions_app.rules import Move
from sessions_app.states import State


def on_power_order(order: PowerOrder) -> None:
    """Runs inside the energy side's transaction. A session that has moved on meanwhile is left alone."""
    wanted = State.RUNNING if order.what == "pause" else State.PAUSED
    session = (
        DeviceSession.objects.select_for_update(of=("self",))
        .select_related("device__location")
        .filter(device_id=order.device_id, state=wanted)
        .first()
    )
    if session is None:
        return
    if order.what == "pause":
        _pause(session, order)
    else:
        _resume(session, order)


def _pause(session: DeviceSession, order: PowerOrder) -> None:
    """OFF now; the minutes stand still from the asking. One whose relay is being brought back is not paused as well,
    nor one whose minutes are over: it ends."""
    assert session.ends_at is not None
    if session.paused_at is not None or not session.device.may_pause or session.ends_at <= order.at:
        return
    audit.write("power_hold", session=session.pk, device=session.device_id, reason=order.reason)
    transition(session, Move(State.PAUSED), now=order.at)


def _resume(session: DeviceSession, order: PowerOrder) -> None:
    """ON for what is left, counted from its confirmation; until then the minutes go on standing still."""
    assert session.ends_at is not None
    assert session.paused_at is not None
    power.lock_sites([session.device])
    under_way = session.device.commands.filter(state__in=OPEN, on=True, wanted_by=f"session:{session.pk}")
    if under_way.exists() or not power.headroom(session.device, order.at, session=session.pk).ok:
        return
    left_s = math.ceil((session.ends_at - session.paused_at).total_seconds())
    power.returns(session.pk, order.at)
    audit.write("power_back", session=session.pk, device=session.device_id, reason=order.reason, left_s=left_s)
    order_on(
        session.device,
        reason="resume",
        wanted_by=f"session:{session.pk}",
        for_s=max(1, left_s),
        give_up_at=session.pause_ends_at,
    )
