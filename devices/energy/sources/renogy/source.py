"""The Renogy source: passes over the account's devices, and the one look of *Test connection*."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime

import httpx
from django.conf import settings as django_settings

from devices.energy.reading import Field, Fields, Measured
from devices.energy.sources.renogy import values
from devices.energy.sources.renogy.client import (
    KEPT_BACK,
    Budget,
    Missing,
    RenogyClient,
    RenogySettings,
    check_base_url,
)
from devices.energy.sources.renogy.values import Alarm, Latest, LogLine, RenogyDevice, SolarDay
from devices.energy.sources.source import Deliver, Found, Malformed, Refused, SourceError, Unreachable
from hygate import clock

TEST_S = 9.0
TEST_READS = (KEPT_BACK - 1) // 2  # the list, then data map and data of each
NO_GRID = "Shows, does not admit: Renogy has no grid meter. It serves rules about the battery and the sun."
Alarmed = Callable[[tuple[Alarm, ...]], Awaitable[None]]


def build(settings: RenogySettings, alarmed: Alarmed | None = None) -> RenogySource:
    """The source of one account; raises ``Refused`` for an address that the keys may not be sent to.

    ``alarmed`` is told all alarms that are on, also when there is none any more.
    """
    try:
        base_url = check_base_url(settings.base_url, django_settings.SIMULATED)
    except ValueError as wrong:
        raise Refused(str(wrong), "Correct the server address.") from None
    return RenogySource(replace(settings, base_url=base_url), alarmed)


class RenogySource:
    """One account. What it learned of units stays with it between two watches.

    ``now`` stamps what was read: the service names no time of measurement, so the age is that of the answer, and only
    ``onlineStatus`` tells values that are old.
    """

    def __init__(
        self, settings: RenogySettings, alarmed: Alarmed | None = None, now: Callable[[], datetime] = clock.now
    ) -> None:
        self._settings, self._alarmed, self._now = settings, alarmed, now
        self._budget = Budget()
        self._units: dict[str, tuple[float, Mapping[str, str]]] = {}
        self._scales: dict[str, Mapping[str, float]] = {}
        self._alarms_at: float | None = None

    async def watch(self, deliver: Deliver) -> None:
        """Deliver the site's fields after every pass, for ever; a ``SourceError`` ends it."""
        async with self._connected(self._budget) as client:
            while True:
                devices = await self._devices(client)
                await deliver(self._stamped(values.site_fields(await self._latest_of(client, devices))))
                await self._tell_alarms(client, devices)
                await asyncio.sleep(self._settings.poll_s)

    async def test(self) -> Found:
        """Says what is wrong by name: host, keys, clock, rights; else what the account shows."""
        failure: SourceError
        try:
            async with asyncio.timeout(TEST_S), self._connected(Budget(KEPT_BACK)) as client:
                return await self._look(client)
        except TimeoutError:
            failure = Unreachable("Renogy does not answer in time.", "Try again later.")
        except Missing:
            failure = Missing("The host answers, but it is no Renogy OpenAPI.", "Check the server address.")
        raise failure

    # -- what pages and reports ask

    async def history(self, device_id: str, year: int, month: int, utc_offset_hours: int) -> tuple[SolarDay, ...]:
        """The solar yield of one month by days, in Wh."""
        async with self._connected(self._budget) as client:
            return values.history_of(await client.history(device_id, year, month, utc_offset_hours))

    async def alarms(self) -> tuple[Alarm, ...]:
        """Every alarm that is on now at the devices that count."""
        async with self._connected(self._budget) as client:
            return await self._alarms(client, await self._devices(client))

    async def log(self, device_id: str) -> tuple[LogLine, ...]:
        """The latest 200 lines of a Zigbee device, newest first."""
        async with self._connected(self._budget) as client:
            return values.log_of(await client.log(device_id))

    # -- a pass

    async def _devices(self, client: RenogyClient) -> tuple[RenogyDevice, ...]:
        """The devices that count; raises ``Refused`` for a chosen one that is gone: no sum would be whole."""
        listed = values.devices_of(await client.devices())
        chosen = set(self._settings.device_ids)
        gone = sorted(chosen - {device.id for device in listed})
        if gone:
            raise Refused(f"Renogy lists no device {gone[0]} any more.", "Choose the devices that count again.")
        return tuple(device for device in listed if not chosen or device.id in chosen)

    async def _latest_of(
        self, client: RenogyClient, devices: tuple[RenogyDevice, ...]
    ) -> list[tuple[RenogyDevice, Latest | None]]:
        seen = _that_measure(devices)
        return [(device, await self._latest(client, device) if device.online else None) for device in seen]

    async def _latest(self, client: RenogyClient, device: RenogyDevice) -> Latest | None:
        """None for a device that went away since the list was read, or says something that makes no sense."""
        try:
            units = await self._units_of(client, device.id)
            latest = values.latest_of(await client.latest(device.id), units, self._scales.get(device.id))
        except (Missing, Malformed):
            return None
        self._scales[device.id] = latest.scales
        return latest

    async def _units_of(self, client: RenogyClient, device_id: str) -> Mapping[str, str]:
        """A datamap hardly changes: asked once in hours, also where the device has none."""
        known = self._units.get(device_id)
        if known is not None and time.monotonic() - known[0] < self._settings.datamap_s:
            return known[1]
        try:
            units: Mapping[str, str] = values.units_of(await client.datamap(device_id))
        except (Missing, Malformed):
            units = {}
        self._units[device_id] = (time.monotonic(), units)
        return units

    async def _tell_alarms(self, client: RenogyClient, devices: tuple[RenogyDevice, ...]) -> None:
        if self._alarmed is None:
            return
        steady = time.monotonic()
        if self._alarms_at is None or steady - self._alarms_at >= self._settings.alarms_s:
            await self._alarmed(await self._alarms(client, devices))
            self._alarms_at = steady

    async def _alarms(self, client: RenogyClient, devices: tuple[RenogyDevice, ...]) -> tuple[Alarm, ...]:
        found: list[Alarm] = []
        for device in devices:
            try:
                found.extend(values.alarms_of(await client.alarms(device.id), device.id))
            except (Missing, Malformed):
                continue  # products without alarms answer 404 or nothing
        return tuple(found)

    # -- the test

    async def _look(self, client: RenogyClient) -> Found:
        """The list and as many devices as its share of the minute allows; fields only where that was all of them."""
        devices = await self._devices(client)
        if not devices:
            raise Refused(
                "The keys are right, but the account shows no device: they lack the rights, or nothing is bound to it.",
                "Bind the devices in the DC Home app to the account that owns the keys.",
            )
        asked = sorted(_that_measure(devices), key=lambda device: not device.online)
        latest = await self._latest_of(client, tuple(asked[:TEST_READS]))
        fields = values.site_fields(latest) if len(latest) == len(asked) else {}
        return Found((_heard(devices), *_said(latest), NO_GRID), self._stamped(fields))

    def _stamped(self, fields: Mapping[Field, int | float]) -> Fields:
        at = self._now()
        return {field: Measured(value, at) for field, value in fields.items()}

    @asynccontextmanager
    async def _connected(self, budget: Budget) -> AsyncIterator[RenogyClient]:
        """No redirects and no proxy from the environment: a signed request goes to the address of the settings."""
        headers = {"User-Agent": "hygate", "Accept": "application/json"}
        async with httpx.AsyncClient(headers=headers, follow_redirects=False, trust_env=False, timeout=5) as http:
            yield RenogyClient(self._settings, http, budget, self._now)


def _that_measure(devices: tuple[RenogyDevice, ...]) -> list[RenogyDevice]:
    """All but hubs: what a hub says of itself is nearly nothing."""
    hubs = {device.hub_id for device in devices}
    return [device for device in devices if device.id not in hubs]


def _heard(devices: tuple[RenogyDevice, ...]) -> str:
    silent = [device.name for device in devices if not device.online]
    count = "1 device" if len(devices) == 1 else f"{len(devices)} devices"
    return f"{count}, all online." if not silent else f"{count}, {len(silent)} offline: {', '.join(silent[:5])}."


def _said(latest: list[tuple[RenogyDevice, Latest | None]]) -> list[str]:
    said = []
    for device, one in latest:
        if one is None and device.online:
            said.append(f"{device.name}: no usable data.")
        elif one is None:
            continue
        elif device.category == "battery" and one.soc_pct is not None:
            said.append(f"{device.name}: {one.soc_pct:.1f} % charged.")
        elif one.solar_w is not None:
            said.append(f"{device.name}: {one.solar_w:.0f} W of sun.")
    return said
