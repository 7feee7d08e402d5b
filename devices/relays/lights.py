"""Lights and sensors of the Shelly accounts: never sold, only looked at, and a light switched by the staff.

What is shown is what the last sync kept with its account (``ShellyAccount.found``). Pressing a light's switch:

1. The light must be one that the sync knows as a light. What has a relay is none, nor is what was ever added as a
   device: that power is sold, and goes on and off by its session alone.
2. The command takes its turn in the account's queue, and the reading back takes another, so that relay commands find
   their place between the two and wait for neither.
3. What was read is kept with the account, until the next sync knows better.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.db import transaction

from devices.models import AWAY, Device, ShellyAccount
from devices.relays.calls import cloud_of, key_of
from devices.relays.sync import turn
from devices.shelly.errors import DeviceOffline, ShellyError, WrongProfile
from devices.shelly.readings import Target
from hygate import audit, clock

TURN_WITHIN_S = 15.0
"""Somebody looks at the lamp: then rather be told that the account is busy."""
READS = 2
"""The cloud's status may lag behind a command."""


class CannotSwitch(Exception):
    """The light was not switched, or (``may_have_acted``) nobody knows; the message is a sentence for people.

    ``name`` is that of Shelly's error, empty for a refusal of our own.
    """

    def __init__(self, sentence: str, name: str = "", *, may_have_acted: bool = False) -> None:
        super().__init__(sentence)
        self.name, self.may_have_acted = name, may_have_acted


@dataclass(frozen=True)
class Light:
    """``output`` None: not known. ``read_at``: by the last sync, or with ``read_back`` after somebody's press."""

    account_id: int
    account: str
    target: Target
    name: str
    online: bool
    output: bool | None
    read_at: datetime | None
    read_back: bool = False


@dataclass(frozen=True)
class Sensor:
    """``told_at``: how old the values are; where the device did not say it, when they were read."""

    account: str
    shelly_id: str
    name: str
    online: bool
    celsius: float | None
    humidity: float | None
    asleep: bool
    told_at: datetime | None


def everywhere() -> tuple[list[Light], list[Sensor]]:
    """What the accounts' last syncs know of lights and sensors, in the accounts' order."""
    accounts = ShellyAccount.objects.only("name", "found", "synced_at")
    rows = [(account, row) for account in accounts for row in account.found if row.get("watched")]
    sold = _sold(row["shelly_id"] for _, row in rows)
    left = [(account, row) for account, row in rows if row["shelly_id"] not in sold]
    lights = [light for account, row in left for light in _lights(account, row)]
    return lights, [_sensor(account, row) for account, row in left if not row["watched"]["lights"]]


def switch(account_id: int, target: Target, *, on: bool, by: str) -> Light:
    """Switch a light and answer it as it was read back: ``output`` may differ from ``on`` where no reading shows it.

    Raises ``CannotSwitch``. Two requests or three, outside of any transaction.
    """
    account = ShellyAccount.objects.get(pk=account_id)
    light = _known(account, target)
    if account.status in AWAY or account.circuit_opened_at is not None:
        raise CannotSwitch(f"The Shelly account {account.name} does not answer: look at its page first.")
    told: dict[str, Any] = {"account": account.pk, "light": str(light.target), "name": light.name}
    audit.write("light_asked", actor=by, on=on, **told)
    try:
        seen = _switched(account, target, on=on)
    except CannotSwitch as refusal:
        audit.write("light_failed", actor=by, on=on, error=refusal.name, **told)
        raise
    audit.write("light_switched", actor=by, on=on, read_back=seen, **told)
    return replace(light, output=seen, read_at=clock.now(), read_back=True)


def _switched(account: ShellyAccount, target: Target, *, on: bool) -> bool | None:
    """What was read back. A command without an answer may have been carried out: a reading decides."""
    doubt: ShellyError | None = None
    try:
        _send(account, target, on=on)
    except ShellyError as error:
        if error.acted == "no":
            raise CannotSwitch(_sentence(error), error.name) from None
        doubt = error
    try:
        seen = _read_back(account, target, on=on)
    except ShellyError as error:
        said = _sentence(doubt) if doubt else f"Shelly took the command, but was not heard again. {_sentence(error)}"
        raise CannotSwitch(said, (doubt or error).name, may_have_acted=True) from None
    if doubt and seen is not on:
        raise CannotSwitch(_sentence(doubt), doubt.name, may_have_acted=seen is None)
    return seen


