"""The fake Stripe, driven by the real SDK over a socket, with a real HTTP endpoint receiving its webhooks."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import stripe

from hygate.simulators.base import RunningSimulator
from hygate.simulators.stripe import StripeSimulator
from tests import loopback

KEY = "sk_test_simulated_key_0001"
SECRET = "whsec_first"


class Receiver:
    """A merchant's endpoint: keeps what it gets; ``answers`` are the statuses of the next deliveries, then 200."""

    def __init__(self) -> None:
        self.got: list[tuple[bytes, str]] = []
        self.answers: list[int] = []
        receiver = self

        class Endpoint(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = receiver.answers.pop(0) if receiver.answers else 200
                receiver.got.append((body, self.headers["Stripe-Signature"]))
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: object) -> None:
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def types(self) -> list[str]:
        return [json.loads(body)["type"] for body, _ in list(self.got)]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Rig:
    """One simulator, its SDK client and its control plane."""

    def __init__(self, receiver: Receiver | None = None, state_path: Path | None = None) -> None:
        url = receiver.url if receiver else None
        self.simulator = StripeSimulator(webhook_url=url, webhook_secrets=(SECRET,), state_path=state_path)
        self.running = RunningSimulator(self.simulator).start()
        self.url = self.running.url
        self.client = self.client_with(KEY)
        self.http = loopback.client(base_url=self.url)

    def client_with(self, key: str) -> stripe.StripeClient:
        return stripe.StripeClient(key, base_addresses={"api": self.url}, max_network_retries=0)

    def control(self, path: str, **body: Any) -> Any:
        answer = self.http.post(f"/_ctl/{path}", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def money(self) -> list[tuple[str, int]]:
        entries = self.http.get("/_ctl/ledger").json()
        return [(entry["kind"], entry["amount"]) for entry in entries if entry["kind"] != "request"]

    def held(self, **changes: Any) -> stripe.PaymentIntent:
        """A payment that is authorised and not captured."""
        session = self.client.v1.checkout.sessions.create(order(**changes))
        self.control(f"checkout/{session.id}/pay")
        return self.intent_of(session.id)

    def intent_of(self, session_id: str) -> stripe.PaymentIntent:
        session = self.client.v1.checkout.sessions.retrieve(session_id, {"expand": ["payment_intent.latest_charge"]})
        assert isinstance(session.payment_intent, stripe.PaymentIntent)
        return session.payment_intent

    def close(self) -> None:
        self.http.close()
        self.running.stop()


def order(amount: int = 250, *, hold: bool = True, currency: str = "eur", **changes: Any) -> Any:
    price = {
        "currency": currency,
        "unit_amount": amount,
        "product_data": {"name": "Washer <1>", "description": "60 min"},
    }
    parameters: dict[str, Any] = {
        "mode": "payment",
        "line_items": [{"quantity": 1, "price_data": price}],
        "success_url": "http://127.0.0.1:1/done?cs={CHECKOUT_SESSION_ID}",
        "cancel_url": "http://127.0.0.1:1/back",
        "client_reference_id": "order-7",
        "metadata": {"order": "order-7"},
        "payment_intent_data": {"metadata": {"order": "order-7"}},
        "expires_at": int(time.time()) + 35 * 60,
    }
    if hold:
        parameters["payment_method_options"] = {"card": {"capture_method": "manual"}}
    return {name: value for name, value in {**parameters, **changes}.items() if value is not None}


def eventually(check: Callable[[], bool], seconds: float = 4.0) -> None:
    end = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.01)
