"""The physical world: devices, contacts, timers, and everything that comes due by itself.

Whatever happens later (a timer, a heartbeat, another controller) is an entry in one agenda, carried out by
``settle()`` in the order of its moments and with its own moment as ``t``, however late ``settle()`` is called:
a device does not wait for the server that simulates it.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable

from hygate.simulators.base import Ledger
from hygate.simulators.shelly.device import Device, Push
from hygate.simulators.shelly.light import Light
from hygate.simulators.shelly.relay import Cause, Relay, Timer
from hygate.simulators.shelly.status import next_serial, pushed_status

HEARTBEAT_S = 60.0
ENFORCED_AFTER_S = (1.0, 3.0)
# What the status names as the mover, by generation family.
SOURCES: dict[Cause, tuple[str, str]] = {
    "request": ("cloud", "SHC"),
    "timer": ("timer", "timer"),
    "button": ("input", "button"),
    "reboot": ("init", "init"),
    "enforced": ("http", "HTTP_in"),
}
Action = Callable[[float], None]


class World:
    """All devices of all accounts. ``dirty`` says that something worth keeping changed since it was last reset."""

    def __init__(self, clock: Callable[[], float], ledger: Ledger) -> None:
        self._clock = clock
        self._ledger = ledger
        self._agenda: list[tuple[float, int, Action]] = []
        self._order = itertools.count()
        self._random = random.Random(1)  # the same story in every run
        self.devices: dict[tuple[str, str], Device] = {}
        self.dirty = False

    # -- time
    def at(self, t: float, action: Action) -> None:
        heapq.heappush(self._agenda, (t, next(self._order), action))

    def settle(self) -> float:
        """Carry out whatever is due, and return the present moment."""
        now = self._clock()
        while self._agenda and self._agenda[0][0] <= now:
            t, _, action = heapq.heappop(self._agenda)
            action(t)
        return now

    def next_due(self) -> float:
        return self._agenda[0][0] if self._agenda else float("inf")

    # -- devices
    def add(self, device: Device) -> Device:
        now = self._clock()
        for relay in device.relays.values():
            relay.counted_at = now
        self.devices[device.account, device.id] = device
        self.push(device, now)
        if not device.sleeping:
            # Spread over the minute, as devices that were plugged in at different times are.
            self._beat_at(device, now + HEARTBEAT_S * (0.5 + self._random.random() / 2))
        return device

    def of_account(self, account: str) -> list[Device]:
        return [device for (owner, _), device in self.devices.items() if owner == account]

    # -- what moves a contact
    def switch(
        self, device: Device, relay: Relay, *, on: bool, cause: Cause, t: float, toggle_after: float | None = None
    ) -> None:
        """Set the output; a timer that was armed ends, and ``toggle_after`` arms a new one for the opposite."""
        changed, had_timer = relay.output != on, relay.timer is not None
        relay.count(t)
        relay.timer = self._armed(device, relay, t, toggle_after, turns_on=not on) if toggle_after else None
        if changed:
            relay.output, relay.moved_at = on, t
            relay.source = SOURCES[cause][device.family - 1]
            self._ledger.add(
                "relay", t=t, account=device.account, device=device.id, channel=relay.channel, on=on, cause=cause
            )
            self.revert_if_enforced(device, relay, t)
        if changed or had_timer or relay.timer is not None:
            self.dirty = True
            self.push(device, t)

    def shine(self, device: Device, light: Light, *, on: bool, t: float) -> None:
        """Set a light by a request of the cloud's."""
        if light.output == on:
            return
        light.output, light.source = on, SOURCES["request"][device.family - 1]
        self._ledger.add("light", t=t, account=device.account, device=device.id, channel=light.channel, on=on)
        self.dirty = True
        self.push(device, t)

    def press(self, device: Device, relay: Relay, t: float) -> None:
        self.switch(device, relay, on=not relay.output, cause="button", t=t)

    def reboot(self, device: Device, t: float) -> None:
        """Power fails and returns: timers are gone and every output is what its configuration says."""
        device.booted_at = t
        for relay in device.relays.values():
            self.switch(device, relay, on=relay.output_after_boot(), cause="reboot", t=t)
            relay.source = SOURCES["reboot"][device.family - 1]
        self.dirty = True
        self.push(device, t)

    def resume(self, device: Device) -> None:
        """Take up a device whose state an earlier run left: its timer kept running in the meantime."""
        for relay in device.relays.values():
            if relay.timer is not None:
                self._fire_later(device, relay, relay.timer)
            self.revert_if_enforced(device, relay, self._clock())

    def revert_if_enforced(self, device: Device, relay: Relay, t: float) -> None:
        """Another controller holds the relay off and notices an ON after one to three seconds."""
        if not (device.enforced_off and relay.output):
            return
        moved_at = relay.moved_at

        def revert(moment: float) -> None:
            if device.enforced_off and relay.output and relay.moved_at == moved_at:
                self.switch(device, relay, on=False, cause="enforced", t=moment)

        self.at(t + self._random.uniform(*ENFORCED_AFTER_S), revert)

    # -- what the cloud hears
    def push(self, device: Device, t: float) -> None:
        """The device tells the cloud its status, if it can reach it."""
        if device.pushes and not device.is_heard:
            return
        for relay in device.relays.values():
            relay.count(t)
        device.serial = next_serial(device, t)
        device.pushes.append(Push(t + device.status_lag_s, pushed_status(device, t)))
        device.visible_status(t)  # forgets what is no longer shown
        self.dirty = True

    def _armed(self, device: Device, relay: Relay, t: float, seconds: float, *, turns_on: bool) -> Timer:
        timer = Timer(t, seconds, t + max(0.0, seconds + device.timer_drift_s), turns_on)
        self._fire_later(device, relay, timer)
        return timer

    def _fire_later(self, device: Device, relay: Relay, timer: Timer) -> None:
        def fire(t: float) -> None:
            if relay.timer is timer:  # else it was cancelled or armed anew
                self.switch(device, relay, on=timer.turns_on, cause="timer", t=t)

        self.at(timer.fires_at, fire)

    def _beat_at(self, device: Device, moment: float) -> None:
        def beat(t: float) -> None:
            missed = (self._clock() - t) // HEARTBEAT_S
            if missed < 1:  # after a leap of the clock only the last heartbeat is worth rendering
                self.push(device, t)
            self._beat_at(device, t + HEARTBEAT_S * max(missed, 1))

        self.at(moment, beat)
