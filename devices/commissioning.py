"""Before a relay is sold: what it does by itself when its power returns.

A power cut ends the relay's own timer. A relay that then comes back on is ended by Hygate alone, and by nobody while
Hygate is down: a heater could burn on. So high power is not sold on such a relay, and of others a person is told.
"""

from __future__ import annotations

from collections.abc import Sequence

import structlog
from django.db import transaction

from devices.models import Device, ShellyAccount
from devices.relays.blocking import Blocked, block
from devices.relays.calls import cloud_of, key_of
from devices.relays.sync import turn
from devices.shelly.cloud import IDS_MAX, Target
from devices.shelly.errors import ShellyError
from hygate import audit
from hygate.alerts import close_alert, raise_alert
from hygate.models import Severity

COMES_BACK_ON = ("on", "restore_last")
log = structlog.get_logger(__name__)


def check_power_up(devices: Sequence[Device]) -> dict[int, str]:
    """Read the setting of relays of one account, act on it, and answer it by device.

    The words are off, on, restore_last and match_input.
    One reading for ten devices, each in its turn of the account's queue. What cannot be read is left out, and logged:
    saving the device once more asks anew.
    """
    found: dict[int, str] = {}
    for at in range(0, len(devices), IDS_MAX):
        batch = devices[at : at + IDS_MAX]
        try:
            said = _read(batch)
        except ShellyError as error:
            log.warning("commissioning.not_read", devices=[one.pk for one in batch], error=error.name)
            continue
        for device in batch:
            power_up = said.get(Target(device.shelly_id, device.channel))
            if power_up:
                found[device.pk] = power_up
                with transaction.atomic():
                    _act(device, power_up)
    return found


def _read(devices: Sequence[Device]) -> dict[Target, str]:
    account = ShellyAccount.objects.get(pk=devices[0].account_id)
    with turn(account):
        cloud = cloud_of(account.server_url, key_of(account))
        return cloud.power_up([Target(one.shelly_id, one.channel) for one in devices])


def _act(device: Device, power_up: str) -> None:
    audit.write("power_up_checked", device=device.pk, power_up=power_up)
    if power_up not in COMES_BACK_ON:
        close_alert(_key(device))
    elif device.is_high_power:
        close_alert(_key(device))
        block(device.pk, reason=Blocked.POWER_UP)
    else:
        raise_alert(
            _key(device),
            kind="power_up",
            title=f"{device.name} ({device.location.name}) may switch itself on when power returns",
            advice="After a power cut its timer is lost. Set its power-on default to off in the Shelly app, then save"
            " the device here once more.",
            severity=Severity.WARNING,
            help_anchor="power-up",
            device=device.pk,
        )


def _key(device: Device) -> str:
    return f"power_up:{device.pk}"