def _send(account: ShellyAccount, target: Target, *, on: bool) -> None:
    with turn(account, within_s=TURN_WITHIN_S):
        try:
            cloud_of(account.server_url, key_of(account)).set_light(target, on=on)
        except DeviceOffline:
            _keep(account.pk, target, online=False)
            raise


def _read_back(account: ShellyAccount, target: Target, *, on: bool) -> bool | None:
    """What a reading shows; the last of them where none shows what is wanted.

    It is kept while the turn lasts: a sync that comes after it has read later.
    """
    seen: bool | None = None
    for _ in range(READS):
        with turn(account, within_s=TURN_WITHIN_S):
            status = cloud_of(account.server_url, key_of(account)).statuses([target.shelly_id]).get(target.shelly_id)
            lights = status.watched.lights if status and status.watched else ()
            seen = next((one.output for one in lights if one.channel == target.channel), None)
            _keep(account.pk, target, online=bool(status and status.online), output=seen)
        if seen is on:
            break
    return seen


def _keep(account_id: int, target: Target, *, online: bool, **light: bool | None) -> None:
    """What was heard of the device, and of its ``light`` where that was read."""
    with transaction.atomic():
        found = ShellyAccount.objects.select_for_update(no_key=True).only("found").get(pk=account_id).found
        for row in found:
            if row["shelly_id"] == target.shelly_id and row.get("watched"):
                row["online"] = online
                for one in row["watched"]["lights"]:
                    if light and one["channel"] == target.channel:
                        one |= {**light, "read_at": clock.now().isoformat()}
        ShellyAccount.objects.filter(pk=account_id).update(found=found)


def _known(account: ShellyAccount, target: Target) -> Light:
    """The light that the last sync found there; raises for a relay, for a stranger and for what is sold."""
    rows = (row for row in account.found if row["shelly_id"] == target.shelly_id and row.get("watched"))
    light = next((light for row in rows for light in _lights(account, row) if light.target == target), None)
    if light is None or _sold([target.shelly_id]):
        raise CannotSwitch(f"The last sync of {account.name} knows no such light.")
    return light


def _sold(shelly_ids: Iterable[str]) -> set[str]:
    """Those that are devices, in whichever account; a device that became a light since stays one that is sold."""
    wanted = set(shelly_ids)
    return set(Device.objects.filter(shelly_id__in=wanted).values_list("shelly_id", flat=True)) if wanted else set()


def _lights(account: ShellyAccount, row: dict[str, Any]) -> Iterator[Light]:
    several = len(row["watched"]["lights"]) > 1
    for one in row["watched"]["lights"]:
        own = one["name"] or f"{row['name']} light {one['channel'] + 1}"
        read_at = _moment(one.get("read_at"))
        yield Light(
            account_id=account.pk,
            account=account.name,
            target=Target(row["shelly_id"], one["channel"]),
            name=own if several else row["name"],
            online=row["online"],
            output=one["output"],
            read_at=read_at or account.synced_at,
            read_back=read_at is not None,
        )


def _sensor(account: ShellyAccount, row: dict[str, Any]) -> Sensor:
    watched = row["watched"]
    return Sensor(
        account=account.name,
        shelly_id=row["shelly_id"],
        name=row["name"],
        online=row["online"],
        celsius=watched["celsius"],
        humidity=watched["humidity"],
        asleep=watched["asleep"],
        told_at=_moment(watched["told_at"]) or account.synced_at,
    )


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _sentence(error: ShellyError) -> str:
    """Of all of Shelly's errors only one speaks of the relay profile."""
    is_mode = isinstance(error, WrongProfile)
    return "The device does not take this command in the mode that it is in." if is_mode else error.sentence
