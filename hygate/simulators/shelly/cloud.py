"""What the cloud adds to the devices: accounts, the limiter, and the way in for a command."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

from hygate.simulators.base import ControlError
from hygate.simulators.shelly.device import Device
from hygate.simulators.shelly.world import World

KEY_FIELD = "auth_key"
SWITCHES = ("v2_updated", "v2")
BLOTTED_FROM = 8  # characters: a test's key "k" is no secret and occurs in words


@dataclass
class Limits:
    """What an account may do. ``rate_limit_s`` 0 = no limiter; ``groups_max``: most ids in one set/groups.

    ``v2``: a server without it answers 404 on its routes.
    """

    rate_limit_s: float = 1.0
    groups_max: int | None = None
    v1_status: int = 401
    v2_status: int = 429
    v2_updated: bool = False
    v2: bool = True

    def change(self, wanted: dict[str, Any]) -> None:
        for key, value in wanted.items():
            if key not in self.__dataclass_fields__:
                raise ControlError(f"No limit is called {key!r}; known: {', '.join(self.__dataclass_fields__)}")
            is_number = isinstance(value, int | float) and not (isinstance(value, bool) and key not in SWITCHES)
            if not (is_number and value >= 0) and not (key == "groups_max" and value is None):
                raise ControlError(f"{key} needs a number that is not negative, not {value!r}")
        for key, value in wanted.items():
            setattr(self, key, value)


class Limiter:
    """One request per account at a time, and the next one not before ``window`` seconds after the last answer.

    Measured on the real cloud: the gap counts from the end of an answer, and a refused request keeps it open.
    """

    def __init__(self) -> None:
        self._in_flight: dict[int, web.Request] = {}  # by id(): requests have no hash
        self._last_end = float("-inf")

    def admit(self, request: web.Request, now: float, window: float) -> bool:
        self.forget_gone(now)
        if window > 0 and (self._in_flight or now - self._last_end < window):
            self._last_end = now
            return False
        self._in_flight[id(request)] = request
        return True

    def done(self, request: web.Request, now: float) -> None:
        if self._in_flight.pop(id(request), None) is not None:
            self._last_end = max(self._last_end, now)

    def forget_gone(self, now: float) -> None:
        """A caller that hung up waits for no answer any more, however long ours is in coming."""
        for request in [request for request in self._in_flight.values() if is_cut(request)]:
            self.done(request, now)


@dataclass
class Account:
    """A key and what it opens. ``raw_*``: captured bodies that are served as they are."""

    name: str
    key: str
    limiter: Limiter = field(default_factory=Limiter)
    raw_all_status: dict[str, Any] | None = None
    raw_device_list: dict[str, Any] | None = None


@dataclass(frozen=True)
class Call:
    """A service request taken apart: ``form`` is a form body, ``json`` a JSON one (None where it is no JSON)."""

    query: dict[str, str]
    form: dict[str, str]
    json: Any

    @property
    def key(self) -> str:
        in_body = self.json.get(KEY_FIELD) if isinstance(self.json, dict) else self.form.get(KEY_FIELD)
        return self.query.get(KEY_FIELD) or (in_body if isinstance(in_body, str) else "")

    @property
    def given(self) -> dict[str, str]:
        """Parameters of a v1 read, which takes them from the query as well as from the form."""
        return {**self.query, **self.form}

    def recorded(self) -> Any:
        """What the ledger keeps: everything that was asked for, without the key."""
        if isinstance(self.json, dict):
            return {name: value for name, value in self.json.items() if name != KEY_FIELD}
        return {name: value for name, value in self.given.items() if name != KEY_FIELD}


# What the way in leaves with a request for the handlers behind it.
CALL = web.RequestKey("CALL", Call)
ACCOUNT = web.RequestKey("ACCOUNT", Account)


class Cloud:
    """Accounts over the world's devices."""

    def __init__(self, world: World, limits: Limits) -> None:
        self.world = world
        self.limits = limits
        self.accounts: list[Account] = []

    def add_account(self, key: str, name: str | None = None) -> Account:
        if self.by_key(key) is not None:
            raise ValueError("This auth key belongs to an account already")
        account = Account(name or f"account-{len(self.accounts) + 1}", key)
        if self.by_name(account.name) is not None:
            raise ValueError(f"An account is called {account.name!r} already")
        self.accounts.append(account)
        return account

    def by_key(self, key: str) -> Account | None:
        return next((account for account in self.accounts if key and account.key == key), None)

    def by_name(self, name: str) -> Account | None:
        return next((account for account in self.accounts if account.name == name), None)

    def devices(self, account: Account) -> list[Device]:
        return self.world.of_account(account.name)

    def device(self, account: Account, id: object) -> Device | None:
        return self.world.devices.get((account.name, id.lower())) if isinstance(id, str) else None

    def forget_gone(self, now: float) -> None:
        for account in self.accounts:
            account.limiter.forget_gone(now)

    def without_keys(self, value: Any) -> Any:
        """``value`` (as JSON has it) with every known key blotted out, wherever a caller has put it."""
        text = json.dumps(value)
        for account in self.accounts:
            if len(account.key) >= BLOTTED_FROM:
                text = text.replace(account.key, "***")
        return json.loads(text)


async def read_call(request: web.Request) -> Call:
    text = await request.text()
    form: dict[str, str] = {}
    parsed: Any = None
    if request.path.startswith("/v2/"):
        try:
            parsed = json.loads(text)
        except ValueError:
            parsed = None  # answered as BAD_REQUEST once the key is known to be good
    elif request.method == "POST":
        form = dict(parse_qsl(text, keep_blank_values=True))
    return Call(dict(request.query), form, parsed)


def is_cut(request: web.Request) -> bool:
    """Whether nobody is there any more to hear the answer."""
    return request.transport is None or request.transport.is_closing()
