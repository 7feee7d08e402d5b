"""The Stripe key: what kind it is by its look, and whether it may do what Hygate needs. It is shown nowhere."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from django.conf import settings

from sessions_app.payments import keyring
from sessions_app.payments.gateway import KeyRefused, PaymentError, Readable
from sessions_app.payments.providers import gateway


class KeyKind(StrEnum):
    LIVE = "live key"
    RESTRICTED_LIVE = "restricted live key"
    TEST = "test key"
    RESTRICTED_TEST = "restricted test key"
    PUBLISHABLE = "publishable key"
    UNKNOWN = "unknown kind of key"
    NONE = "no key"


PREFIXES = {
    "sk_live_": KeyKind.LIVE,
    "rk_live_": KeyKind.RESTRICTED_LIVE,
    "sk_test_": KeyKind.TEST,
    "rk_test_": KeyKind.RESTRICTED_TEST,
    "pk_live_": KeyKind.PUBLISHABLE,
    "pk_test_": KeyKind.PUBLISHABLE,
}
LIVES = (KeyKind.LIVE, KeyKind.RESTRICTED_LIVE)
TESTS = (KeyKind.TEST, KeyKind.RESTRICTED_TEST)
RESTRICTED = (KeyKind.RESTRICTED_LIVE, KeyKind.RESTRICTED_TEST)
RIGHTS: dict[Readable, str] = {
    "checkout_sessions": "Checkout Sessions: write",
    "payment_intents": "PaymentIntents: write",
    "refunds": "Refunds: write",
    "events": "Events: read",
    "disputes": "Disputes: read",
}
"""What a restricted key needs, in the words of Stripe's own page, by the reading that tries it."""


@dataclass(frozen=True)
class KeyVerdict:
    """What a person reads about the key in force: ``title``, what is known, what to do. ``missing`` names rights."""

    ok: bool
    kind: KeyKind
    title: str
    sentence: str
    advice: str = ""
    help_anchor: str = ""
    missing: tuple[str, ...] = ()


def kind_of(key: str) -> KeyKind:
    """What ``key`` is by its prefix; nothing is asked of Stripe."""
    if not key:
        return KeyKind.NONE
    return next((kind for prefix, kind in PREFIXES.items() if key.startswith(prefix)), KeyKind.UNKNOWN)


def look(key: str | None = None) -> KeyVerdict:
    """``key``, or else the key in force, by its look alone: cheap enough for every page."""
    kind = kind_of(keyring.in_force().key if key is None else key)
    if kind is KeyKind.NONE:
        advice = "Save a restricted key (rk_live_…) from Stripe's dashboard under Settings, Stripe."
        return KeyVerdict(False, kind, "No Stripe key", "Nothing can be bought.", advice, "stripe-no-key")
    if kind in (KeyKind.PUBLISHABLE, KeyKind.UNKNOWN):
        said = f"It is a {kind}; Hygate needs a secret or restricted one."
        advice = "Save one that starts with rk_live_ or sk_live_."
        return KeyVerdict(False, kind, "This is no secret key", said, advice, "stripe-key-kind")
    if kind in TESTS and not (settings.SIMULATED or settings.STRIPE_TEST_OK):
        said = "This is a real site with a test key: guests would pay with play money."
        advice = "Save a live key, or set HYGATE_STRIPE_TEST_OK=1 while you try things out."
        return KeyVerdict(False, kind, "A test key", said, advice, "stripe-test-key")
    if kind in LIVES and settings.SIMULATED:
        said = "This is a simulation: nothing here may move real money."
        return KeyVerdict(False, kind, "A live key", said, "Use a key that starts with sk_test_.", "stripe-key-kind")
    money = "Guests pay with play money." if kind in TESTS else "Guests pay with real money."
    return KeyVerdict(True, kind, f"A {kind}", money)


def check_key(key: str | None = None) -> KeyVerdict:
    """Ask Stripe, by readings that change nothing, whether ``key`` (or the key in force) is taken and has its rights.

    A reading proves the right to read. That a restricted key may also write is proven by the first sale only; a
    missing right is named then too, by the alert about the key.
    """
    seen = look(key)
    if not seen.ok:
        return seen
    try:
        missing = tuple(RIGHTS[kind] for kind in gateway().unreadable(RIGHTS, key=key or ""))
    except PaymentError as error:
        return _failed(seen.kind, error)
    if missing:
        said = f"Stripe knows the key, but it lacks {_listed(missing)}."
        advice = "Add the rights to the restricted key in Stripe's dashboard; the key itself stays the same."
        return KeyVerdict(False, seen.kind, "The key lacks rights", said, advice, "right-missing", missing)
    restricted = seen.kind in RESTRICTED
    rights = "It can read all that Hygate needs; that it may write shows at the first sale." if restricted else ""
    return KeyVerdict(True, seen.kind, f"Stripe takes the {seen.kind}", f"{seen.sentence} {rights}".strip())


def _failed(kind: KeyKind, error: PaymentError) -> KeyVerdict:
    if isinstance(error, KeyRefused):
        said = "The key is wrong, was rolled or has been revoked."
        advice = "Make a new restricted key in Stripe's dashboard and save it under Settings, Stripe."
        return KeyVerdict(False, kind, "Stripe refuses the key", said, advice, "key-refused")
    said = "Stripe does not answer, so nothing is known about the key."
    advice = "Try again in a minute; if it stays so, look at this machine's network and at Stripe's status page."
    return KeyVerdict(False, kind, "Stripe cannot be reached", said, advice, "provider-down")


def _listed(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
