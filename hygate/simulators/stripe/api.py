"""The way of a request through the API: key, parameters, idempotency, operation, state on disk, answer."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from hygate.simulators.base import ControlError
from hygate.simulators.stripe.books import Books, Json, new_id
from hygate.simulators.stripe.errors import StripeRefusal, unauthorized
from hygate.simulators.stripe.events import API_VERSION
from hygate.simulators.stripe.idempotency import fingerprint_of
from hygate.simulators.stripe.operations import OPERATIONS, Call, Operation
from hygate.simulators.stripe.parameters import checked, parse_form
from hygate.simulators.stripe.webhooks import Webhooks

ACCEPTED_KEYS = ("sk_test_", "rk_test_")


@dataclass
class Knob:
    """A misbehaviour inside the API, where idempotency keys see it: ``do`` is ``stored_500`` or ``slow``."""

    do: str
    on: str = "*"
    times: int = 1
    act: bool = False
    seconds: float = 1.0


@dataclass
class Answer:
    status: int
    body: Json
    headers: dict[str, str] = field(default_factory=dict)
    stored: bool = True


class Api:
    def __init__(self, books: Books, webhooks: Webhooks, public_url: str | None, tick: Callable[[], None]) -> None:
        self._books, self._webhooks, self._tick = books, webhooks, tick
        self._public_url = public_url
        self.knobs: list[Knob] = []
        self.forbidden: set[tuple[str, str]] = set()

    def add_routes(self, app: web.Application) -> None:
        for operation in OPERATIONS:
            app.router.add_route(operation.method, operation.path, self._handler(operation), name=operation.name)
        app.router.add_route("*", "/v1/{rest:.*}", self._unknown, name="unknown")

    def add_knob(self, do: str, spec: Json) -> Knob:
        try:
            knob = Knob(do=do, **spec)
        except TypeError as error:
            raise ControlError(f"Known: on, times, act, seconds ({error})") from error
        self.knobs.append(knob)
        return knob

    def _take(self, do: str, operation: Operation, path: str) -> Knob | None:
        for knob in self.knobs:
            if knob.do == do and knob.times != 0 and knob.on in ("*", path, operation.name):
                knob.times -= 1 if knob.times > 0 else 0
                return knob
        return None

    def _handler(self, operation: Operation) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handle(request: web.Request) -> web.Response:
            self._tick()
            request_id = new_id("req")
            self._webhooks.request = {"id": request_id, "idempotency_key": request.headers.get("Idempotency-Key")}
            try:
                answer = await self._answer(operation, request)
            except StripeRefusal as refusal:
                answer = Answer(refusal.status, refusal.body())
            return self._respond(request, operation, request_id, answer)

        return handle

    async def _unknown(self, request: web.Request) -> web.Response:
        message = f"Unrecognized request URL ({request.method}: {request.path}). The simulator has no such operation."
        return web.json_response(StripeRefusal(message).body(), status=404)

    def _respond(self, request: web.Request, operation: Operation, request_id: str, answer: Answer) -> web.Response:
        self._books.ledger.add(
            "request",
            method=request.method,
            path=request.path,
            operation=operation.name,
            status=answer.status,
            idempotency_key=request.headers.get("Idempotency-Key"),
            replayed="Idempotent-Replayed" in answer.headers,
        )
        if request.method == "POST":
            self._books.touch()
        self._webhooks.request = {"id": None, "idempotency_key": None}
        self._books.save()
        headers = {"Request-Id": request_id, "Stripe-Version": API_VERSION, **answer.headers}
        if "Idempotency-Key" in request.headers and request.method == "POST":
            headers["Idempotency-Key"] = request.headers["Idempotency-Key"]
        return web.Response(text=json.dumps(answer.body, indent=2), status=answer.status, headers=headers,
                            content_type="application/json")  # fmt: skip

    async def _answer(self, operation: Operation, request: web.Request) -> Answer:
        self._authenticate(request, operation)
        text = await request.text() if request.method == "POST" else request.query_string
        parameters = parse_form(text)
        key = request.headers.get("Idempotency-Key") if request.method == "POST" else None
        if key is None:
            return await self._execute(operation, request, parameters)
        fingerprint = fingerprint_of(request.method, request.path, parameters)
        earlier = self._books.keys.recall(key, fingerprint, self._books.now())
        if earlier is not None:
            replay = {"Idempotent-Replayed": "true", "Original-Request": earlier["request"]}
            return Answer(earlier["status"], earlier["body"], replay)
        return await self._execute_once(operation, request, parameters, key, fingerprint)

    async def _execute_once(
        self, operation: Operation, request: web.Request, parameters: Json, key: str, fingerprint: str
    ) -> Answer:
        request_id = self._webhooks.request["id"]
        stored = False
        try:
            answer = await self._execute(operation, request, parameters)
            stored = answer.stored
        finally:
            if not stored:
                self._books.keys.forget(key)
        if stored:
            self._books.keys.remember(
                key,
                {"fingerprint": fingerprint, "status": answer.status, "body": answer.body, "request": request_id,
                 "at": self._books.now()},
            )  # fmt: skip
        return answer

    async def _execute(self, operation: Operation, request: web.Request, parameters: Json) -> Answer:
        if slow := self._take("slow", operation, request.path):
            context = self._webhooks.request
            await asyncio.sleep(slow.seconds)
            self._webhooks.request = context
        failing = self._take("stored_500", operation, request.path)
        if failing and not failing.act:
            return _internal_error()
        try:
            call = Call(self._books, request.match_info.get("id", ""), checked(parameters, operation.shape),
                        self._public_url or f"{request.scheme}://{request.host}")  # fmt: skip
            body = operation.run(call)
        except StripeRefusal as refusal:
            return Answer(refusal.status, refusal.body(), stored=refusal.stored)
        return _internal_error() if failing else Answer(200, body)

    def _authenticate(self, request: web.Request, operation: Operation) -> None:
        key = _api_key(request)
        if not key:
            raise unauthorized(
                "You did not provide an API key. You need to provide your API key in the Authorization header, using"
                " Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY')."
            )
        masked = _masked(key)
        if not key.startswith(ACCEPTED_KEYS) or len(key) <= len(ACCEPTED_KEYS[0]):
            raise unauthorized(f"Invalid API Key provided: {masked}")
        digest = key_digest(key)
        if {digest, key_digest("*")} & self._books.revoked_keys:
            raise unauthorized(f"Expired API Key provided: {masked}", "api_key_expired")
        if self.forbidden & {(digest, operation.name), (key_digest("*"), operation.name)}:
            message = f"The provided key '{masked}' does not have the required permissions for this endpoint."
            raise StripeRefusal(message, status=403, code="more_permissions_required", stored=False)


def key_digest(key: str) -> str:
    """Keys are remembered as digests: the state file and the ledger hold no secret."""
    return hashlib.sha256(key.encode()).hexdigest()


def _api_key(request: web.Request) -> str:
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(value, validate=True).decode().partition(":")[0]
    except ValueError:
        return ""


def _masked(key: str) -> str:
    return key[:8] + "*" * max(0, len(key) - 12) + key[-4:] if len(key) > 12 else "*" * len(key)


def _internal_error() -> Answer:
    body: dict[str, Any] = {"error": {"type": "api_error", "message": "An unknown error occurred. (simulated)"}}
    return Answer(500, body)
