"""The bridge: a source's readings, written to the virtual components of a Shelly device in the local network.

number:200 PV (W), 201 battery SOC (%), 202 battery power (W, positive = charging), 203 grid power (W, positive =
**export**, as scripts on such devices expect it), 204 load (W). What the source does not tell is left as it is; a
reading that is too old is not written, for on the device nobody could see its age.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog
from django.db import transaction
from django.db.utils import DatabaseError

from devices.energy import site
from devices.energy.flows import Flows, flows_of
from devices.energy.models import EnergySource, LatestReading
from devices.energy.sources.build import secrets_of
from devices.energy.sources.source import Refused
from devices.shelly.errors import BadRequest, ShellyError
from devices.shelly.local import LocalShelly, sentence
from hygate import clock
from hygate.alerts import close_alert, raise_alert
from hygate.models import Severity

PV, SOC, BATTERY, GRID, LOAD = range(200, 205)
OLDEST = timedelta(seconds=45)
"""A plant tells some of its numbers each half minute only."""
OLDEST_CLOUD = timedelta(minutes=10)
LOGIN_KEPT_FOR = timedelta(minutes=50)
"""A device's nonce is good for an hour."""
ALERT_AFTER = 3
"""Failures in a row: a device that restarts is no news."""
log = structlog.get_logger(__name__)


def numbers_of(flows: Flows) -> dict[int, float]:
    """The virtual components' values by their ids, in their signs; what is not told is left out."""
    told = (
        (PV, flows.pv_w, 1),
        (SOC, flows.soc_pct, 1),
        (BATTERY, flows.battery_charge_w, 1),
        (GRID, flows.grid_import_w, -1),
        (LOAD, flows.load_w, 1),
    )
    return {number: sign * round(one.value, 1 if number == SOC else 0) for number, one, sign in told if one is not None}


def is_young(flows: Flows, source: EnergySource, now: datetime) -> bool:
    oldest = OLDEST_CLOUD if source.is_cloud else OLDEST
    return flows.measured_at is not None and now - flows.measured_at <= oldest


@dataclass(frozen=True)
class _Reached:
    """A device as it was reached last: by which address and password, and since when."""

    device: LocalShelly
    password: str
    since: datetime

    def is_for(self, source: EnergySource, password: str, now: datetime) -> bool:
        same = (self.device.address, self.password) == (source.bridge_address, password)
        return same and now - self.since < LOGIN_KEPT_FOR


@dataclass
class Bridge:
    """What the command remembers between two rounds: when each source is due, its device, and how often that failed."""

    due: dict[int, datetime] = field(default_factory=dict)
    failures: dict[int, int] = field(default_factory=dict)
    reached: dict[int, _Reached] = field(default_factory=dict)

    def round(self) -> int:
        """Write every source whose time has come; answers how many devices took their numbers."""
        now = clock.now()
        rows = EnergySource.objects.filter(active=True).exclude(bridge_address="")
        due = [one for one in rows if self.due.get(one.pk, now) <= now]
        for one in due:
            self.due[one.pk] = now + timedelta(seconds=one.bridge_every_s)
        return sum(self._tried(one, now) for one in due)

    def _tried(self, source: EnergySource, now: datetime) -> bool:
        """Whatever goes wrong with one device, the others get their numbers."""
        try:
            return self._write(source, now)
        except DatabaseError:
            raise
        except Exception:
            log.exception("energy.bridge_unexpected", source=source.pk)
            return False

    def _write(self, source: EnergySource, now: datetime) -> bool:
        latest = LatestReading.objects.filter(source=source).first()
        flows = flows_of(site.reading_of(latest.fields)) if latest is not None else None
        if flows is None or not is_young(flows, source, now):
            return False
        try:
            self._device(source, now).set_numbers(numbers_of(flows))
        except (ShellyError, Refused) as error:
            if not isinstance(error, BadRequest):
                self.reached.pop(source.pk, None)
            self._failed(source, error)
            return False
        self._went_well(source)
        return True

    def _device(self, source: EnergySource, now: datetime) -> LocalShelly:
        """The one of the last round, so that its login is used again."""
        password = secrets_of(source).get("bridge_password", "")
        reached = self.reached.get(source.pk)
        if reached is None or not reached.is_for(source, password, now):
            reached = _Reached(LocalShelly(source.bridge_address, password), password, now)
            self.reached[source.pk] = reached
        return reached.device

    def _failed(self, source: EnergySource, error: ShellyError | Refused) -> None:
        said = sentence(error) if isinstance(error, ShellyError) else error.sentence
        self.failures[source.pk] = failures = self.failures.get(source.pk, 0) + 1
        log.warning("energy.bridge", source=source.pk, failures=failures, error=said)
        if failures != ALERT_AFTER:
            return
        with transaction.atomic():
            raise_alert(
                _key(source),
                kind="energy_bridge",
                title=f"The Shelly device of {source.name} does not take its numbers",
                advice=f"{source.bridge_address}: {said}. Its virtual components show old numbers.",
                severity=Severity.WARNING,
                help_anchor="energy-bridge",
            )

    def _went_well(self, source: EnergySource) -> None:
        if self.failures.get(source.pk) == 0:
            return
        self.failures[source.pk] = 0
        with transaction.atomic():
            close_alert(_key(source))


def _key(source: EnergySource) -> str:
    return f"energy:{source.pk}:bridge"
