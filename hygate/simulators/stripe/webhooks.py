"""Deliver events to the merchant's endpoint: signed, in the background, again and again for three days.

What is still to be delivered is data (``waiting``) on the simulator's clock, so that it survives a restart and can be
hurried by turning that clock forward.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace

import aiohttp

from hygate.simulators.base import ControlError
from hygate.simulators.stripe.books import Books, Json, new_id
from hygate.simulators.stripe.events import (
    KEPT_S,
    event_object,
    signature,
    thin_event_object,
)

TIME_OUT_S = 10.0
RETRY_AFTER_S = (1, 2, 5, 10, 30, 60, 300, 900, 3600)
GIVE_UP_AFTER_S = 3 * 24 * 3600
HISTORY = 2000
POLL_S = 0.2
REORDER_STEP_S = 0.05


@dataclass
class Habits:
    """How deliveries behave; set by ``POST /_ctl/webhooks``.

    ``duplicate``: how often each event is sent in all. ``drop``: ``true``, or how many of the next events are lost on
    the way (they stay ``delivery_success=false``). ``create: false``: no event comes into being at all. ``reorder``:
    events of the same ``reorder_window_s`` arrive last one first. ``only``: the types the endpoint is subscribed to.
    """

    url: str | None = None
    secrets: list[str] = field(default_factory=list)
    duplicate: int = 1
    delay_s: float = 0.0
    drop: bool | int = False
    create: bool = True
    reorder: bool = False
    reorder_window_s: float = 1.0
    thin: bool = False
    both: bool = False
    only: list[str] | None = None

    def change(self, spec: Json) -> None:
        spec = dict(spec)
        rolled = spec.pop("roll_secret", None)
        if spec.pop("end_roll", False):
            self.secrets = self.secrets[:1]
        unknown = set(spec) - set(self.__dataclass_fields__)
        if unknown:
            raise ControlError(
                f"Unknown: {sorted(unknown)}; known: {sorted(self.__dataclass_fields__)}, roll_secret, end_roll"
            )
        for name, value in spec.items():
            setattr(self, name, value)
        if rolled:
            self.secrets = [str(rolled), *self.secrets]

    def is_dropped(self) -> bool:
        if isinstance(self.drop, bool):
            return self.drop
        self.drop = max(self.drop - 1, -1)
        return self.drop >= 0


class Webhooks:
    """Makes events (``emit``) and delivers them (``run``)."""

    def __init__(
        self, books: Books, habits: Habits, *, exact_now: Callable[[], float], sign_now: Callable[[], float]
    ) -> None:
        self._books, self.habits = books, habits
        self.by_order: dict[str, Habits] = {}
        self._now, self._sign_now = exact_now, sign_now
        self.waiting: dict[str, Json] = {}
        self.history: list[Json] = []
        self.request: Json = {"id": None, "idempotency_key": None}
        self._under_way: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._wake: asyncio.Event | None = None
        self._burst_began, self._burst_count = 0.0, 0

    # -- making events

    def change(self, spec: Json) -> None:
        """New habits for all deliveries, or with ``order`` for those of one of the merchant's orders only."""
        spec = dict(spec)
        order = spec.pop("order", None)
        if order is None:
            self.habits.change(spec)
        else:
            self.by_order.setdefault(str(order), replace(self.habits)).change(spec)
        self.wake()

    def _habits_for(self, thing: Json) -> Habits:
        order = (thing.get("metadata") or {}).get("order")
        return self.by_order.get(str(order), self.habits)

    def emit(self, kind: str, thing: Json) -> None:
        habits = self._habits_for(thing)
        if not habits.create:
            return
        event = event_object(kind, thing, now=self._books.now(), request=dict(self.request))
        self._books.events[event["id"]] = event
        self._books.touch()
        if habits.url and (habits.only is None or kind in habits.only):
            self._queue(event, habits)
        self.wake()

    def _queue(self, event: Json, habits: Habits) -> None:
        event["pending_webhooks"] = 1
        if habits.is_dropped():
            self._keep(
                {"id": new_id("whd"), "event": event["id"], "type": event["type"], "state": "dropped", "attempts": []}
            )
            return
        due = self._now() + habits.delay_s + self._reordering(habits)
        for payload in self._payloads(event, habits):
            for _ in range(habits.duplicate):
                self._add(event, payload, due)

    def _payloads(self, event: Json, habits: Habits) -> list[str]:
        if not (habits.thin or habits.both):
            return [event["id"]]
        thin = thin_event_object(event)
        self._books.thin_events[thin["id"]] = thin
        return [event["id"], thin["id"]] if habits.both else [thin["id"]]

    def _add(self, event: Json, payload: str, due: float) -> None:
        now = self._now()
        delivery = {
            "id": new_id("whd"), "event": event["id"], "payload": payload, "type": event["type"], "queued": now,
            "due": due, "state": "waiting", "attempts": [],
        }  # fmt: skip
        self.waiting[delivery["id"]] = delivery

    def _reordering(self, habits: Habits) -> float:
        if not habits.reorder:
            return 0.0
        now, window = self._now(), habits.reorder_window_s
        if now - self._burst_began > window:
            self._burst_began, self._burst_count = now, 0
        self._burst_count += 1
        return max(0.0, self._burst_began + window - self._burst_count * REORDER_STEP_S - now) + window

    def _keep(self, delivery: Json) -> None:
        self.history.append(delivery)
        del self.history[:-HISTORY]

    # -- delivering

    def wake(self) -> None:
        if self._wake is not None:
            self._wake.set()

    async def run(self, tick: Callable[[], None]) -> None:
        """Deliver what is due; ``tick`` lets sessions and holds run out on the way."""
        self._wake = asyncio.Event()
        time_out = aiohttp.ClientTimeout(total=TIME_OUT_S)
        async with aiohttp.ClientSession(timeout=time_out, auto_decompress=False) as http:
            while True:
                tick()
                self._start_due(http)
                self._books.save()
                await self._pause()

    async def _pause(self) -> None:
        assert self._wake is not None
        try:
            await asyncio.wait_for(self._wake.wait(), self._until_next())
        except TimeoutError:
            return
        self._wake.clear()

    def _until_next(self) -> float:
        dues: list[float] = [d["due"] for d in self.waiting.values() if d["id"] not in self._under_way]
        return min([POLL_S, *(max(0.0, due - self._now()) + 0.001 for due in dues)])

    def _start_due(self, http: aiohttp.ClientSession) -> None:
        now = self._now()
        due = [d for d in self.waiting.values() if d["due"] <= now and d["id"] not in self._under_way]
        for delivery in sorted(due, key=lambda delivery: delivery["due"]):
            self._under_way.add(delivery["id"])
            task = asyncio.get_running_loop().create_task(self._attempt(http, delivery))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _attempt(self, http: aiohttp.ClientSession, delivery: Json) -> None:
        try:
            status, error = await self._post(http, delivery)
            delivery["attempts"].append({"t": round(self._now(), 3), "status": status, "error": error})
            self._judge(delivery, status)
        finally:
            self._under_way.discard(delivery["id"])
        self._books.touch()
        self.wake()

    async def _post(self, http: aiohttp.ClientSession, delivery: Json) -> tuple[int | None, str]:
        payload = self._payload(delivery)
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "Stripe-Signature": signature(payload, self.habits.secrets, int(self._sign_now())),
            "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
        }
        try:
            url = str(self.habits.url)
            async with http.post(url, data=payload, headers=headers, allow_redirects=False) as answer:
                return answer.status, ""
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            return None, type(error).__name__

    def _payload(self, delivery: Json) -> bytes:
        thing = self._books.events.get(delivery["payload"]) or self._books.thin_events[delivery["payload"]]
        return json.dumps(thing, indent=2).encode()

    def _judge(self, delivery: Json, status: int | None) -> None:
        if status is not None and 200 <= status < 300:
            self._finish(delivery, "delivered")
        elif self._now() - delivery["queued"] >= GIVE_UP_AFTER_S:
            self._finish(delivery, "given_up")
        else:
            tries = len(delivery["attempts"])
            delivery["due"] = self._now() + RETRY_AFTER_S[min(tries, len(RETRY_AFTER_S)) - 1]

    def _finish(self, delivery: Json, state: str) -> None:
        delivery["state"] = state
        self.waiting.pop(delivery["id"], None)
        self._keep(delivery)
        still = any(other["event"] == delivery["event"] for other in self.waiting.values())
        event = self._books.events.get(delivery["event"])
        if event is not None and not still and state == "delivered":
            event["pending_webhooks"] = 0

    # -- what the control plane and the state file see

    def report(self) -> Json:
        """Settings without the secrets, and every delivery with its attempts."""
        habits = asdict(self.habits)
        habits["secrets"] = len(self.habits.secrets)
        return {"habits": habits, "deliveries": [*self.history, *self.waiting.values()]}

    def state(self) -> Json:
        return {"waiting": self.waiting, "history": self.history}

    def load(self, state: Json) -> None:
        self.waiting.update(state.get("waiting", {}))
        self.history.extend(state.get("history", []))

    def forget_old_events(self) -> None:
        """Stripe keeps events for 30 days; the table is in order of age."""
        oldest = self._now() - KEPT_S
        for identifier, event in list(self._books.events.items()):
            if event["created"] > oldest:
                return
            del self._books.events[identifier]
