"""How often something may be tried: slots that come free again by themselves, shared by every web process.

The slots lie in Django's cache, which is a table of the same database: no broker is needed, and a second web process
counts on. Taking a slot is one INSERT of its own key, so that tries at the same moment cannot share one.

An address is counted as its network: one IPv6 household has more addresses than could be counted one by one.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv6Address, ip_address

from django.conf import settings
from django.core.cache import cache
from django.db import connection
from django.db.models import IntegerField
from django.db.models.expressions import RawSQL

OF_A_HOUSEHOLD = 64
"""Bits of an IPv6 address that name a network; its own devices choose the rest, and change it at will."""


@dataclass(frozen=True)
class Limit:
    """At most ``at_most`` tries within any ``within_s`` seconds."""

    at_most: int
    within_s: int


@dataclass(frozen=True)
class Slot:
    """A try that was allowed; given back, it does not count. ``about``: a row's number, where the caller named one."""

    key: str
    about: int = 0

    def give_back(self) -> None:
        cache.delete(self.key)


@dataclass(frozen=True)
class TooOften:
    """A try that was refused; the next slot comes free after ``wait_s`` seconds."""

    wait_s: int


def take(scope: str, limit: Limit, *, about: int = 0) -> Slot | TooOften:
    """One try of ``scope`` (an address, an account at an address, …); the scope itself is not stored, only its hash."""
    keys, now = _keys(scope, limit), time.time()
    held = cache.get_many(
        keys
    )  # one query, which also removes what has run out: what is added then is a row of its own
    for key in keys:
        if key not in held and cache.add(key, (now + limit.within_s, about), timeout=limit.within_s):
            return Slot(key, about)
    return TooOften(_wait_s(keys, now))


def give_back(slots: Iterable[Slot]) -> None:
    """Many at once, in one statement."""
    cache.delete_many([slot.key for slot in slots])


def held(scope: str, limit: Limit) -> list[Slot]:
    """The slots that are taken now."""
    return [Slot(key, about) for key, (_until, about) in cache.get_many(_keys(scope, limit)).items()]


def refused(scope: str, limit: Limit) -> TooOften | None:
    """Whether a try would be refused now, without making one."""
    keys = _keys(scope, limit)
    if len(cache.get_many(keys)) < limit.at_most:
        return None
    return TooOften(_wait_s(keys, time.time()))


def taken(now: datetime, **keys: str) -> RawSQL:
    """How many of ``slots`` are taken now, as a number to be read along in a prepared query (``refused`` asks its own).

    The cache keeps its times as the database does.
    """
    marks = ", ".join(["%s"] * len(keys))
    table = connection.ops.quote_name(str(settings.CACHES["default"]["LOCATION"]))
    sql = f"SELECT count(*) FROM {table} WHERE cache_key IN ({marks}) AND expires >= %s"  # noqa: S608 - only marks
    parameters = (*keys.values(), connection.ops.adapt_datetimefield_value(now))
    return RawSQL(sql, parameters, IntegerField())  # noqa: S611 - what comes from outside is a parameter


def network_of(address: str) -> str:
    """What an address is counted as: itself, of IPv6 its /64, of an IPv4 address spelled as IPv6 the IPv4."""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    if not isinstance(found, IPv6Address):
        return address
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    host_bits = 128 - OF_A_HOUSEHOLD
    return f"{IPv6Address(int(found) >> host_bits << host_bits)}/{OF_A_HOUSEHOLD}"


def slots(scope: str, limit: Limit) -> dict[str, str]:
    """The keys of a scope's slots as the cache's table has them, by names to ask for them with."""
    return {f"key_{number}": cache.make_key(key) for number, key in enumerate(_keys(scope, limit))}


def _keys(scope: str, limit: Limit) -> list[str]:
    name = hashlib.sha256(scope.encode()).hexdigest()[:40]
    return [f"slot:{name}:{number}" for number in range(limit.at_most)]


def _wait_s(keys: list[str], now: float) -> int:
    free_at = min((until for until, _about in cache.get_many(keys).values()), default=now)
    return max(1, int(free_at - now) + 1)
