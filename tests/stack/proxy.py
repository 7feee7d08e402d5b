"""A TCP fault proxy: stands before the database or the broker and cuts, stalls or delays what passes.

``cut`` refuses and resets; ``stall`` takes bytes and passes none on; ``delay`` holds each piece back; ``half_close``
ends the way back and leaves the way there open; ``cut_after`` lets one piece with given bytes through (a ``COMMIT``)
and cuts before its answer comes back, so that the caller cannot know what became of it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Literal

Mode = Literal["pass", "cut", "stall", "delay", "half_close"]
PIECE = 65536


class Proxy:
    """Listens on a port of its own (``port``) and connects each caller to ``target``; ``mode`` holds for all."""

    def __init__(self, target_port: int, *, host: str = "127.0.0.1") -> None:
        self._host, self._target_port = host, target_port
        self.port = 0
        self.mode: Mode = "pass"
        self.delay_s = 0.0
        self._cut_after: bytes | None = None
        self._pairs: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="proxy", daemon=True)

    def start(self) -> Proxy:
        self._thread.start()
        assert self._ready.wait(10), "The proxy did not come up"
        return self

    def stop(self) -> None:
        self._do(self._reset_all)
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    def set(self, mode: Mode, *, delay_s: float = 0.0) -> None:
        self.mode, self.delay_s = mode, delay_s
        if mode == "cut":
            self._do(self._reset_all)

    def heal(self) -> None:
        """Pass everything again; connections that were stalled are reset, as their peers have lost patience."""
        stalled = self.mode in ("stall", "half_close")
        self.set("pass")
        if stalled:
            self._do(self._reset_all)

    def lead_to(self, port: int) -> None:
        """From now on somebody else stands behind this port; whoever is connected is reset."""
        self._target_port = port
        self._do(self._reset_all)

    def cut_after(self, piece: bytes) -> None:
        """Let the next client message holding ``piece`` through, then reset that connection before the answer."""
        self._cut_after = piece

    @property
    def has_cut(self) -> bool:
        return self._cut_after is None

    # -- inside the loop

    def _do(self, work: Callable[[], None]) -> None:
        async def run() -> None:
            work()

        coroutine: Coroutine[Any, Any, None] = run()
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(5)

    async def _end(self) -> None:
        tasks = [one for one in asyncio.all_tasks() if one is not asyncio.current_task()]
        for one in tasks:
            one.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._accept, self._host, 0))
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()

    def _reset_all(self) -> None:
        for pair in list(self._pairs):
            self._reset(pair)

    def _reset(self, pair: tuple[asyncio.StreamWriter, asyncio.StreamWriter]) -> None:
        self._pairs.discard(pair)
        for writer in pair:
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.mode == "cut":
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection(self._host, self._target_port)
        except OSError:
            writer.transport.abort()
            return
        pair = (writer, far_writer)
        self._pairs.add(pair)
        there = self._pump(reader, far_writer, pair, outward=True)
        back = self._pump(far_reader, writer, pair, outward=False)
        with suppress(asyncio.CancelledError):  # we are being stopped
            await asyncio.gather(there, back)
        self._reset(pair)

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        pair: tuple[asyncio.StreamWriter, asyncio.StreamWriter],
        *,
        outward: bool,
    ) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while data := await reader.read(PIECE):
                while self.mode == "stall" or (self.mode == "half_close" and not outward):
                    await asyncio.sleep(0.05)
                    if pair not in self._pairs:
                        return
                if self.mode == "delay":
                    await asyncio.sleep(self.delay_s)
                writer.write(data)
                await writer.drain()
                if outward and self._cut_after is not None and self._cut_after in data:
                    self._cut_after = None
                    await asyncio.sleep(0.05)  # the far side has it by now
                    self._reset(pair)
                    return
        with suppress(OSError, RuntimeError):
            if writer.can_write_eof():
                writer.write_eof()
