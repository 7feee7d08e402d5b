"""Everything the fake Stripe knows, by id, and how it survives a restart.

Objects are the JSON that Stripe would answer; keys that begin with an underscore are the fake's own and never leave.
"""

from __future__ import annotations

import copy
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hygate.simulators.base import Ledger, read_state, write_state
from hygate.simulators.stripe.errors import invalid_parameter, missing_object
from hygate.simulators.stripe.idempotency import IdempotencyKeys

Json = dict[str, Any]
TABLES = ("sessions", "intents", "charges", "refunds", "disputes", "events", "thin_events")
NOUNS = {
    "sessions": "checkout.session", "intents": "payment_intent", "charges": "charge", "refunds": "refund",
    "disputes": "dispute", "events": "event", "thin_events": "event",
}  # fmt: skip
BY_PREFIX = {"cs": "sessions", "pi": "intents", "ch": "charges", "re": "refunds", "dp": "disputes"}
OWN_ID_FIELDS = ("payment_intent", "latest_charge", "charge")


class Books:
    """The tables, the clock, the ledger; ``emit`` is set by the simulator to what makes and sends events."""

    def __init__(self, now: Callable[[], float], ledger: Ledger, state_path: Path | None) -> None:
        self._now, self.ledger, self._state_path = now, ledger, state_path
        self.sessions: dict[str, Json] = {}
        self.intents: dict[str, Json] = {}
        self.charges: dict[str, Json] = {}
        self.refunds: dict[str, Json] = {}
        self.disputes: dict[str, Json] = {}
        self.events: dict[str, Json] = {}
        self.thin_events: dict[str, Json] = {}
        self.keys = IdempotencyKeys()
        self.open_sessions: set[str] = set()
        self.held_intents: set[str] = set()
        self.revoked_keys: set[str] = set()
        self.refund_mode = "succeeded"
        self.emit: Callable[[str, Json], None] = lambda _kind, _thing: None
        self.further_state: Callable[[], Json] = dict
        self.dirty = False

    def now(self) -> int:
        return int(self._now())

    def touch(self) -> None:
        self.dirty = True

    def table(self, name: str) -> dict[str, Json]:
        table: dict[str, Json] = getattr(self, name)
        return table

    def find(self, table: str, identifier: str, param: str = "id") -> Json:
        found = self.table(table).get(identifier)
        if found is None:
            raise missing_object(NOUNS[table], identifier, param)
        return found

    def record(
        self, kind: str, *, intent: Json | None, amount: int, currency: str, order: str | None, **more: Any
    ) -> None:
        """One movement of money; ``order`` is the merchant's own reference."""
        self.ledger.add(
            kind, payment_intent=intent and intent["id"], amount=amount, currency=currency, order=order, **more
        )
        self.touch()

    def save(self) -> None:
        """Write what changed, before the answer that tells of it leaves."""
        if self._state_path is None or not self.dirty:
            return
        write_state(self._state_path, self._state())
        self.dirty = False

    def _state(self) -> Json:
        return {
            **{name: self.table(name) for name in TABLES},
            "answers": self.keys.answers,
            "ledger": self.ledger.entries,
            "revoked_keys": sorted(self.revoked_keys),
            "refund_mode": self.refund_mode,
            "further": self.further_state(),
        }

    def load(self) -> Json:
        """Take up an earlier run's state; answers what ``further_state`` gave then."""
        state = read_state(self._state_path)
        for name in TABLES:
            self.table(name).update(state.get(name, {}))
        self.keys.answers.update(state.get("answers", {}))
        self.ledger.entries.extend(state.get("ledger", []))
        self.revoked_keys = set(state.get("revoked_keys", []))
        self.refund_mode = state.get("refund_mode", self.refund_mode)
        self.open_sessions = {key for key, session in self.sessions.items() if session["status"] == "open"}
        self.held_intents = {key for key, intent in self.intents.items() if intent["status"] == "requires_capture"}
        further: Json = state.get("further", {})
        return further


def new_id(prefix: str) -> str:
    return f"{prefix}_{secrets.token_hex(12)}"


def public(thing: Json) -> Json:
    """A copy without the fake's own fields: a snapshot that later changes do not reach."""
    return copy.deepcopy({key: value for key, value in thing.items() if not key.startswith("_")})


def rendered(books: Books, thing: Json, expand: list[str]) -> Json:
    """The object as answered, with ``expand[]`` paths such as ``payment_intent.latest_charge`` filled in."""
    answer = public(thing)
    for path in expand:
        _expand(books, answer, path, path.split("."))
    return answer


def rendered_list(books: Books, url: str, things: list[Json], params: Json) -> Json:
    """Newest first, paged as Stripe does with ``limit``, ``starting_after`` and ``ending_before``."""
    newest = list(reversed(things))
    limit = int(params.get("limit", 10))
    if not 1 <= limit <= 100:
        raise invalid_parameter("This value must be between 1 and 100.", "limit", "parameter_invalid_integer")
    page, more = _page(newest, params, limit)
    expand = [path.removeprefix("data.") for path in params.get("expand", [])]
    return {"object": "list", "url": url, "has_more": more, "data": [rendered(books, thing, expand) for thing in page]}


def _page(newest: list[Json], params: Json, limit: int) -> tuple[list[Json], bool]:
    identifiers = [thing["id"] for thing in newest]
    if before := params.get("ending_before"):
        rest = newest[: _position(identifiers, before, "ending_before")]
        return rest[-limit:], len(rest) > limit
    after = params.get("starting_after")
    rest = newest[_position(identifiers, after, "starting_after") + 1 :] if after else newest
    return rest[:limit], len(rest) > limit


def _position(identifiers: list[str], identifier: str, param: str) -> int:
    if identifier not in identifiers:
        raise missing_object("object", identifier, param)
    return identifiers.index(identifier)


def _expand(books: Books, answer: Json, path: str, steps: list[str]) -> None:
    name = steps[0]
    if name == "line_items" and answer.get("object") == "checkout.session":
        answer["line_items"] = copy.deepcopy(books.sessions[answer["id"]]["_line_items"])
        return
    if name not in OWN_ID_FIELDS or name not in answer:
        raise invalid_parameter(f"This property cannot be expanded ({path}).", "expand")
    if isinstance(answer[name], str):
        answer[name] = public(books.find(BY_PREFIX[answer[name].split("_")[0]], answer[name]))
    if len(steps) > 1 and answer[name] is not None:
        _expand(books, answer[name], path, steps[1:])
