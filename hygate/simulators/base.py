"""What every simulator shares: the ledger, injected faults, the control plane and a way to run it.

A simulator is an aiohttp application. Requests to ``/_ctl/…`` are the control plane; every other request passes the
fault middleware first, which can refuse, delay, cut or kill before or after the simulated service has acted.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import asdict, dataclass, field
from email.utils import formatdate
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Action = Literal["status", "body", "delay", "hang_before", "act_then_hang", "drop", "act_then_drop", "drip", "kill"]
ACTIONS: tuple[str, ...] = get_args(Action)
DRIP_S = 0.5
FOREVER = -1
DEFAULT_HANG_S = 30.0
T = TypeVar("T")


class ControlError(ValueError):
    """A control-plane request that makes no sense; its text is the answer's ``error``."""


class Ledger:
    """What really happened, oldest first. ``t`` is Unix seconds of the simulator's clock."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self.entries: list[dict[str, Any]] = []

    def add(self, kind: str, *, t: float | None = None, **fields: Any) -> dict[str, Any]:
        entry = {"t": round(self._clock() if t is None else t, 3), "kind": kind, **fields}
        self.entries.append(entry)
        return entry


@dataclass
class Fault:
    """One injected misbehaviour.

    ``on``: path or operation name it applies to (``*`` = any). ``match``: a text that must occur in the request body.
    ``times``: how many requests it hits (-1 = until cleared). ``skip``: how many matching requests pass first.
    ``status``/``body`` answer at once without acting. ``delay`` waits ``seconds``, then acts. ``hang_before`` waits
    and cuts without acting (``act_after_s``: acts that late although the caller has gone). ``act_then_hang`` acts,
    waits, cuts. ``drop``/``act_then_drop`` cut at once. ``drip`` does not act and sends a body that is never whole, a
    byte each half second, for ``seconds``. ``kill`` sends SIGKILL to ``pid`` before or after acting.
    """

    on: str
    do: Action
    times: int = 1
    skip: int = 0
    match: str = ""
    status: int = 500
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = DEFAULT_HANG_S
    act_after_s: float | None = None
    pid: int = 0
    when: Literal["before", "after"] = "after"

    def applies(self, names: tuple[str, ...], body: str) -> bool:
        return self.times != 0 and (self.on == "*" or self.on in names) and self.match in body


class Faults:
    """The faults in force, in the order in which they were added."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def add(self, spec: dict[str, Any]) -> Fault:
        unknown = set(spec) - set(Fault.__dataclass_fields__)
        if unknown or spec.get("do") not in ACTIONS or not spec.get("on"):
            raise ControlError(f"A fault needs 'on' and 'do' (one of {', '.join(ACTIONS)}); unknown: {sorted(unknown)}")
        if spec["do"] == "kill" and int(spec.get("pid", 0)) <= 1:
            raise ControlError("A 'kill' fault needs the pid of one of your own processes")
        fault = Fault(**spec)
        self._faults.append(fault)
        return fault

    def clear(self) -> None:
        self._faults.clear()

    def listing(self) -> list[dict[str, Any]]:
        return [asdict(fault) for fault in self._faults]

    def take(self, names: tuple[str, ...], body: str) -> Fault | None:
        for fault in self._faults:
            if not fault.applies(names, body):
                continue
            if fault.skip > 0:
                fault.skip -= 1
                continue
            if fault.times > 0:
                fault.times -= 1
            return fault
        return None


