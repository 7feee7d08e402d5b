"""*Test connection*: one reading of the account with the server and key as typed, and a verdict that names the trouble.

Nothing is saved. Where the account exists, the test takes its turn in the account's queue, so that it neither trips
Shelly's limit of one request a second nor gets between two relay commands.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass, replace

from django.conf import settings
from django.db import transaction

from devices.models import ShellyAccount
from devices.relays.calls import cloud_of, key_of
from devices.relays.commands import hurry_account
from devices.relays.rules import KeyUnreadable
from devices.relays.sync import AccountBusy, turn
from devices.shelly import errors
from devices.shelly.readings import DeviceStatus
from devices.shelly.server_url import check_server_url
from hygate import clock


@dataclass(frozen=True)
class Counts:
    """What the account has: its devices, their relay channels, and how many devices are offline."""

    devices: int
    channels: int
    offline: int


@dataclass(frozen=True)
class Verdict:
    """What a person reads: what it is (``title``), what is known (``sentence``), what to do now (``advice``).

    ``code`` is the error's name, ``help_anchor`` its row in docs/troubleshooting.md. ``latency_ms`` is null where no
    request was made.
    """

    ok: bool
    title: str
    sentence: str
    advice: str = ""
    help_anchor: str = ""
    code: str = ""
    latency_ms: int | None = None
    counts: Counts | None = None


def test_connection(*, server_url: str, auth_key: str, account: ShellyAccount | None) -> Verdict:
    """Ask the server for the account's devices once, with these values; never raises, never shows the key.

    With ``account``, an empty ``auth_key`` means its saved one, and the test waits for its turn in the account's queue.
    """
    try:
        url = check_server_url(server_url, settings.SHELLY_HOSTS, settings.SIMULATED)
    except ValueError as refusal:
        return verdict_on(errors.AddressRefused(reason=str(refusal)))
    key = auth_key or (key_of(account) if account is not None else "")
    if not key:
        return verdict_on(KeyUnreadable() if account is not None else NoKey())
    try:
        with turn(account) if account is not None else nullcontext():
            return _ask(url, key)
    except AccountBusy as busy:
        return verdict_on(busy)
    finally:
        if account is not None and not auth_key and url == account.server_url:
            _read_soon(account.pk)


def _ask(server_url: str, auth_key: str) -> Verdict:
    cloud = cloud_of(server_url, auth_key)
    try:
        found = counted(cloud.all_status())
    except errors.ShellyError as error:
        said = verdict_on(error)
    else:
        said = Verdict(ok=True, title=f"Connected: {told(found)}", sentence=_outlook(found), counts=found)
    return replace(said, latency_ms=None if cloud.last_latency_s is None else round(cloud.last_latency_s * 1000))


def _read_soon(account_id: int) -> None:
    """The saved values were tested: have the queue's own reading put the account's status right."""
    now = clock.now()
    with transaction.atomic():
        ShellyAccount.objects.filter(pk=account_id).update(status_due_at=now)
        hurry_account(account_id, now)


def counted(statuses: Iterable[DeviceStatus]) -> Counts:
    rows = list(statuses)
    return Counts(len(rows), sum(len(row.channels) for row in rows), sum(not row.online for row in rows))


def told(found: Counts) -> str:
    devices = f"{found.devices} device{'' if found.devices == 1 else 's'}"
    channels = f"{found.channels} relay channel{'' if found.channels == 1 else 's'}"
    return f"{devices} with {channels}, {found.offline} offline"


def _outlook(found: Counts) -> str:
    if not found.devices:
        return "Server and key are right, but no device has ever reported to this account. Add one in the Shelly app."
    if not found.channels:
        return "Server and key are right, but nothing in this account has a relay that Hygate could sell."
    if found.offline == found.devices:
        return "Server and key are right, but every device is offline. Look at their power and WiFi."
    return "Server and key are right."


class NoKey(errors.ShellyError):
    name = "no_key"
    says = "No auth key was typed."


@dataclass(frozen=True)
class Help:
    title: str
    advice: str


HELP: dict[type[errors.ShellyError], Help] = {
    NoKey: Help(
        "No auth key",
        "Copy it from the Shelly app: User settings → Authorization cloud key.",
    ),
    KeyUnreadable: Help(
        "The saved key cannot be decrypted",
        "Type the auth key again and save it.",
    ),
    AccountBusy: Help("The account is busy", "Try again in half a minute."),
    errors.AddressRefused: Help(
        "This server is not allowed",
        "Copy the server from the Shelly app, below the key. A server of your own must stand in HYGATE_SHELLY_HOSTS.",
    ),
    errors.HostUnknown: Help(
        "The server's name is unknown",
        "Compare it letter by letter with the Shelly app; if it is right, look at this machine's DNS.",
    ),
    errors.ConnectionRefused: Help(
        "The server refuses the connection",
        "Look at the port in the address, and at a firewall between here and there.",
    ),
    errors.TlsFailed: Help(
        "No secure connection",
        "The key was not sent. Look at this machine's date and at a proxy that opens TLS; a server of your own needs a"
        " certificate for its name.",
    ),
    errors.TimedOut: Help(
        "No answer in time",
        "Try again; if it stays so, look at this machine's way to the internet and at Shelly's status page.",
    ),
    errors.BadKey: Help(
        "The auth key is refused",
        "Copy it again from the Shelly app, and the server with it: they belong together.",
    ),
    errors.UnclearRefusal: Help(
        "Refused without a reason",
        "Wait a minute and try again. An account without any device answers like this, and so does one whose key two"
        " programs share.",
    ),
    errors.RateLimited: Help(
        "Too many requests on this account",
        "Two programs share this key: another Hygate, Home Assistant or a script. Stop the other one or give it an"
        " account of its own.",
    ),
    errors.BadAnswer: Help(
        "This server is no Shelly Cloud",
        "It answers, but not as a Shelly Cloud does. Copy the server from the Shelly app, below the key.",
    ),
    errors.NoSuchRoute: Help(
        "This server is no Shelly Cloud",
        "It knows nothing of a Shelly Cloud's addresses. Copy the server from the Shelly app, below the key.",
    ),
    errors.CloudDown: Help(
        "The Shelly Cloud cannot be reached",
        "Try again in a minute; if it stays so, look at this machine's network and at Shelly's status page.",
    ),
}


def verdict_on(error: errors.ShellyError) -> Verdict:
    """The verdict behind a named error; the nearest kind that has help of its own speaks."""
    found = next((HELP[kind] for kind in type(error).__mro__ if kind in HELP), HELP[errors.BadAnswer])
    return Verdict(
        ok=False,
        title=found.title,
        sentence=error.sentence,
        advice=found.advice,
        help_anchor=error.name.replace("_", "-"),
        code=error.name,
    )
