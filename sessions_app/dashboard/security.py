"""Settings → Security: what is in force, how old each key is, the head of the audit log, what the environment fixes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import cast

from allauth.mfa.models import Authenticator
from django.conf import settings
from django.db.models import Exists, OuterRef
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from devices.energy import key_ages
from devices.energy.models import EnergySource
from devices.key_age import key_age
from devices.models import ShellyAccount
from hygate import clock, guarding, logins, second_factor
from hygate.models import AuditEvent, Heartbeat, User
from hygate.roles import administrator_only
from hygate.sealing import HEARTBEAT, remembered
from hygate.team import NotAllowed
from sessions_app.dashboard import frame
from sessions_app.payments import key_seen, keys

HERE = "security"
TONES = ("idle", "ok", "hold", "stop")


@dataclass(frozen=True)
class Key:
    """One key of a neighbour. ``since`` is when it was saved here, or first seen where it is not saved here."""

    name: str
    url: str
    since: datetime | None
    days: int = 0
    tone: str = "idle"
    advice: str = ""


@dataclass(frozen=True)
class Fixed:
    """What the environment decides: its variable, what follows from it, and whether that is as it should be."""

    name: str
    tone: str
    word: str
    text: str


@require_safe
@administrator_only
def security(request: HttpRequest) -> HttpResponse:
    protected = Exists(Authenticator.objects.filter(user=OuterRef("pk"), type=Authenticator.Type.TOTP))
    people = list(User.objects.filter(is_active=True).annotate(has_one=protected))
    sealer = Heartbeat.objects.filter(pk=HEARTBEAT).first()
    context = {
        "people": len(people),
        "protected": sum(one.has_one for one in people),
        "mine": any(one.has_one for one in people if one.pk == request.user.pk),
        "login_days": settings.SESSION_COOKIE_AGE // 86400,
        "guesses": logins.PER_ACCOUNT_AND_ADDRESS,
        "keys": every_key(clock.now()),
        "numbers": settings.NUMBERS,
        "head": remembered(sealer),
        "sealed_at": sealer.at if sealer else None,
        "unsealed": AuditEvent.objects.filter(seq__isnull=True).count(),
        "guarded": guarding.is_protected(),
        "fixed": fixed(),
    }
    return frame.page(request, "security.html", context, here=HERE)


@require_POST
@administrator_only
def require_second_factor(request: HttpRequest) -> HttpResponse:
    required = request.POST.get("required") == "yes"
    back = reverse("dashboard:security")
    try:
        second_factor.require(required=required, by=cast(User, request.user))
    except NotAllowed as refusal:
        return frame.refused(request, back, str(refusal))
    said = "Everybody needs a second factor now." if required else "A second factor is everybody's own choice now."
    return frame.done(request, back, said)


# -- keys


def every_key(now: datetime) -> list[Key]:
    """Shelly's accounts, Stripe, and the energy sources that have any."""
    accounts = ShellyAccount.objects.defer("auth_key", "found")
    found = [
        _aged(f"Shelly · {one.name}", reverse("dashboard:account", args=[one.pk]), one.key_saved_at, now)
        for one in accounts
    ]
    if keys.look().kind is not keys.KeyKind.NONE:
        found.append(_aged("Stripe", reverse("dashboard:stripe"), key_seen.first_seen(), now))
    return [*found, *_of_energy(now)]


def _of_energy(now: datetime) -> Iterable[Key]:
    typed = key_ages.typed_at()
    for one in EnergySource.objects.filter(kind__in=key_ages.KEYS):
        key = _aged(f"Energy · {one.name}", reverse("dashboard:energy_settings"), typed.get(one.pk), now)
        yield _with_end(key, key_ages.certificate_ends(one, now))


def _with_end(key: Key, ends: key_ages.Ends | None) -> Key:
    if ends is None:
        return key
    return replace(key, tone=max(key.tone, ends.level, key=TONES.index), advice=f"{key.advice} {ends.sentence}".strip())


def _aged(name: str, url: str, since: datetime | None, now: datetime) -> Key:
    if since is None:
        return Key(name, url, None)
    age = key_age(since, now, settings.NUMBERS)
    advice = "" if age.level == "ok" else "Make a new one there and save it here."
    return Key(name, url, since, age.days, age.level, advice)


# -- the environment


def fixed() -> list[Fixed]:
    """What only whoever runs the machine can change; values are shown where they are no secret."""
    return [
        Fixed("HYGATE_BASE_URL", *_address()),
        Fixed("HYGATE_FIELD_KEYS", *_field_keys()),
        Fixed("HYGATE_AUDIT_KEY", *_audit_key()),
        Fixed("HYGATE_SHELLY_HOSTS", *_hosts()),
        Fixed("HYGATE_SMTP_HOST", *_mail()),
    ]


Told = tuple[str, str, str]


def _address() -> Told:
    if settings.SECURE:
        return "ok", "https", f"{settings.BASE_URL}; browsers refuse plain http for a year."
    text = f"{settings.BASE_URL}: passwords and links travel in the clear outside of this machine."
    return ("idle" if settings.SIMULATED else "hold"), "http", text


def _field_keys() -> Told:
    count = len(settings.FIELD_KEYS)
    if count == 1:
        return "ok", "1 key", "Secrets in the database are encrypted with it."
    text = "The first encrypts, all decrypt. Run manage.py rotate_secrets, then take the old ones away."
    return "hold", f"{count} keys", text


def _audit_key() -> Told:
    if settings.AUDIT_KEY != settings.SECRET_KEY:
        return "ok", "own key", "The audit log is sealed with a key of its own."
    return "idle", "shared", "The audit log is sealed with HYGATE_SECRET_KEY; a key of its own may be kept elsewhere."


def _hosts() -> Told:
    if settings.SHELLY_HOSTS:
        return "ok", "limited", f"Auth keys go to {', '.join(settings.SHELLY_HOSTS)} only."
    return "ok", "Shelly's own", "Auth keys go to servers of Shelly Cloud only."


def _mail() -> Told:
    if settings.SENDS_MAIL:
        return "ok", "mails", "Alerts are mailed to every administrator."
    return "hold", "no mail", "Alerts stand on the Dashboard only."