class Simulator:
    """Base of the simulators: subclass, register routes in ``routes()``, record in ``self.ledger``."""

    name = "simulator"

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self.ledger = Ledger(clock)
        self.faults = Faults()
        self.date_skew_s = 0.0
        self._background: set[asyncio.Task[Any]] = set()

    # -- to be given by the subclass
    def add_routes(self, app: web.Application) -> None:
        """Register the service's own routes and further control routes."""

    def operation(self, request: web.Request) -> str:
        """The service's own name for what this request does; faults can name it instead of the path."""
        return request.path

    async def on_start(self) -> None:
        """Start timers; called inside the running event loop."""

    async def on_stop(self) -> None:
        """Stop what ``on_start`` began."""

    # -- what the base gives
    def background(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run ``work`` beside the request and keep it alive until it ends."""
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task

    def application(self) -> web.Application:
        app = web.Application(middlewares=[self._fault_middleware], client_max_size=4 * 1024 * 1024)
        app.router.add_get("/_ctl/ledger", self._get_ledger)
        app.router.add_post("/_ctl/faults", self._post_fault)
        app.router.add_get("/_ctl/faults", self._get_faults)
        app.router.add_delete("/_ctl/faults", self._delete_faults)
        app.router.add_post("/_ctl/date", self._post_date)
        self.add_routes(app)
        app.on_response_prepare.append(self._date)
        app.on_startup.append(self._startup)
        app.on_cleanup.append(self._cleanup)
        return app

    async def _startup(self, _app: web.Application) -> None:
        await self.on_start()

    async def _cleanup(self, _app: web.Application) -> None:
        await self.on_stop()
        for task in list(self._background):
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)

    async def _get_ledger(self, _request: web.Request) -> web.Response:
        return web.json_response(self.ledger.entries)

    async def _get_faults(self, _request: web.Request) -> web.Response:
        return web.json_response(self.faults.listing())

    async def _post_fault(self, request: web.Request) -> web.Response:
        fault = self.faults.add(await control_body(request))
        return web.json_response(asdict(fault))

    async def _post_date(self, request: web.Request) -> web.Response:
        """``{"skew_s": seconds}``: by how much the ``Date`` of every answer is ahead of the simulator's clock."""
        spec = await control_body(request)
        try:
            self.date_skew_s = float(spec.get("skew_s", 0))
        except (TypeError, ValueError) as error:
            raise ControlError("skew_s must be a number of seconds") from error
        return web.json_response({"skew_s": self.date_skew_s})

    async def _date(self, _request: web.Request, response: web.StreamResponse) -> None:
        response.headers["Date"] = formatdate(self.clock() + self.date_skew_s, usegmt=True)

    async def _delete_faults(self, _request: web.Request) -> web.Response:
        self.faults.clear()
        return web.json_response({})

    @web.middleware
    async def _fault_middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path.startswith("/_ctl/"):
            try:
                return await handler(request)
            except ControlError as error:
                return web.json_response({"error": str(error)}, status=400)
        fault = self.faults.take((request.path, self.operation(request)), await request.text())
        if fault is None:
            return await handler(request)
        return await self._misbehave(fault, request, handler)

    async def _misbehave(self, fault: Fault, request: web.Request, handler: Handler) -> web.StreamResponse:
        if fault.do in ("status", "body"):
            return faulty_answer(fault)
        if fault.do == "delay":
            await asyncio.sleep(fault.seconds)
            return await handler(request)
        if fault.do == "drip":
            return await drip(fault, request)
        if fault.do == "kill":
            return await self._kill(fault, request, handler)
        if fault.do.startswith("act_then"):
            await handler(request)
        elif fault.act_after_s is not None:
            self.background(self._act_late(fault.act_after_s, request, handler))
        if fault.do.endswith("hang") or fault.do == "hang_before":
            await asyncio.sleep(fault.seconds)
        return cut(request)

    async def _act_late(self, seconds: float, request: web.Request, handler: Handler) -> None:
        await asyncio.sleep(seconds)
        await handler(request)

    async def _kill(self, fault: Fault, request: web.Request, handler: Handler) -> web.StreamResponse:
        if fault.when == "before":
            os.kill(fault.pid, signal.SIGKILL)
            return cut(request)
        await handler(request)
        os.kill(fault.pid, signal.SIGKILL)
        return cut(request)


def faulty_answer(fault: Fault) -> web.Response:
    status = fault.status if fault.do == "status" else (fault.status if fault.status != 500 else 200)
    if fault.body is None:
        return web.Response(status=status, headers=fault.headers)
    if isinstance(fault.body, str):
        return web.Response(text=fault.body, status=status, headers={"Content-Type": "text/html", **fault.headers})
    return web.json_response(fault.body, status=status, headers=fault.headers)


async def drip(fault: Fault, request: web.Request) -> web.StreamResponse:
    """An answer that begins at once and does not end while the caller listens."""
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    try:
        await response.prepare(request)
        for _ in range(int(fault.seconds / DRIP_S)):
            await response.write(b" ")
            await asyncio.sleep(DRIP_S)
    except ConnectionError:
        return response  # the caller has gone, as it should
    return cut(request)


def cut(request: web.Request) -> web.StreamResponse:
    """Close the connection without an answer, as a lost network does."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)


async def control_body(request: web.Request) -> dict[str, Any]:
    """The JSON object of a control request; an empty body is an empty object."""
    text = await request.text()
    try:
        body = json.loads(text) if text.strip() else {}
    except ValueError as error:
        raise ControlError(f"The body is no JSON: {error}") from error
    if not isinstance(body, dict):
        raise ControlError("The body must be a JSON object")
    return body


class RunningSimulator:
    """A simulator serving on a thread of its own: ``url``, ``call()`` into its loop, ``stop()``."""

    def __init__(self, simulator: Simulator, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self.simulator = simulator
        self._host, self._port = host, port
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._error: BaseException | None = None
        self._runner: web.AppRunner | None = None
        self._thread = threading.Thread(target=self._serve, name=f"simulate-{simulator.name}", daemon=True)

    def start(self) -> RunningSimulator:
        self._thread.start()
        self._ready.wait(10)
        if self._error is not None:
            raise self._error
        return self

    @property
    def url(self) -> str:
        return f"http://{self._host}:{self._port}"

    def call(self, work: Callable[[], T]) -> T:
        """Run ``work`` inside the simulator's event loop, so that it never races with a request."""

        async def run() -> T:
            return work()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(10)

    def stop(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(10)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._listen())
        except OSError as error:
            self._error = error
            return
        finally:
            self._ready.set()
        try:
            self._loop.run_forever()
        finally:
            if self._runner is not None:
                self._loop.run_until_complete(self._runner.cleanup())
            self._loop.close()

    async def _listen(self) -> None:
        self._runner = web.AppRunner(self.simulator.application(), access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port)
        await site.start()
        server = site._server
        sockets = getattr(server, "sockets", None) or []
        self._port = sockets[0].getsockname()[1] if sockets else self._port


def write_state(path: Path, state: dict[str, Any]) -> None:
    """Replace the state file in one step, so that a simulator killed at any moment finds a whole one."""
    temporary = path.with_suffix(path.suffix + ".new")
    temporary.write_text(json.dumps(state))
    temporary.replace(path)


def read_state(path: Path | None) -> dict[str, Any]:
    """The state that an earlier run left, or nothing."""
    if path is None or not path.exists():
        return {}
    state: dict[str, Any] = json.loads(path.read_text())
    return state
