"""The money rules as arithmetic: integers in minor units, rounded in the guest's favour."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal

MINIMUM_MINOR = {
    "aed": 200, "aud": 50, "bgn": 100, "brl": 50, "cad": 50, "chf": 50, "czk": 1500, "dkk": 250, "eur": 50,
    "gbp": 30, "hkd": 400, "huf": 17500, "inr": 50, "jpy": 50, "mxn": 1000, "nok": 300, "nzd": 50, "pln": 200,
    "ron": 200, "sek": 300, "sgd": 50, "usd": 50,
}  # fmt: skip
"""The least that Stripe charges, by currency; a plan's price is never below it."""

ZERO_DECIMAL = frozenset({"jpy"})
"""Currencies whose minor unit is the major one."""


class UnknownCurrency(ValueError):
    """A currency that has no entry in ``MINIMUM_MINOR``."""


def minimum_minor(currency: str) -> int:
    """The least chargeable amount in minor units of ``currency`` (ISO code, any case)."""
    try:
        return MINIMUM_MINOR[currency.lower()]
    except KeyError as error:
        raise UnknownCurrency(f"{currency.upper()} is not a currency Hygate can sell in yet.") from error


def major(minor: int, currency: str) -> Decimal:
    """``360, "eur"`` is 3.60: whole units, exact, for files and forms."""
    return Decimal(minor).scaleb(0 if currency.lower() in ZERO_DECIMAL else -2)


def delivered_s(*, started_at: datetime, off_at: datetime, paused_ms: int, bought_s: int) -> int:
    """Whole seconds of power from confirmed ON to ``off_at``, pauses excluded, at most what was bought.

    ``off_at`` is the first request of OFF, or the last reading that showed the relay on if it went off by itself.

    A started second that was not finished is not charged.
    """
    on_ms = (off_at - started_at) // timedelta(milliseconds=1) - paused_ms
    return max(0, min(bought_s, on_ms // 1000))


def charge_for(price_minor: int, delivered: int, bought_s: int) -> int:
    """Rule 2: floor(price × delivered / bought). 250 for 3,600 s, stopped after 1,799 s, is 124."""
    if bought_s <= 0:
        return 0
    return price_minor * max(0, min(delivered, bought_s)) // bought_s


def charges(orders: Iterable[tuple[int, int]], delivered: int) -> list[int]:
    """What each ``(price_minor, duration_s)`` order may keep; ``delivered`` seconds are spread over them in turn."""
    left, kept = delivered, []
    for price_minor, duration_s in orders:
        share = min(left, duration_s)
        kept.append(charge_for(price_minor, share, duration_s))
        left -= share
    return kept
