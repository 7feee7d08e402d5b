"""A server in the cloud's place that answers what a test tells it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from devices.shelly.cloud import ShellyCloud, Target

KEY = "MTYzNDYzMDM0MQuidSECRETKEY0123456789"
PRO = "34987a000001"
RELAY = Target(PRO, 0)


class Server:
    """A server that answers what a test tells it, and remembers what it was asked."""

    def __init__(self) -> None:
        self.answer: Callable[[BaseHTTPRequestHandler], None] | None = None
        self.status, self.body, self.headers = 200, b"", dict[str, str]()
        self.asked: list[tuple[str, str, str, dict[str, str]]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                text = self.rfile.read(length).decode()
                outer.asked.append((self.command, self.path, text, dict(self.headers)))
                if outer.answer is not None:
                    outer.answer(self)
                    return
                self.send_response_only(outer.status)
                for name, value in {"Content-Length": str(len(outer.body)), **outer.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(outer.body)

            do_GET = do_POST  # noqa: N815 - a followed redirect would arrive as GET

            def log_message(self, format: str, *args: Any) -> None:
                pass

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass

        self._http = Quiet(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def says(self, body: Any, status: int = 200, **headers: str) -> None:
        text = body if isinstance(body, str | bytes) else json.dumps(body)
        self.status, self.body, self.headers = status, text.encode() if isinstance(text, str) else text, headers

    def stop(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


def off(cloud: ShellyCloud) -> None:
    cloud.switch(RELAY, on=False, toggle_after_s=None)
