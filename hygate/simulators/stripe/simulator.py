"""The fake Stripe, put together: API, hosted page, webhooks, control plane, one clock, one state file."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from aiohttp import web

from hygate.simulators.base import ControlError, Simulator
from hygate.simulators.stripe import hosted_page
from hygate.simulators.stripe.api import Api
from hygate.simulators.stripe.books import Books
from hygate.simulators.stripe.checkout import expire_overdue
from hygate.simulators.stripe.control import Control, take_way
from hygate.simulators.stripe.errors import StripeRefusal
from hygate.simulators.stripe.intents import release_expired_holds
from hygate.simulators.stripe.webhooks import Habits, Webhooks

PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
}


class StripeSimulator(Simulator):
    """``clock`` is the real time; ``POST /_ctl/clock`` moves Stripe's own ahead of it. Signatures carry the real one,
    as the receiver compares it with its own clock."""

    name = "stripe"

    def __init__(
        self,
        clock: Callable[[], float] = time.time,
        webhook_url: str | None = None,
        webhook_secrets: Sequence[str] = ("whsec_demo",),
        state_path: Path | None = None,
        public_url: str | None = None,
    ) -> None:
        self._offset = 0.0
        self._real_clock = clock
        super().__init__(clock=self.now)
        self.books = Books(self.now, self.ledger, state_path)
        habits = Habits(url=webhook_url, secrets=list(webhook_secrets))
        self.webhooks = Webhooks(self.books, habits, exact_now=self.now, sign_now=clock)
        self.books.emit = self.webhooks.emit
        self.books.further_state = lambda: {"offset": self._offset, "webhooks": self.webhooks.state()}
        self._take_up_state()
        page_base = public_url.rstrip("/") if public_url else None
        self._api = Api(self.books, self.webhooks, page_base, self.tick)
        self._control = Control(self.books, self.webhooks, self._api, self.advance)
        self._deliveries: asyncio.Task[None] | None = None

    def now(self) -> float:
        return self._real_clock() + self._offset

    def advance(self, seconds: float) -> float:
        self._offset += seconds
        self.tick()
        self.webhooks.wake()
        return self.now()

    def tick(self) -> None:
        """Let run out what has run out by now."""
        expire_overdue(self.books)
        release_expired_holds(self.books)
        self.webhooks.forget_old_events()

    def _take_up_state(self) -> None:
        further = self.books.load()
        self._offset = float(further.get("offset", 0.0))
        self.webhooks.load(further.get("webhooks", {}))

    # -- what the base asks for

    def add_routes(self, app: web.Application) -> None:
        self._control.add_routes(app)
        self._api.add_routes(app)
        app.router.add_get("/c/pay/{id}", self._page, name="hosted_page.show")
        app.router.add_post("/c/pay/{id}/{way}", self._page_act, name="hosted_page.act")

    def operation(self, request: web.Request) -> str:
        return request.match_info.route.name or request.path

    async def on_start(self) -> None:
        self._deliveries = self.background(self.webhooks.run(self.tick))

    async def on_stop(self) -> None:
        await self.webhooks.stop()
        self.books.save()

    # -- the hosted page

    async def _page(self, request: web.Request) -> web.Response:
        self.tick()
        session = self.books.sessions.get(request.match_info["id"])
        if session is None:
            return _html(hosted_page.unknown_page(), 404)
        if session["status"] != "open":
            return _html(hosted_page.ended_page(session))
        return _html(hosted_page.pay_page(session))

    async def _page_act(self, request: web.Request) -> web.Response:
        self.tick()
        session = self.books.sessions.get(request.match_info["id"])
        if session is None:
            return _html(hosted_page.unknown_page(), 404)
        if request.match_info["way"] == "verify" and session["status"] == "open":
            return _html(hosted_page.bank_page(session))
        try:
            target = take_way(self.books, session, request.match_info["way"])
        except (StripeRefusal, ControlError) as refusal:
            if session["status"] != "open":
                return _html(hosted_page.ended_page(session))
            return _html(hosted_page.pay_page(session, error=str(refusal)))
        self.books.save()
        if target is None:
            return _html(hosted_page.pay_page(session, error="Your card was declined. Try a different card."))
        return web.Response(status=303, headers={"Location": target})


def _html(text: str, status: int = 200) -> web.Response:
    return web.Response(text=text, status=status, content_type="text/html", headers=PAGE_HEADERS)
