"""Why a site gives no more power now, device by device, in words that an operator can act on. It decides nothing.

The same questions are asked as by the sale, the queue and the way back from a pause, so that the answers agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from devices.energy import rule, shedding, site
from devices.energy.shedding import Why
from devices.energy.site import Apart, OpenPromise, Site
from devices.energy.watching import shed
from devices.models import Device

SOON = "The site can carry it: it goes on within moments."


@dataclass(frozen=True)
class Moment:
    """A site at ``now``, built with its groups (``apart``), and all that is promised there."""

    here: Site
    promises: Sequence[OpenPromise]
    now: datetime
    apart: Apart

    def headroom(self) -> rule.Headroom:
        return self.here.headroom(site.reservations(self.promises, self.now), self.now)

    def overload(self) -> str:
        """By how much it draws too much; empty where it does not, or where nobody knows."""
        trouble = self.here.overload(self.now)
        return trouble.reason if trouble.is_trouble else ""

    def of_sale(self, device: Device, room: rule.Headroom) -> str:
        """Why a guest cannot buy ``device`` now; empty where the power for it is there."""
        watts: float = device.rated_w or 0
        return self._refused(room, watts, site.device_phases(device), device.pk)

    def of_waiting(self, promise: OpenPromise) -> str:
        """Why one in the queue has not started yet."""
        room = self.here.headroom(site.reservations(self.promises, self.now, asking=promise), self.now)
        return self._refused(room, promise.watts, rule.Phases(promise.phases), promise.device_id) or SOON

    def of_paused(self, promise: OpenPromise) -> str:
        """Why one that stands still does not go on yet."""
        trouble = self.here.overload(self.now)
        if trouble.reason:
            return trouble.reason
        if not site.stands_still(promise):
            return SOON
        rules = shed.rules(self.here.power)
        served = [one for one in self.promises if one.waiting_since is None and not site.stands_still(one)]
        room = self.here.headroom(site.reservations(served, self.now), self.now)
        paused = shed.paused_of(promise)
        why = shedding.choose_to_resume([paused], room, self.now, rules, self.here.power.calm_since).why
        if why is Why.NO_ROOM:
            return self._refused(room, paused.watts + rules.spare_w, paused.phases, promise.device_id)
        return {
            Why.NOBODY: "It stays off for the least time that is set for it.",
            Why.NOT_CALM: f"The power has to suffice for {rules.calm_for.total_seconds():.0f} s first.",
        }.get(why, SOON)

    def _refused(self, room: rule.Headroom, watts: float, phases: rule.Phases, device: int) -> str:
        answer = rule.can_carry(room, watts, phases, str(device), names=self.apart.names)
        return "" if answer.ok else answer.sentence
